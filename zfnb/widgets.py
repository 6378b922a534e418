"""Panels for JupyterLab: pick a picture, a layer, a feature map, and see what it is about.

A panel is a box of controls over a picture. Live, moving a control draws the picture anew; in a
page made from the executed notebook, the panel's still twin stands in its place: the picture as it
was last drawn. Errors of the user (a file that is no picture) are shown under the controls; any
other error is shown there too, and kept in ``.error`` so that a test or the report finds it.
"""

from __future__ import annotations

import base64
import html
import io
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import matplotlib.pyplot as plt
from ipywidgets import (
    HTML,
    Dropdown,
    FileUpload,
    HBox,
    Image,
    IntSlider,
    Layout,
    Output,
    VBox,
    Widget,
)
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import Dataset

from zfnb import plots
from zfnb.activations import TopActivations, inputs
from zfnb.data.pictures import open_picture, preprocess
from zfnb.deconvnet import RULES, Deconvnet
from zfnb.errors import BadInput, ZfnbError
from zfnb.feature_sheets import feature_sheet
from zfnb.models import Network

DPI = 110  # about one pixel for one of a feature sheet
REMEMBERED = 100  # pictures that a panel keeps ready for the network, 0.6 MB each at 224 pixels


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file; the figure is closed."""
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=DPI)
    finally:
        plt.close(figure)
    return buffer.getvalue()


class Panel(VBox):
    """Controls over a picture. A subclass says which controls, and draws the figure.

    Parameters
    ----------
    controls : dict {name: widget}
        A change of the ``value`` of any draws the picture anew.
    draw : callable () -> Figure
    alt : str
        What the picture shows, for those who do not see it.
    others : widgets
        Stand beside the controls, and draw nothing by themselves.

    Attributes
    ----------
    picture : Image
    message : HTML
        What to do about the last error, if there is one.
    error : Exception or None
        The last error, until something is drawn again.

    Raises
    ------
    ZfnbError
        If there is nothing to draw to begin with.
    """

    def __init__(
        self,
        controls: dict,
        draw: Callable[[], Figure],
        alt: str,
        others: Sequence[Widget] = (),
    ):
        self.controls = controls
        # In its own size, unless that is too wide.
        size = Layout(max_width="100%", align_self="flex-start")
        self.picture = Image(format="png", layout=size)
        self.picture.add_class("zfnb-picture")
        self.message = HTML()
        self.message.add_class("zfnb-message")
        self.errors = Output()  # what the report scans for errors that nobody saw
        self.error: Exception | None = None
        self.alt = alt
        self._draw = draw
        self._drawn: dict | None = None  # values of the controls at the last attempt
        self._waiting = False
        row = HBox([*controls.values(), *others], layout=Layout(flex_flow="row wrap"))
        super().__init__([row, self.message, self.picture, self.errors])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.refresh()
        if self.error:
            raise self.error

    def _values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    def _changed(self, _) -> None:
        # A new layer may move the slider too: two changes, one picture.
        if not self._waiting and self._values() != self._drawn:
            self.refresh()

    @contextmanager
    def once(self) -> Iterator[None]:
        """Let several controls change, and draw once after them all."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
        self.refresh()

    def refresh(self) -> None:
        """Draw the picture for the controls as they are."""
        self._drawn = self._values()
        with self._telling(), plt.ioff():
            self.picture.value = png(self._draw())

    @contextmanager
    def _telling(self, about: str = "") -> Iterator[None]:
        """Show an error under the controls; the old picture stays."""
        self.error, self.message.value = None, ""
        try:
            yield
        except ZfnbError as error:  # the user's: a sentence tells what to do
            self._say(error, f"{about}{error}")
        except Exception as error:
            self._say(error, f"{about}{type(error).__name__}: {error}")
            self.errors.append_stderr(traceback.format_exc())
            raise

    def _say(self, error: Exception, sentence: str) -> None:
        self.error = error
        self.message.value = f"<b style='color:crimson'>{html.escape(sentence)}</b>"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if data is not None:
            data["image/png"] = base64.b64encode(self.picture.value).decode()
            data["text/plain"] = self.alt
            metadata = {**metadata, "image/png": {"alt": self.alt}}
        return data, metadata


def layer_and_map(layers: dict[str, int], start: str, start_map: int) -> dict:
    """A menu of layers and a slider of their feature maps, which follows the layer.

    `layers` is {name: number of maps}.
    """
    last = layers[start] - 1
    if not 0 <= start_map <= last:
        raise BadInput(f"Feature map {start_map} is not in {start}; it has maps 0 to {last}.")
    layer = Dropdown(
        options=list(layers), value=start, description="Layer", tooltip="A layer of the network"
    )
    feature_map = IntSlider(
        start_map,
        0,
        last,
        description="Feature map",
        tooltip="A feature map of the layer",
        style={"description_width": "initial"},  # else the label is cut off
        continuous_update=False,
    )
    layer.add_class("zfnb-layer")
    feature_map.add_class("zfnb-map")

    def follow(change) -> None:
        feature_map.max = layers[change["new"]] - 1  # a value beyond it is moved to it

    layer.observe(follow, names="value")
    return {"layer": layer, "map": feature_map}


class Ready(Dataset):
    """A dataset's pictures, ready for a network; the last ones asked for are kept."""

    def __init__(self, net: Network, dataset: Dataset):
        self._picture = lru_cache(REMEMBERED)(lambda item: inputs(net, dataset, [item])[0])

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        return self._picture(item), 0


class FeaturePanel(Panel):
    """Fig. 2 for any layer and feature map of a network (Sec. 4).

    Parameters
    ----------
    net : Network
    dataset : the dataset that `index` was built on
    index : TopActivations
    layer : str, optional
        Where to start; by default at the index's last layer.
    feature_map : int, optional
        By default the one with the strongest activation of all.

    Raises
    ------
    UnknownName, BadInput
        For a layer or map that the index does not have, or a map that answers to no picture.
    """

    def __init__(
        self,
        net: Network,
        dataset: Dataset,
        index: TopActivations,
        layer: str | None = None,
        feature_map: int | None = None,
    ):
        layer = layer or index.layers[-1]
        strongest = index.strongest(layer)  # an unknown layer is refused here
        if feature_map is None:
            feature_map = int(strongest.argmax())
        layers = {name: index.maps(name) for name in index.layers}
        controls = layer_and_map(layers, layer, feature_map)
        controls["rule"] = Dropdown(
            options=RULES, description="Rule", tooltip="What a ReLU does on the way down"
        )
        controls["rule"].add_class("zfnb-rule")
        deconvnets = {rule: Deconvnet(net, rule=rule) for rule in RULES}
        pictures = Ready(net, dataset)

        def draw() -> Figure:
            name, chosen, rule = (controls[key].value for key in ("layer", "map", "rule"))
            sheet = feature_sheet(net, pictures, index, name, chosen, deconvnets[rule])
            return plots.feature_sheets([sheet], net, columns=1)

        super().__init__(
            controls, draw, "Nine projections of a feature map beside the patches that caused them"
        )


class TourPanel(Panel):
    """A picture, or one's own, and what any feature map makes of it.

    Parameters
    ----------
    net : Network
    pictures : dict {name: picture}
        What `zfnb.preprocess` takes: paths, PIL images or uint8 arrays.
    layer : str
        Where to start.
    feature_map : int, optional
        By default the one that answers most to the first picture.

    Raises
    ------
    UnknownName, BadInput
        For a layer or map that the network does not have, or if there is no picture.
    """

    def __init__(
        self,
        net: Network,
        pictures: dict[str, object],
        layer: str = "conv5",
        feature_map: int | None = None,
    ):
        if not pictures:
            raise BadInput("There is no picture to start with; give at least one.")
        net.check_layer(layer)
        self.pictures = dict(pictures)
        self._recordings: dict[str, tuple] = {}  # name -> (image, recording), the last one only
        deconvnet = Deconvnet(net)

        def recorded(name: str) -> tuple:
            if name not in self._recordings:
                image = preprocess(self.pictures[name], net)
                self._recordings.clear()
                self._recordings[name] = (image, deconvnet.record(image[None]))
            return self._recordings[name]

        menu = Dropdown(
            options=list(self.pictures), description="Picture", tooltip="What the network sees"
        )
        menu.add_class("zfnb-picture-menu")
        own = FileUpload(
            accept="image/*", description="Your picture", tooltip="Add a picture file to the menu"
        )
        own.add_class("zfnb-own")
        if feature_map is None:
            maps = recorded(menu.value)[1].activations[layer][0]
            feature_map = int(maps.reshape(len(maps), -1).amax(1).argmax())
        layers = {name: net.shapes[name][0] for name in net.layer_names}
        controls = {"picture": menu, **layer_and_map(layers, layer, feature_map)}

        def draw() -> Figure:
            picture, name, chosen = (controls[key].value for key in ("picture", "layer", "map"))
            image, recording = recorded(picture)
            projection = deconvnet.project(recording, name, chosen)
            return plots.projection_pair(
                image, projection, net, name, chosen, maps=recording.activations[name][0]
            )

        super().__init__(
            controls,
            draw,
            "A picture, a feature map of it, and the map's projection to pixels",
            others=[own],
        )
        self.own = own
        own.observe(self._upload, names="value")

    def _upload(self, change) -> None:
        """Add a picture of one's own to the menu, and choose it."""
        menu = self.controls["picture"]
        for file in change["new"]:
            name = file["name"]
            with self._telling(f"{name}: "):
                picture = open_picture(bytes(file["content"]))
            if self.error:
                return
            self.pictures[name] = picture
            self._recordings.pop(name, None)  # there was another of this name
            with self.once():
                menu.options = list(self.pictures)  # this chooses the first one
                menu.value = name
