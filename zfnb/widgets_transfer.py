"""A panel for Sec. 5.3: a picture, and what each layer finds most like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from ipywidgets import Dropdown, IntSlider
from matplotlib.figure import Figure
from PIL import Image

from zfnb import plots_transfer
from zfnb.data import PictureDataset
from zfnb.errors import BadInput
from zfnb.neighbours import described
from zfnb.widgets import Panel

REMEMBERED = 512  # pictures, 0.2 MB each at 256 pixels


class NeighboursPanel(Panel):
    """Pick a class and a picture of it; see its nearest neighbours, a layer a row.

    Parameters
    ----------
    dataset : PictureDataset
    products : {row label: array (N, N)}
        Dot products at each layer; see `zfnb.transfer.dot_products`.
    groups : (N,) int, optional
        Pictures of its own group are no neighbours of a picture.
    count : int
        Neighbours in a row.

    Raises
    ------
    BadInput
        If there is no layer, or one with another number of pictures.
    """

    def __init__(
        self,
        dataset: PictureDataset,
        products: Mapping[str, np.ndarray],
        groups: Sequence[int] | None = None,
        count: int = 6,
    ) -> None:
        targets = np.asarray(dataset.targets)
        if not products:
            raise BadInput("A panel of neighbours needs the dot products of at least one layer.")
        for name, values in products.items():
            if values.shape != (len(targets),) * 2:
                raise BadInput(
                    f"There are {len(targets)} pictures, but {name} has dot products of shape "
                    f"{values.shape}; make them from the same dataset."
                )
        kinds = [dataset.classes[target] for target in np.unique(targets)]
        items = {kind: np.flatnonzero(targets == dataset.classes.index(kind)) for kind in kinds}
        controls = {
            "kind": Dropdown(options=kinds, description="Class", tooltip="Kind of thing"),
            "number": IntSlider(
                min=0,
                max=len(items[kinds[0]]) - 1,
                description="Picture",
                continuous_update=False,
            ),
        }
        controls["kind"].add_class("zfnb-neighbours-class")
        controls["number"].add_class("zfnb-neighbours-picture")

        @lru_cache(REMEMBERED)
        def picture(item: int) -> Image.Image:
            return dataset.picture(item)

        def draw() -> Figure:
            item = int(items[controls["kind"].value][controls["number"].value])
            asked = [(name, values, item) for name, values in products.items()]
            rows = described(dataset, asked, count, groups, picture)
            return plots_transfer.neighbours(rows, f"Nearest neighbours of {dataset.key(item)}")

        def narrow(change: dict) -> None:
            controls["number"].max = len(items[change["new"]]) - 1

        controls["kind"].observe(narrow, "value")  # before the panel's own, which draws
        super().__init__(controls, draw, "A picture and its nearest neighbours, a layer a row")
