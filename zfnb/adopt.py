"""Take in a network of one's own: read its graph, refuse what a deconvnet cannot pass.

A deconvnet mirrors a chain of filters, ReLUs and max pools (Sec. 2.1). `as_network` traces a module
with torch.fx and rebuilds it as a `Network` that shares the original's filters.
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from zfnb.errors import BadInput, CannotInvert
from zfnb.layers import ContrastNorm, SwitchMaxPool2d
from zfnb.models import Network, build, check_size, output_shape

KNOWN = "Conv2d, ReLU, MaxPool2d, BatchNorm2d, Dropout, LocalResponseNorm, Flatten and Linear"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)


def as_network(module: nn.Module, input_size: int = 224, name: str | None = None) -> Network:
    """A `Network` that computes what `module` computes in evaluation mode.

    Layers are called conv1, conv2, ... and fcN in the order of the filters; a pool or a
    normalisation takes the number of the convolution below it (VGG-16: conv1, conv2, pool2, ...,
    conv13, pool13, fc14, fc15, fc16). Filters are shared with `module`, not copied, except where
    batch normalisation has to be folded into them.

    Parameters
    ----------
    module : nn.Module
        A chain of Conv2d, ReLU (as a module), MaxPool2d, BatchNorm2d after a convolution, Dropout,
        LocalResponseNorm, Flatten and Linear. A `Network` is returned as it is.
    input_size : int
        Height and width of its input in pixels.
    name : str, optional
        Defaults to the class's name.

    Raises
    ------
    CannotInvert
        Naming the module or call that cannot be passed, and why.
    BadInput
        If the input size does not lead to the size that a linear layer expects.
    """
    if isinstance(module, Network):
        return module
    if not isinstance(module, nn.Module):
        raise BadInput(f"A network must be an nn.Module, not {type(module).__name__}.")
    name, input_size = name or type(module).__name__, check_size(input_size)
    device = next(module.parameters(), torch.empty(0)).device
    layers: dict[str, nn.Sequential] = {}
    shape: tuple[int, ...] = (3, input_size, input_size)
    number, flat = 0, False
    for path, step in chain(module):
        if isinstance(step, (*DROPOUTS, nn.Identity)):
            continue
        if isinstance(step, nn.AdaptiveAvgPool2d):
            refuse_unless_identity(step, shape, path)
            continue
        if isinstance(step, BATCH_NORMS):
            fold(layers, path, step)
            continue
        if isinstance(step, nn.Flatten):
            flat = True
            shape = output_shape(step, shape, path)
            continue
        if isinstance(step, nn.Conv2d | nn.Linear):
            number += 1
            layer = f"{'conv' if isinstance(step, nn.Conv2d) else 'fc'}{number}"
            check_input(step, shape, path, input_size)
            layers[layer] = nn.Sequential()
            if isinstance(step, nn.Linear):
                if flat:
                    layers[layer].add_module("flatten", nn.Flatten())
                layers[layer].add_module("linear", step)
            else:
                layers[layer].add_module("filter", step)
            flat = False
            shape = output_shape(step, shape, path)
            continue
        if isinstance(step, nn.ReLU):
            if not layers:
                raise CannotInvert(f"The ReLU {path!r} follows no filters; begin with filters.")
            if isinstance(list(layers.values())[-1][-1], SwitchMaxPool2d):
                raise CannotInvert(
                    f"The ReLU {path!r} follows a pool; put it between the filters and the pool, "
                    "which gives the same result."
                )
            list(layers.values())[-1].add_module("relu", nn.ReLU())
            continue
        kind = "pool" if isinstance(step, nn.MaxPool2d) else "norm"
        inner = copy_pool(step) if kind == "pool" else copy_norm(step, shape[0], device)
        layer = f"{kind}{number}"
        if layer in layers:
            raise CannotInvert(f"{path!r} is a second {kind} after convolution {number}.")
        layers[layer] = nn.Sequential()
        layers[layer].add_module(kind, inner)
        shape = output_shape(inner, shape, path)
    if not number:
        raise CannotInvert(f"{name} holds no filters (no Conv2d or Linear).")
    net = Network(layers, name=name, input_size=input_size, weights=f"as given in {name}")
    return net.eval()


def check_input(
    step: nn.Conv2d | nn.Linear, shape: tuple[int, ...], path: str, input_size: int
) -> None:
    """Refuse filters that do not fit `shape`, (C, H, W) or (units,), of what comes in."""
    if isinstance(step, nn.Conv2d):
        if step.in_channels != shape[0]:
            raise BadInput(
                f"{path!r} expects {step.in_channels} channels but gets {shape[0]}; pictures come "
                "in with 3 (red, green, blue), and a network of others cannot be taken in."
            )
    elif len(shape) != 1:
        raise BadInput(f"{path!r} expects units but gets maps {shape}; put nn.Flatten() before it.")
    elif step.in_features != shape[0]:
        raise BadInput(
            f"{path!r} expects {step.in_features} inputs but gets {shape[0]} at input_size="
            f"{input_size}; give the input_size that the network was made for (of pictures with 3 "
            "channels: a network of grey ones cannot be taken in)."
        )


def chain(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """(path, elementary module) for each step of a module that is a single chain of known steps.

    Raises
    ------
    CannotInvert
    """
    name = type(module).__name__
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # whatever a user's forward raises on symbolic values
        raise CannotInvert(
            f"The graph of {name} cannot be read ({error}); its forward must be a plain chain of "
            f"{KNOWN}, without branching on values."
        ) from error
    steps: list[tuple[str, nn.Module]] = []
    signal = None  # the node whose value flows down the chain
    for node in graph.nodes:
        if node.op == "placeholder":
            if signal is not None:
                raise CannotInvert(f"{name} takes more than one input ({node.name!r}).")
            signal = node
        elif node.op == "output":
            if node.args[0] is not signal:
                raise CannotInvert(f"{name} does not return the end of its chain of layers.")
        elif asks_for_size(node):
            continue
        else:
            inputs = [n for n in node.all_input_nodes if not asks_for_size(n)]
            if len(inputs) > 1:
                raise CannotInvert(
                    f"{node.name!r} in {name} joins {len(inputs)} branches (a residual block, or a "
                    "concatenation); a deconvnet goes down one chain only."
                )
            if inputs != [signal]:
                raise CannotInvert(
                    f"{node.name!r} in {name} starts a second branch; a deconvnet goes down one "
                    "chain only."
                )
            steps.append(one_step(node, module))
            signal = node
    return steps


def asks_for_size(node: fx.Node) -> bool:
    """Whether a node only reads a shape, as ``x.size(0)`` or ``x.shape[0]`` do."""
    if node.op == "call_method":
        return node.target == "size"
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] == "shape"
    if node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem":
        return isinstance(node.args[0], fx.Node) and asks_for_size(node.args[0])
    return False


def one_step(node: fx.Node, module: nn.Module) -> tuple[str, nn.Module]:
    """The elementary module behind a node of the graph, or the reason why there is none."""
    if node.op == "call_module":
        path, step = str(node.target), module.get_submodule(str(node.target))
        known = (
            nn.Conv2d,
            nn.ReLU,
            nn.MaxPool2d,
            nn.LocalResponseNorm,
            ContrastNorm,
            nn.Flatten,
            nn.Linear,
            nn.AdaptiveAvgPool2d,
            nn.Identity,
            *BATCH_NORMS,
            *DROPOUTS,
        )
        if not isinstance(step, known):
            hint = " Leave it out: logits are enough." if "Softmax" in type(step).__name__ else ""
            raise CannotInvert(
                f"{path!r} is a {type(step).__name__}; a deconvnet can pass only {KNOWN}.{hint}"
            )
        if isinstance(step, nn.Conv2d) and (
            step.padding_mode != "zeros" or isinstance(step.padding, str)
        ):
            raise CannotInvert(
                f"{path!r} pads with {step.padding_mode!r} / {step.padding!r}; only zero padding "
                "given as a number can be passed."
            )
        return path, step
    called = node.target if isinstance(node.target, str) else node.target.__name__
    if called in ("flatten", "view", "reshape") and flattens(node):
        return node.name, nn.Flatten()
    if "relu" in called:
        raise CannotInvert(
            f"{node.name!r} is a functional ReLU ({called}); a modified backward pass cannot see "
            "it, and many scripts then give the plain gradient. Use an nn.ReLU() module."
        )
    raise CannotInvert(
        f"{node.name!r} is a call of {called}, not a module; use modules only ({KNOWN})."
    )


def flattens(node: fx.Node) -> bool:
    """Whether a call keeps the batch and flattens all else."""
    called = node.target if isinstance(node.target, str) else node.target.__name__
    rest = tuple(node.args[1:])
    if called == "flatten":
        return rest in ((1,), (1, -1)) or node.kwargs == {"start_dim": 1}
    return len(rest) == 2 and rest[1] == -1


def refuse_unless_identity(pool: nn.AdaptiveAvgPool2d, shape: tuple[int, ...], path: str) -> None:
    size = pool.output_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    if size != shape[1:]:
        raise CannotInvert(
            f"{path!r} averages {shape[1]} x {shape[2]} positions to {size[0]} x {size[1]}; a "
            "deconvnet passes it only where it changes nothing. Choose another input_size."
        )


def fold(layers: dict[str, nn.Sequential], path: str, bn: nn.Module) -> None:
    """Fold batch normalisation into the filters right before it, in place in `layers`."""
    layer = list(layers.values())[-1] if layers else nn.Sequential()
    step = layer[-1] if len(layer) else None
    if bn.running_mean is None or not isinstance(step, nn.Conv2d | nn.Linear):
        raise CannotInvert(
            f"The batch normalisation {path!r} cannot be folded: it must directly follow a Conv2d "
            "or Linear and keep running statistics."
        )
    layer[-1] = folded(step, bn)


def folded(step: nn.Conv2d | nn.Linear, bn: nn.Module) -> nn.Module:
    """The filters that do alone what `step` followed by `bn` does in evaluation mode."""
    fuse = fuse_conv_bn_weights if isinstance(step, nn.Conv2d) else fuse_linear_bn_weights
    gain = torch.ones_like(bn.running_mean) if bn.weight is None else bn.weight
    shift = torch.zeros_like(bn.running_mean) if bn.bias is None else bn.bias
    weight, bias = fuse(
        step.weight, step.bias, bn.running_mean, bn.running_var, bn.eps, gain, shift
    )
    if isinstance(step, nn.Linear):
        new = nn.Linear(step.in_features, step.out_features, device="meta")
    else:
        new = nn.Conv2d(
            step.in_channels,
            step.out_channels,
            step.kernel_size,
            step.stride,
            step.padding,
            step.dilation,
            step.groups,
            device="meta",
        )
    new.weight, new.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return new


def fold_batch_norm(net: Network) -> Network:
    """The paper's plain graph with the same outputs as `net`, built with batch normalisation.

    Raises
    ------
    BadInput
        If `net` has no batch normalisation.
    """
    from dataclasses import replace

    if net.description is None or not net.description.batch_norm:
        raise BadInput(f"{net.name} has no batch normalisation to fold.")
    classes = dict(net.named_modules()).get("fc8.linear")
    plain = build(
        replace(net.description, batch_norm=False),
        classes.out_features if classes is not None else 1000,
        preprocessing=net.preprocessing,
        weights=net.weights,
        classes=net.classes,
    )
    for name in net.layer_names:
        source, target = getattr(net, name), getattr(plain, name)
        if hasattr(source, "bn"):
            target.filter = folded(source.filter, source.bn)
        elif isinstance(source, nn.Sequential):
            target.load_state_dict(source.state_dict())
    return plain.eval()


def copy_pool(pool: nn.MaxPool2d) -> SwitchMaxPool2d:
    if isinstance(pool, SwitchMaxPool2d):
        return pool
    return SwitchMaxPool2d(
        pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil_mode
    )


def copy_norm(
    norm: nn.LocalResponseNorm | ContrastNorm, maps: int, device: torch.device
) -> ContrastNorm:
    if isinstance(norm, ContrastNorm):
        return norm
    return ContrastNorm(maps, norm.size, norm.alpha, norm.beta, norm.k).to(device)
