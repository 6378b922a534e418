"""Classification errors as in Sec. 5.1 and Table 2: top-k, 1 or 10 crops, one network or several.

Shapes: N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from zfnb.batches import Loader
from zfnb.checks import whole_number
from zfnb.data.pictures import Preprocessing, open_picture
from zfnb.errors import BadInput, UnknownName
from zfnb.models import Network, device_of, evaluating

CROPS = (1, 10)


def ten_crops(picture, preprocessing: Preprocessing) -> Tensor:
    """The paper's ten inputs of a picture (Sec. 3.1): "10 different sub-crops of size 224x224
    (corners + center with(out) horizontal flips)" of the centre 256 x 256.

    The paper trains on them. To average what a network says of the ten is what Krizhevsky et al.
    (2012) do to test one.

    Parameters
    ----------
    picture : anything that `zfnb.data.pictures.open_picture` takes
    preprocessing : Preprocessing
        ``resize`` and ``crop`` stand for 256 and 224.

    Returns
    -------
    Tensor (10, 3, crop, crop)
        Top left, top right, bottom left, bottom right, centre; then the same, flipped.
    """
    image = open_picture(picture)
    size, crop = preprocessing.resize, preprocessing.crop
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    x = preprocessing.normalize(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    far, middle = size - crop, round((size - crop) / 2)
    places = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
    five = torch.stack([x[:, t : t + crop, s : s + crop] for t, s in places])
    return torch.cat([five, five.flip(3)])


class Inputs(Dataset):
    """The pictures of a dataset as a network's inputs: (crops, 3, H, W) each."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, crops: int):
        self.dataset, self.preprocessing, self.crops = dataset, preprocessing, crops

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor:
        picture = self.dataset[index][0]
        if self.crops == 10:
            return ten_crops(picture, self.preprocessing)
        return self.preprocessing(picture)[None]


def probabilities(
    net: Network,
    dataset: Dataset,
    crops: int = 1,
    batch: int = 100,
    workers: int = 0,
    progress: Callable | None = None,
) -> Tensor:
    """Class probabilities of every picture, averaged over its crops.

    Parameters
    ----------
    net : Network
        With a classifier; its ``.preprocessing`` prepares the pictures.
    dataset : Dataset
        Items (PIL image, target).
    crops : {1, 10}
        The central crop, or `ten_crops`.
    batch : int
        Inputs at a time: with ten crops, a tenth as many pictures (one at least).
    workers : int
        Processes that decode.
    progress : callable, optional
        Wraps the iterator over batches, e.g. ``tqdm``.

    Returns
    -------
    Tensor (N, K) float32, rows sum to 1
    """
    if crops not in CROPS:
        raise UnknownName.of("number of crops", crops, CROPS)
    if not len(dataset):
        raise BadInput("The dataset has no pictures to evaluate on.")
    batch = whole_number(batch, "batch must be a whole number from 1 on", 1)
    device = device_of(net)
    loader = Loader(
        Inputs(dataset, net.preprocessing, crops),
        batch_size=max(1, batch // crops),
        num_workers=workers,
    )
    found = []
    with evaluating(net):
        for x in progress(loader) if progress else loader:  # (n, crops, 3, H, W)
            logits = net(x.flatten(0, 1).to(device))
            found.append(logits.float().softmax(1).unflatten(0, (-1, crops)).mean(1).cpu())
    return torch.cat(found).clone()


def in_top(scores: Tensor, targets: Tensor, ks: Sequence[int] = (1, 5)) -> Tensor:
    """Whether each target is among the k largest scores: (N, K), (N,) to (N, len(ks)) bool.

    A class with the same score as the target counts as ahead of it: a network that says the same
    for all classes gets nothing right.
    """
    own = scores.gather(1, targets[:, None])
    ahead = (scores >= own).sum(1) - 1  # (N,); the target itself does not count
    ahead = torch.where(own[:, 0].isfinite(), ahead, scores.shape[1])
    return torch.stack([ahead < k for k in ks], 1)


def top_k_errors(
    scores: Tensor, targets: Sequence[int] | Tensor, ks: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """Errors in percent: pictures whose class is not among the k most probable.

    Parameters
    ----------
    scores : Tensor (N, K)
        Probabilities or logits.
    targets : (N,) int
    ks : sequence of int

    Returns
    -------
    dict {k: error in [0, 100]}
    """
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    if scores.ndim != 2 or len(scores) != len(targets) or not len(targets):
        raise BadInput(
            f"Scores must be (N, K) and targets (N,), N > 0; got {tuple(scores.shape)} and "
            f"{tuple(targets.shape)}."
        )
    right = in_top(scores, targets, ks).double().mean(0)
    return {k: float(100 * (1 - part)) for k, part in zip(ks, right, strict=True)}


def ensemble(members: Sequence[Tensor]) -> Tensor:
    """Several networks as one (Table 2): the mean of their probabilities, (N, K).

    The paper does not say how it averages; this is what Krizhevsky et al. (2012) do.
    """
    if not members or any(member.shape != members[0].shape for member in members):
        raise BadInput("An ensemble needs at least one network, and all with the same classes.")
    return torch.stack(list(members)).mean(0)


def evaluate(
    nets: Network | Sequence[Network],
    dataset: Dataset,
    crops: int = 1,
    ks: Sequence[int] = (1, 5),
    **options,
) -> dict[int, float]:
    """Top-k errors in percent of a network, or of an ensemble of networks, on a dataset.

    `options` go to `probabilities` (batch, workers, progress).
    """
    nets = [nets] if isinstance(nets, Network) else list(nets)
    members = [probabilities(net, dataset, crops, **options) for net in nets]
    return top_k_errors(ensemble(members), dataset.targets, ks)
