"""Networks of one's own: what is taken in, and what is refused with its name and the reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zfnb
from zfnb.adopt import as_network, fold_batch_norm
from zfnb.compat import torchvision
from zfnb.errors import BadInput, CannotInvert, UnknownName
from zfnb.models import build, describe_variant


def test_vgg16():
    vgg = torchvision.models.vgg16().eval()
    net = zfnb.load_model(vgg)
    assert net.layer_names[:4] == ("conv1", "conv2", "pool2", "conv3")
    assert net.layer_names[-4:] == ("pool13", "fc14", "fc15", "fc16")
    assert net.conv1.filter is vgg.features[0]  # shared, not copied
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(net(x), vgg(x))


def test_batch_norm_is_folded():
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.LocalResponseNorm(3),
        nn.MaxPool2d(2),
        nn.Dropout2d(),
        nn.Conv2d(8, 6, 3, groups=2),
        nn.BatchNorm2d(6, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 6 * 6, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
        nn.Linear(10, 4),
    )
    for module in own:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.normal_()
                module.bias.data.normal_()
    own.eval()
    net = as_network(own, input_size=16)
    assert net.layer_names == ("conv1", "norm1", "pool1", "conv2", "fc3", "fc4")
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(net(x), own(x))


def test_training_network_is_folded():
    net = build(describe_variant("zfnet", input_size=64, width=1 / 16, batch_norm=True), 5)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(8, 3, 64, 64))
    net.eval()
    plain = fold_batch_norm(net)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain(x), net(x), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    with pytest.raises(BadInput, match="no batch normalisation"):
        fold_batch_norm(plain)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.relu(self.filters(x))


class Method(Functional):
    def forward(self, x):
        return self.filters(x).relu()


class Residual(Functional):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.filters(x)
        return x + self.same(x)


class Branching(Functional):
    def forward(self, x):
        x = self.filters(x)
        return x if x.sum() > 0 else -x


class TwoInputs(Functional):
    def forward(self, x, y):
        return self.filters(x)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Functional(), "'relu' is a functional ReLU"),
        (Method(), "functional ReLU"),
        (Residual(), "'add' in Residual joins 2 branches"),
        (Branching(), "cannot be read"),
        (TwoInputs(), "more than one input"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "'1' is a GELU"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1)), "Leave it out"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)), "'2' cannot be f"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")), "'0' pads with"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "'0' pads with"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)), "'1' averages 222 x 222"),
        (nn.Sequential(nn.MaxPool2d(2)), "holds no filters"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3)), "'0' follows no filters"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU()), "'2' follows a pool; put"),
        (torchvision.models.resnet18(), "residual block"),
    ],
)
def test_refused(module, sentence):
    with pytest.raises(CannotInvert, match=sentence):
        zfnb.load_model(module)
    with pytest.raises(CannotInvert, match=sentence):
        zfnb.Deconvnet(module)


def test_wrong_input_size():
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2))
    assert as_network(own, input_size=12).shapes["fc2"] == (2,)
    with pytest.raises(BadInput, match="expects 400 inputs"):
        as_network(own)
    with pytest.raises(BadInput, match="'0' expects 1 channels but gets 3; pictures come in with"):
        as_network(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), 28)
    with pytest.raises(BadInput, match=r"expects 784 inputs but gets 2352 .* grey"):
        as_network(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), 28)
    with pytest.raises(BadInput, match=r"'1' expects units but gets maps .* nn\.Flatten"):
        as_network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(400, 2)), 12)
    with pytest.raises(BadInput, match=r"must be an nn\.Module"):
        as_network("vgg16")


def test_contrast_normalisation_is_where_the_filters_are():
    own = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.LocalResponseNorm(3)).to("meta")
    net = as_network(own, input_size=12)
    assert net.norm1.norm.band.device.type == "meta"
    assert net(torch.empty(1, 3, 12, 12, device="meta")).shape == (1, 8, 10, 10)


def test_options_of_a_network_of_ones_own():
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert zfnb.load_model(own, input_size=np.int64(12)).shapes["conv1"] == (4, 10, 10)
    with pytest.raises(UnknownName, match=r"network of one's own 'width'.* one of: input_size"):
        zfnb.load_model(own, width=0.5)
    for bad in ("16", 16.0, True, 0):
        with pytest.raises(BadInput, match="input_size must be a positive number of pixels"):
            zfnb.load_model(own, input_size=bad)


def test_size_calls_are_part_of_a_flatten():
    class View(nn.Module):
        def __init__(self):
            super().__init__()
            self.filters, self.relu = nn.Conv2d(3, 2, 3), nn.ReLU()
            self.classes = nn.Linear(2 * 14 * 14, 3)

        def forward(self, x):
            x = self.relu(self.filters(x))
            return self.classes(x.view(x.size(0), -1))

    own = View().eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(as_network(own, input_size=16)(x), own(x))
