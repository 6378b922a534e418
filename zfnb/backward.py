"""The deconvnet a second time: as a backward pass in which the ReLUs do something else (Sec. 2.1).

Written without a look at `zfnb.deconvnet`: autograd does the work. Going down a convolution is
going down its gradient (which drops the bias by itself), and going down a max pool is going back to
the switch (which adds what shares one). Only two operations differ from plain back-propagation,
the ReLU and the contrast normalisation, and these are the two classes below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import Function

from zfnb.checks import map_number
from zfnb.errors import UnknownName
from zfnb.layers import ContrastNorm
from zfnb.models import Network, check_images, evaluation_mode

RULES = ("deconvnet", "gradient", "guided")


class ReLU(Function):
    """A ReLU on the way up; on the way down what `rule` says."""

    @staticmethod
    def forward(ctx, x: Tensor, rule: str) -> Tensor:
        ctx.open, ctx.rule = x > 0, rule
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, signal: Tensor) -> tuple[Tensor, None]:
        if ctx.rule != "gradient":  # by the sign of what comes down
            signal = signal.clamp(min=0)
        if ctx.rule != "deconvnet":  # by the sign of what went up
            signal = signal * ctx.open
        return signal, None


class PassedThrough(Function):
    """Contrast normalisation on the way up; on the way down nothing."""

    @staticmethod
    def forward(ctx, x: Tensor, norm: ContrastNorm) -> Tensor:
        return norm(x)

    @staticmethod
    def backward(ctx, signal: Tensor) -> tuple[Tensor, None]:
        return signal, None


def project(
    net: Network,
    images: Tensor,
    layer: str,
    feature_map: int,
    rule: str = "deconvnet",
    through_norm: bool | None = None,
) -> Tensor:
    """Half the gradient of the squared strongest activation of a map, ReLUs following `rule`.

    The gradient of ``activation ** 2 / 2`` is the activation times its gradient: so the signal
    that starts down is the activation itself, as in Fig. 1.

    Parameters
    ----------
    net : Network
    images : Tensor (N, 3, H, W) or (3, H, W)
    layer : str
    feature_map : int
    rule : {"deconvnet", "gradient", "guided"}
    through_norm : bool, optional
        Differentiate contrast normalisation; by default all rules do but the paper's, which passes
        through it.

    Returns
    -------
    Tensor (N, 3, H, W)

    Raises
    ------
    UnknownName, BadInput
    """
    if rule not in RULES:
        raise UnknownName.of("rule", rule, RULES)
    maps = net.shapes[net.check_layer(layer)][0]
    feature_map = map_number(feature_map, maps, layer)
    if through_norm is None:
        through_norm = rule != "deconvnet"
    images = check_images(net, images).detach().requires_grad_()
    x = images
    with evaluation_mode(net), torch.enable_grad():
        for _, step in net.steps(to=layer):
            if isinstance(step, nn.ReLU):
                x = ReLU.apply(x, rule)
            elif isinstance(step, ContrastNorm) and not through_norm:
                x = PassedThrough.apply(x, step)
            elif not isinstance(step, nn.Dropout):
                x = step(x)
        strongest = x[:, feature_map].reshape(len(x), -1).amax(1)  # (N,)
        (pixels,) = torch.autograd.grad((strongest**2).sum() / 2, images)
    return pixels


@contextmanager
def rectified_gradient(module: nn.Module) -> Iterator[None]:
    """Inside, every gradient that passes an `nn.ReLU` module of `module` is rectified instead.

    This is how most libraries make a deconvnet: backward hooks on the ReLU modules. A ReLU that is
    called as a function is no module, and it gets no hook.
    """

    def rectify(relu, grad_input, grad_output):
        return (grad_output[0].clamp(min=0),)

    hooks = [
        one.register_full_backward_hook(rectify)
        for one in module.modules()
        if isinstance(one, nn.ReLU)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
