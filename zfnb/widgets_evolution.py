"""A panel to go through the training of a feature map (Sec. 4, Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ipywidgets import SelectionSlider
from matplotlib.figure import Figure
from torch.utils.data import Dataset

from zfnb import plots_evolution
from zfnb.errors import BadInput
from zfnb.evolution import Answers, Evolution, evolution, random_maps
from zfnb.models import Network
from zfnb.widgets import Panel, Ready, layer_and_map


class EvolutionPanel(Panel):
    """Fig. 4 for any layer and feature map: what excites it most, epoch by epoch.

    Parameters
    ----------
    nets : dict {epoch: Network}
    dataset : Dataset
        Those that `found` was made from.
    found : Answers
        From `zfnb.evolution.answers`.
    layer : str, optional
        Where to start; by default at the last layer.
    feature_map : int, optional
        By default one that answers in the end.
    epoch : int, optional
        By default the last one.

    Raises
    ------
    UnknownName, BadInput
        For a layer, map or epoch that is not there, or a map that answers to no picture.
    """

    def __init__(
        self,
        nets: Mapping[int, Network],
        dataset: Dataset,
        found: Answers,
        layer: str | None = None,
        feature_map: int | None = None,
        epoch: int | None = None,
    ):
        layer = layer or found.layers[-1]
        found.of(layer)  # an unknown layer is refused here
        if feature_map is None:
            feature_map = next(iter(random_maps(found, layer, 1)), 0)
        counts = {name: found.of(name).shape[2] for name in found.layers}
        controls = layer_and_map(counts, layer, feature_map)
        epoch = found.epochs[-1] if epoch is None else epoch
        if epoch not in found.epochs:
            known = ", ".join(map(str, found.epochs))
            raise BadInput(f"There is no snapshot of epoch {epoch}; choose one of {known}.")
        controls["epoch"] = SelectionSlider(
            options=found.epochs,
            value=epoch,
            description="Epoch",
            tooltip="A snapshot of the training",
            continuous_update=False,
        )
        controls["epoch"].add_class("zfnb-epoch")
        net = nets[found.epochs[0]]
        pictures = Ready(net, dataset)

        @lru_cache(16)
        def seen(name: str, chosen: int) -> Evolution:
            return evolution(nets, pictures, found, name, [chosen])

        def draw() -> Figure:
            name, chosen, when = (controls[key].value for key in ("layer", "map", "epoch"))
            return plots_evolution.one_map(seen(name, chosen), net, when)

        super().__init__(
            controls,
            draw,
            "The picture that excites a feature map most at one epoch, its receptive field and "
            "projection, and the map's projections at all epochs",
        )
