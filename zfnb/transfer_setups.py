"""The transfer experiments at three sizes: a slice, all scenes, the user's data (Sec. 5.2).

Caltech-101 asks for 30 pictures of each of its 101 classes (its pictures of backgrounds are left
out, as torchvision does; the paper's 9,144 pictures include them). The embedded stamps have eight
of their rarest class. So the same protocol is run small: a few *stamps* a class to train on, each
in two scenes, and other stamps to test on. A scene of a training stamp would be a near-duplicate of
what was learned; all scenes of a stamp therefore go the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch

from zfnb.batches import seeded
from zfnb.data import PictureDataset, load_dataset
from zfnb.errors import UnknownName
from zfnb.linear_classifiers import KINDS, check_kinds
from zfnb.models import Network, load_model
from zfnb.protocols import Draw, Part, draws, feasible_counts, protocol_named
from zfnb.recipes import RECIPES
from zfnb.training import Settings
from zfnb.transfer import dot_products, layer_features, layers_to_compare, several_objects
from zfnb.usable import usable
from zfnb.weights import available_weights

PER_STAMP = {"quick": 1, "default": 2}  # scenes of each stamp
STAMPS = {"quick": 6, "default": 20}  # stamps a class at the most, so that no class takes over
SPLITS = {"quick": 2, "default": 5, "paper": 5}
SCRATCH_EPOCHS = {"quick": 1, "default": 12}
PAPER_DATA = "caltech101"


@dataclass(frozen=True)
class Setup:
    """Pictures, and how they are divided.

    Attributes
    ----------
    dataset : PictureDataset
    groups : (N,) int or None
        The stamp of each scene; None where every picture stands alone.
    curve : dict {count: list of Draw}
        For Fig. 9: all counts of a split are tested on the same pictures.
    table : dict {count: list of Draw}
        For Tables 4, 5 and 7.
    unit : str
        What the counts count: "stamps" or "pictures".
    """

    dataset: PictureDataset
    groups: np.ndarray | None
    curve: Mapping[int, list[Draw]]
    table: Mapping[int, list[Draw]]
    unit: str

    @property
    def targets(self) -> np.ndarray:
        """(N,) int"""
        return np.asarray(self.dataset.targets)

    @property
    def largest(self) -> int:
        """The largest number of training stamps or pictures a class in the table."""
        return max(self.table)

    @property
    def chance(self) -> float:
        """Mean per-class accuracy of a blind guess, in percent."""
        return 100 / len(np.unique(self.targets))

    def __str__(self) -> str:
        draw = self.table[self.largest][0]
        return (
            f"{len(self.dataset)} pictures ({self.dataset.name}), {len(self.dataset.classes)} "
            f"classes; {self.largest} {self.unit} a class train:\n{len(draw.train)} pictures, and "
            f"{len(draw.test)} test, in each of {len(self.table[self.largest])} splits"
        )


def setup(profile: str = "default", data: str = PAPER_DATA, seed: int = 0) -> Setup:
    """The pictures and draws of a profile.

    Parameters
    ----------
    profile : {"quick", "default", "paper"}
        "quick" and "default": scenes of embedded stamps, split by stamp. "paper": `data` under
        ``$ZFNB_DATA`` with the paper's protocol.
    data : {"caltech101", "caltech256"}
        For "paper" only.
    seed : int
        Of the splits.

    Raises
    ------
    UnknownName
        Another profile, or data that the paper has no protocol for.
    BadInput
        A class with a single picture that can be read.
    MissingData
        The data are not there.
    """
    if profile not in SPLITS:
        raise UnknownName.of("profile", profile, SPLITS)
    splits = SPLITS[profile]
    if profile == "paper":
        protocol = protocol_named(data)
        dataset = load_dataset(data, "all")
        may = usable(dataset)
        if not may.all():
            dataset = Part(dataset, np.flatnonzero(may))
        options = {"splits": splits, "test": protocol.test, "seed": seed}
        counts = feasible_counts(dataset.targets, classes=dataset.classes)
        curve = draws(dataset.targets, counts, share_test=True, **options)
        return Setup(
            dataset, None, curve, draws(dataset.targets, protocol.counts, **options), "pictures"
        )
    dataset = some_stamps(STAMPS[profile], PER_STAMP[profile])
    groups = np.array([dataset.group(item) for item in range(len(dataset))])
    counts = feasible_counts(dataset.targets, groups=groups, classes=dataset.classes)
    if profile == "quick":
        counts = [counts[0], counts[-2]]
    options = {"splits": splits, "test": STAMPS[profile], "seed": seed, "groups": groups}
    curve = draws(dataset.targets, counts, share_test=True, **options)
    # The same draws: few stamps are left to test on, and so both are of the same pictures.
    return Setup(dataset, groups, curve, {counts[-1]: curve[counts[-1]]}, "stamps")


def some_stamps(most: int, per_stamp: int) -> PictureDataset:
    """Scenes of at most so many stamps of each class, the same ones at each call."""
    scenes = load_dataset("scenes", "all", per_stamp=per_stamp)
    targets = np.asarray(scenes.targets)
    stamps = np.array([scenes.group(item) for item in range(len(scenes))])
    chosen = [
        np.random.default_rng(seeded("stamps", int(target))).permutation(
            np.unique(stamps[targets == target])
        )[:most]
        for target in np.unique(targets)
    ]
    return Part(scenes, np.flatnonzero(np.isin(stamps, np.concatenate(chosen))).tolist())


def voc_rows(
    net: Network,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    root: str | os.PathLike | None = None,
    folder: str | os.PathLike | None = None,
    progress: bool = False,
) -> list[dict]:
    """Table 6 on the user's PASCAL VOC 2012: trained on train, measured on val (Sec. 5.2).

    The same numbers as ``python -m zfnb.transfer_cli table6``. The features are kept.

    Parameters
    ----------
    net : Network
        Its highest layer is what the classifiers read.
    kinds : sequence of str
        "softmax", one of 20 classes; "svm", one against all others for each class.
    seed : int
        Of the training pictures that are held out to choose C.
    root : path, optional
        Where datasets lie; ``$ZFNB_DATA`` by default.
    folder : path, optional
        Of the features; zfnb's cache by default.
    progress : bool
        Show bars.

    Returns
    -------
    list of dict
        A row a kind, as a results file keeps it: ``layer``, ``classifier``, ``mean`` and
        ``average_precision`` (percent; None for a class that cannot be measured),
        ``regularisation``, ``train_pictures``, ``test_pictures``.

    Raises
    ------
    MissingData
        VOC 2012 is not there, or not whole; the message says how to get it.
    UnknownName, BadInput
        Another kind; damaged lists of pictures; no class to be measured.
    """
    check_kinds(kinds, KINDS)
    dataset = load_dataset("voc2012", "trainval", root)
    parts = [load_dataset("voc2012", split, root) for split in ("train", "val")]
    number = layers_to_compare(net)[-1]
    found = layer_features(net, dataset, [number], folder=folder, progress=progress)[number]
    products = dot_products(found, progress=progress)
    own = [{part.key(i) for i in range(len(part))} for part in parts]
    readable = [(int(i), dataset.key(int(i))) for i in np.flatnonzero(found.readable)]
    train, test = (np.array([i for i, key in readable if key in keys], dtype=int) for keys in own)
    rows = []
    for kind in kinds:
        result = several_objects(products, dataset.labels, train, test, kind, seed=seed)
        by_class = zip(dataset.classes, result.average_precision, strict=True)
        rows.append(
            {
                "layer": number,
                "classifier": kind,
                "mean": round(result.mean, 3),
                "average_precision": {
                    name: None if np.isnan(value) else round(float(value), 3)
                    for name, value in by_class
                },
                "regularisation": result.regularisation,
                "train_pictures": len(train),
                "test_pictures": len(test),
            }
        )
    return rows


def scratch_settings(profile: str = "default", epochs: int = 0, seed: int = 0) -> Settings:
    """How a network that was never trained before learns from the scenes in some seconds.

    A ZFNet with a quarter of the maps, for inputs of 64 pixels, small batches. A wider one takes
    minutes and does no better on so few pictures.

    Parameters
    ----------
    profile : {"quick", "default"}
    epochs : int
        Over the training pictures; 0: as many as the profile can afford.
    """
    if profile not in SCRATCH_EPOCHS:
        raise UnknownName.of("profile of a training on scenes", profile, SCRATCH_EPOCHS)
    epochs = epochs or SCRATCH_EPOCHS[profile]
    changes = {"epochs": epochs, "batch": 8, "lr": 0.01, "cool_down": epochs / 2, "dropout": 0.0}
    recipe = replace(RECIPES["modern"], **changes)
    width = 0.25 if profile == "default" else 0.1
    return Settings("zfnet", "scenes", recipe, input_size=64, width=width, seed=seed)


def scratch_draws(found: Setup, counts: Sequence[int], splits: int) -> list[Draw]:
    """The first splits of some counts of the curve: what is trained from random weights."""
    return [one for count in counts for one in found.curve[count][:splits]]


def networks(seed: int = 0) -> dict[str, Network]:
    """The networks that are compared: trained on ImageNet, on Tiny ImageNet, and not at all.

    The last one has AlexNet's five layers with random filters: what the architecture gives without
    any training.

    Returns
    -------
    dict {what a figure calls it: Network}
    """
    found = {"AlexNet trunk, ImageNet": load_model("torchvision-alexnet", weights="imagenet-trunk")}
    for name, label in (("zfnet", "ZFNet"), ("alexnet", "AlexNet")):
        if "tiny-imagenet" in available_weights(name):
            found[f"{label}, Tiny ImageNet"] = load_model(name, weights="tiny-imagenet")
    found["AlexNet trunk, random"] = forgotten(next(iter(found.values())), seed)
    return found


def forgotten(net: Network, seed: int = 0) -> Network:
    """A copy of a network with random weights in the place of what it learned."""
    copy = deepcopy(net)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    for step in copy.modules():
        if hasattr(step, "reset_parameters"):
            step.reset_parameters()
    torch.set_rng_state(state)
    copy.weights = None
    return copy
