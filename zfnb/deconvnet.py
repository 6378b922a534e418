"""The deconvnet: from one activation back to pixels (Sec. 2.1, Fig. 1).

All activations of a layer but the chosen one are set to zero, and the map goes down the network's
layers in reverse: unpool at the recorded switches, rectify, convolve with the transposed filters.
Biases play no part, contrast normalisation is passed through, and the image itself is not
rectified.

Only the receptive field of an activation can be non-zero on the way down. So each projection works
on a *window* of every map, just large enough for the field; with the default treatment of shared
switches this is exact, and it is what makes many projections fast.

Shapes: N pictures, M projections, C feature maps, H x W positions, h x w positions of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnb.adopt import as_network
from zfnb.errors import BadInput, CannotInvert, UnknownName
from zfnb.layers import COLLISIONS, ContrastNorm, SwitchMaxPool2d, scatter_by_switch
from zfnb.models import Network, check_images, evaluating
from zfnb.receptive import geometry, receptive_boxes

RULES = ("deconvnet", "gradient", "guided")
PASSED = (  # what the way down knows; dropout does nothing there
    *(nn.Conv2d, nn.Linear, nn.Flatten, nn.ReLU, SwitchMaxPool2d, ContrastNorm),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity),
)


@dataclass(frozen=True)
class Projection:
    """What `Deconvnet.project` returns, for M projections.

    Attributes
    ----------
    pixels : Tensor (M, 3, H, W)
        The reconstruction in the input's (normalised) units; zero outside the receptive field.
    activation : Tensor (M,)
        The activation that was projected; the map's largest if the whole map was.
    position : Tensor (M, 2), int64
        Its row and column in the feature map; 0, 0 in a fully connected layer.
    box : Tensor (M, 4), int64
        Its receptive field in the input: top, left, bottom, right (exclusive).
    """

    pixels: Tensor
    activation: Tensor
    position: Tensor
    box: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Recording:
    """What one pass up leaves behind: all that projections of these pictures need.

    Attributes
    ----------
    top : str
        The highest layer that was computed.
    activations : dict {layer name: Tensor (N, C, H, W) or (N, units)}
    switches : dict {pool's layer name: Tensor (N, C, h, w), int64}
    """

    top: str
    activations: dict[str, Tensor]
    switches: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.activations[self.top])


@dataclass
class Window:
    """A square-cut piece of a layer's maps, one a projection.

    Attributes
    ----------
    signal : Tensor (M, C, h, w)
    start : Tensor (M, 2), int64
        Row and column of the piece's first position in the whole map.
    """

    signal: Tensor
    start: Tensor


class Deconvnet:
    """Project activations of a network down to pixels.

    Parameters
    ----------
    net : Network, or any nn.Module that `zfnb.load_model` takes
    collisions : {"sum", "max", "last"}
        For pooling windows that share a switch; see `zfnb.layers.unpool`. The default is the exact
        adjoint of pooling with the switches held fixed.
    rule : {"deconvnet", "gradient", "guided"}
        What a ReLU does to the signal on the way down: rectify it (the paper), pass it where the
        ReLU was open on the way up (the plain gradient), or both (guided back-propagation,
        Springenberg et al., arXiv 1412.6806). The two others are there for comparison. They
        differentiate through contrast normalisation; the paper passes through it.

    Raises
    ------
    UnknownName
        For an unknown rule or treatment of collisions.
    CannotInvert
        If the network is not a chain of layers that can be passed. Batch normalisation has to be
        folded into the filters first; `zfnb.adopt.fold_batch_norm`.
    """

    def __init__(self, net: nn.Module, collisions: str = "sum", rule: str = "deconvnet"):
        if collisions not in COLLISIONS:
            raise UnknownName.of("rule for collisions", collisions, COLLISIONS)
        if rule not in RULES:
            raise UnknownName.of("rule", rule, RULES)
        self.net: Network = as_network(net)
        check_steps(self.net)
        self.collisions = collisions
        self.rule = rule

    def record(self, images: Tensor, to: str | None = None) -> Recording:
        """Run pictures up the network, and keep the activations and switches.

        Parameters
        ----------
        images : Tensor (N, 3, H, W) or (3, H, W)
        to : str, optional
            The highest layer that will be projected; the last one by default.
        """
        net = self.net
        top = net.check_layer(to or net.layer_names[-1])
        x = check_images(net, images)
        activations, switches = {}, {}
        with evaluating(net):
            for name, step in net.steps(to=top):
                if isinstance(step, SwitchMaxPool2d):
                    x, switches[name] = step.with_switches(x)
                else:
                    x = step(x)
                activations[name] = x
        return Recording(top, activations, switches)

    def project(
        self,
        images: Tensor | Recording,
        layer: str,
        feature_map: int | Sequence[int] | Tensor,
        where: str | tuple[int, int] | Tensor = "max",
    ) -> Projection:
        """Project one activation a picture down to the pixels.

        Parameters
        ----------
        images : Tensor (N, 3, H, W) or (3, H, W), or Recording
            A `Recording` of an earlier pass saves the way up.
        layer : str
            One of ``net.layer_names``, the fully connected ones too.
        feature_map : int, or M ints
            One map for every picture; or one a picture; or, for a single picture, many maps.
        where : "max", "map", (row, column), or Tensor (M, 2)
            The map's strongest activation, all of the map, or the activation at a position.

        Returns
        -------
        Projection
            M = max(N, number of maps).

        Raises
        ------
        UnknownName
            For an unknown layer.
        BadInput
            For images of a wrong shape, type or device, or with NaN; for a map or a position that
            the layer does not have.
        """
        net = self.net
        net.check_layer(layer)
        recording = images if isinstance(images, Recording) else self.record(images, to=layer)
        if layer not in recording.activations:
            raise BadInput(
                f"The recording goes up to {recording.top} only; record(images, to={layer!r})."
            )
        maps = recording.activations[layer]
        maps = maps[:, :, None, None] if maps.ndim == 2 else maps  # (N, C, H, W)
        image, channel = self._pairs(len(maps), maps.shape[1], layer, feature_map, maps.device)
        with evaluating(net):
            chosen = maps[image, channel]  # (M, H, W)
            position = self._positions(chosen, layer, where)
            activation = chosen[torch.arange(len(chosen)), position[:, 0], position[:, 1]]
            if isinstance(where, str) and where == "map":
                seed, start = chosen, torch.zeros_like(position)
                box = torch.tensor([0, 0, net.input_size, net.input_size]).repeat(len(chosen), 1)
            else:
                seed, start = activation[:, None, None], position
                box = receptive_boxes(net, layer, position)
                if self.collisions != "sum":  # neighbours outside the window can win a switch
                    seed = torch.zeros_like(chosen)
                    seed[torch.arange(len(chosen)), position[:, 0], position[:, 1]] = activation
                    start = torch.zeros_like(position)
            signal = seed.new_zeros(len(seed), maps.shape[1], *seed.shape[1:])  # (M, C, h, w)
            signal[torch.arange(len(seed)), channel] = seed
            window = self._down(Window(signal, start), recording, image, layer)
            pixels = paste(window, net.input_size)
        # Ordinary tensors, not inference tensors: people compute with what they get.
        return Projection(pixels.clone(), activation.clone(), position.clone(), box.clone())

    def _pairs(
        self, pictures: int, maps: int, layer: str, feature_map, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Indices (M,) of picture and map for each projection; a single one is repeated."""
        try:
            channel = torch.as_tensor(feature_map, device=device).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            channel = torch.tensor([0.5])
        if channel.is_floating_point() or channel.is_complex() or channel.dtype == torch.bool:
            raise BadInput(f"feature_map must be whole numbers, not {feature_map!r}.")
        if not len(channel) or not 0 <= int(channel.min()) <= int(channel.max()) < maps:
            raise BadInput(
                f"Feature map {feature_map!r} is not in {layer}; it has maps 0 to {maps - 1}."
            )
        if pictures > 1 and len(channel) not in (1, pictures):
            raise BadInput(
                f"{len(channel)} feature maps do not pair with {pictures} pictures; give one map, "
                f"{pictures} maps, or a single picture."
            )
        count = max(pictures, len(channel))
        image = torch.arange(pictures, device=device)
        return image.expand(count), channel.long().expand(count)

    def _positions(self, chosen: Tensor, layer: str, where) -> Tensor:
        """Rows and columns (M, 2) of the activations to project, in maps `chosen` (M, H, W)."""
        m, H, W = chosen.shape
        if isinstance(where, str):
            if where not in ("max", "map"):
                raise UnknownName.of("place", where, ("max", "map", "a (row, column)"))
            flat = chosen.flatten(1).argmax(1)
            return torch.stack((flat // W, flat % W), dim=1)
        try:
            position = torch.as_tensor(where, device=chosen.device)
            whole = not position.is_floating_point() and position.dtype != torch.bool
            fits = tuple(position.shape) in ((2,), (m, 2))
            position = position.expand(m, 2) if whole and fits else None
        except (TypeError, ValueError, RuntimeError):
            position = None
        if position is None:
            raise BadInput(f"where must be 'max', 'map', (row, column) or {m} of them.")
        limit = torch.tensor([H, W], device=chosen.device)
        if not ((position >= 0) & (position < limit)).all():
            raise BadInput(f"Position {where!r} is outside the {H} x {W} maps of {layer}.")
        return position.long()

    def _down(self, window: Window, recording: Recording, image: Tensor, layer: str) -> Window:
        """Carry a window of `layer` down to the pixels."""
        net = self.net
        # Pairs of (layer, step) from the top down, each with the layer whose output is its input.
        steps = list(net.steps(to=layer))
        names = [None, *net.layer_names]  # names[i] is the layer below net.layer_names[i]
        below = dict(zip(net.layer_names, names, strict=False))
        for name, step in reversed(steps):
            shape_below = net.shapes.get(below[name], (3, net.input_size, net.input_size))
            if isinstance(step, nn.ReLU):
                window = self._rectify(window, recording.activations[name], image)
            elif isinstance(step, SwitchMaxPool2d):
                switches = recording.switches[name]
                window = unpool_window(
                    window, step, switches, image, shape_below[1:], self.collisions
                )
            elif isinstance(step, nn.Conv2d):
                window = filter_window(window, step, shape_below[1:])
            elif isinstance(step, nn.Linear):
                signal = window.signal.flatten(1) @ step.weight  # (M, units below)
                window = whole(signal[:, :, None, None])
            elif isinstance(step, nn.Flatten) and len(shape_below) == 3:
                window = whole(window.signal.reshape(-1, *shape_below))
            elif isinstance(step, ContrastNorm) and self.rule != "deconvnet":
                x = cut(recording.activations[below[name]], image, window)
                window = Window(step.pull_back(x, window.signal), window.start)
        return window

    def _rectify(self, window: Window, activations: Tensor, image: Tensor) -> Window:
        signal = window.signal
        if self.rule in ("deconvnet", "guided"):
            signal = signal.relu()
        if self.rule in ("gradient", "guided"):
            maps = activations[:, :, None, None] if activations.ndim == 2 else activations
            signal = signal * (cut(maps, image, window) > 0)
        return Window(signal, window.start)


def check_steps(net: Network) -> None:
    """Refuse a network with a step that the way down does not know."""
    for layer, step in net.steps():
        if isinstance(step, nn.BatchNorm1d | nn.BatchNorm2d):
            raise CannotInvert(
                f"{layer} of {net.name} holds batch normalisation; fold it into the filters first: "
                "zfnb.adopt.fold_batch_norm(net) gives the plain network with the same outputs."
            )
        if not isinstance(step, PASSED):
            raise CannotInvert(
                f"{layer} of {net.name} holds a {type(step).__name__}, which a deconvnet cannot "
                "pass; build the network without it."
            )


def whole(signal: Tensor) -> Window:
    """A window that is the whole map."""
    return Window(signal, torch.zeros(len(signal), 2, dtype=torch.long, device=signal.device))


def cut(maps: Tensor, image: Tensor, window: Window) -> Tensor:
    """The windows' pieces (M, C, h, w) of recorded maps (N, C, H, W)."""
    h, w = window.signal.shape[2:]
    if (h, w) == tuple(maps.shape[2:]):
        return maps[image]
    pieces = [
        maps[n, :, top : top + h, left : left + w]
        for n, (top, left) in zip(image.tolist(), window.start.tolist(), strict=True)
    ]
    return torch.stack(pieces)


def unpool_window(
    window: Window,
    pool: SwitchMaxPool2d,
    switches: Tensor,
    image: Tensor,
    size: tuple[int, int],
    collisions: str,
) -> Window:
    """`zfnb.layers.unpool` on windows: (M, C, h, w) to the window that their switches reach.

    `switches` are those of the whole maps (N, C, ., .), and `size` is (H, W) of the map that was
    pooled.
    """
    m, c = window.signal.shape[:2]
    start, reach = window_below(window, pool, size)
    places = cut(switches, image, window)
    rows = places // size[1] - start[:, 0, None, None, None]
    columns = places % size[1] - start[:, 1, None, None, None]
    local = rows * reach[1] + columns  # the switch, counted inside the window
    signal = scatter_by_switch(
        window.signal.flatten(2), local.flatten(2), reach[0] * reach[1], collisions
    )
    return Window(signal.reshape(m, c, *reach), start)


def filter_window(window: Window, conv: nn.Conv2d, size: tuple[int, int]) -> Window:
    """The transposed filters on windows: (M, C, h, w) to (M, C below, h', w').

    The transposed convolution is the adjoint already; flipping the filters as well, as many copies
    of this method do, undoes it.
    """
    start, reach = window_below(window, conv, size)
    signal = transposed(window.signal, conv)
    for axis in (0, 1):
        _, stride, padding = geometry(conv, axis)
        # What fell on padding is no pixel and is dropped; the window moves inside the map.
        shift = start[:, axis] - (window.start[:, axis] * stride - padding)
        signal = shifted(signal, shift, reach[axis], axis + 2)
    return Window(signal, start)


def transposed(signal: Tensor, conv: nn.Conv2d) -> Tensor:
    """The transposed convolution (M, C, h, w) to (M, C below, h', w'), nothing cut off."""
    weight, (kernel, stride) = conv.weight, (conv.kernel_size[0], conv.stride[0])
    plain = conv.groups == 1 and conv.dilation == (1, 1)
    square = len(set(conv.kernel_size)) == len(set(conv.stride)) == 1
    if not (plain and square and stride > 1 and conv.in_channels <= 4):
        return F.conv_transpose2d(
            signal, weight, stride=conv.stride, groups=conv.groups, dilation=conv.dilation
        )
    # Layer 1 makes three channels with a stride: few channels of many pixels, which the library
    # does slowly. The pixels of each phase (row % stride, column % stride) depend on every
    # stride-th tap of the filters only. So take the phases as stride^2 channels of a convolution
    # without stride, and interleave them: the same sums, three times faster.
    maps, below = weight.shape[:2]
    taps = -(-kernel // stride)  # taps a phase, rounded up; the surplus ones are zero
    surplus = taps * stride - kernel
    phases = F.pad(weight, (0, surplus, 0, surplus))
    phases = phases.reshape(maps, below, taps, stride, taps, stride).permute(0, 1, 3, 5, 2, 4)
    phases = phases.reshape(maps, below * stride**2, taps, taps)
    pixels = F.pixel_shuffle(F.conv_transpose2d(signal, phases), stride)
    height, width = ((side - 1) * stride + kernel for side in signal.shape[2:])
    return pixels[:, :, :height, :width]


def window_below(window: Window, step: nn.Module, size: tuple[int, int]) -> tuple[Tensor, tuple]:
    """Start (M, 2) and size (h', w') of the window that a window reaches in the map below.

    It is as large as the receptive field of the window and moved inside the map at the borders, so
    it always holds the whole field, and all windows of a batch have the same size.
    """
    starts, reach = [], []
    for axis in (0, 1):
        kernel, stride, padding = geometry(step, axis)
        length = (window.signal.shape[axis + 2] - 1) * stride + kernel
        length = min(length, size[axis])
        first = window.start[:, axis] * stride - padding
        starts.append(first.clamp(0, size[axis] - length))
        reach.append(length)
    return torch.stack(starts, dim=1), tuple(reach)


def shifted(signal: Tensor, shift: Tensor, length: int, axis: int) -> Tensor:
    """`length` positions from `shift` (M,) on along an axis of (M, C, h, w); zero past the end."""
    steps = shift.tolist()
    have = signal.shape[axis]
    if len(set(steps)) == 1 and 0 <= steps[0] <= have - length:
        return signal.narrow(axis, steps[0], length)
    shape = list(signal.shape)
    shape[axis] = length
    out = signal.new_zeros(shape)
    for one, (target, step) in enumerate(zip(out, steps, strict=True)):
        first, last = max(step, 0), min(step + length, have)
        if first < last:
            piece = signal[one].narrow(axis - 1, first, last - first)
            target.narrow(axis - 1, first - step, last - first).copy_(piece)
    return out


def paste(window: Window, size: int) -> Tensor:
    """Windows (M, 3, h, w) in otherwise empty pictures (M, 3, `size`, `size`)."""
    h, w = window.signal.shape[2:]
    if (h, w) == (size, size):
        return window.signal
    pixels = window.signal.new_zeros(len(window.signal), 3, size, size)
    for picture, piece, (top, left) in zip(
        pixels, window.signal, window.start.tolist(), strict=True
    ):
        picture[:, top : top + h, left : left + w] = piece
    return pixels
