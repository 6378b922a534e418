"""Top-k errors, ten crops, ensembles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb.compat import torchvision
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, BadPicture, UnknownName
from zfnb.evaluate import ensemble, evaluate, probabilities, ten_crops, top_k_errors
from zfnb.models import build, describe_variant


class Noise:
    targets = (0, 1, 2, 3, 0)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        noise = np.random.default_rng(index).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        return Image.fromarray(noise), self.targets[index]


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    description = describe_variant("zfnet", width=0.05, input_size=64)
    return [build(description, 4) for _ in range(2)]


def test_errors_by_hand():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])
    assert top_k_errors(scores, [0, 0, 0, 1], (1, 2, 3)) == {1: 75.0, 2: 25.0, 3: 0.0}


def test_a_network_that_cannot_choose_is_wrong():
    """Ties and NaN do not count as right answers."""
    assert top_k_errors(torch.zeros(2, 10), [0, 3])[5] == 100.0
    assert top_k_errors(torch.full((2, 10), float("nan")), [0, 3])[5] == 100.0


def test_ten_crops_are_torchvisions():
    picture = Noise()[0][0].crop((0, 0, 64, 64))
    preprocessing = Preprocessing(64, 56, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    want = torchvision.transforms.functional.ten_crop(preprocessing.normalize(picture), 56)
    # torchvision flips the picture before it takes corners, so its left and right change places.
    order = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]
    assert torch.equal(ten_crops(picture, preprocessing), torch.stack(want)[order])


@pytest.mark.parametrize(
    ("size", "centre"), [((96, 64), (16, 0, 80, 64)), ((64, 96), (0, 16, 64, 80))]
)
def test_ten_crops_are_of_the_centre(size, centre):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    preprocessing = Preprocessing(64, 56, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    got, want = (ten_crops(p, preprocessing) for p in (picture, picture.crop(centre)))
    assert torch.equal(got, want)


def test_probabilities_are_means_over_crops(nets):
    net, data = nets[0], Noise()
    got = probabilities(net, data, crops=10, batch=2)
    with torch.inference_mode():
        want = torch.stack(
            [net(ten_crops(data[i][0], net.preprocessing)).softmax(1).mean(0) for i in range(5)]
        )
    assert torch.allclose(got, want, atol=1e-5)
    assert torch.allclose(got.sum(1), torch.ones(5))


def test_ten_crops_do_not_multiply_the_batch(nets):
    net, sizes = nets[0], []
    hook = net.conv1.register_forward_hook(lambda module, inputs, out: sizes.append(len(out)))
    probabilities(net, Noise(), crops=10, batch=25)
    probabilities(net, Noise(), crops=10, batch=np.int64(3))
    hook.remove()
    assert sizes == [20, 20, 10] + [10] * 5


def test_a_picture_that_a_worker_cannot_read(nets):
    class Damaged(Noise):
        def __getitem__(self, index):
            raise BadPicture(f"{index}.png is damaged.")

    with pytest.raises(BadPicture, match=r"^0\.png is damaged\.$"):
        probabilities(nets[0], Damaged(), workers=1)


def test_an_ensemble_averages_probabilities(nets):
    data = Noise()
    members = [probabilities(net, data) for net in nets]
    mean = (members[0] + members[1]) / 2
    assert torch.allclose(ensemble(members), mean)
    assert evaluate(nets, data, ks=(1, 2)) == top_k_errors(mean, data.targets, (1, 2))
    assert evaluate(nets[0], data, ks=(1,)) == top_k_errors(members[0], data.targets, (1,))


def test_bad_arguments(nets):
    with pytest.raises(UnknownName, match="1, 10"):
        probabilities(nets[0], Noise(), crops=5)
    for batch in (0, -1, 2.0):
        with pytest.raises(BadInput, match="batch must be a whole number from 1 on"):
            probabilities(nets[0], Noise(), batch=batch)
    with pytest.raises(BadInput, match="at least one"):
        ensemble([])
    with pytest.raises(BadInput, match="targets"):
        top_k_errors(torch.rand(3, 4), [0, 1])
