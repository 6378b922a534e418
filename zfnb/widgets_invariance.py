"""A panel to transform a picture and watch its features move (Sec. 4, Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from ipywidgets import Dropdown, SelectionSlider
from matplotlib.figure import Figure
from torch import Tensor

from zfnb import plots_invariance
from zfnb.errors import BadInput
from zfnb.invariance import InvarianceCurves, invariance_curves, moved
from zfnb.models import Network
from zfnb.movable import Movable
from zfnb.transformations import TRANSFORMATIONS
from zfnb.widgets import Panel

WHOLE, ALONE = "the whole picture", "the object alone"


class InvariancePanel(Panel):
    """Fig. 5 for one picture: choose a transformation and its value, and see what it does.

    The curves of a picture are computed when it is first asked for, and kept.

    Parameters
    ----------
    net : Network
    pictures : dict {name: Tensor (3, H, W) or Movable of one picture}
        If all are `Movable`, one can choose whether the whole picture moves or the object alone.
    targets : dict {name: int}, optional
        True classes, for the probability.
    layers : names
        "pixels" is the input itself.
    count : int
        Values of a transformation, an odd number; a rotation has 36.
    fill : {"edge", "reflect", "mean"}
        What enters at the border of a whole picture.

    Raises
    ------
    UnknownName, BadInput
        For an unknown layer or fill, or if there is no picture.
    """

    def __init__(
        self,
        net: Network,
        pictures: Mapping[str, Tensor | Movable],
        targets: Mapping[str, int] | None = None,
        layers: Sequence[str] = ("conv1", "fc7"),
        count: int = 25,
        fill: str = "edge",
    ):
        if not pictures:
            raise BadInput("There is no picture to transform; give at least one.")
        if targets is not None and set(pictures) - set(targets):
            missing = ", ".join(sorted(set(pictures) - set(targets)))
            raise BadInput(f"There is no target for {missing}; give one for each picture.")
        movables = all(isinstance(picture, Movable) for picture in pictures.values())
        values = {
            name: one.values(net.input_size, 36 if one.turns else count)
            for name, one in TRANSFORMATIONS.items()
        }

        def labels(name: str) -> list[tuple[str, int]]:
            one = TRANSFORMATIONS[name]
            return [(plots_invariance.amount(one, v), k) for k, v in enumerate(values[name])]

        def identity(name: str) -> int:
            return int(abs(values[name] - TRANSFORMATIONS[name].identity).argmin())

        picture = Dropdown(options=list(pictures), description="Picture", tooltip="What is moved")
        kind = Dropdown(
            options=[(one.name, name) for name, one in TRANSFORMATIONS.items()],
            description="Transform",
            tooltip="How it is moved",
        )
        moves = Dropdown(
            options=[WHOLE, ALONE] if movables else [WHOLE],
            description="Moves",
            tooltip="The object alone moves before a background that stays",
        )
        value = SelectionSlider(
            options=labels(kind.value),
            index=identity(kind.value),
            description="Value",
            tooltip="By how much",
            continuous_update=False,
        )
        for widget, name in ((picture, "picture-menu"), (kind, "transform"), (moves, "moves")):
            widget.add_class(f"zfnb-{name}")
        value.add_class("zfnb-value")

        def follow(change) -> None:
            with self.once():  # the slider's options, then its place: one picture
                value.options = labels(change["new"])
                value.index = identity(change["new"])

        kind.observe(follow, names="value")

        def still(name: str, alone: bool) -> Tensor | Movable:
            one = pictures[name]
            if isinstance(one, Movable):
                return one if alone else one.images
            return one[None] if one.ndim == 3 else one

        @lru_cache(64)
        def curves(name: str, transform: str, alone: bool) -> InvarianceCurves:
            target = None if targets is None else [targets[name]]
            wanted = values[transform]
            return invariance_curves(
                net, still(name, alone), target, transform, wanted, layers, fill=fill
            )

        def draw() -> Figure:
            name, transform, alone = picture.value, kind.value, moves.value == ALONE
            at = float(values[transform][value.value])
            image = moved(still(name, alone), transform, [at], fill)[0, 0]
            return plots_invariance.one_picture(
                image, curves(name, transform, alone), at, net, name
            )

        super().__init__(
            {"picture": picture, "transform": kind, "moves": moves, "value": value},
            draw,
            "A transformed picture, the distances of its features at each layer, and the "
            "probability of its true label",
        )
