"""A network in numbers: shapes, receptive fields, parameters, multiply-adds (Sec. 3, Fig. 3).

Everything here is arithmetic on the description of a network. No weight is looked at, so the
networks may live on PyTorch's "meta" device, which keeps shapes and no numbers: see `outline`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

import torch
from torch import nn

from zfnb.layers import ContrastNorm
from zfnb.models import Network, build, count_parameters, describe_variant
from zfnb.paths import embedded
from zfnb.receptive import geometry, output_size, receptive_field


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network.

    Attributes
    ----------
    layer : str
        Its name, e.g. "conv1".
    operation : str
        What it does, in words.
    maps : int
        Feature maps, or units of a fully connected layer.
    side : int
        Height and width of a map; 1 for a fully connected layer.
    field : int
        Side of the receptive field in pixels, before it is cut off at the picture's border.
    jump : int
        Pixels between the receptive fields of neighbouring units; 0 in a fully connected layer.
    parameters : int
        Weights and biases.
    multiply_adds : int
        Products that are summed, for one picture. Taps that fall on padding are counted.
    """

    layer: str
    operation: str
    maps: int
    side: int
    field: int
    jump: int
    parameters: int
    multiply_adds: int


def outline(name: str, num_classes: int = 1000, **variant) -> Network:
    """A network's shapes without its weights: made at once, whatever its size.

    Parameters
    ----------
    name : str
        One of `zfnb.models.NETWORKS`.
    num_classes : int
    **variant
        As for `zfnb.load_model`: `input_size`, `norm`, `pools`, `width`, `batch_norm`.

    Returns
    -------
    Network
        On PyTorch's "meta" device: it can be counted and drawn, not run.

    Raises
    ------
    UnknownName, BadInput
        As `zfnb.load_model`.
    """
    description = describe_variant(name, **variant)
    with torch.device("meta"):
        return build(description, num_classes)


def layer_table(net: Network) -> list[LayerRow]:
    """One row a layer, in order; see `LayerRow`."""
    rows = []
    for name in net.layer_names:
        layer, shape = getattr(net, name), net.shapes[name]
        steps = list(layer) if isinstance(layer, nn.Sequential) else [layer]
        field, jump, _ = receptive_field(net, name)
        rows.append(
            LayerRow(
                layer=name,
                operation=", ".join(text for step in steps if (text := operation(step))),
                maps=shape[0],
                side=shape[1] if len(shape) == 3 else 1,
                field=field,
                jump=jump,
                parameters=sum(p.numel() for p in layer.parameters()),
                multiply_adds=sum(multiply_adds(step, shape) for step in steps),
            )
        )
    return rows


def operation(step: nn.Module) -> str:
    """An elementary module in words; nothing for one that only reshapes."""
    if isinstance(step, nn.Conv2d):
        (kernel, stride, padding) = geometry(step)
        text = f"{step.out_channels} filters {kernel} x {kernel}, stride {stride}"
        return text + (f", padding {padding}" if padding else "")
    if isinstance(step, nn.MaxPool2d):
        (kernel, stride, padding) = geometry(step)
        edge = f", padding {padding}" if padding else ", ceil" if step.ceil_mode else ""
        return f"max pool {kernel} x {kernel}, stride {stride}{edge}"
    if isinstance(step, nn.Linear):
        return f"{step.in_features} -> {step.out_features} units"
    if isinstance(step, ContrastNorm):
        return f"contrast normalisation over {step.size} maps"
    if isinstance(step, nn.Dropout):
        return f"dropout {step.p}"
    return {nn.ReLU: "ReLU", nn.BatchNorm2d: "batch normalisation"}.get(type(step), "")


def multiply_adds(step: nn.Module, shape: tuple[int, ...]) -> int:
    """Products summed by filters or a linear map whose layer puts out `shape`; 0 for the rest."""
    if isinstance(step, nn.Conv2d):
        taps = step.weight[0].numel()  # C below x kernel x kernel
        return taps * int(torch.Size(shape).numel())
    if isinstance(step, nn.Linear):
        return step.weight.numel()
    return 0


def totals(net: Network) -> dict[str, int]:
    """{"parameters", "multiply_adds", "convolution parameters", "convolution multiply_adds"}."""
    rows = layer_table(net)
    maps = [row for row in rows if row.layer.startswith("conv")]
    return {
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "convolution parameters": sum(row.parameters for row in maps),
        "convolution multiply_adds": sum(row.multiply_adds for row in maps),
    }


def map_sides(net: Network) -> list[int]:
    """Sides of the maps after each convolution and pool, e.g. 110, 55, 26, 13, 13, 13, 13, 6."""
    rows = layer_table(net)
    return [row.side for row in rows if row.layer.startswith(("conv", "pool"))]


def in_short(net: Network) -> dict[str, str | int]:
    """A network on one line: name, first layer, sides of its maps, what conv5 sees, its totals."""
    rows = {row.layer: row for row in layer_table(net)}
    return {
        "network": net.name,
        "layer 1": rows["conv1"].operation,
        "sides of the maps": ", ".join(map(str, map_sides(net))),
        "conv5 sees": rows["conv5"].field,
        "parameters": totals(net)["parameters"],
        "multiply-adds": totals(net)["multiply_adds"],
    }


def variants() -> list[dict]:
    """The rows of Table 3 with the size of each network.

    Returns
    -------
    list of dict
        network (name for `zfnb.load_model`), change (in words), parameters, and the paper's errors
        on ImageNet 2012 in percent: train_top1, val_top1, val_top5.
    """
    path = embedded("data", "paper", "table3.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            "network": row["network"],
            "change": row["change"],
            "parameters": count_parameters(describe_variant(row["network"])),
            **{name: float(row[name]) for name in ("train_top1", "val_top1", "val_top5")},
        }
        for row in rows
    ]


def pool_windows(size: int, pools: str, kernel: int = 3, stride: int = 2) -> list[tuple[int, int]]:
    """First and last position (inclusive) of every pooling window along one side.

    Positions below 0 and from `size` on are outside the map.

    Parameters
    ----------
    size : int
        Side of the map that is pooled.
    pools : {"ceil", "pad", "floor"}
        As in `zfnb.models.Description`.
    """
    padding = int(pools == "pad")
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=pools == "ceil")
    starts = [at * stride - padding for at in range(output_size(pool, size))]
    return [(start, start + kernel - 1) for start in starts]
