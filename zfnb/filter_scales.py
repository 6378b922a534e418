"""How large filters and signals are while a network trains (Sec. 3.1, Fig. 6a).

Two questions. How large is the signal in each layer at the start, before anything was learned? And
what does feature scale clipping do: a run with it and the same run without, layer 1 watched at
every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from zfnb.activations import inputs
from zfnb.errors import BadInput
from zfnb.models import Network, build, describe_variant, evaluating, imagenet_preprocessing
from zfnb.recipes import PAPER_RMS, Recipe, filter_rms, filters, input_ratio, start
from zfnb.training import Run, Settings, train


@dataclass(frozen=True)
class Watched:
    """A run, with layer 1 watched.

    Attributes
    ----------
    rms : array (steps, maps)
        Root mean square of each filter of layer 1 after every step.
    above : array (steps,)
        The largest of the layers above, which are clipped too, at `PAPER_RMS`.
    filters : Tensor (maps, 3, h, w)
        Layer 1 at the end; of a run that diverged, when it was last finite.
    losses : array (steps,)
    radius : float
        Of clipping in layer 1, in the units of this run's inputs.
    diverged : bool
        Whether the loss became infinite, and the run stopped.
    """

    rms: np.ndarray
    above: np.ndarray
    filters: Tensor
    losses: np.ndarray
    radius: float
    diverged: bool

    @property
    def share(self) -> np.ndarray:
        """Share of the largest filter in the squares of all, after every step: (steps,) in (0, 1].

        1 / maps if all filters are alike, 1 if there is only one to speak of. NaN once the run has
        diverged.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            squares = self.rms.astype(float) ** 2
            return squares.max(1) / squares.sum(1)

    @property
    def final_share(self) -> float:
        """`share` at the end; of a run that diverged, when it was last finite."""
        finite = self.share[np.isfinite(self.share)]
        return float(finite[-1]) if len(finite) else np.nan

    @property
    def first_out(self) -> int | None:
        """The first step (from 1) after which a filter of any layer is at its radius or beyond."""
        near = 1 - 1e-5  # a clipped filter may round to just below it
        out = (self.rms >= near * self.radius).any(1) | (self.above >= near * PAPER_RMS)
        return int(out.argmax()) + 1 if out.any() else None


def watch(settings: Settings, train_set: Dataset, folder: str | Path, **options) -> Watched:
    """Train, and keep the size of layer 1's filters after every step.

    A run that diverges is a finding here, and no error.

    Parameters
    ----------
    settings : Settings
    train_set : Dataset
    folder : path
        Of the run.
    **options
        For `zfnb.training.train`.
    """
    sizes: list[np.ndarray] = []
    above: list[float] = []
    seen: dict = {}

    def on_step(run: Run) -> None:
        (_, first), *others = filters(run.net)
        weight = first.weight.detach().cpu()
        sizes.append(filter_rms(weight).cpu().numpy())
        above.append(max((filter_rms(m.weight).max().item() for _, m in others), default=0.0))
        seen["run"] = run
        if "filters" not in seen or np.isfinite(sizes[-1]).all():
            seen["filters"] = weight.clone()

    diverged = False
    try:
        train(settings, train_set, None, folder, on_step=on_step, **options)
    except BadInput:
        if "run" not in seen or not has_diverged(seen["run"]):
            raise  # something else was wrong
        diverged = True
        if len(sizes) < len(seen["run"].losses):  # it was stopped between its last step and us
            on_step(seen["run"])
    run: Run = seen["run"]
    return Watched(
        rms=np.stack(sizes),
        above=np.array(above),
        filters=seen["filters"],
        losses=np.array(run.losses),
        radius=PAPER_RMS * input_ratio(run.net.preprocessing.std),
        diverged=diverged,
    )


def has_diverged(run: Run) -> bool:
    """Whether the loss is infinite, or a weight too large for a file (float16)."""
    losses = run.losses[-1:]
    fits = all(p.detach().half().isfinite().all() for p in run.net.parameters())
    return not (np.isfinite(losses).all() and fits)


def with_and_without_clipping(
    settings: Settings, train_set: Dataset, folder: str | Path, **options
) -> dict[str, Watched]:
    """The same run twice: same start, same pictures in the same order, clipped or not (Fig. 6a).

    Returns
    -------
    dict
        "with clipping" and "without clipping". They are one run until a filter first passes the
        radius.
    """
    found = {}
    for name, clip in (("with clipping", True), ("without clipping", False)):
        chosen = replace(settings, recipe=replace(settings.recipe, clip=clip))
        found[name] = watch(chosen, train_set, Path(folder) / name.replace(" ", "-"), **options)
    return found


def signal_sizes(net: Network, images: Tensor) -> dict[str, float]:
    """Standard deviation of what the filters of each layer put out, before its ReLU.

    Parameters
    ----------
    net : Network
    images : Tensor (N, 3, H, W)
    """
    sizes, hooks = {}, []

    def note(name: str):
        return lambda _, __, output: sizes.update({name: output.std().item()})

    try:
        for name, step in net.steps():
            if isinstance(step, nn.Conv2d | nn.Linear):
                hooks.append(step.register_forward_hook(note(name)))
        with evaluating(net):
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def sizes_at_start(
    settings: Settings, dataset: Dataset, items: Sequence[int], recipes: dict[str, Recipe | float]
) -> dict[str, dict[str, float]]:
    """How large the signals are in each layer under several random starts.

    Parameters
    ----------
    settings : Settings
        Network, width and input.
    dataset : Dataset
    items : ints
        Pictures to run up the network.
    recipes : {name: Recipe or float}
        A recipe, whose random start is used; or a number, the standard deviation of all weights,
        whatever the size of their layer.

    Returns
    -------
    dict {name: {layer: standard deviation}}
    """
    description = describe_variant(settings.network, **settings.variant())
    found = {}
    for name, recipe in recipes.items():
        preprocessing = imagenet_preprocessing(settings.input_size)
        std = settings.recipe.std if isinstance(recipe, float) else recipe.std
        if std is not None:
            preprocessing = replace(preprocessing, std=std)
        torch.manual_seed(settings.seed)
        net = build(description, len(dataset.classes), preprocessing=preprocessing)
        if isinstance(recipe, float):
            for module in net.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.normal_(module.weight, std=recipe)
        else:
            start(net, replace(recipe, batch_norm=False))
        found[name] = signal_sizes(net, inputs(net, dataset, items))
    return found
