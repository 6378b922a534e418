"""Pictures whose object moves alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import zfnb
from zfnb import movable as mv
from zfnb.data import stamp
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput
from zfnb.movable import Movable
from zfnb.transformations import TRANSFORMATIONS

SCALE = TRANSFORMATIONS["scale"]


def net_of(size: int, resize: int):
    plain = Preprocessing(resize, size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return SimpleNamespace(preprocessing=plain, input_size=size, name="small")


def test_a_square_moves_before_a_still_ramp():
    ramp = torch.arange(8.0).expand(1, 3, 8, 8).clone()
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., 2:4, 2:4] = 1
    one = Movable(ramp, 9 * alpha.expand(-1, 3, -1, -1), alpha)
    expected = ramp.clone()
    expected[..., 5:7, 2:4] = 9
    assert torch.equal(one.moved(TRANSFORMATIONS["vertical"], 3), expected)
    # Half a pixel: the rows at the ends are half square, half ramp.
    half = one.moved(TRANSFORMATIONS["vertical"], 0.5)[0, 0, :, 2]
    assert half.tolist() == [2, 2, 5.5, 9, 5.5, 2, 2, 2]
    # All the way out: only the background is left, also beyond the border.
    assert torch.equal(one.moved(TRANSFORMATIONS["horizontal"], 30), ramp)
    assert torch.equal(
        one.moved(TRANSFORMATIONS["rotation"], 180)[0, 0, 4:6, 4:6], torch.full((2, 2), 9.0)
    )


@pytest.mark.parametrize("size", [224, 96])
def test_at_rest_it_is_the_scene(size):
    net = net_of(size, round(size * 256 / 224))
    scenes = zfnb.load_dataset("scenes", "test", per_stamp=1)
    items = [0, 3, 5]
    one = mv.movable_scenes(net, scenes, items)
    inputs = torch.stack([zfnb.preprocess(scenes[i][0], net) for i in items])
    torch.testing.assert_close(one.images, inputs, atol=1e-5, rtol=0)
    for transform in TRANSFORMATIONS.values():
        assert torch.equal(one.moved(transform, transform.identity), one.images)
    # Where the object neither is nor comes, nothing moves.
    shifted = one.moved(TRANSFORMATIONS["vertical"], 5.0)
    far = torch.nn.functional.max_pool2d(one.alpha, 15, 1, 7) == 0
    assert far.any() and torch.equal(*(x[far.expand_as(x)] for x in (shifted, one.images)))
    assert not torch.equal(shifted, one.images)
    assert len(one[0]) == len(one[-1]) == 1 and len(one[[0, 2]]) == len(one[1:]) == 2
    assert torch.equal(one[-1].images[0], one.images[2])


def test_the_object_moves_as_compose_would_move_it():
    net = net_of(224, 256)
    behind = zfnb.data.background("grass", 3)
    image = stamp("bird/crow").image()
    one = mv.movable_stamps(net, ["bird/crow"], "grass", size=0.5, seed=3)
    there = zfnb.data.compose(image, behind, centre=(128 + 20, 128), scale=0.5).picture
    expected = zfnb.preprocess(there, net)
    found = one.moved(TRANSFORMATIONS["vertical"], 20.0)[0]
    assert (found - expected).abs().max() < 1.1 / 255 / 0.224  # both round to 8 bits
    larger = zfnb.data.compose(image, behind, scale=0.5 * 1.4).picture
    apart = (one.moved(SCALE, 1.4)[0] - zfnb.preprocess(larger, net)).abs().mean()
    still = (one.images[0] - zfnb.preprocess(larger, net)).abs().mean()
    assert apart < still / 5  # it is enlarged from the small one, not from the stamp


def test_nothing_of_the_old_background_goes_along():
    # Before white and before black, the moved object itself is the same.
    net = net_of(96, 110)
    alpha = Image.new("L", (256, 256))
    alpha.paste(255, (90, 90, 160, 150))
    red = Image.new("RGB", (256, 256), "red")
    layers = []
    for colour in ("white", "black"):
        behind = Image.new("RGB", (256, 256), colour)
        picture = Image.composite(red, behind, alpha)
        layers.append(mv.movable(net, [picture], [np.asarray(alpha) / 255], [behind]))
    torch.testing.assert_close(layers[0].object, layers[1].object, atol=0.03, rtol=0)
    assert torch.equal(layers[0].alpha, layers[1].alpha)
    assert layers[0].alpha.max() == 1 and layers[0].alpha.min() == 0


def test_stamps_with_a_class_of_the_network():
    net = SimpleNamespace(name="n", classes=[("n0", "none"), ("n07749582", "lemon"), ("", "x")])
    keys, classes = mv.labelled_stamps(net)
    assert keys == ["fruit/lemon"] and classes.tolist() == [1]
    for unknown in (None, [("", "cat")]):
        with pytest.raises(BadInput, match="no class that a stamp shows"):
            mv.labelled_stamps(SimpleNamespace(name="n", classes=unknown))


def test_layers_that_do_not_match():
    net, grey = net_of(96, 110), Image.new("RGB", (256, 256), "grey")
    with pytest.raises(BadInput, match="as many alphas and backgrounds"):
        mv.movable(net, [grey], [], [grey])
    with pytest.raises(BadInput, match="at least one"):
        mv.movable(net, [], [], [])
