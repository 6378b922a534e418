"""Fine-tuning: training goes on from weights that were learned on other pictures (Sec. 5.2).

The paper keeps layers 1 to 7 as they are and trains a new softmax on top; fine-tuning lets them
move too. All but the classifier is taken over, and moves at a tenth of the classifier's rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from zfnb.errors import BadInput
from zfnb.models import Description, Network
from zfnb.recipes import Recipe

LR = 0.003  # of the classifier: on unnormalised features a recipe's own rate is ten times too large
LOADED = 0.1  # what was learned elsewhere needs to move little: its part of that rate


def fine_tuning(recipe: Recipe) -> Recipe:
    """The recipe without what belongs to a random start; the rest of it stays.

    Weights files hold the paper's plain graph: a batch normalisation of the training is folded
    into the filters, and cannot be taken out of them again. A new one would undo their scales, so
    there is none. For the same reason filters are not clipped, which would rescale them in the
    first step. And the filters know pictures by the mean and the units that they learned on.
    """
    return replace(recipe, batch_norm=False, clip=False, std=None, pixel_mean=False)


def description_of(net: Network) -> Description:
    """What `net` is, with a classifier: that of a trunk stands right on its layers of maps."""
    return replace(net.description, fc=net.description.fc or {})


def classifier(net: Network) -> str:
    """Name of the layer that gives the classes: the last one."""
    return net.layer_names[-1]


def take_over(net: Network, source: Network) -> None:
    """Give `net` all tensors of `source` but the classifier's, which stays as it is.

    Parameters
    ----------
    net : Network
        With a classifier; changed in place.
    source : Network
        Trained; with or without a classifier.

    Raises
    ------
    BadInput
        If a tensor has no counterpart, or one of another shape.
    """

    def learned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        last = classifier(net) + "."
        return {key: value for key, value in state.items() if not key.startswith(last)}

    own, given = learned(net.state_dict()), learned(source.state_dict())
    for key in {**own, **given}:
        sides = [tuple(part[key].shape) if key in part else None for part in (own, given)]
        if sides[0] != sides[1]:
            need, have = ("none" if side is None else str(side) for side in sides)
            raise BadInput(
                f"{net.name} cannot start from {source}: {key!r} must be {need} but is {have}; "
                "choose weights of this network, at this input size and width."
            )
    net.load_state_dict({**net.state_dict(), **given})
