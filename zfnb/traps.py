"""The mistakes that copies of the deconvnet make, on purpose, so that they can be measured.

`project` is a plain deconvnet for one picture, whole maps, one line an operation. It makes one
mistake of `MISTAKES` if asked to; without one it equals `zfnb.Deconvnet`. Do not copy from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnb.adopt import as_network
from zfnb.deconvnet import Deconvnet, Recording
from zfnb.errors import BadInput, UnknownName
from zfnb.layers import ContrastNorm, SwitchMaxPool2d, unpool
from zfnb.models import Network
from zfnb.receptive import geometry

MISTAKES = {
    "flipped filters": "the filters are turned by 180 degrees before the transposed convolution",
    "copied biases": "each layer's bias is added on the way down as well",
    "random biases": "the transposed convolutions keep the bias that PyTorch gives new ones",
    "no ReLU": "nothing is rectified on the way down",
    "ReLU before unpooling": "the ReLU comes before the unpooling instead of after it",
    "rectified picture": "the ReLU is applied to the picture as well",
    "no map size": "unpooling guesses the size of the map, as max_unpool2d does by default",
    "overwriting": "windows that share a switch overwrite each other, in no fixed order",
}


def project(
    net: nn.Module,
    image: Tensor | Recording,
    layer: str,
    feature_map: int,
    mistake: str | None = None,
    seed: int = 0,
    start: float | None = None,
) -> Tensor:
    """Project a map's strongest activation, with or without a mistake.

    Parameters
    ----------
    net : Network, or nn.Module that `load_model` would take
    image : Tensor (1, 3, H, W) or (3, H, W), or Recording of one picture
    layer : str
        A layer of maps.
    feature_map : int
    mistake : str, optional
        One of `MISTAKES`.
    seed : int
        For "random biases".
    start : float, optional
        The value that starts down; by default the activation, as in the paper.

    Returns
    -------
    Tensor (3, H, W)

    Raises
    ------
    UnknownName, BadInput
    """
    recording = image if isinstance(image, Recording) else Deconvnet(net).record(image, to=layer)
    *_, (_, pixels) = way_down(net, recording, layer, feature_map, mistake, seed, start)
    return pixels[0]


@dataclass(frozen=True)
class Comparison:
    """Projections with mistakes beside the right ones, for M units.

    Attributes
    ----------
    right : Tensor (M, 3, H, W)
    wrong : dict {mistake: Tensor (M, 3, H, W)}
    cosines : dict {mistake: list of M floats}
        Of each wrong projection with the right one.
    """

    right: Tensor
    wrong: dict[str, Tensor]
    cosines: dict[str, list[float]]

    def mean(self) -> dict[str, float]:
        """The mean cosine of each mistake."""
        return {name: sum(values) / len(values) for name, values in self.cosines.items()}


def compare(
    net: nn.Module,
    image: Tensor | Recording,
    layer: str,
    feature_maps: Sequence[int],
    mistakes: Sequence[str],
    seed: int = 0,
    start: float | None = None,
) -> Comparison:
    """Project some maps of a layer rightly, and with each of `mistakes`; see `project`."""
    recording = image if isinstance(image, Recording) else Deconvnet(net).record(image, to=layer)

    def all_maps(mistake: str | None) -> Tensor:
        return torch.stack(
            [project(net, recording, layer, m, mistake, seed, start) for m in feature_maps]
        )

    right = all_maps(None)
    wrong = {mistake: all_maps(mistake) for mistake in mistakes}
    cosines = {
        mistake: [cosine(a, b) for a, b in zip(pictures, right, strict=True)]
        for mistake, pictures in wrong.items()
    }
    return Comparison(right, wrong, cosines)


@torch.no_grad()
def way_down(
    net: nn.Module,
    recording: Recording,
    layer: str,
    feature_map: int,
    mistake: str | None = None,
    seed: int = 0,
    start: float | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, the signal (1, C, H, W) that arrives at its output), at last "pixels".

    Parameters
    ----------
    recording : Recording
        Of a single picture, from `Deconvnet.record`.
    net, layer, feature_map, mistake, seed, start
        As for `project`.
    """
    net = as_network(net)
    if mistake is not None and mistake not in MISTAKES:
        raise UnknownName.of("mistake", mistake, MISTAKES)
    if len(net.shapes[net.check_layer(layer)]) != 3:
        raise BadInput(f"{layer} is fully connected; the mistakes are shown on layers of maps.")
    if len(recording) != 1:
        raise BadInput(f"The mistakes are shown on one picture, not on {len(recording)}.")
    count = net.shapes[layer][0]
    if not 0 <= feature_map < count:
        raise BadInput(
            f"Feature map {feature_map} is not in {layer}; it has maps 0 to {count - 1}."
        )
    random = torch.Generator().manual_seed(seed)
    maps = recording.activations[layer].clone()  # (1, C, H, W)
    signal = torch.zeros_like(maps)
    row, column = divmod(int(maps[0, feature_map].argmax()), maps.shape[3])
    signal[0, feature_map, row, column] = maps[0, feature_map].max() if start is None else start

    names = [name for name in net.layer_names if name in recording.activations]
    for name in reversed(names[: names.index(layer) + 1]):
        yield name, signal
        below = names[names.index(name) - 1] if name != names[0] else None
        shape = net.shapes[below] if below else (3, net.input_size, net.input_size)
        if name.startswith("pool"):
            if mistake == "ReLU before unpooling":
                signal = signal.relu()
            switches = recording.switches[name].clone()
            signal = put_back(signal, switches, pool_of(net, name), shape[1:], mistake)
        elif name.startswith("conv"):
            pooled_above = f"pool{name.removeprefix('conv')}" in names[: names.index(layer) + 1]
            skip = mistake == "no ReLU" or (mistake == "ReLU before unpooling" and pooled_above)
            signal = signal if skip else signal.relu()
            signal = filter_down(net, name, signal, shape, mistake, random)
            if below is None and mistake == "rectified picture":
                signal = signal.relu()
    yield "pixels", signal


def put_back(
    signal: Tensor,
    switches: Tensor,
    pool: SwitchMaxPool2d,
    size: tuple[int, int],
    mistake: str | None,
) -> Tensor:
    """Unpool `signal` (1, C, h, w) to (1, C, *size)."""
    kernel, stride, padding = geometry(pool)
    if mistake == "overwriting":
        return F.max_unpool2d(signal, switches, kernel, stride, padding, size)
    if mistake == "no map size":
        H, W = guessed_size(pool, signal.shape[2:])
        if int(switches.max()) >= H * W:
            raise BadInput(
                "The mistake 'no map size' cannot be shown on these maps: torch would stop with "
                f"an error, since the guessed {H} x {W} has no place for some switches; choose "
                "another mistake or another network."
            )
        guessed = unpool(signal, switches, (H, W))
        return F.pad(guessed, (0, size[1] - W, 0, size[0] - H))  # a negative number crops
    return unpool(signal, switches, size)


def filter_down(
    net: Network,
    name: str,
    signal: Tensor,
    shape: tuple[int, ...],
    mistake: str | None,
    random: torch.Generator,
) -> Tensor:
    """The transposed filters of a layer: (1, C, h, w) to (1, *shape)."""
    conv = getattr(net, name)[0]
    weight, bias = conv.weight, None
    if mistake == "flipped filters":
        weight = weight.flip(2, 3)
    elif mistake == "copied biases":  # that of the layer below has the right number of channels
        bias = bias_below(net, name)
    elif mistake == "random biases":  # as in torch.nn.ConvTranspose2d.reset_parameters
        bound = weight[0].numel() ** -0.5
        bias = (2 * torch.rand(shape[0], generator=random) - 1) * bound
    kernel, stride, padding = geometry(conv)
    rest = [
        side - ((at - 1) * stride - 2 * padding + kernel)
        for side, at in zip(shape[1:], signal.shape[2:], strict=True)
    ]
    return F.conv_transpose2d(signal, weight, bias, stride, padding, rest)


def bias_below(net: Network, name: str) -> Tensor | None:
    """Bias of the convolution before layer `name`; None for the first."""
    convs = [layer for layer in net.layer_names if layer.startswith("conv")]
    at = convs.index(name)
    return getattr(net, convs[at - 1])[0].bias if at else None


def pool_of(net: Network, name: str) -> SwitchMaxPool2d:
    """The pool that is layer `name`."""
    return next(step for at, step in net.steps(to=name) if at == name)


def guessed_size(pool: SwitchMaxPool2d, pooled: tuple[int, int]) -> tuple[int, int]:
    """The size (H, W) that `torch.nn.functional.max_unpool2d` takes if it is told none."""
    kernel, stride, padding = geometry(pool)
    h, w = ((side - 1) * stride - 2 * padding + kernel for side in pooled)
    return h, w


# ---------------------------------------------------------------- measures


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors of one shape: 1 for the same up to a factor."""
    a, b = a.flatten().double(), b.flatten().double()
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300))


def likeness(pictures: Tensor) -> float:
    """Mean absolute cosine of all pairs of `pictures` (M, 3, H, W); empty ones are left out."""
    flat = pictures.flatten(1).double()
    flat = F.normalize(flat[flat.any(1)])
    if len(flat) < 2:
        raise BadInput("Likeness needs two pictures that are not empty; choose other feature maps.")
    pairs = (flat @ flat.T).abs().triu(1)
    return float(pairs.sum() / (len(flat) * (len(flat) - 1) / 2))


def sharing(switches: Tensor) -> Tensor:
    """Which windows have a switch that another window of the same map has too.

    Parameters
    ----------
    switches : Tensor (N, C, h, w), int64

    Returns
    -------
    Tensor (N, C, h, w), bool
    """
    flat = switches.flatten(2)  # (N, C, h w)
    count = torch.zeros(*flat.shape[:2], int(flat.max()) + 1, dtype=torch.long)
    count.scatter_add_(2, flat, torch.ones_like(flat))
    return (count.gather(2, flat) > 1).reshape(switches.shape)


def overwritten(switches: Tensor) -> float:
    """Share of the windows whose value is lost if one value a place is kept."""
    flat = switches.flatten(2).sort(2).values
    return float((flat[:, :, 1:] == flat[:, :, :-1]).sum() / flat.numel())


def misplaced(switches: Tensor, width: int, guessed: int) -> float:
    """Share of the windows that are put back at a wrong place if the map is taken to be `guessed`
    and not `width` positions wide."""
    right = torch.stack((switches // width, switches % width))
    wrong = torch.stack((switches // guessed, switches % guessed))
    return float((right != wrong).any(0).float().mean())


def distinct(
    function: Callable[[], Tensor], times: int = 20, threads: Sequence[int] | None = None
) -> int:
    """How many different tensors a function returns.

    Parameters
    ----------
    function : callable () -> Tensor
    times : int
        How often it is called for each number of threads.
    threads : sequence of int, optional
        Numbers of CPU threads that PyTorch may use; by default as it is set.
    """
    before = torch.get_num_threads()
    found = set()
    try:
        for count in threads or (before,):
            torch.set_num_threads(count)
            found |= {function().numpy().tobytes() for _ in range(times)}
    finally:
        torch.set_num_threads(before)
    return len(found)


def through_zeros(signal: Tensor, pooled: Tensor) -> float:
    """Share of a signal (1, C, h, w) that arrives at windows in which everything was zero."""
    strength = signal.abs()
    return float(strength[pooled == 0].sum() / strength.sum())


def moved(pool: SwitchMaxPool2d, norm: nn.Module, maps: Tensor) -> float:
    """Share of the windows whose switch is elsewhere if contrast normalisation precedes the pool.

    Windows that hold only zeros are left out.
    """
    pooled, after = pool.with_switches(maps)
    _, before = pool.with_switches(norm(maps))
    return float((after != before)[pooled > 0].float().mean())


def with_contrast_norm(net: Network, factor: float = 1.0) -> Network:
    """A network's layers with contrast normalisation put after pools 1 and 2.

    Parameters
    ----------
    net : Network
        Without contrast normalisation. Its filters are shared, and were not trained with it.
    factor : float
        The published constants are for pixels in [0, 255]. With `factor` the normalisation acts as
        if the inputs were that many times larger: biases aside, activations grow with the inputs,
        and alpha meets their square.
    """
    layers: dict[str, nn.Module] = {}
    for name in net.layer_names:
        layers[name] = getattr(net, name)
        if name in ("pool1", "pool2"):
            maps, alpha = net.shapes[name][0], ContrastNorm(1).alpha * factor**2
            layers[f"norm{name[-1]}"] = ContrastNorm(maps, alpha=alpha)
    return Network(
        layers,
        name=f"{net.name} with contrast normalisation added",
        input_size=net.input_size,
        preprocessing=net.preprocessing,
        weights=net.weights,
    ).eval()


class WithFunctions(nn.Module):
    """A network's layers of maps, up to `layer`, written with ReLU and pooling as functions.

    The same filters and the same results as in the network, but a library that looks for ReLU
    modules finds none.
    """

    def __init__(self, net: Network, layer: str):
        super().__init__()
        steps = [step for _, step in net.steps(to=layer)]
        self.filters = nn.ModuleList(step for step in steps if isinstance(step, nn.Conv2d))
        self.pools = []  # after which filters, and with which settings
        for step in steps:
            if isinstance(step, nn.MaxPool2d):
                self.pools[-1] = (*geometry(step), step.dilation, step.ceil_mode)
            elif isinstance(step, nn.Conv2d):
                self.pools.append(None)

    def forward(self, x: Tensor) -> Tensor:
        """Run `x` (N, 3, H, W) up."""
        for conv, pool in zip(self.filters, self.pools, strict=True):
            x = F.relu(conv(x))
            if pool:
                x = F.max_pool2d(x, *pool)
        return x


def with_modules(net: Network, layer: str) -> nn.Sequential:
    """The same layers as a chain of modules, each ReLU one of its own."""
    steps = [nn.ReLU() if isinstance(step, nn.ReLU) else step for _, step in net.steps(to=layer)]
    return nn.Sequential(*steps)


def gradient(module: nn.Module, image: Tensor, feature_map: int) -> Tensor:
    """Gradient (3, H, W) of the strongest activation of a map of the module's output."""
    image = image.detach().reshape(1, *image.shape[-3:]).requires_grad_()
    with torch.enable_grad():
        strongest = module(image)[0, feature_map].max()
        (pixels,) = torch.autograd.grad(strongest, image)
    return pixels[0]
