"""A panel for Sec. 5.1: a picture, a network, and the classes it finds most probable."""

from __future__ import annotations

from collections.abc import Mapping

from ipywidgets import Dropdown, ToggleButtons
from matplotlib.figure import Figure

from zfnb import plots_classification
from zfnb.classification import most_probable
from zfnb.data.pictures import preprocess
from zfnb.errors import BadInput
from zfnb.evaluate import CROPS, ten_crops
from zfnb.models import Network, evaluating
from zfnb.widgets import Panel


class PredictionPanel(Panel):
    """Pick a picture and a network; see its five most probable classes, with 1 or 10 crops.

    Parameters
    ----------
    nets : {name: Network}
        With classifiers.
    pictures : {name: picture}
        What `zfnb.preprocess` takes. Where a name is a class of a network, that class is marked.

    Raises
    ------
    BadInput
        If there is no network or no picture, or a network without a classifier.
    """

    def __init__(self, nets: Mapping[str, Network], pictures: Mapping[str, object]):
        if not nets or not pictures:
            raise BadInput("A panel needs at least one network and one picture.")
        for name, net in nets.items():
            if net.num_classes is None:
                raise BadInput(f"{name} has no classifier: it cannot be asked for classes.")
        controls = {
            "picture": Dropdown(
                options=list(pictures), description="Picture", tooltip="What the network sees"
            ),
            "network": Dropdown(
                options=list(nets), description="Network", tooltip="Which network is asked"
            ),
            "crops": ToggleButtons(
                options=[(f"{n} crop{'s' * (n > 1)}", n) for n in CROPS],
                tooltip="One central crop, or the mean over ten",
                style={"button_width": "6em"},
            ),
        }
        controls["picture"].add_class("zfnb-picture-menu")
        controls["network"].add_class("zfnb-network")
        controls["crops"].add_class("zfnb-crops")

        def draw() -> Figure:
            name, which, crops = (controls[k].value for k in ("picture", "network", "crops"))
            net = nets[which]
            image = preprocess(pictures[name], net)
            x = image[None] if crops == 1 else ten_crops(pictures[name], net.preprocessing)
            with evaluating(net):
                scores = net(x).softmax(1).mean(0, keepdim=True)
            guesses = most_probable(scores, net.classes)
            return plots_classification.predictions(
                [image], [name], guesses, net, f"{which}, {crops} crop{'s' * (crops > 1)}", 1
            )

        super().__init__(
            controls, draw, "A picture and the five classes that the network finds most probable"
        )
