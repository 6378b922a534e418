"""A panel to place masks by hand and see how consistently they change features (Sec. 4.3)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from ipywidgets import Dropdown, IntSlider
from matplotlib.figure import Figure
from torch import Tensor

from zfnb import plots_correspondence
from zfnb.correspondences import ZEROS, changes, masked, mean_and_spread, sign_change
from zfnb.errors import BadInput, UnknownName
from zfnb.face_marks import Framed
from zfnb.models import Network
from zfnb.permutation import mean_of_known
from zfnb.plots_correspondence import short
from zfnb.random_masks import box_masks, random_boxes
from zfnb.widgets import Panel

KEPT = 256  # signs of masked pictures that are remembered, 43 kB each at AlexNet's layer 5


class MaskPanel(Panel):
    """Fig. 8 with masks of one's own, against random masks of the same size.

    A part is chosen in the menu, and its mask is on every picture. Then each picture's mask can be
    moved, and all of them made smaller or larger.

    Parameters
    ----------
    net : Network
    faces : Framed
        From `zfnb.face_marks.framed`, a handful.
    layers : sequence of str, optional
        By default "conv5" and "fc7", as far as the network has them.
    part : str, optional
        Where to start; by default the first.
    draws : int
        Sets of random masks.
    seed : int

    Raises
    ------
    UnknownName, BadInput
        No such layer or part; fewer than two faces.
    """

    def __init__(
        self,
        net: Network,
        faces: Framed,
        layers: tuple[str, ...] | None = None,
        part: str | None = None,
        draws: int = 5,
        seed: int = 0,
    ):
        if len(faces.images) < 2:
            raise BadInput("Correspondence compares pictures: give at least two faces.")
        if layers is None:
            layers = [layer for layer in ("conv5", "fc7") if layer in net.layer_names]
        layers = [net.check_layer(layer) for layer in layers]
        part = part or next(iter(faces.boxes))
        if part not in faces.boxes:
            raise UnknownName.of("part", part, faces.boxes)
        self.net, self.faces, self.draws, self.seed = net, faces, draws, seed
        self.centres: np.ndarray = centres(faces.boxes[part])  # (N, 2), moved by the sliders
        self._signs = lru_cache(KEPT)(self._compute_signs)
        self._chance = lru_cache(32)(self._compute_chance)
        last = net.input_size - 1
        row, column = (int(value) for value in self.centres[0])
        controls = {
            "part": menu(list(faces.boxes), part, "Part", "Put all masks on this part"),
            "layer": menu(layers, layers[0], "Layer", "A layer of the network"),
            "zero": menu(list(ZEROS), "own", "Zero", "What the sign of zero is"),
            "picture": menu(
                [(short(name), n) for n, name in enumerate(faces.names)],
                0,
                "Picture",
                "Whose mask the sliders move",
            ),
            "row": slider(row, 0, last, "Row", "Middle of the mask, from the top"),
            "column": slider(column, 0, last, "Column", "Middle of the mask, from the left"),
            "size": slider(100, 40, 250, "Size in %", "Of the part's own size, all pictures"),
        }
        for name, control in controls.items():
            control.add_class(f"zfnb-mask-{name}")
        controls["part"].observe(self._to_part, names="value")
        controls["picture"].observe(self._to_picture, names="value")
        for name in ("row", "column"):
            controls[name].observe(self._move, names="value")
        super().__init__(
            controls,
            self._figure,
            "Pictures with a mask each, and the sign change of the features by these masks and by "
            "random ones",
        )

    # What the controls do to the masks. Panel draws after the one that was touched.

    def _to_part(self, change) -> None:
        self.centres = centres(self.faces.boxes[change["new"]])
        self._show_centre()

    def _to_picture(self, _) -> None:
        self._show_centre()

    def _show_centre(self) -> None:
        """Let the sliders show where the chosen picture's mask is, without drawing for each."""
        waiting, self._waiting = self._waiting, True
        self._moving = True
        try:
            row, column = self.centres[self.controls["picture"].value]
            self.controls["row"].value, self.controls["column"].value = int(row), int(column)
        finally:
            self._waiting, self._moving = waiting, False

    _moving = False  # the sliders follow a mask, and are not moved by hand

    def _move(self, _) -> None:
        if not self._moving:
            place = [self.controls[name].value for name in ("row", "column")]
            self.centres[self.controls["picture"].value] = place

    def sides(self) -> np.ndarray:
        """Heights and widths (N, 2) of the masks, whole."""
        part = self.faces.boxes[self.controls["part"].value]
        factor = self.controls["size"].value / 100
        return np.maximum(np.rint(factor * (part[:, 2:] - part[:, :2])).astype(int), 1)

    def boxes(self) -> np.ndarray:
        """The masks as they are, (N, 4); cut off at the border."""
        sides = self.sides()
        start = self.centres - sides // 2
        limit = self.net.input_size
        return np.concatenate((start.clip(0), (start + sides).clip(max=limit)), axis=1)

    # What is measured. Only the picture whose mask was moved runs up the network again.

    def _compute_signs(self, picture: int, box: tuple[int, ...], layer: str) -> Tensor:
        masks = box_masks(np.array([box]), self.net.input_size)
        images = self.faces.images[picture : picture + 1]
        return changes(self.net, images, masks, [layer])[layer][0]

    def _compute_chance(self, sizes: tuple[tuple[int, int], ...], layer: str) -> Tensor:
        """Signs (draws, N, D) of random masks."""
        like = np.array([(0, 0, height, width) for height, width in sizes])
        boxes = random_boxes(
            like,
            self.faces.all_parts,
            self.net.input_size,
            draws=self.draws,
            within=self.faces.face,
            seed=self.seed,
        )
        masks = box_masks(boxes, self.net.input_size)
        return changes(self.net, self.faces.images, masks, [layer])[layer]

    def values(self) -> dict[str, float]:
        """The numbers that are shown: of these masks, and of random ones."""
        layer, zero = self.controls["layer"].value, self.controls["zero"].value
        boxes = self.boxes()
        own = torch.stack(
            [self._signs(n, tuple(map(int, box)), layer) for n, box in enumerate(boxes)]
        )
        sizes = tuple((int(height), int(width)) for height, width in self.sides())
        random = [
            mean_and_spread(sign_change(signs, zero))[0] for signs in self._chance(sizes, layer)
        ]
        return {
            "these masks": mean_and_spread(sign_change(own, zero))[0],
            "random masks": float(mean_of_known(np.array(random))),
        }

    def _figure(self) -> Figure:
        boxes = self.boxes()
        images = masked(self.faces.images, box_masks(boxes, self.net.input_size), self.net)
        return plots_correspondence.own_masks(
            images,
            boxes,
            self.controls["picture"].value,
            self.net,
            self.values(),
            f"{self.net.name}, {self.controls['layer'].value}: sign change of the features",
        )


def centres(boxes: np.ndarray) -> np.ndarray:
    """Middles (N, 2) of boxes (N, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) // 2


def menu(options: list, value, description: str, tooltip: str) -> Dropdown:
    return Dropdown(options=options, value=value, description=description, tooltip=tooltip)


def slider(value: int, low: int, high: int, description: str, tooltip: str) -> IntSlider:
    return IntSlider(
        value, low, high, description=description, tooltip=tooltip, continuous_update=False
    )
