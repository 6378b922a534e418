"""A softmax on frozen features: right features, right fit, and a network that holds both."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import zfnb
from zfnb import heads
from zfnb.batches import Squares, central
from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant
from zfnb.weights import save_weights


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build(describe_variant("torchvision-alexnet", width=0.125, input_size=64), 10)


@pytest.fixture
def squares():
    return Squares(zfnb.load_dataset("stamps", "test"), 73)


def test_features_are_those_of_the_central_crop(net, squares, tmp_path):
    found = heads.extract(net, squares, "pool5", tmp_path / "f.npy", views=2, batch=16)
    assert found.shape == (2, len(squares), int(np.prod(net.shapes["pool5"])))
    x = central(squares.__getitems__([3, 40]), net.preprocessing)
    with torch.no_grad():
        expected = net(x, to="pool5").flatten(1)
    torch.testing.assert_close(
        torch.from_numpy(found[0, [3, 40]]).float(), expected, rtol=2e-3, atol=2e-3
    )
    assert not np.array_equal(found[0], found[1])  # the second view is another crop


def test_pictures_go_to_where_the_network_is(net, squares, tmp_path, monkeypatch):
    """The device "meta" computes shapes alone; what comes back from it is filled in."""
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: torch.full(x.shape, 3, dtype=x.dtype))
    found = heads.extract(net.to("meta"), squares, "pool5", tmp_path / "f.npy", views=2)
    assert (found == 3).all()


def test_views_that_are_there_are_kept(net, squares, tmp_path):
    path = tmp_path / "f.npy"
    first = heads.extract(net, squares, "pool5", path, views=2)
    first[0, 0] = 7  # a mark
    first.flush()
    again = heads.extract(net, squares, "pool5", path, views=2)
    assert (again[0, 0] == 7).all()
    note = path.with_suffix(".views.json")
    facts = json.loads(note.read_text())
    note.write_text(json.dumps({**facts, "views": 0}))  # as if interrupted in the first view
    assert not (heads.extract(net, squares, "pool5", path, views=2)[0, 0] == 7).any()


@pytest.mark.parametrize("damage", ["another network", "cut short", "no note", "odd note"])
def test_views_of_something_else_are_made_again(net, squares, tmp_path, damage):
    path = tmp_path / "f.npy"
    want = np.array(heads.extract(net, squares, "pool5", path))
    found = np.lib.format.open_memmap(path, "r+")
    found[:] = 7
    found.flush()
    if damage == "another network":
        other = copy.deepcopy(net)
        with torch.no_grad():
            other.conv1.filter.weight.mul_(1.5)
        again = heads.extract(other, squares, "pool5", path)
        assert not np.array_equal(again, want) and not (again == 7).any()
        return
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no note":
        path.with_suffix(".views.json").unlink()
    else:
        path.with_suffix(".views.json").write_text('{"views": []}')
    assert np.array_equal(heads.extract(net, squares, "pool5", path), want)


def test_a_file_that_was_begun_anew_is_not_taken_for_the_old_one(
    net, squares, tmp_path, monkeypatch
):
    """A whole file; another network's, stopped in its first view; and the first network again."""
    path = tmp_path / "f.npy"
    want = np.array(heads.extract(net, squares, "pool5", path))
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.conv1.filter.weight.mul_(1.5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(heads, "central", interrupt)
        heads.extract(other, squares, "pool5", path)
    assert np.array_equal(heads.extract(net, squares, "pool5", path), want)


def interrupt(*_):
    raise KeyboardInterrupt


def test_an_unknown_layer(net, squares, tmp_path):
    with pytest.raises(UnknownName, match="pool5"):
        heads.extract(net, squares, "pool9", tmp_path / "f.npy")


def clusters(seed: int):
    """Three overlapping clouds in 12 dimensions."""
    generator = np.random.default_rng(seed)
    targets = np.repeat([0, 1, 2], 60)
    centres = np.random.default_rng(0).normal(size=(3, 12))
    return (3 + 5 * (centres[targets] + generator.normal(size=(180, 12)))), targets


def test_it_fits_as_scikit_learn_does():
    x, targets = clusters(1)
    unseen, truth = clusters(2)
    head = heads.fit_softmax(
        x[None].astype(np.float16), targets, 3, epochs=150, batch=45, dropout=0.0, lr=0.3
    )
    found = heads.scores(head, unseen.astype(np.float16)).argmax(1).numpy()
    peer = LogisticRegression(max_iter=2000).fit(x, targets).predict(unseen)
    assert abs((found == truth).mean() - (peer == truth).mean()) < 0.05
    assert (found == peer).mean() > 0.9


def test_it_learns_only_from_the_pictures_it_is_given():
    x, targets = clusters(1)
    wrong = targets.copy()
    wrong[::2] = (targets[::2] + 1) % 3
    learn = np.arange(1, 180, 2)
    options = {"epochs": 20, "batch": 30, "learn": learn}
    a = heads.fit_softmax(x[None].astype(np.float16), targets, 3, **options)
    b = heads.fit_softmax(x[None].astype(np.float16), wrong, 3, **options)
    assert torch.equal(a.weight, b.weight)


def test_scale_of_the_features_does_not_matter():
    x, targets = clusters(1)
    options = {"epochs": 5, "batch": 30}
    a = heads.fit_softmax(x[None].astype(np.float32), targets, 3, **options)
    b = heads.fit_softmax((x[None] * 64).astype(np.float32), targets, 3, **options)
    torch.testing.assert_close(a.weight, b.weight * 64, rtol=1e-4, atol=1e-6)


def test_refusals():
    x = np.zeros((1, 4, 2), np.float16)
    with pytest.raises(BadInput, match="4 pictures"):
        heads.fit_softmax(x, [0, 1], 2)
    with pytest.raises(BadInput, match="no picture to learn from"):
        heads.fit_softmax(x, [0, 1, 0, 1], 2, learn=np.arange(0))


def test_a_network_with_a_head_and_its_file(net, tmp_path):
    head = torch.nn.Linear(int(np.prod(net.shapes["pool5"])), 3)
    classes = [("n1", "cat"), ("n2", "dog"), ("n3", "bus")]
    found = heads.with_head(net, head, classes)
    assert found.layer_names[-2:] == ("pool5", "fc8") and found.classes == classes
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = head(net(x, to="pool5").flatten(1))
        torch.testing.assert_close(found(x), expected)
        save_weights(found, tmp_path / "net.safetensors", dtype=torch.float32)
        again = zfnb.load_model("torchvision-alexnet", weights=tmp_path / "net.safetensors")
        assert again.layer_names == found.layer_names
        torch.testing.assert_close(again(x), expected)
