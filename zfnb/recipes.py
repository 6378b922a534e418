"""Two recipes to train with: the paper's (Sec. 3.1), and one of today.

A recipe is a table of numbers; what turns them into a step is here too: the random start, feature
scale clipping, and the two schedules of the learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from zfnb.batches import Augmentation
from zfnb.errors import UnknownName
from zfnb.models import NETWORKS, Network, build, initialise

PAPER_RMS = 0.1  # Sec. 3.1, for inputs in about [-128, 128]
PAPER_SCALE = 0.01  # Sec. 3.1: of all weights at the start
SCHEDULES = ("plateau", "cosine", "trapezoid")
STARTS = ("paper", "he")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    name : str
    batch, epochs, lr, momentum, weight_decay : numbers
        Of stochastic gradient descent. Weight decay acts on filters and matrices only.
    nesterov : bool
        Nesterov's form of the momentum.
    schedule : {"plateau", "cosine", "trapezoid"}
        See `Plateau`, `cosine` and `trapezoid`.
    warm_up : float
        Epochs over which the learning rate rises from 0.
    cool_down : float
        Epochs at the end over which a trapezoid falls to 0.
    start : {"paper", "he"}
        See `start`.
    batch_norm : bool
        Batch normalisation between filters and ReLU while training; folded into the filters on
        export, so that the saved network is the paper's plain graph.
    clip : bool
        Feature scale clipping, see `clip_filters`.
    smoothing : float
        Label smoothing.
    dropout : float
        In layers 6 and 7.
    std : tuple of 3 floats, or None
        Units of the input: (1/255, ...) leaves it in about [-128, 128] as in the paper. None: the
        usual ones for ImageNet networks, which bring it to about [-2, 2].
    pixel_mean : bool
        Subtract the training set's mean of each pixel (Sec. 3.1), instead of one of each channel.
    augmentation : Augmentation
    """

    name: str
    batch: int = 128
    epochs: int = 70
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    schedule: str = "plateau"
    warm_up: float = 0.0
    cool_down: float = 0.0
    start: str = "paper"
    batch_norm: bool = False
    clip: bool = True
    smoothing: float = 0.0
    dropout: float = 0.5
    std: tuple[float, float, float] | None = None
    pixel_mean: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for kind, given, valid in (
            ("schedule", self.schedule, SCHEDULES),
            ("start", self.start, STARTS),
        ):
            if given not in valid:
                raise UnknownName.of(kind, given, valid)


RECIPES = {
    "paper": Recipe(
        "paper",
        std=(1 / 255, 1 / 255, 1 / 255),
        pixel_mean=True,
        augmentation=Augmentation("ten", colour=0.0),
    ),
    "modern": Recipe(
        "modern",
        epochs=26,
        lr=0.04,
        weight_decay=5e-4,
        nesterov=True,
        schedule="trapezoid",
        warm_up=0.5,
        cool_down=7.0,
        start="he",
        batch_norm=True,
        clip=False,
        smoothing=0.1,
    ),
}


def lasting(recipe: Recipe, epochs: int) -> Recipe:
    """A recipe over other epochs; its rate falls over at most the second half of them."""
    return replace(recipe, epochs=epochs, cool_down=min(recipe.cool_down, epochs / 2))


def recipe_named(name: str) -> Recipe:
    """A recipe by name, or `UnknownName` with the valid ones."""
    if name not in RECIPES:
        raise UnknownName.of("recipe", name, RECIPES)
    return RECIPES[name]


def start(net: Network, recipe: Recipe) -> None:
    """Random weights for `net`, zero biases.

    "paper": standard deviation 1e-2 (Sec. 3.1) at the paper's sizes. A sum over n inputs grows
    as the root of n, so a network with fewer maps or units starts at a scale larger by the root
    of the ratio; otherwise its signals fade from layer to layer and it does not learn. Inputs
    smaller than the paper's [-128, 128] need larger filters in layer 1, by the ratio.

    "he": He's start, which keeps the size of signals, but 1e-3 in layer 1 under batch
    normalisation. That undoes any scale of the filters, and learning soon drowns so small a start:
    no noise is left in the filters at frequencies that the pictures do not hold. The classifier
    starts at 1e-2, so that the first predictions are nearly even.
    """
    if recipe.start == "he":
        initialise(net)
        classifier = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        nn.init.normal_(classifier.weight, std=PAPER_SCALE)
        if recipe.batch_norm:
            first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
            nn.init.normal_(first.weight, std=1e-3)
        return
    with torch.device("meta"):
        paper = build(NETWORKS[net.name]) if net.name in NETWORKS else net
    sizes = {
        name: module.weight[0].numel()
        for name, module in paper.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    ratio = input_ratio(net.preprocessing.std)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inputs = module.weight[0].numel()
            scale = PAPER_SCALE * math.sqrt(sizes.get(name, inputs) / inputs) * ratio
            nn.init.normal_(module.weight, std=scale)
            nn.init.zeros_(module.bias)
            ratio = 1.0  # only layer 1 sees the input


def input_ratio(std) -> float:
    """How many times smaller the inputs are than the paper's, which lie in about [-128, 128]."""
    return 255 * sum(std) / 3


def filters(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """The convolutions of a network, with the names of their layers."""
    return [
        (name.split(".")[0], module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]


def filter_rms(weight: Tensor) -> Tensor:
    """Root mean square of each filter: (maps, C, h, w) to (maps,)."""
    return weight.detach().float().square().mean((1, 2, 3)).sqrt()


@torch.no_grad()
def clip_filters(net: nn.Module, std, radius: float = PAPER_RMS) -> None:
    """Feature scale clipping: bring each filter of too large an RMS back to the radius.

    Sec. 3.1: after each step every filter whose RMS exceeds 0.1 is scaled back to it, which matters
    most in layer 1, whose inputs lie in about [-128, 128]. A filter of layer 1
    on inputs k times smaller has to be k times larger to do the same, and so has its radius;
    otherwise clipping would never bind, or always.

    Parameters
    ----------
    net : nn.Module
        Changed in place.
    std : sequence of 3 floats
        The network's ``preprocessing.std``; it says in what units the input is.
    radius : float
        For inputs in the paper's units.
    """
    limit = radius * input_ratio(std)
    for _, convolution in filters(net):
        rms = filter_rms(convolution.weight)
        too_large = rms > limit * (1 + 1e-6)  # one at the radius may round to just above it
        # By 1 where there is nothing to clip: to ask whether there is would wait for a GPU.
        factor = torch.where(too_large, limit / rms, torch.ones_like(rms))
        convolution.weight.mul_(factor[:, None, None, None])
        limit = radius  # the layers above see activations, whatever the input's units


def cosine(progress: float, warm_up: float) -> float:
    """Factor on the learning rate at `progress` in [0, 1]: up over `warm_up`, then down to 0."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / max(1 - warm_up, 1e-9)))


def trapezoid(done: float, epochs: float, warm_up: float, cool_down: float) -> float:
    """Factor on the learning rate after `done` epochs: up, level, then straight down to 0.

    All that comes before the cool-down is the same whatever the number of epochs. So a long run can
    be finished early, or be made longer, at any time before its cool-down; see `zfnb.branch`.
    """
    up = done / warm_up if warm_up else 1.0
    down = (epochs - done) / cool_down if cool_down else 1.0
    return max(0.0, min(1.0, up, down))


@dataclass
class Plateau:
    """Sec. 3.1: the rate is lowered by hand "when the validation error plateaus". Automated.

    Divide by ten when the error on the held-out pictures has not fallen by 0.2 points below
    its best for three epochs. After the third division the rate stays as it is.
    """

    patience: int = 3
    least: float = 0.2
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0
    divisions: int = 3

    def after_epoch(self, error: float) -> float:
        """Take the epoch's held-out error in percent; return the factor for the next epoch."""
        if error < self.best - self.least:
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.waited >= self.patience and self.divisions > 0:
            self.factor, self.waited, self.divisions = self.factor / 10, 0, self.divisions - 1
        return self.factor
