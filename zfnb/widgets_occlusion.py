"""A panel to move the square over a picture and watch the network (Sec. 4.2, Fig. 7).

The picture is made anew at each step of a slider that is being dragged, so it is drawn with PIL:
matplotlib alone would take longer than one wants to wait.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache

import matplotlib
import numpy as np
from ipywidgets import Dropdown, IntSlider, Play
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zfnb.classification import most_probable
from zfnb.data.pictures import preprocess
from zfnb.errors import BadInput
from zfnb.models import Network
from zfnb.occlusion import FILLS, fill_picture
from zfnb.occlusion_figure import Glance, Watcher
from zfnb.plots import class_name, input_picture, projection_picture, titled
from zfnb.plots_occlusion import HEAT, WHOLE_MAP, short
from zfnb.widgets import Panel

SIDE = 224  # pixels of each of the three pictures
GAP, LINE = 14, 20  # between them; of a line of text
BARS = 330  # width of the five bars and their names
WHITE, BLACK, GREY, LIGHT = (255, 255, 255), (20, 20, 20), (120, 120, 120), (214, 214, 214)
RED, BLUE = (220, 20, 60), (31, 119, 180)
STEPS = 12  # places along a side when the square goes by itself
MILLISECONDS = 250  # from one such place to the next


@lru_cache
def font(size: int = 13) -> ImageFont.FreeTypeFont:
    """The typeface of matplotlib's figures."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


@lru_cache
def heat_colours() -> np.ndarray:
    """The colours of heat maps, (256, 3) in [0, 1]."""
    return matplotlib.colormaps[HEAT](np.linspace(0, 1, 256))[:, :3]


def as_image(values: np.ndarray, side: int = SIDE) -> Image.Image:
    """An array (H, W, 3) in [0, 1] as a picture of `side` pixels."""
    image = Image.fromarray(np.rint(255 * values).astype(np.uint8))
    return image.resize((side, side), Image.Resampling.NEAREST)


def glance_picture(
    seen: Glance, whole: Glance, box: tuple[int, ...], net: Network, layer: str, feature_map: int
) -> Image.Image:
    """The picture with its square, the feature map, its projection, and the five likeliest classes.

    Parameters
    ----------
    seen : Glance
        With the square.
    whole : Glance
        Without.
    box : (top, left, bottom, right)
        Of the square, in pixels of the input.
    """
    width = 4 * GAP + 3 * SIDE + GAP + BARS
    canvas = Image.new("RGB", (width, 2 * GAP + 3 * LINE + SIDE), WHITE)
    draw = ImageDraw.Draw(canvas)
    top = GAP + 2 * LINE
    words = titled(net, f"{net.name}, {layer}, map {feature_map}")
    draw.text((GAP, GAP // 2), words, BLACK if net.weights else RED, font(14))

    def put(column: int, picture: Image.Image, above: str, below: str) -> None:
        left = GAP + column * (SIDE + GAP)
        canvas.paste(picture, (left, top))
        draw.text((left, top - LINE + 2), above, BLACK, font())
        draw.text((left, top + SIDE + 4), below, GREY, font(12))

    picture = as_image(input_picture(seen.image, net))
    pen, scale = ImageDraw.Draw(picture), SIDE / seen.image.shape[-1]
    corners = [round(scale * box[n]) - (n > 1) for n in (1, 0, 3, 2)]
    pen.rectangle(corners, outline=RED, width=2)
    below = f"rows {box[0]} to {box[2] - 1}, columns {box[1]} to {box[3] - 1}"
    put(0, picture, "what the network sees", below)
    # Both maps have the scale of the one without a square.
    peak = max(float(whole.feature_map.max()), 1e-12)
    values = (seen.feature_map / peak).clamp(0, 1).cpu().numpy()
    heat = heat_colours()[np.rint(255 * values).astype(int)]
    share = seen.activation / whole.activation if whole.activation else float("nan")
    put(1, as_image(heat), "feature map", f"total {seen.activation:.0f}: {share:.0%} of no square")
    projected = projection_picture(seen.projection.pixels[0], net, WHOLE_MAP)
    put(2, as_image(projected), "the map, projected", "zero is grey; its own scale")
    bars(draw, 4 * GAP + 3 * SIDE, top, seen, whole, net)
    return canvas


def bars(
    draw: ImageDraw.ImageDraw, left: int, top: int, seen: Glance, whole: Glance, net: Network
) -> None:
    """The five most probable classes, and in light grey what they were without the square."""
    label = int(whole.probabilities.argmax())
    own = class_name(net, label)
    chance = [float(one.probabilities[label]) for one in (whole, seen)]
    words = f"{short(own)}: {chance[0]:.2f}, now {chance[1]:.2f}"
    draw.text((left, top - LINE + 2), words, BLUE, font())
    order = seen.probabilities.topk(min(5, len(seen.probabilities))).indices
    (rows,) = most_probable(seen.probabilities[None], net.classes)
    names_end, reach, step = left + 160, BARS - 160 - 44, SIDE / 5
    for n, ((name, probability), place) in enumerate(zip(rows, order.tolist(), strict=True)):
        y = top + n * step + 8
        colour = BLUE if place == label else GREY
        draw.text((names_end - 6, y + 4), short(name), colour, font(), anchor="ra")
        before = float(whole.probabilities[place])
        draw.rectangle((names_end, y - 2, names_end + reach * before, y + 26), fill=LIGHT)
        draw.rectangle((names_end, y + 4, names_end + reach * probability, y + 20), fill=colour)
        beyond = names_end + reach * max(probability, before) + 5
        draw.text((beyond, y + 4), f"{probability:.2f}", BLACK, font())
    draw.text((left, top + SIDE + 4), "light grey: without the square", GREY, font(12))


class OcclusionPanel(Panel):
    """Fig. 7 by hand: move the square, and see map, projection and classes follow.

    Parameters
    ----------
    nets : dict {name: Network}
        With classifiers.
    pictures : dict {name: picture}
        What `zfnb.preprocess` takes.
    layer : str
        Of the feature map; the map is the one that answers most to the whole picture.
    square : float
        Side of the square to begin with, as a part of the picture's.

    Attributes
    ----------
    play : Play
        Lets the square go over the picture by itself, row by row.

    Raises
    ------
    UnknownName, BadInput
        If there is no network or no picture, a layer is unknown, or a network has no classifier.
    """

    def __init__(
        self,
        nets: Mapping[str, Network],
        pictures: Mapping[str, object],
        layer: str = "conv5",
        square: float = 1 / 7,
    ):
        if not nets or not pictures:
            raise BadInput("A panel needs at least one network and one picture.")
        self.nets, self.pictures, self.layer = dict(nets), dict(pictures), layer
        for net in self.nets.values():
            net.check_layer(layer)
        self._watcher = lru_cache(8)(self._watch)
        self._cover = lru_cache(16)(self._fill)
        size = next(iter(self.nets.values())).input_size
        side = max(1, round(square * size))
        network = Dropdown(options=list(nets), description="Network", tooltip="Which one looks")
        picture = Dropdown(options=list(pictures), description="Picture", tooltip="What it sees")
        fill = Dropdown(options=FILLS, description="Fill", tooltip="What the square shows")
        controls = {
            "picture": picture,
            "network": network,
            "row": pixels(size // 2, 0, size - 1, "Row", "Where the square's middle is"),
            "column": pixels(size // 2, 0, size - 1, "Column", "Where the square's middle is"),
            "square": pixels(side, 1, size, "Square", "Side of the square"),
            "fill": fill,
        }
        for name, control in controls.items():
            control.add_class(f"zfnb-{'picture-menu' if name == 'picture' else name}")
        self._size = size
        network.observe(self._to_network, names="value")
        self.play = Play(
            value=0, min=0, max=STEPS**2 - 1, interval=MILLISECONDS, tooltip="Go over the picture"
        )
        self.play.add_class("zfnb-play")
        self.play.observe(self._step, names="value")
        super().__init__(
            controls,
            None,
            "A picture with a square over it, a feature map, its projection, and the five most "
            "probable classes with and without the square",
            others=[self.play],
        )

    def refresh(self) -> None:
        """Draw the picture for the controls as they are."""
        self._drawn = self._values()
        with self._telling():
            buffer = io.BytesIO()
            # The least compression: a third of the time for a file of a few hundred kilobytes.
            self._picture().save(buffer, format="png", compress_level=1)
            self.picture.value = buffer.getvalue()

    def place(self) -> tuple[int, int]:
        """Row and column of the square's upper left pixel; it may hang over the border."""
        half = self.controls["square"].value // 2
        return self.controls["row"].value - half, self.controls["column"].value - half

    def _picture(self) -> Image.Image:
        values = self._values()
        watcher = self._watcher(values["network"], values["picture"])
        side, (top, left) = values["square"], self.place()
        cover = self._cover(values["network"], values["picture"], values["fill"], side)
        seen, size = watcher(top, left, side, cover), watcher.net.input_size
        box = (max(top, 0), max(left, 0), min(top + side, size), min(left + side, size))
        return glance_picture(
            seen, watcher.whole, box, watcher.net, self.layer, watcher.feature_map
        )

    def _watch(self, network: str, picture: str) -> Watcher:
        net = self.nets[network]
        return Watcher(net, preprocess(self.pictures[picture], net), self.layer)

    def _fill(self, network: str, picture: str, fill: str, square: int) -> Tensor:
        watcher = self._watcher(network, picture)
        image, preprocessing = watcher.image[None], watcher.net.preprocessing
        return fill_picture(fill, image, preprocessing, square)

    def _to_network(self, change) -> None:
        """Another input size: the sliders' ranges follow, and the square stays where it was."""
        size, before = self.nets[change["new"]].input_size, self._size
        self._size = size
        with self.once():
            for name, last in (("row", size - 1), ("column", size - 1), ("square", size)):
                control = self.controls[name]
                value = min(max(round(control.value * size / before), control.min), last)
                control.max = max(control.max, last)  # room for the value on the way
                control.value, control.max = value, last

    def _step(self, change) -> None:
        """Go on by one place of the grid."""
        row, column = divmod(change["new"], STEPS)
        with self.once():
            for name, number in (("row", row), ("column", column)):
                self.controls[name].value = round((number + 0.5) * self._size / STEPS)


def pixels(value: int, low: int, high: int, description: str, tooltip: str) -> IntSlider:
    """A slider that tells its value while it is dragged."""
    return IntSlider(value, low, high, description=description, tooltip=tooltip)
