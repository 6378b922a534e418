"""The strongest activations of every feature map over a dataset (Sec. 4, Fig. 2).

Fig. 2 shows, for a feature map, the nine pictures of the validation set that excite it most. One
pass over the data finds them for all maps of all layers at once: of each batch only the maxima that
would enter a map's list are looked at, so the pass costs little more than the network itself.

Shapes: B pictures of a batch, C feature maps, k entries a map.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from zfnb.adopt import as_network
from zfnb.checks import map_number, whole_number
from zfnb.data.loading import iterate
from zfnb.data.pictures import preprocess
from zfnb.errors import BadInput, BadPicture, StaleIndex, UnknownName
from zfnb.files import replacing
from zfnb.models import Network, check_images, device_of, evaluating
from zfnb.receptive import receptive_boxes
from zfnb.weights import fingerprint

SAVE_EVERY = 20.0  # seconds between two checkpoints
FORMAT = "zfnb top activations 1"


@dataclass(frozen=True)
class Record:
    """One of a feature map's strongest activations.

    Attributes
    ----------
    item : int
        Index of the picture in the dataset.
    activation : float
    position : (row, column) in the feature map
    box : (top, left, bottom, right)
        Its receptive field in the network's input, in pixels; bottom and right are exclusive.
    """

    item: int
    activation: float
    position: tuple[int, int]
    box: tuple[int, int, int, int]


@dataclass
class Table:
    """The k best of each map of a layer, best first. An empty place has item -1."""

    floor: float  # what an activation has to exceed to count at all
    value: Tensor  # (C, k) float32
    item: Tensor  # (C, k) int64
    group: Tensor  # (C, k) int64: of one group, only the best entry stays
    position: Tensor  # (C, k, 2) int64: row, column

    @classmethod
    def empty(cls, maps: int, k: int, floor: float) -> Table:
        nothing = torch.full((maps, k), -1)
        position = torch.zeros(maps, k, 2, dtype=torch.long)
        return cls(floor, torch.full((maps, k), floor), nothing, nothing.clone(), position)

    def update(self, maps: Tensor, items: Tensor, groups: Tensor) -> None:
        """Enter the activations of a batch.

        Parameters
        ----------
        maps : Tensor (B, C, H, W)
        items, groups : Tensor (B,), int64
        """
        best = maps.amax((2, 3)).float()  # (B, C)
        only_best_of_each_group(best, groups)
        k = self.value.shape[1]
        value, row = (part[:k] for part in best.sort(dim=0, descending=True, stable=True))
        changes = (value > self.value[:, -1]).any(0).nonzero()[:, 0]  # maps whose lists change
        if not len(changes):
            return
        value, row = value[:, changes].T, row[:, changes].T  # (c, <= k)
        enters = value > self.value[changes, -1:]
        c, j = enters.nonzero(as_tuple=True)
        # Where in the map: asked only of the maxima that enter a list, which soon are few.
        flat = maps[row[c, j], changes[c]].flatten(1).argmax(1)
        position = torch.zeros(*value.shape, 2, dtype=torch.long)
        position[c, j] = torch.stack((flat // maps.shape[3], flat % maps.shape[3]), dim=1)
        both = Table(  # what stood there comes first: of equal activations, the earlier one stays
            self.floor,
            torch.cat((self.value[changes], value.masked_fill(~enters, self.floor)), 1),
            torch.cat((self.item[changes], items[row].masked_fill(~enters, -1)), 1),
            torch.cat((self.group[changes], groups[row].masked_fill(~enters, -1)), 1),
            torch.cat((self.position[changes], position), 1),
        )
        both.sort()
        same = (both.group[:, :, None] == both.group[:, None, :]).tril(-1).any(2)
        repeated = same & (both.group >= 0)  # a better entry of its group stands before it
        if repeated.any():
            both.value[repeated] = self.floor
            both.item[repeated] = both.group[repeated] = -1
            both.sort()
        for name in ("value", "item", "group", "position"):
            getattr(self, name)[changes] = getattr(both, name)[:, :k]

    def sort(self) -> None:
        """Best first; empty places last; ties in the order in which they stand."""
        value = torch.where(self.item >= 0, self.value, -torch.inf)
        order = value.sort(dim=1, descending=True, stable=True).indices
        for name in ("value", "item", "group"):
            setattr(self, name, getattr(self, name).gather(1, order))
        self.position = self.position.gather(1, order[:, :, None].expand(-1, -1, 2))


def only_best_of_each_group(best: Tensor, groups: Tensor) -> None:
    """In `best` (B, C), strike out per map all but the best picture of each group, in place."""
    unique, counts = groups.unique(return_counts=True)
    for group in unique[counts > 1]:
        rows = (groups == group).nonzero()[:, 0]
        winner = best[rows].argmax(0)
        loses = torch.arange(len(rows))[:, None] != winner
        best[rows] = best[rows].masked_fill(loses, -torch.inf)


class TopActivations:
    """The strongest activations of all feature maps over a dataset; made by `build` or `load`.

    Attributes
    ----------
    layers : tuple of str
    k : int
        Entries a map, at the most.
    facts : dict of str
        Which dataset and network: names and fingerprints, how pictures were prepared, and how many
        were seen.
    """

    def __init__(self, tables: dict[str, Table], boxes: dict[str, Tensor], facts: dict[str, str]):
        self._tables, self._boxes, self.facts = tables, boxes, facts
        self.layers = tuple(tables)
        self.k = next(iter(tables.values())).value.shape[1]

    @classmethod
    def build(
        cls,
        net: nn.Module,
        dataset: Dataset,
        layers: Sequence[str] | None = None,
        k: int = 9,
        *,
        batch_size: int = 32,
        checkpoint: str | os.PathLike | None = None,
        progress: bool = False,
    ) -> TopActivations:
        """Pass over a dataset once.

        Parameters
        ----------
        net : Network, or nn.Module that `zfnb.load_model` takes
        dataset : torch Dataset of (image, target)
            Images are pictures, or tensors (3, H, W) that fit the network. If the dataset has a
            ``group(i)``, pictures of one group (the scenes of one stamp) have one entry together.
        layers : names, optional
            By default all layers of filters: conv1, conv2, ..., fc6, ...
        k : int
            Entries a map.
        checkpoint : path, optional
            File that is saved now and then; an interrupted pass goes on from it.
        progress : bool
            Show a bar.

        Raises
        ------
        UnknownName, BadInput
            For an unknown layer, an empty dataset, images that do not fit.
        StaleIndex
            If `checkpoint` holds an index of another dataset or network, or of pictures that were
            prepared in another way.
        """
        net = as_network(net)
        if isinstance(layers, str):
            layers = (layers,)
        layers = tuple(layers or (n for n in net.layer_names if n.startswith(("conv", "fc"))))
        for layer in layers:
            net.check_layer(layer)
        k = whole_number(k, "k must be a whole number from 1 on", 1)
        if not len(dataset):
            raise BadInput("The dataset is empty; give one with at least one picture.")
        layers = tuple(name for name in net.layer_names if name in layers)
        facts = {
            "format": FORMAT,
            "dataset": str(getattr(dataset, "name", type(dataset).__name__)),
            "dataset_fingerprint": dataset_fingerprint(dataset),
            "network": str(net),
            "network_fingerprint": fingerprint(net),
            "preprocessing": preparation(net),
            "pictures": str(len(dataset)),
            "seen": "0",
        }
        if checkpoint is not None and Path(checkpoint).exists():
            index = cls.load(checkpoint, dataset=dataset, net=net)
            if index.layers != layers or index.k != k:
                raise StaleIndex(
                    f"{Path(checkpoint).name} holds layers {', '.join(index.layers)} with k="
                    f"{index.k}, not what was asked for; delete it or choose another file."
                )
        else:
            tables = {
                layer: Table.empty(net.shapes[layer][0], k, floor(net, layer)) for layer in layers
            }
            index = cls(tables, {}, facts)
        index._pass(net, dataset, batch_size, checkpoint, progress)
        return index

    def _pass(self, net: Network, dataset, batch_size: int, checkpoint, progress: bool) -> None:
        """Go over what has not been seen yet."""
        seen, last = int(self.facts["seen"]), time.monotonic()
        group = getattr(dataset, "group", lambda item: item)
        with evaluating(net):
            batches = iterate(
                dataset,
                batch_size,
                transform=partial(as_input, net),
                indices=range(seen, len(dataset)),
            )
            for items, images, _ in tqdm(
                batches, desc="strongest activations", unit="batch", disable=not progress
            ):
                x = check_images(net, images.to(device_of(net)))
                groups = torch.tensor([group(item) for item in items.tolist()])
                for name in net.layer_names:
                    x = getattr(net, name)(x)
                    if name in self._tables:
                        maps = x[:, :, None, None] if x.ndim == 2 else x
                        self._tables[name].update(maps.cpu(), items, groups)
                    if name == self.layers[-1]:
                        break
                self.facts["seen"] = str(int(items[-1]) + 1)
                if checkpoint is not None and time.monotonic() - last > SAVE_EVERY:
                    self._measure(net)
                    self.save(checkpoint)
                    last = time.monotonic()
        self.facts["seen"] = str(len(dataset))
        self._measure(net)
        if checkpoint is not None:
            self.save(checkpoint)

    def _measure(self, net: Network) -> None:
        """Boxes (C, k, 4) of all entries."""
        for layer, table in self._tables.items():
            boxes = receptive_boxes(net, layer, table.position.flatten(0, 1))
            self._boxes[layer] = boxes.reshape(*table.item.shape, 4).clone()

    def maps(self, layer: str) -> int:
        """Number of feature maps (or units) of a layer."""
        return len(self._table(layer).value)

    def strongest(self, layer: str) -> Tensor:
        """The strongest activation of each map of a layer (C,); 0 where a map never answered."""
        table = self._table(layer)
        return table.value[:, 0].masked_fill(table.item[:, 0] < 0, 0.0)

    def top(self, layer: str, feature_map: int) -> list[Record]:
        """The strongest activations of a feature map, best first.

        There are fewer than k where fewer pictures (or groups) excite the map at all.

        Raises
        ------
        UnknownName, BadInput
            For a layer or map that is not in the index.
        """
        table = self._table(layer)
        m = map_number(feature_map, len(table.item), layer)
        rows = zip(
            table.item[m].tolist(),
            table.value[m].tolist(),
            table.position[m].tolist(),
            self._boxes[layer][m].tolist(),
            strict=True,
        )
        return [
            Record(item, value, tuple(position), tuple(box))
            for item, value, position, box in rows
            if item >= 0
        ]

    def _table(self, layer: str) -> Table:
        if layer not in self._tables:
            raise UnknownName.of("layer of this index", layer, self._tables)
        return self._tables[layer]

    def save(self, path: str | os.PathLike) -> None:
        """Write the index as one safetensors file, as a whole or not at all."""
        tensors = {}
        for layer, table in self._tables.items():
            for name in ("value", "item", "group", "position"):
                tensors[f"{layer}.{name}"] = getattr(table, name).contiguous()
            tensors[f"{layer}.box"] = self._boxes[layer].contiguous()
        floors = {layer: table.floor for layer, table in self._tables.items()}
        facts = {**self.facts, "layers": json.dumps(self.layers), "floors": json.dumps(floors)}
        with replacing(path) as temporary:
            save_file(tensors, temporary, facts)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        dataset: Dataset | None = None,
        net: nn.Module | None = None,
    ) -> TopActivations:
        """Read an index; with `dataset` or `net`, only if it was made from them.

        Raises
        ------
        StaleIndex
            If it was made from another dataset or network, from pictures that were prepared in
            another way, or is no index.
        """
        path = Path(path)
        if not path.is_file():
            raise StaleIndex(f"There is no index {str(path)!r}; TopActivations.build makes one.")
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise StaleIndex(
                f"{path.name} is damaged ({error}); delete it and build it again."
            ) from error
        if facts.get("format") != FORMAT:
            raise StaleIndex(f"{path.name} is not an index of strongest activations.")
        for what, given, of in (
            ("dataset", dataset, dataset_fingerprint),
            ("network", net, lambda net: fingerprint(as_network(net))),
        ):
            if given is not None and of(given) != facts[f"{what}_fingerprint"]:
                raise StaleIndex(
                    f"{path.name} was made from another {what} ({facts[what]}); delete it, or "
                    "build another index."
                )
        if net is not None and preparation(as_network(net)) != facts.get("preprocessing"):
            how = "were prepared in another way (the network's .preprocessing differs)"
            if "preprocessing" not in facts:  # in an index of an older version
                how = "may have been prepared in another way"
            raise StaleIndex(
                f"{path.name} was made from pictures that {how}; delete it, or build another index."
            )
        floors = json.loads(facts.pop("floors"))
        names = ("value", "item", "group", "position")
        layers = json.loads(facts.pop("layers"))
        tables = {
            layer: Table(floors[layer], *(tensors[f"{layer}.{name}"] for name in names))
            for layer in layers
        }
        return cls(tables, {layer: tensors[f"{layer}.box"] for layer in layers}, facts)


def as_input(net: Network, image: Image.Image | Tensor) -> Tensor:
    """An item's image as the network's input (3, H, W)."""
    return image if isinstance(image, Tensor) else preprocess(image, net)


def preparation(net: Network) -> str:
    """How `net` has its pictures prepared, as a line of JSON."""
    return json.dumps(asdict(net.preprocessing), sort_keys=True)


def inputs(net: Network, dataset: Dataset, items: Sequence[int]) -> Tensor:
    """Items of a dataset as a batch (N, 3, H, W) for `net`, e.g. those of `TopActivations.top`.

    It is where the network is.
    """
    if not len(items):
        raise BadInput("No items were given; this feature map answers to no picture.")
    images = torch.stack([as_input(net, dataset[item][0]) for item in items])
    return images.to(device_of(net))


def floor(net: Network, layer: str) -> float:
    """What an activation must exceed to count: 0 behind a ReLU, nothing for logits."""
    last = None
    for _, step in net.steps(to=layer):
        last = step if isinstance(step, nn.Conv2d | nn.Linear | nn.ReLU) else last
    return 0.0 if isinstance(last, nn.ReLU) else -float("inf")


def dataset_fingerprint(dataset: Dataset, pictures: int | None = 16) -> str:
    """SHA-256 in hexadecimal that tells datasets apart.

    A dataset's own ``fingerprint()``, where it has one; otherwise its length and so many of its
    pictures, spread over it; all of them for None. A transform is not part of the dataset's own:
    with one, both count: the dataset's own, and the pictures that come out of the transform.
    """
    own = getattr(dataset, "fingerprint", None)
    known = own() if callable(own) else None
    if known is not None and getattr(dataset, "transform", None) is None:
        return known
    digest = hashlib.sha256((known or f"{type(dataset).__name__} {len(dataset)}").encode())
    looked = len(dataset) if pictures is None else min(pictures, len(dataset))
    for item in np.linspace(0, len(dataset) - 1, looked).astype(int).tolist():
        try:
            image = dataset[item][0]
        except BadPicture:
            digest.update(b"unreadable")
            continue
        values = image.numpy() if isinstance(image, Tensor) else np.asarray(image)
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
