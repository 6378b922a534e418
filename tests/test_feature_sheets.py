"""Feature sheets and the numbers about them, on networks and datasets small enough to work out."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import zfnb
from zfnb import feature_sheets as sheets
from zfnb.activations import Table
from zfnb.data.pictures import Preprocessing
from zfnb.deconvnet import Projection
from zfnb.errors import BadInput, UnknownName
from zfnb.layers import SwitchMaxPool2d
from zfnb.models import Network


def network(layers: dict, size: int) -> Network:
    """A network whose inputs are pictures / 255, neither scaled nor cut."""
    plain = Preprocessing(resize=size, crop=size, mean=(0, 0, 0), std=(1, 1, 1))
    return Network(layers, name="small", input_size=size, preprocessing=plain, weights="by hand")


@pytest.fixture
def strided():
    """8 pixels; conv1 of 4 x 4 pixels every 2, with one ring of padding: 4 positions a side."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 2, kernel_size=4, stride=2, padding=1)
    return network({"conv1": nn.Sequential(conv, nn.ReLU())}, 8)


class Pictures(Dataset):
    """Random inputs; targets and groups as given."""

    name = "pictures"

    def __init__(self, targets, group=lambda i: i, size=8):
        self.targets, self.group = targets, group
        generator = torch.Generator().manual_seed(1)
        self.images = torch.rand(len(targets), 3, size, size, generator=generator)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, item):
        return self.images[item], self.targets[item]


def index_of(items: list[list[int]], values: list[list[float]] | None = None):
    """An index with these items a map, best first; -1 where a list is not full."""
    item = torch.tensor(items)
    maps, k = item.shape
    value = torch.tensor(values) if values else torch.arange(k, 0, -1.0).repeat(maps, 1)
    table = Table(0.0, value, item, item.clone(), torch.zeros(maps, k, 2, dtype=torch.long))
    boxes = torch.zeros(maps, k, 4, dtype=torch.long)
    return zfnb.TopActivations({"conv1": table}, {"conv1": boxes}, {})


# ---------------------------------------------------------------- fields


def test_a_field_is_the_box_inside_and_nan_outside(strided):
    images = torch.arange(3 * 3 * 64, dtype=torch.float).reshape(3, 3, 8, 8)
    positions = torch.tensor([[1, 2], [0, 0], [3, 1]])
    fields = sheets.cut_fields(images, strided, "conv1", positions)
    assert fields.shape == (3, 3, 4, 4)
    # Unit (1, 2) sees rows 1 to 4 and columns 3 to 6: all inside.
    assert torch.equal(fields[0], images[0, :, 1:5, 3:7])
    # Unit (0, 0) begins one pixel before the picture.
    assert fields[1, :, 0].isnan().all() and fields[1, :, :, 0].isnan().all()
    assert torch.equal(fields[1, :, 1:, 1:], images[1, :, :3, :3])
    # Unit (3, 1) ends one row behind it.
    assert fields[2, :, 3].isnan().all()
    assert torch.equal(fields[2, :, :3], images[2, :, 5:, 1:5])


def test_fields_agree_with_the_boxes(small_zfnet, noise):
    images = noise(1, 64)
    for layer in ("conv1", "pool1", "conv2", "conv4"):
        size = small_zfnet.shapes[layer][1]
        for row, column in [(0, 0), (0, size - 1), (size // 2, size // 2), (size - 1, 0)]:
            position = torch.tensor([[row, column]])
            field = sheets.cut_fields(images, small_zfnet, layer, position)[0]
            top, left, bottom, right = zfnb.receptive.receptive_boxes(small_zfnet, layer, position)[
                0
            ].tolist()
            inside = ~field[0].isnan()
            # A box stops at the border of every map on the way, a field at the picture's only.
            assert inside.sum() >= (bottom - top) * (right - left)
            box = images[0, :, top:bottom, left:right].flatten().tolist()
            assert set(box) <= set(field[:, inside].flatten().tolist())


def test_the_field_of_a_connected_layer_is_the_picture(small_zfnet, noise):
    images = noise(2, 64)
    assert torch.equal(
        sheets.cut_fields(images, small_zfnet, "fc6", torch.zeros(2, 2, dtype=torch.long)), images
    )


@pytest.mark.parametrize("layer", ["conv1", "conv3", "fc8"])
def test_a_sheet_holds_projections_and_patches(small_zfnet, layer):
    dataset = Pictures([0] * 12, size=64)
    index = zfnb.TopActivations.build(small_zfnet, dataset, k=4)
    chosen = int(index.strongest(layer).argmax())
    sheet = sheets.feature_sheet(small_zfnet, dataset, index, layer, chosen)
    assert sheet.records == index.top(layer, chosen) and len(sheet.records) == 4
    assert sheet.patches.shape == sheet.projections.shape
    deconvnet = zfnb.Deconvnet(small_zfnet)
    for n, record in enumerate(sheet.records):
        image = dataset.images[record.item][None]
        pixels = deconvnet.project(image, layer, chosen).pixels
        position = torch.tensor([record.position])
        for field, whole in ((sheet.projections[n], pixels), (sheet.patches[n], image)):
            alone = sheets.cut_fields(whole, small_zfnet, layer, position)[0]
            torch.testing.assert_close(field, alone, equal_nan=True, rtol=1e-4, atol=1e-5)
        # Nothing of a projection lies outside its field.
        inside = sheet.projections[n].nan_to_num()
        assert inside.square().sum().item() == pytest.approx(pixels.square().sum().item(), rel=1e-4)


def test_a_sheet_of_another_rule(small_zfnet):
    dataset = Pictures([0] * 6, size=64)
    index = zfnb.TopActivations.build(small_zfnet, dataset, k=2)
    chosen = int(index.strongest("conv4").argmax())
    gradient = zfnb.Deconvnet(small_zfnet, rule="gradient")
    plain, other = (
        sheets.feature_sheet(small_zfnet, dataset, index, "conv4", chosen, d)
        for d in (None, gradient)
    )
    assert not torch.equal(plain.projections.nan_to_num(), other.projections.nan_to_num())
    torch.testing.assert_close(plain.patches, other.patches, equal_nan=True)


def test_sheets_that_cannot_be(strided):
    dataset = Pictures([0, 0, 0])
    with pytest.raises(BadInput, match=r"Feature map 1 of conv1 answers to no picture"):
        sheets.feature_sheet(strided, dataset, index_of([[0, 1], [-1, -1]]), "conv1", 1)
    with pytest.raises(UnknownName, match="conv1"):
        sheets.feature_sheet(strided, dataset, index_of([[0, 1]]), "conv7", 0)
    with pytest.raises(BadInput, match="maps 0 to 0"):
        sheets.feature_sheet(strided, dataset, index_of([[0, 1]]), "conv1", 1)


# ---------------------------------------------------------------- likeness


def plain_likeness(fields):
    """The mean of numpy's correlation over all pairs, where neither is NaN."""
    values = []
    for a, b in combinations(fields.flatten(1).double().numpy(), 2):
        both = ~np.isnan(a) & ~np.isnan(b)
        if both.sum() > 1 and a[both].std() > 1e-9 and b[both].std() > 1e-9:
            values.append(np.corrcoef(a[both], b[both])[0, 1])
    return np.mean(values) if values else np.nan


def test_likeness_of_what_is_known():
    one = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert sheets.likeness(one.repeat(4, 1, 1, 1)) == pytest.approx(1)
    assert sheets.likeness(torch.cat((one, 5 * one + 3))) == pytest.approx(1)  # scale and shift
    assert sheets.likeness(torch.cat((one, -one))) == pytest.approx(-1)
    many = torch.randn(9, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    assert abs(sheets.likeness(many)) < 0.01
    # By hand: (1, 2, 3) and (1, 3, 2) correlate by 1/2.
    assert sheets.likeness(torch.tensor([[[[1.0, 2, 3]]], [[[1.0, 3, 2]]]])) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_likeness_leaves_out_what_is_missing(scale):
    generator = torch.Generator().manual_seed(2)
    fields = torch.randn(5, 3, 9, 9, generator=generator) + 2
    fields += torch.randn(1, 3, 9, 9, generator=generator)  # something in common
    fields[0, :, :4] = torch.nan
    fields[1, :, :, 6:] = torch.nan
    fields[2] = torch.nan  # nothing at all
    fields[3, :, 4:] = torch.nan  # shares no pixel with the first
    assert sheets.likeness(fields * scale) == pytest.approx(plain_likeness(fields), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3])
def test_an_even_field_is_like_nothing(level):
    fields = torch.randn(3, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    fields[0] = level
    assert sheets.likeness(fields) == pytest.approx(plain_likeness(fields), abs=1e-6)
    assert np.isnan(sheets.likeness(fields[:2]))
    assert np.isnan(sheets.likeness(fields[:1]))  # no pair


# ---------------------------------------------------------------- classes

#              map 0: 2 of class 0    map 1: 3 of class 1    map 2: not full   map 3: 3 of class 1
ITEMS = [[0, 1, 4, 8], [4, 5, 6, 9], [0, 1, 2, -1], [7, 5, 1, 6]]
TARGETS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 3]


def test_purity_by_hand():
    purity = sheets.class_purity(index_of(ITEMS), Pictures(TARGETS), "conv1")
    assert purity.tolist() == [0.5, 0.75, 0.75]  # the list that is not full does not count


def test_lively_maps_have_full_lists():
    index = index_of(ITEMS)
    assert sheets.lively_maps(index, "conv1", 9) == [0, 1, 3]
    drawn = [tuple(sheets.lively_maps(index, "conv1", 2, seed)) for seed in range(20)]
    assert drawn == [tuple(sheets.lively_maps(index, "conv1", 2, seed)) for seed in range(20)]
    assert set(drawn) == {(0, 1), (0, 3), (1, 3)}


def test_most_of_a_kind_takes_one_map_a_class():
    values = [[9.0, 8, 7, 6], [2.0, 1, 1, 1], [5.0, 4, 3, 0], [3.0, 2, 1, 1]]
    index, dataset = index_of(ITEMS, values), Pictures(TARGETS)
    # Maps 1 and 3 hold class 1 three times; 3 is the stronger. Map 0 holds class 0 twice.
    assert sheets.most_of_a_kind(index, dataset, "conv1", 9) == [3, 0]
    assert sheets.most_of_a_kind(index, dataset, "conv1", 1) == [3]


@pytest.mark.parametrize("k", [2, 3])
def test_chance_purity_is_that_of_all_draws(k):
    kinds = [0, 0, 0, 1, 1, 2]  # of six groups, each three pictures
    dataset = Pictures([kind for kind in kinds for _ in range(3)], group=lambda i: i // 3)
    shares = [Counter(c).most_common(1)[0][1] / k for c in combinations(kinds, k)]
    found = sheets.chance_purity(dataset, k, draws=4000)
    error = np.std(shares) / np.sqrt(4000)
    assert found == pytest.approx(np.mean(shares), abs=4 * error)
    assert found == sheets.chance_purity(dataset, k, draws=4000)


def test_chance_purity_takes_a_group_once():
    dataset = Pictures([0, 0, 0, 1], group=lambda i: i // 3)  # two groups of two classes
    assert sheets.chance_purity(dataset, 2, draws=50) == 0.5
    with pytest.raises(BadInput, match=r"3 pictures cannot be drawn from 2 groups"):
        sheets.chance_purity(dataset, 3)


# ---------------------------------------------------------------- where the energy lies


class TwoScenes(Dataset):
    """White pictures; the object is the left half of the first, the lower quarter of the other."""

    name, targets = "two scenes", (0, 0)

    def __init__(self):
        self.alphas = [np.zeros((8, 8), np.float32) for _ in range(2)]
        self.alphas[0][:, :4] = 1
        self.alphas[1][6:] = 1
        self.white = Image.new("RGB", (8, 8), "white")

    def __len__(self):
        return 2

    def __getitem__(self, item):
        return self.white, 0

    def scene(self, item):
        return SimpleNamespace(picture=self.white, alpha=self.alphas[item])


def test_energy_on_the_object_by_hand():
    # One unit sees everything; its filter is 3 on the left two columns and 1 on the others.
    conv = nn.Conv2d(3, 1, kernel_size=8, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.weight[..., :2] = 3
    net, scenes = network({"conv1": nn.Sequential(conv, nn.ReLU())}, 8), TwoScenes()
    index = zfnb.TopActivations.build(net, scenes, k=2)
    energy, area = sheets.energy_on_object(net, scenes, index, "conv1", [0])
    # Squares a row: 9 9 1 1 1 1 1 1, 24 in all; 20 of them on the left half.
    assert [record.item for record in index.top("conv1", 0)] == [0, 1]
    assert energy == pytest.approx([20 / 24, 0.25])
    assert area == pytest.approx([0.5, 0.25])


def test_energy_counts_the_field_only():
    # The field is the upper left 4 x 4 pixels, or a neighbour's: a white picture ties, and the
    # first position wins. The object covers all of it in the first scene, nothing in the other.
    conv = nn.Conv2d(3, 1, kernel_size=4, stride=4, bias=False)
    nn.init.ones_(conv.weight)
    net, scenes = network({"conv1": nn.Sequential(conv, nn.ReLU())}, 8), TwoScenes()
    index = zfnb.TopActivations.build(net, scenes, k=2)
    assert [record.position for record in index.top("conv1", 0)] == [(0, 0), (0, 0)]
    energy, area = sheets.energy_on_object(net, scenes, index, "conv1", [0])
    assert energy == pytest.approx([1, 0]) and area == pytest.approx([1, 0])


def test_a_map_without_pictures_gives_no_energy():
    conv = nn.Conv2d(3, 2, kernel_size=4, stride=4, bias=False)
    nn.init.ones_(conv.weight)
    with torch.no_grad():
        conv.weight[0] = -1  # map 0 answers to nothing
    net, scenes = network({"conv1": nn.Sequential(conv, nn.ReLU())}, 8), TwoScenes()
    index = zfnb.TopActivations.build(net, scenes, k=2)
    energy, area = sheets.energy_on_object(net, scenes, index, "conv1", [0, 1])
    assert energy == pytest.approx([1, 0]) and area == pytest.approx([1, 0])
    assert sheets.energy_on_object(net, scenes, index, "conv1", [0])[0].shape == (0,)


def test_a_projection_of_nothing_is_left_out():
    # Layer 2's filter is negative: its activation comes from its bias, and nothing comes down.
    first = nn.Conv2d(3, 1, kernel_size=2, stride=2, bias=False)
    second = nn.Conv2d(1, 1, kernel_size=1)
    nn.init.ones_(first.weight)
    nn.init.constant_(second.weight, -1)
    nn.init.constant_(second.bias, 100)
    layers = {
        "conv1": nn.Sequential(first, nn.ReLU()),
        "pool1": SwitchMaxPool2d(2, 2),
        "conv2": nn.Sequential(second, nn.ReLU()),
    }
    net, scenes = network(layers, 8), TwoScenes()
    index = zfnb.TopActivations.build(net, scenes, k=2)
    assert len(index.top("conv2", 0)) == 2
    energy, area = sheets.energy_on_object(net, scenes, index, "conv2", [0])
    assert len(energy) == len(area) == 0


def test_the_mask_goes_the_way_of_the_picture(trunk):
    scenes = zfnb.load_dataset("scenes", "test", scale=(0.6, 0.6), backgrounds=("noise",))
    scene = scenes.scene(0)
    mask = sheets.object_mask(trunk, scene)
    assert mask.shape == (224, 224) and mask.min() >= 0 and mask.max() <= 1
    # At 256 pixels nothing is scaled: the centre is cut out.
    expected = torch.from_numpy(np.array(scene.alpha))[16:240, 16:240]
    assert (mask - expected).abs().max() < 1 / 255


def test_energy_on_edges_by_hand():
    # Steps of 1 a column in the left half, flat in the right. Steepness: 1 1 1 .5 0 0 in each row.
    image = torch.tensor([0.0, 1, 2, 3, 3, 3]).expand(3, 6, 6)
    steepness = np.array([1, 1, 1, 0.5, 0, 0])
    pixels = torch.zeros(3, 3, 6, 6)
    pixels[0, :, :, 0] = 2  # all on the slope
    pixels[1, :, :, 5] = 2  # all on the flat
    box = torch.tensor([[0, 0, 6, 6], [0, 0, 6, 6], [0, 2, 6, 6]])
    pixels[2] = 1  # evenly
    projections = Projection(pixels, torch.ones(3), torch.zeros(3, 2), box)
    ratio = sheets.energy_on_edges(image, projections)
    assert ratio == pytest.approx([1 / steepness.mean(), 0, 1])
    empty = Projection(pixels[:1] * 0, torch.ones(1), torch.zeros(1, 2), box[:1])
    assert np.isnan(sheets.energy_on_edges(image, empty)).all()
