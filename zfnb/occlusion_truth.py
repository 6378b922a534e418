"""Does occlusion point at the object? (Sec. 4.2: "is the model truly identifying the location?")

The paper shows a few pictures. Here it is counted, on pictures whose object is known: scenes with
their exact masks, and Tiny ImageNet with its boxes. Two scores, each beside what a square at a
random place would get:

- *hit*: the square that costs the class most probability has its centre on the object;
- *energy*: the share of the whole drop in probability, spread over the pixels, that lies on it.

Shapes: N pictures, H x W pixels, h x w places of the square.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from torch import Tensor, nn
from tqdm import tqdm

import zfnb
from zfnb.activations import inputs
from zfnb.data.pictures import preprocess
from zfnb.errors import BadInput, UnknownName
from zfnb.feature_sheets import object_mask, seen_mask
from zfnb.heads import fit_softmax, with_head
from zfnb.models import Network, device_of, features
from zfnb.named import network_and_weights, network_name
from zfnb.occlusion import OcclusionMaps, occlusion_maps
from zfnb.occlusion_pairs import places_on
from zfnb.paths import embedded, results_file
from zfnb.processes import choose_device
from zfnb.programs import run_alone
from zfnb.runs import measurement, read_results, write_json

DATA = ("scenes", "tiny-imagenet")


@dataclass(frozen=True)
class Grounding:
    """How well the drop in probability points at the object of one picture.

    Attributes
    ----------
    hit : bool
        The square with the largest drop has its centre on the object.
    chance : float
        The share of all squares whose centre is there: the hits of a random square.
    energy : float
        The share of the drop that lies on the object, each pixel having the mean drop of the
        squares on it, and rises of the probability counting as none. NaN if nothing drops.
    area : float
        The share of the pixels that are the object's: the energy of a drop that is even.
    probability : float
        Of the class, without a square.
    """

    hit: bool
    chance: float
    energy: float
    area: float
    probability: float


@dataclass(frozen=True)
class Summary:
    """Means over pictures, each with its standard error.

    Attributes
    ----------
    pictures : int
    hit, chance, energy, area : float
        Means; see `Grounding`.
    hit_gain, energy_gain : (float, float)
        Mean and standard error of hit - chance and of energy - area, picture by picture.
    better : float
        The share of pictures whose energy exceeds their area.
    """

    pictures: int
    hit: float
    chance: float
    energy: float
    area: float
    hit_gain: tuple[float, float]
    energy_gain: tuple[float, float]
    better: float


def grounding(maps: OcclusionMaps, mask: Tensor) -> Grounding:
    """Score the drop in probability against the object's mask.

    Parameters
    ----------
    maps : OcclusionMaps
        Of a network with a classifier.
    mask : Tensor (H, W) in [0, 1]
        How much of each pixel is the object.

    Raises
    ------
    BadInput
        If the network has no classifier, or the mask is empty or of another size.
    """
    if maps.probability is None:
        raise BadInput("Without a classifier no probability can drop: use a network that has one.")
    if mask.shape != (maps.size, maps.size):
        raise BadInput(f"The mask must be {maps.size} x {maps.size}, not {tuple(mask.shape)}.")
    if not mask.any():
        raise BadInput("The mask is empty: there is no object to point at.")
    mask = mask.double().to(maps.probability.device)
    drop = maps.whole_probability[maps.target] - maps.probability  # (h, w)
    on = places_on(maps, mask)
    spread = maps.over_pixels(drop.clamp(min=0)).double()  # (H, W)
    total = spread.sum()
    return Grounding(
        hit=bool(on.flatten()[drop.argmax()]),
        chance=float(on.double().mean()),
        energy=float((spread * mask).sum() / total) if total > 0 else float("nan"),
        area=float(mask.mean()),
        probability=float(maps.whole_probability[maps.target]),
    )


def ground_truth(
    net: nn.Module,
    pictures: Iterable[tuple[Tensor, Tensor, int | None]],
    progress: Callable | None = None,
    **options,
) -> list[Grounding]:
    """`grounding` of many pictures.

    Parameters
    ----------
    net : nn.Module
    pictures : iterable of (image (3, H, W), mask (H, W), class or None)
        None: the most probable class of the whole picture.
    progress : callable, optional
        Wraps the pictures, as tqdm does.
    **options
        For `occlusion_maps`: square, stride, fill, ...
    """
    wrapped = pictures if progress is None else progress(pictures)
    return [
        grounding(occlusion_maps(net, image, target, **options), mask)
        for image, mask, target in wrapped
    ]


def summary(found: Sequence[Grounding]) -> Summary:
    """Means and standard errors; pictures without any drop count for the hits alone."""
    if not found:
        raise BadInput("There is no picture to summarise.")
    hit, chance, energy, area = (
        np.array([getattr(one, name) for one in found], dtype=float)
        for name in ("hit", "chance", "energy", "area")
    )
    drops = np.isfinite(energy)
    energy, area = energy[drops], area[drops]

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else float("nan")

    def with_error(values: np.ndarray) -> tuple[float, float]:
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        return mean(values), float(error)

    return Summary(
        pictures=len(found),
        hit=mean(hit),
        chance=mean(chance),
        energy=mean(energy),
        area=mean(area),
        hit_gain=with_error(hit - chance),
        energy_gain=with_error(energy - area),
        better=mean(energy > area),
    )


def scene_classifier(
    trunk: Network, per_stamp: int = 2, seed: int = 0, progress: bool = False
) -> Network:
    """A trunk of filters with a softmax over the stamps' ten classes, fitted on training scenes.

    Scenes have labels that ImageNet's or Tiny ImageNet's classes fit badly; with this, the true
    label of a scene has a probability. No stamp of the test scenes is among the training scenes.

    Parameters
    ----------
    trunk : Network
        Layers of filters, e.g. "torchvision-alexnet" with "imagenet-trunk".
    per_stamp : int
        Scenes of each training stamp.
    """
    scenes = zfnb.load_dataset("scenes", "train", per_stamp=per_stamp, seed=seed)
    layer, parts = trunk.layer_names[-1], np.array_split(np.arange(len(scenes)), 16)
    found = [
        features(trunk, inputs(trunk, scenes, part.tolist()), layer).flatten(1).cpu().numpy()
        for part in tqdm(parts, "scenes", disable=not progress)
        if len(part)
    ]
    head = fit_softmax(
        np.concatenate(found)[None], scenes.targets, len(scenes.classes), epochs=40, batch=64
    )
    return with_head(trunk, head, [("", name) for name in scenes.classes], "stamps' classes")


def scene_pictures(net: Network, scenes, items: Sequence[int]):
    """Yield (image, mask, class) of scenes that the network classifies rightly.

    What a square costs a wrong class says nothing about the object. Images are where the network
    is.
    """
    for item in items:
        scene = scenes.scene(item)
        image = preprocess(scene.picture, net).to(device_of(net))
        if int(features(net, image, net.layer_names[-1])[0].argmax()) == scene.target:
            yield image, object_mask(net, scene), scene.target


def boxed_pictures(net: Network, dataset, items: Sequence[int]):
    """The same of Tiny ImageNet: the mask is the box, as far as the network sees it."""
    for item in items:
        picture, target = dataset.picture(item), int(dataset.targets[item])
        image = preprocess(picture, net).to(device_of(net))
        if int(features(net, image, net.layer_names[-1])[0].argmax()) != target:
            continue
        top, left, bottom, right = dataset.boxes[item].tolist()
        box = np.zeros(picture.size[::-1], dtype=np.uint8)
        box[top : bottom + 1, left : right + 1] = 255
        mask = seen_mask(net, box)
        if mask.max() > 0.5:
            yield image, mask, target


def first(pictures: Iterable, count: int) -> Iterable:
    """The first `count` of what may be more or fewer."""
    for number, one in enumerate(pictures, 1):
        yield one
        if number == count:
            return


def measure(
    data: Annotated[str, typer.Option(help="scenes, or tiny-imagenet")],
    network: Annotated[str, typer.Option(help="NETWORK:WEIGHTS; scenes: a trunk of filters")],
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    pictures: Annotated[int, typer.Option(help="rightly classified ones to use", min=2)] = 100,
    square: Annotated[
        int, typer.Option(help="side, as a part of the picture's: 1 / SQUARE", min=1)
    ] = 7,
    fill: Annotated[str, typer.Option(help="grey, mean, noise or blur")] = "grey",
    seed: Annotated[int, typer.Option(help="of the order in which pictures are drawn")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")] = None,
    results: Annotated[Path | None, typer.Option(help="data/results/occlusion.json")] = None,
) -> None:
    """Measure how well the drop in probability points at the object (Sec. 4.2)."""
    if data not in DATA:
        raise UnknownName.of("data", data, DATA)
    path = results_file("occlusion.json", results)
    kept(path)  # a damaged file is said now, and not after hours
    name, weights = network_and_weights(network)
    net = zfnb.load_model(name, weights=weights)
    began = time.perf_counter()
    if data == "scenes":
        if any(layer.startswith("fc") for layer in net.layer_names):
            raise BadInput("For scenes give a trunk: torchvision-alexnet:imagenet-trunk.")
        net = scene_classifier(net, progress=True)
        dataset = zfnb.load_dataset("scenes", "test", per_stamp=8, seed=seed)
        source = scene_pictures
    else:
        dataset = zfnb.load_dataset("tiny-imagenet", "val", root)
        source = boxed_pictures
    chosen = choose_device(device)
    net = net.to(chosen)
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    side = max(2, round(net.input_size / square))
    options = {"square": side, "stride": max(1, side // 4), "fill": fill}
    found = ground_truth(
        net,
        first(source(net, dataset, order), pictures),
        lambda it: tqdm(it, data, total=pictures),
        **options,
    )
    said = summary(found)
    typer.echo(in_words(said))
    words = f"python -m zfnb.occlusion_truth --data {data} --network {network_name(network)}"
    words += f" --pictures {pictures} --square {square} --fill {fill}"
    record = {
        "data": data,
        "network": network_name(network),
        **options,
        "summary": asdict(said),
        "pictures": [asdict(one) for one in found],
        "measured": {
            **measurement(words, chosen, seed=seed),
            "seconds": round(time.perf_counter() - began, 1),
        },
    }
    keep(path, record)


def in_words(said: Summary) -> str:
    """One line for people."""
    return (
        f"{said.pictures} pictures: hit {said.hit:.2f} (random square {said.chance:.2f}, gain "
        f"{said.hit_gain[0]:.2f} +- {said.hit_gain[1]:.2f}); energy {said.energy:.2f} (even "
        f"{said.area:.2f}, gain {said.energy_gain[0]:.2f} +- {said.energy_gain[1]:.2f})"
    )


def keep(path: Path, record: dict) -> None:
    """Put one measurement into the file; it replaces the earlier one of the same kind."""
    kind = ("data", "network", "square", "fill")
    rows = [row for row in kept(path) if any(row[key] != record[key] for key in kind)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"rows": [*rows, record]})


def kept(path: Path | None = None) -> list[dict]:
    """The measurements that are kept; none if the file is not there."""
    path = path or embedded("data", "results", "occlusion.json")
    if not path.exists():
        return []
    return read_results(path, "python -m zfnb.occlusion_truth", lambda found: list(found["rows"]))


if __name__ == "__main__":
    run_alone(measure, "zfnb.occlusion_truth")
