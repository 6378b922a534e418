"""Section 2.1 once more, slowly: whole maps, autograd, one value at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zfnb.layers import ContrastNorm


def pulled_back(function, x: Tensor, signal: Tensor) -> Tensor:
    """J^T signal, where J is the Jacobian of `function` at `x` (1, ...): autograd's answer."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (result,) = torch.autograd.grad((function(x)[0] * signal).sum(), x)
    return result[0]


def plain_unpool(pooled, switches, size, collisions):
    """One value at a time, in raster order of the windows; `pooled` is (C, h, w)."""
    out = [[0.0] * (size[0] * size[1]) for _ in pooled]
    for c, (values, places) in enumerate(zip(pooled, switches, strict=True)):
        taken = set()
        for value, at in zip(values.flatten().tolist(), places.flatten().tolist(), strict=True):
            if at not in taken or collisions == "last":
                out[c][at] = value
            elif collisions == "sum":
                out[c][at] += value
            else:
                out[c][at] = max(out[c][at], value)
            taken.add(at)
    return torch.tensor(out, dtype=pooled.dtype).reshape(len(pooled), *size)


@torch.no_grad()
def plain_project(net, image, layer, feature_map, where, collisions, rule) -> Tensor:
    """What `Deconvnet.project` must return as pixels (3, H, W), for one picture (3, H, W)."""
    steps = [step for _, step in net.steps(to=layer)]
    seen = [image[None]]  # seen[i] goes into steps[i]
    for step in steps:
        seen.append(step(seen[-1]))
    top = seen[-1][0]
    signal = torch.zeros_like(top)
    if where == "map" or top.ndim == 1:
        signal[feature_map] = top[feature_map]
    else:
        flat = top[feature_map].argmax().item()
        row, column = divmod(flat, top.shape[2]) if where == "max" else where
        signal[feature_map, row, column] = top[feature_map, row, column]
    for step, x, y in zip(reversed(steps), seen[-2::-1], seen[:0:-1], strict=True):
        if isinstance(step, nn.ReLU):
            if rule != "gradient":
                signal = signal.clamp(min=0)
            if rule != "deconvnet":
                signal = signal * (y[0] > 0)
        elif isinstance(step, nn.MaxPool2d):
            _, switches = step.with_switches(x)
            signal = plain_unpool(signal, switches[0], x.shape[2:], collisions)
        elif isinstance(step, nn.Conv2d | nn.Linear):
            signal = pulled_back(step, x, signal)  # the bias has no derivative
        elif isinstance(step, ContrastNorm):
            signal = signal if rule == "deconvnet" else pulled_back(step, x, signal)
        else:
            signal = signal.reshape(x.shape[1:])
    return signal
