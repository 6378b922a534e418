"""Panels for JupyterLab: pick a picture, a layer, a feature map, and see what it is about.

A panel is a box of controls over a picture. Live, moving a control draws the picture anew; in a
page made from the executed notebook, the panel's still twin stands in its place: the picture as it
was last drawn. Errors of the user (a file that is no picture) are shown under the controls; any other
error is shown there too, and kept in ``.error`` so that a test or the report finds it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import matplotlib.pyplot as plt
from ipywidgets import HTML, Dropdown, FileUpload, HBox, Image, IntSlider, Layout, Output, VBox
from matplotlib.figure import Figure
from torch.utils.data import Dataset

from zfnb import plots
from zfnb.activations import TopActivations
from zfnb.data.pictures import open_picture, preprocess
from zfnb.deconvnet import RULES, Deconvnet
from zfnb.errors import ZfnbError
from zfnb.feature_sheets import feature_sheet
from zfnb.models import Network

DPI = 80


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    return buffer.getvalue()


class Panel(VBox):
    """Controls over a picture. A subclass says which controls, and draws the figure.

    Parameters
    ----------
    controls : dict {name: widget}
        Each has a ``value``; a change of any draws the picture anew.
    draw : callable () -> Figure
    alt : str
        What the picture shows, for those who do not see it.
    """

    def __init__(self, controls: dict, draw: Callable[[], Figure], alt: str):
        self.controls = controls
        self.picture = Image(format="png", layout=Layout(max_width="100%"))
        self.picture.add_class("zfnb-picture")
        self.message = HTML()
        self.message.add_class("zfnb-message")
        self.errors = Output()  # what the report scans for errors that nobody saw
        self.error: Exception | None = None
        self.alt = alt
        self._draw = draw
        super().__init__(
            [
                HBox(list(controls.values()), layout=Layout(flex_flow="row wrap")),
                self.message,
                self.picture,
                self.errors,
            ]
        )
        for control in controls.values():
            control.observe(lambda _: self.refresh(), names="value")
        self.refresh()

    def refresh(self) -> None:
        """Draw the picture for the controls as they are."""
        self.error = None
        try:
            with plt.ioff():
                self.picture.value = png(self._draw())
            self.message.value = ""
        except ZfnbError as error:  # the user's: said in a sentence, and the old picture stays
            self.error = error
            self.message.value = f"<b style='color:crimson'>{error}</b>"
        except Exception as error:
            self.error = error
            self.message.value = f"<b style='color:crimson'>{type(error).__name__}: {error}</b>"
            self.errors.append_stderr(f"Traceback: {type(error).__name__}: {error}\n")
            raise

    def _repr_mimebundle_(self, **kwargs) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if data is not None:
            data["image/png"] = base64.b64encode(self.picture.value).decode()
            data["text/plain"] = self.alt
            metadata = {**metadata, "image/png": {"alt": self.alt}}
        return data, metadata


def layer_and_map(layers: dict[str, int], start: str) -> dict:
    """A menu of layers and a slider of their feature maps, which follows the layer.

    `layers` is {name: number of maps}.
    """
    layer = Dropdown(options=list(layers), value=start, description="Layer")
    feature_map = IntSlider(
        0, 0, layers[start] - 1, description="Feature map", continuous_update=False
    )
    layer.add_class("zfnb-layer")
    feature_map.add_class("zfnb-map")

    def follow(change) -> None:
        feature_map.max = layers[change["new"]] - 1  # a value beyond it is moved to it

    layer.observe(follow, names="value")
    return {"layer": layer, "map": feature_map}


class FeaturePanel(Panel):
    """Fig. 2 for any layer and feature map of a network (Sec. 4).

    Parameters
    ----------
    net : Network
    dataset : the dataset that `index` was built on
    index : TopActivations
    layer, feature_map : where to start
    """

    def __init__(
        self,
        net: Network,
        dataset: Dataset,
        index: TopActivations,
        layer: str | None = None,
        feature_map: int = 0,
    ):
        layer = layer or index.layers[-1]
        controls = layer_and_map({name: index.maps(name) for name in index.layers}, layer)
        controls["map"].value = feature_map
        controls["rule"] = Dropdown(options=RULES, description="Rule")
        controls["rule"].add_class("zfnb-rule")
        deconvnets = {rule: Deconvnet(net, rule=rule) for rule in RULES}

        def draw() -> Figure:
            chosen = {name: control.value for name, control in controls.items()}
            sheet = feature_sheet(
                net, dataset, index, chosen["layer"], chosen["map"], deconvnets[chosen["rule"]]
            )
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
    layer, feature_map : where to start
    """

    def __init__(
        self,
        net: Network,
        pictures: dict[str, object],
        layer: str = "conv5",
        feature_map: int | None = None,
    ):
        self.pictures = dict(pictures)
        layers = {name: net.shapes[name][0] for name in net.layer_names if len(net.shapes[name])}
        controls = {
            "picture": Dropdown(options=list(self.pictures), description="Picture"),
            "own": FileUpload(accept="image/*", description="Your picture"),
            **layer_and_map(layers, layer),
        }
        controls["picture"].add_class("zfnb-picture-menu")
        deconvnet = Deconvnet(net)
        recordings: dict[str, tuple] = {}  # name -> (image, recording): the way up, once a picture

        def recorded(name: str) -> tuple:
            if name not in recordings:
                recordings.clear()
                image = preprocess(self.pictures[name], net)
                recordings[name] = (image, deconvnet.record(image[None]))
            return recordings[name]

        if feature_map is None:  # start with the map that answers most
            maps = recorded(controls["picture"].value)[1].activations[layer][0]
            feature_map = int(maps.reshape(len(maps), -1).amax(1).argmax())
        controls["map"].value = feature_map

        def draw() -> Figure:
            image, recording = recorded(controls["picture"].value)
            name, chosen = controls["layer"].value, controls["map"].value
            projection = deconvnet.project(recording, name, chosen)
            return plots.projection_pair(
                image, projection, net, name, chosen, maps=recording.activations[name][0]
            )

        super().__init__(
            controls, draw, "A picture, a feature map of it, and the map's projection to pixels"
        )
        controls["own"].observe(self._upload, names="value")

    def _upload(self, change) -> None:
        for file in change["new"]:
            try:
                picture = open_picture(bytes(file["content"]))
            except ZfnbError as error:
                self.error = error
                self.message.value = f"<b style='color:crimson'>{file['name']}: {error}</b>"
                return
            menu = self.controls["picture"]
            self.pictures[file["name"]] = picture
            menu.options = list(self.pictures)
            menu.value = file["name"]
