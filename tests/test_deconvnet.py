"""The deconvnet against examples worked by hand, a slow plain definition, and captum."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import nn

import zfnb
from tests.plain import plain_project
from zfnb.adopt import as_network, fold_batch_norm
from zfnb.compat import torchvision
from zfnb.deconvnet import RULES
from zfnb.errors import BadInput, CannotInvert, UnknownName
from zfnb.models import Network, build, describe_variant

pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward|backward):UserWarning")


def one_filter(weight: list, bias: float = 0.0, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution of three channels in which only the first is looked at."""
    kernel = torch.tensor(weight)
    conv = nn.Conv2d(3, 1, kernel.shape[0], stride, padding)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0] = kernel
        conv.bias.fill_(bias)
    return conv


def picture(values: list) -> torch.Tensor:
    """(1, 3, H, W): the first channel as given, the others zero."""
    image = torch.zeros(1, 3, len(values), len(values))
    image[0, 0] = torch.tensor(values)
    return image


def test_filter_by_hand():
    """4 x 4 picture, one 3 x 3 filter: the projection is the filter times the activation."""
    weight = [[1.0, 2, 0], [0, -1, 0], [3, 0, 0]]
    net = as_network(nn.Sequential(one_filter(weight, bias=-2.0), nn.ReLU()), input_size=4)
    x = picture([[1.0, 0, 0, 2], [0, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 1]])
    # Windows: (0,0): 1 - 1 + 0 = 0; (0,1): 0 - 0 + 3*2 = 6; (1,0): 0 - 2 = -2; (1,1): 1 - 0 = 1.
    # Minus the bias of 2, rectified: 0, 4, 0, 0. The strongest is 4, in row 0, column 1.
    found = zfnb.Deconvnet(net).project(x, "conv1", 0)
    assert found.activation.tolist() == [4.0]
    assert found.position.tolist() == [[0, 1]]
    assert found.box.tolist() == [[0, 1, 3, 4]]
    expected = [[0.0, 4, 8, 0], [0, 0, -4, 0], [0, 12, 0, 0], [0, 0, 0, 0]]
    assert found.pixels[0, 0].tolist() == expected  # negative pixels stay: no ReLU on the image
    assert not found.pixels[0, 1:].any()


def test_unpool_and_rectify_by_hand():
    """4 x 4 picture, 1 x 1 filter, 2 x 2 pool, then a filter with a negative weight."""
    net = as_network(
        nn.Sequential(
            one_filter([[2.0]]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(1, 1, 2, bias=False),
            nn.ReLU(),
        ),
        input_size=4,
    )
    with torch.no_grad():
        net.conv2.filter.weight[:] = torch.tensor([[[[1.0, -1.0], [0.5, 2.0]]]])
    x = picture([[1.0, 0, 0, 1], [0, 3, 0, 0], [2, 0, 0, 0], [0, 0, 5, 0]])
    # conv1 doubles. Pool: 6 (at 1,1), 2 (at 0,3), 4 (at 2,0), 10 (at 3,2).
    # conv2: 6 - 2 + 2 + 20 = 26.
    # Down: 26 * filter = 26, -26, 13, 52; unpooled to the switches; rectified: -26 becomes 0;
    # times 2.
    found = zfnb.Deconvnet(net).project(x, "conv2", 0)
    assert found.activation.tolist() == [26.0]
    expected = [[0.0, 0, 0, 0], [0, 52, 0, 0], [26, 0, 0, 0], [0, 0, 104, 0]]
    assert found.pixels[0, 0].tolist() == expected
    # The gradient keeps the negative part: every ReLU was open on the way up.
    gradient = zfnb.Deconvnet(net, rule="gradient").project(x, "conv2", 0)
    assert gradient.pixels[0, 0].tolist() == [
        *([0.0, 0, 0, -52], [0, 52, 0, 0], [26, 0, 0, 0], [0, 0, 104, 0]),
    ]


def test_collisions_by_hand():
    """Overlapping windows share the middle 3; the filter of ones sums what comes down."""
    net = as_network(
        nn.Sequential(
            one_filter([[1.0]]), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Conv2d(1, 1, 2), nn.ReLU()
        ),
        input_size=4,
    )
    with torch.no_grad():
        net.conv2.filter.weight[:] = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        net.conv2.filter.bias.zero_()
    x = picture([[0.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    # All four 3 x 3 windows hold the 3 at (1, 1); conv2 gives 30, and 30, 60, 90, 120 come down.
    for collisions, expected in (("sum", 300.0), ("max", 120.0), ("last", 120.0)):
        pixels = zfnb.Deconvnet(net, collisions).project(x, "conv2", 0).pixels
        assert pixels[0, 0, 1, 1] == expected
        assert pixels.sum() == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("collisions", "pools"), [("sum", "ceil"), ("sum", "pad"), ("max", "ceil"), ("last", "ceil")]
)
def test_is_its_definition(rule, collisions, pools, noise):
    """Layers of a small ZFNet, contrast normalisation included, at several places."""
    torch.manual_seed(2)
    description = describe_variant("zfnet", input_size=48, width=1 / 32, pools=pools)
    net = build(description, num_classes=4).double()
    images = noise(2, 48).double()
    deconvnet = zfnb.Deconvnet(net, collisions, rule)
    for layer in ("conv1", "pool1", "conv2", "norm2", "conv4", "pool5", "fc6", "fc8"):
        shape = net.shapes[layer]
        corner = (shape[1] - 1, 0) if len(shape) == 3 else (0, 0)
        maps = [lively(net, image[None], layer, rank) for rank, image in enumerate(images)]
        for where in ("max", corner, "map"):
            found = deconvnet.project(images, layer, maps, where)
            for image, feature_map, pixels in zip(images, maps, found.pixels, strict=True):
                expected = plain_project(net, image, layer, feature_map, where, collisions, rule)
                # A corner may be silent; and a silent window may be the last to share a switch.
                if where == "map" or (where == "max" and collisions != "last"):
                    assert expected.any(), layer  # else nothing is compared with nothing
                assert (pixels - expected).abs().max() <= 1e-10 * expected.abs().max(), layer


def test_pixels_stay_in_the_box(trunk, noise):
    images = noise(2, 224)
    for layer in trunk.layer_names:
        found = zfnb.Deconvnet(trunk).project(images, layer, 5)
        for pixels, (top, left, bottom, right) in zip(
            found.pixels.clone(), found.box.tolist(), strict=True
        ):
            assert pixels[:, top:bottom, left:right].any()
            pixels[:, top:bottom, left:right] = 0
            assert not pixels.any(), layer


def test_adjoint_identity(noise):
    """Without ReLU, bias and normalisation, up is linear once the switches are fixed:
    <A x, y> = <x, A^T y>, here with y = A x's own map."""
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 1, bias=False),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 6, 5, 2, bias=False),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(6, 5, 3, padding=1, bias=False, groups=1, dilation=1),
        nn.Flatten(),
        nn.Linear(5 * 2 * 2, 9, bias=False),
    ).double()
    net = as_network(own, input_size=50)
    x = noise(2, 50).double()
    for layer in ("conv1", "pool1", "conv2", "pool2", "conv3", "fc4"):
        maps = zfnb.features(net, x, layer)
        for feature_map in (0, 3):
            y = maps[:, feature_map].reshape(len(x), -1)
            down = zfnb.Deconvnet(net).project(x, layer, feature_map, "map").pixels
            torch.testing.assert_close((x * down).sum((1, 2, 3)), (y * y).sum(1))
            one = zfnb.Deconvnet(net).project(x, layer, feature_map, "max")
            torch.testing.assert_close((x * one.pixels).sum((1, 2, 3)), one.activation**2)


def test_adjoint_identity_of_odd_geometry(noise):
    """The same with groups, dilation, and kernels, strides and padding that differ by axis; a
    single unit's pixels stay in its box."""
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 8, (7, 5), (2, 3), (1, 0), bias=False),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 6, 3, padding=2, dilation=2, groups=2, bias=False),
        nn.MaxPool2d((3, 2), 2, padding=1),
    ).double()
    net = as_network(own, input_size=50)
    assert net.shapes["pool2"] == (6, 6, 5)
    deconvnet, x = zfnb.Deconvnet(net), noise(2, 50).double()
    for layer, (channels, height, width) in net.shapes.items():
        maps = zfnb.features(net, x, layer)
        for feature_map in (0, channels - 1):
            y = maps[:, feature_map].reshape(len(x), -1)
            down = deconvnet.project(x, layer, feature_map, "map").pixels
            torch.testing.assert_close((x * down).sum((1, 2, 3)), (y * y).sum(1))
            corners = [(row, column) for row in (0, height - 1) for column in (0, width - 1)]
            for where in ("max", *corners):
                one = deconvnet.project(x, layer, feature_map, where)
                assert one.activation.all()
                torch.testing.assert_close((x * one.pixels).sum((1, 2, 3)), one.activation**2)
                for pixels, (top, left, bottom, right) in zip(
                    one.pixels, one.box.tolist(), strict=True
                ):
                    pixels[:, top:bottom, left:right] = 0
                    assert not pixels.any(), (layer, where)


def attribute(module: nn.Module, rule: str, x: torch.Tensor, target) -> torch.Tensor:
    """captum's answer for one neuron; its seed is 1, ours the activation."""
    x = x.clone().requires_grad_()
    if rule == "deconvnet":
        return captum.attr.Deconvolution(module).attribute(x, target=target)
    if rule == "guided":
        return captum.attr.GuidedBackprop(module).attribute(x, target=target)
    return captum.attr.Saliency(module).attribute(x, target=target, abs=False)


def lively(net, x, layer, rank: int = 0) -> int:
    """A feature map that answers to every picture: the liveliest, or the next one, ..."""
    maps = zfnb.features(net, x, layer).reshape(len(x), net.shapes[layer][0], -1)
    return int(maps.amax(2).amin(0).argsort(descending=True)[rank])


def compare_with_captum(cuts, net, x):
    """`cuts` is {layer name: module that ends there}."""
    for rule in RULES:
        deconvnet = zfnb.Deconvnet(net, rule=rule)
        for layer, cut in cuts.items():
            feature_map = lively(net, x, layer)
            found = deconvnet.project(x, layer, feature_map)
            flat = len(net.shapes[layer]) == 1
            places = [tuple(place) for place in found.position.tolist()]
            target = feature_map if flat else [(feature_map, *place) for place in places]
            expected = attribute(cut, rule, x, target) * found.activation[:, None, None, None]
            scale = expected.abs().max()
            assert scale > 0, f"{rule} {layer}: a dead map shows nothing"
            difference = (found.pixels - expected).abs().max() / scale
            assert difference < 1e-5, f"{rule} {layer}: {difference:.1e}"


def sequential_cuts(features: nn.Sequential, net) -> dict[str, nn.Module]:
    """Each layer's name with the part of a torchvision network that ends with it."""
    ends = [
        at + (isinstance(step, nn.Conv2d))  # a filter's layer ends with its ReLU
        for at, step in enumerate(features)
        if isinstance(step, nn.Conv2d | nn.MaxPool2d)
    ]
    return {
        layer: features[: end + 1]
        for layer, end in zip(net.layer_names[: len(ends)], ends, strict=True)
    }


def test_equals_captum_on_alexnet(trunk, noise):
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet().eval()
    for at, layer in ((0, "conv1"), (3, "conv2"), (6, "conv3"), (8, "conv4"), (10, "conv5")):
        alexnet.features[at].load_state_dict(getattr(trunk, layer).filter.state_dict())
    net = as_network(alexnet)
    cuts = sequential_cuts(alexnet.features, net)
    flat = nn.Sequential(alexnet.features, nn.Flatten())
    cuts["fc6"] = nn.Sequential(flat, *alexnet.classifier[:3])
    cuts["fc7"] = nn.Sequential(flat, *alexnet.classifier[:6])
    cuts["fc8"] = alexnet
    assert tuple(cuts) == net.layer_names
    compare_with_captum(cuts, net, noise(2, 224))


def test_equals_captum_on_vgg16(noise):
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(init_weights=False).eval()
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    maps = as_network(vgg.features, input_size=96)
    cuts = sequential_cuts(vgg.features, maps)
    assert tuple(cuts) == maps.layer_names
    assert len(cuts) == 13 + 5
    compare_with_captum(cuts, maps, noise(1, 96))
    net = as_network(vgg)
    flat = nn.Sequential(vgg.features, nn.Flatten())
    cuts = {
        "fc14": nn.Sequential(flat, *vgg.classifier[:2]),
        "fc15": nn.Sequential(flat, *vgg.classifier[:5]),
        "fc16": vgg,
    }
    compare_with_captum(cuts, net, noise(1, 224))


def test_gradient_goes_through_contrast_normalisation(small_zfnet, noise):
    x = noise(1, 64).requires_grad_()
    (expected,) = torch.autograd.grad(small_zfnet(x)[0, 3], x)
    found = zfnb.Deconvnet(small_zfnet, rule="gradient").project(x.detach(), "fc8", 3)
    torch.testing.assert_close(found.pixels, expected * found.activation, rtol=1e-4, atol=1e-6)


def test_biases_play_no_part(noise):
    torch.manual_seed(0)
    net = build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=7)
    deconvnet = zfnb.Deconvnet(net)
    recording = deconvnet.record(noise(2, 64))
    before = {layer: deconvnet.project(recording, layer, 1).pixels for layer in net.layer_names}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    for layer, pixels in before.items():
        assert torch.equal(deconvnet.project(recording, layer, 1).pixels, pixels)


def test_a_recording_saves_the_way_up(small_zfnet, noise):
    deconvnet = zfnb.Deconvnet(small_zfnet)
    images = noise(3, 64)
    recording = deconvnet.record(images, to="conv5")
    assert len(recording) == 3
    for layer in ("conv1", "pool2", "conv5"):
        again = deconvnet.project(recording, layer, 2)
        fresh = deconvnet.project(images, layer, 2)
        assert torch.equal(again.pixels, fresh.pixels)
    with pytest.raises(BadInput, match=r"goes up to conv5 only"):
        deconvnet.project(recording, "fc6", 0)


def test_batches_of_pictures_and_of_maps(small_zfnet, noise):
    deconvnet = zfnb.Deconvnet(small_zfnet)
    images = noise(3, 64)
    paired = deconvnet.project(images, "conv3", torch.tensor([4, 0, 9]))
    for n, feature_map in enumerate((4, 0, 9)):
        alone = deconvnet.project(images[n], "conv3", feature_map)
        torch.testing.assert_close(paired.pixels[n], alone.pixels[0], rtol=1e-4, atol=1e-6)
        assert paired.position[n].tolist() == alone.position[0].tolist()
    many = deconvnet.project(images[0], "conv3", range(20))
    assert many.pixels.shape == (20, 3, 64, 64)
    assert len(many) == 20
    torch.testing.assert_close(many.pixels[4], paired.pixels[0], rtol=1e-4, atol=1e-6)
    maps = zfnb.features(small_zfnet, images[:1], "conv3")[0]
    torch.testing.assert_close(many.activation, maps[:20].amax((1, 2)))
    places = torch.tensor([[0, 0], [1, 2], [2, 1]])
    at = deconvnet.project(images, "conv3", 4, places)
    assert torch.equal(at.position, places)
    torch.testing.assert_close(
        at.activation, zfnb.features(small_zfnet, images, "conv3")[range(3), 4, *places.T]
    )


def test_same_result_every_time_and_over_threads(trunk, noise):
    images = noise(2, 224)
    deconvnet = zfnb.Deconvnet(trunk)
    feature_map = lively(trunk, images, "conv5")
    threads = torch.get_num_threads()
    try:
        results = {}
        for count in (1, 2):
            torch.set_num_threads(count)
            first, second = (
                deconvnet.project(images, "conv5", feature_map).pixels for _ in range(2)
            )
            assert torch.equal(first, second)
            results[count] = first
        scale = results[1].abs().max()
        torch.testing.assert_close(results[1] / scale, results[2] / scale, rtol=0, atol=1e-5)
    finally:
        torch.set_num_threads(threads)


def test_results_are_ordinary_tensors(small_zfnet, noise):
    found = zfnb.Deconvnet(small_zfnet).project(noise(1, 64), "conv2", 0)
    (found.pixels.requires_grad_() * 2).sum().backward()  # an inference tensor would refuse
    assert small_zfnet.conv1.filter.weight.grad is None


def test_refuses(small_zfnet, noise):
    with pytest.raises(UnknownName, match="deconvnet, gradient, guided"):
        zfnb.Deconvnet(small_zfnet, rule="guide")
    with pytest.raises(UnknownName, match="sum, max, last"):
        zfnb.Deconvnet(small_zfnet, collisions="mean")
    with pytest.raises(CannotInvert, match="GELU"):
        zfnb.Deconvnet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()))
    batch_norm = build(describe_variant("zfnet", input_size=64, width=1 / 32, batch_norm=True), 5)
    with pytest.raises(CannotInvert, match="conv1 of zfnet holds batch normalisation; fold it"):
        zfnb.Deconvnet(batch_norm)
    assert zfnb.Deconvnet(fold_batch_norm(batch_norm)).net.name == "zfnet"
    with pytest.raises(CannotInvert, match="act1 of own holds a GELU"):
        zfnb.Deconvnet(Network({"act1": nn.GELU()}, name="own", input_size=4))
    project, x = zfnb.Deconvnet(small_zfnet).project, noise(2, 64)
    for bad in (1, [1], [[1], [2]], [[0, 1]], [[0, 0, 0]] * 2):
        with pytest.raises(BadInput, match=r"must be 'max', 'map', \(row, column\) or 2 of them"):
            project(x, "conv3", 0, bad)
    with pytest.raises(UnknownName, match="conv1, pool1"):
        project(x, "layer5", 0)
    for bad in (16, -1, [0, 99]):
        with pytest.raises(BadInput, match="it has maps 0 to 15"):
            project(x, "conv5", bad)
    for bad in (1.5, True, "one", None, [[1], [2, 3]]):
        with pytest.raises(BadInput, match="must be whole numbers"):
            project(x, "conv5", bad)
    with pytest.raises(BadInput, match="3 feature maps do not pair with 2 pictures"):
        project(x, "conv5", [0, 1, 2])
    with pytest.raises(BadInput, match="maps 0 to 15"):
        project(x, "conv5", torch.zeros(0, dtype=torch.long))
    with pytest.raises(UnknownName, match="max, map"):
        project(x, "conv5", 0, "strongest")
    for bad in ((99, 0), (0, -1)):
        with pytest.raises(BadInput, match="is outside the"):
            project(x, "conv5", 0, bad)
    for bad in ((0.5, 1), (1, 2, 3), None):
        with pytest.raises(BadInput, match="where must be"):
            project(x, "conv5", 0, bad)
