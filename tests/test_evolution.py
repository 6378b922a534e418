"""Feature evolution on small networks whose snapshots are made so that the answer is known."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.utils.data import Dataset

import zfnb
from zfnb import evolution as ev
from zfnb import settling, snapshots
from zfnb.errors import BadInput, BadWeights, MissingData, UnknownName
from zfnb.evolution import Answers
from zfnb.models import build, describe_variant
from zfnb.weights import save_weights

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def small(seed: int, **variant):
    torch.manual_seed(seed)
    variant = {"input_size": 64, "width": 1 / 16, **variant}
    return build(describe_variant("zfnet", **variant), num_classes=3)


def run_of(until: dict[str, int], epochs=(1, 2, 5, 10)) -> dict:
    """Snapshots of a run that ends with `small(0)`: each layer is random before its epoch."""
    nets = {}
    for number, epoch in enumerate(epochs):
        nets[epoch], noise = small(0), small(100 + number)
        for layer in LAYERS:
            if epoch < until.get(layer, 0):
                getattr(nets[epoch], layer).load_state_dict(getattr(noise, layer).state_dict())
    return nets


class Noise(Dataset):
    """Random inputs of 64 pixels, smooth enough to excite a network differently."""

    name = "noise"

    def __init__(self, order=range(24)):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(24, 3, 8, 8, generator=generator).repeat_interleave(8, 2)
        self.images = images.repeat_interleave(8, 3)[list(order)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, item):
        return self.images[item], 0


@pytest.fixture(scope="module")
def pictures():
    return Noise()


@pytest.fixture(scope="module")
def late():
    """Layer 5 is random until the last epoch, layer 3 until the second, the others are done."""
    return run_of({"conv3": 2, "conv5": 10})


@pytest.fixture(scope="module")
def found(late, pictures):
    return ev.answers(late, pictures)


def by_hand(maxima, epochs=None, layer="conv1"):
    """Answers with these maxima (E, N, C)."""
    maxima = np.asarray(maxima, dtype=np.float32)
    epochs = tuple(epochs or range(1, len(maxima) + 1))
    return Answers(epochs, np.arange(maxima.shape[1]), {layer: maxima})


# ---------------------------------------------------------------- snapshots


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "run" / "snapshots"
    for epoch in (10, 2, 1):
        save_weights(small(epoch), inside / f"epoch-{epoch:03d}.safetensors")
    return tmp_path / "run"


def test_a_run_becomes_networks_in_the_order_of_their_epochs(folder):
    nets = snapshots.snapshots(folder)
    assert list(nets) == [1, 2, 10]
    assert snapshots.snapshots(str(folder / "snapshots")).keys() == nets.keys()
    for epoch, net in nets.items():
        original = small(epoch)
        assert net.layer_names[-1] == "pool5" and net.weights == f"epoch-{epoch:03d}.safetensors"
        assert net.classes is None and not net.training
        for name, value in net.state_dict().items():
            assert torch.allclose(value, original.state_dict()[name], atol=1e-3, rtol=1e-2)


def test_the_embedded_run_ends_with_the_finished_network(folder, monkeypatch, tmp_path):
    weights = {
        "w": "run/snapshots/epoch-010.safetensors",
        "w-epoch-001": "run/snapshots/epoch-001.safetensors",
        "w-epoch-002": "run/snapshots/epoch-002.safetensors",
        "w-epoch-030": "run/snapshots/epoch-002.safetensors",  # of a longer run: not of this one
        "other-epoch-003": "nothing",
    }
    table = {("zfnet", name): (path,) for name, path in weights.items()}
    table |= {("alexnet", "w"): ("x",)}
    monkeypatch.setattr(snapshots, "EMBEDDED", table)
    monkeypatch.setattr(snapshots, "embedded", lambda *parts: tmp_path / parts[-1])
    save_weights(small(10), tmp_path / weights["w"], epochs="10")
    assert list(snapshots.snapshots(weights="w")) == [1, 2, 10]
    save_weights(small(10), tmp_path / weights["w"])
    with pytest.raises(BadWeights, match="does not say after how many epochs"):
        snapshots.snapshots(weights="w")
    for arguments in ({"weights": "v"}, {"network": "alexnet", "weights": "w"}):
        with pytest.raises(MissingData, match="zfnb train"):
            snapshots.snapshots(**arguments)


def test_the_run_that_travels_with_the_package():
    nets = snapshots.snapshots()
    finished = zfnb.load_model("zfnet", weights="tiny-imagenet")
    last = list(nets.values())[-1]
    assert list(nets) == sorted(nets) and last.layer_names[-1] == "pool5"
    for name, value in last.state_dict().items():
        assert torch.equal(value, finished.state_dict()[name])


def test_folders_that_hold_no_run(folder, tmp_path):
    with pytest.raises(MissingData, match="no folder"):
        snapshots.snapshots(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "final.safetensors").write_bytes(b"not looked at")
    with pytest.raises(BadInput, match=r"holds no snapshot \(epoch-001"):
        snapshots.snapshots(tmp_path / "empty")


def test_a_damaged_snapshot_is_named(folder):
    (folder / "snapshots" / "epoch-005.safetensors").write_bytes(b"cut off")
    with pytest.raises(BadWeights, match=r"epoch-005\.safetensors is not a readable"):
        snapshots.snapshots(folder)


def test_snapshots_of_several_networks_are_refused(folder):
    save_weights(small(1, input_size=80), folder / "snapshots" / "epoch-020.safetensors")
    with pytest.raises(BadInput, match=r"epochs 1 and 20 are not of one network: .* shapes"):
        snapshots.snapshots(folder)


def test_thinned_keeps_both_ends():
    nets = dict.fromkeys((1, 2, 5, 10, 15, 20, 26))
    assert list(snapshots.thinned(nets, 2)) == [1, 26]
    assert list(snapshots.thinned(nets, 4)) == [1, 5, 15, 26]
    assert list(snapshots.thinned(nets, 99)) == list(nets)
    assert list(snapshots.thinned({7: None}, 3)) == [7]
    with pytest.raises(BadInput, match="at least 2"):
        snapshots.thinned(nets, 1)


def test_learning_rates_of_a_run_and_of_the_kept_curve(tmp_path, monkeypatch):
    lines = [{"kind": "epoch", "epoch": n, "lr": 1 / n} for n in (1, 2, 3)]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, [*lines, {"kind": "step", "epoch": 1, "lr": 9}])))
    epochs, rates = snapshots.learning_rates(tmp_path)
    assert epochs.tolist() == [1, 2, 3] and rates.tolist() == [1, 1 / 2, 1 / 3]
    assert snapshots.learning_rates(tmp_path / "other") is None
    monkeypatch.setattr(snapshots, "embedded", lambda *parts: tmp_path.joinpath(*parts))
    assert snapshots.learning_rates() is None
    kept = tmp_path / "data" / "results" / "training" / "zfnet.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"epochs": lines[:2]}))
    assert snapshots.learning_rates()[1].tolist() == [1, 1 / 2]
    kept.write_text(json.dumps({"epochs": []}))
    assert snapshots.learning_rates() is None


def test_the_last_snapshot_at_full_rate():
    rates = (np.arange(1, 11), np.array([4, 4, 4, 4, 4, 3.7, 3, 2, 1, 0]))
    assert snapshots.last_at_full_rate((1, 2, 5, 8, 10), rates) == 5
    assert snapshots.last_at_full_rate((1, 4, 6, 8, 10), rates) == 6
    assert snapshots.last_at_full_rate((8, 10), rates) == 8


# ---------------------------------------------------------------- the pass


def test_answers_are_the_maxima_of_each_map(late, found, pictures):
    assert found.epochs == (1, 2, 5, 10) and found.layers == LAYERS
    assert found.items.tolist() == list(range(24))
    for layer in LAYERS:
        for e, net in enumerate(late.values()):
            maps = zfnb.features(net, pictures.images, layer)
            assert found.of(layer)[e] == pytest.approx(
                maps.amax((2, 3)).numpy(), rel=1e-4, abs=1e-5
            )


def test_winners_are_those_of_the_index(late, found, pictures):
    for e, net in enumerate(late.values()):
        index = zfnb.TopActivations.build(net, pictures, LAYERS, k=1)
        for layer in LAYERS:
            records = [index.top(layer, m) for m in range(index.maps(layer))]
            assert found.winners(layer)[e].tolist() == [r[0].item if r else -1 for r in records]
            assert found.alive(layer)[e].tolist() == [bool(r) for r in records]
            assert found.silent(layer)[e] == sum(not r for r in records)


def test_the_order_of_the_pictures_is_no_matter(late, found, pictures):
    order = np.random.default_rng(0).permutation(24)
    other = ev.answers(late, Noise(order), batch_size=7)
    for layer in LAYERS:
        winners = other.winners(layer)
        assert np.array_equal(np.where(winners < 0, -1, order[winners]), found.winners(layer))
        assert np.allclose(
            settling.ranking_likeness(other)[layer],
            settling.ranking_likeness(found)[layer],
            atol=1e-6,
            equal_nan=True,
        )


def test_some_pictures_only(late, found, pictures):
    part = ev.answers(late, pictures, ("conv2",), items=[9, 3, 17, 3])
    assert part.layers == ("conv2",) and part.items.tolist() == [3, 9, 17]
    assert part.of("conv2") == pytest.approx(found.of("conv2")[:, [3, 9, 17]], rel=1e-4, abs=1e-6)
    assert set(part.winners("conv2").flatten().tolist()) <= {-1, 3, 9, 17}
    assert ev.some_items(pictures, 5) == ev.some_items(pictures, 5) != ev.some_items(pictures, 5, 1)
    assert ev.some_items(pictures, 99) == list(range(24))


def test_what_cannot_be_answered(late, pictures):
    with pytest.raises(UnknownName, match="conv1"):
        ev.answers(late, pictures, ["conv6"])
    with pytest.raises(BadInput, match="no pictures"):
        ev.answers(late, pictures, items=[])
    with pytest.raises(BadInput, match="no snapshot"):
        ev.answers({}, pictures)
    with pytest.raises(BadInput, match="not of one network"):
        ev.answers({1: small(0), 2: small(0, input_size=80)}, pictures)


def test_until_makes_an_earlier_snapshot_the_end(found):
    early = found.until(9)
    assert early.epochs == (1, 2, 5)
    assert (found.until(10).of("conv3") == found.of("conv3")).all()
    likeness = settling.ranking_likeness(early)["conv5"]
    assert np.nanmin(likeness[-1]) == pytest.approx(1)
    with pytest.raises(BadInput, match="the first is 1"):
        found.until(0)


def test_unknown_layers_are_named(found, late, pictures):
    for ask in (found.alive, found.winners, lambda n: ev.random_maps(found, n, 2)):
        with pytest.raises(UnknownName, match="conv1, conv2"):
            ask("conv9")
    for maps in ([], [-1], [99], [2.7]):
        with pytest.raises(BadInput, match="it has maps 0 to 5"):
            ev.evolution(late, pictures, found, "conv1", maps)
        with pytest.raises(BadInput, match="it has maps 0 to 5"):
            settling.projection_likeness(late, pictures, found, "conv1", maps)


# ---------------------------------------------------------------- dead maps

#         picture 0  1  2: map 0 lives, map 1 dies, map 2 awakes, map 3 is dead, map 4 is even
DEAD = [
    [[1, 2, 0, 0, 3], [2, 1, 0, 0, 3], [3, 3, 0, 0, 3]],
    [[1, 0, 2, 0, 3], [2, 0, 1, 0, 3], [3, 0, 3, 0, 3]],
]


def test_dead_maps_are_left_out_and_counted():
    found = by_hand(DEAD)
    assert found.silent("conv1").tolist() == [2, 2]
    assert found.winners("conv1").tolist() == [[2, 2, -1, -1, 0], [2, -1, 2, -1, 0]]
    likeness = settling.ranking_likeness(found)["conv1"]
    assert likeness[:, 0].tolist() == pytest.approx([1, 1])
    assert likeness[1, 2] == pytest.approx(1)
    assert np.isnan(likeness[0, 1:]).all() and np.isnan(likeness[1, [1, 3, 4]]).all()
    assert settling.mean_over_maps(likeness) == pytest.approx([1, 1])
    changed = settling.changes(found, "conv1")
    assert changed[0, [0, 4]].tolist() == [0, 0] and np.isnan(changed[0, 1:4]).all()
    assert ev.random_maps(found, "conv1", 9) == [0, 2, 4]


def killed(net, layer, feature_map):
    """The network with a map that never answers."""
    with torch.no_grad():
        getattr(net, layer)[0].bias[feature_map] = -1e4
    return net


def test_a_map_that_is_dead_for_a_while(pictures):
    nets = {1: killed(small(0), "conv3", 2), 2: small(0)}
    found = ev.answers(nets, pictures, ["conv3"])
    assert found.winners("conv3")[1, 2] >= 0
    one = ev.evolution(nets, pictures, found, "conv3", [2])
    assert one.items[0, 0] == -1 and one.activations[0, 0] == 0
    for part in (one.pictures, one.patches, one.projections):
        assert part[0].isnan().all() and not part[1].isnan().all()
    assert one.jumps.tolist() == [[True]]
    # The unit that answers in the end has nothing to project yet.
    assert settling.projection_likeness(nets, pictures, found, "conv3", [2])[:, 0] == pytest.approx(
        [0, 1]
    )
    assert np.isnan(settling.steps_alike(one)).all()


def test_a_map_that_is_dead_always(pictures):
    nets = {1: small(1), 2: killed(small(0), "conv3", 2)}
    found = ev.answers(nets, pictures, ["conv3"])
    assert np.isnan(settling.projection_likeness(nets, pictures, found, "conv3", [2])).all()
    nets[1] = killed(nets[1], "conv3", 2)
    found = ev.answers(nets, pictures, ["conv3"])
    with pytest.raises(BadInput, match="map 2 of conv3 answers to no picture"):
        ev.evolution(nets, pictures, found, "conv3", [0, 2])
    assert 2 not in ev.random_maps(found, "conv3", 99)


# ---------------------------------------------------------------- Fig. 4


@pytest.mark.parametrize("layer", ["conv1", "conv3", "conv5"])
def test_each_cell_is_the_projection_of_the_strongest_activation(late, found, pictures, layer):
    maps = ev.random_maps(found, layer, 3)
    one = ev.evolution(late, pictures, found, layer, maps)
    assert one.maps == tuple(maps) and one.epochs == found.epochs
    side = min(zfnb.receptive.receptive_field(late[1], layer)[0], 64)
    assert one.projections.shape == one.patches.shape == (4, 3, 3, side, side)
    for e, net in enumerate(late.values()):
        for m, feature_map in enumerate(maps):
            item = one.items[e, m]
            if item < 0:
                continue
            best = found.of(layer)[e, :, feature_map].max()
            assert one.activations[e, m] == pytest.approx(best, rel=1e-4)
            image = pictures.images[item]
            alone = zfnb.Deconvnet(net).project(image, layer, feature_map)
            assert torch.equal(one.pictures[e, m], image)
            assert one.boxes[e, m].tolist() == alone.box[0].tolist()
            inside = one.projections[e, m].nan_to_num()
            total = alone.pixels.square().sum().item()
            assert inside.square().sum().item() == pytest.approx(total, rel=1e-3)
            top, left, bottom, right = one.boxes[e, m]
            if side < 64:  # the patch holds the field and nothing else
                patch = one.patches[e, m]
                there = ~patch[0].isnan()
                field = image[:, top:bottom, left:right]
                assert set(field.flatten().tolist()) <= set(patch[:, there].flatten().tolist())
            else:
                assert torch.equal(one.patches[e, m], image)
                assert torch.allclose(one.projections[e, m], alone.pixels[0], atol=1e-6)


def test_jumps_are_changes_of_the_picture(late, found, pictures):
    maps = ev.random_maps(found, "conv5", 6)
    one = ev.evolution(late, pictures, found, "conv5", maps)
    expected = one.items[1:] != one.items[:-1]
    assert np.array_equal(one.jumps, expected & (one.items[1:] >= 0))
    assert one.jumps.any()  # three random layers 5 before the last
    still = ev.evolution(late, pictures, found, "conv1", [0])
    assert not still.jumps.any() and settling.steps_alike(still) == pytest.approx(1)


def test_steps_are_compared_as_one_sees_them():
    fields = torch.tensor([[1.0, 0, torch.nan], [0, 2, 0], [0, 5, 5]])[:, None, None, None]
    maps = np.zeros((3, 1), int)
    one = ev.Evolution("conv1", (1, 2, 3), (0,), maps, maps, maps, fields, fields, fields)
    assert settling.steps_alike(one)[:, 0] == pytest.approx([0, np.sqrt(0.5)])


# ---------------------------------------------------------------- likenesses


def test_ranking_likeness_is_spearmans():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (3, 40, 4)).astype(float)  # many ties
    values[:, :, 3] *= 1e3
    likeness = settling.ranking_likeness(by_hand(values))["conv1"]
    for e in range(3):
        for m in range(4):
            expected = spearmanr(values[e, :, m], values[-1, :, m]).statistic
            assert likeness[e, m] == pytest.approx(expected)


def test_ranking_chance_is_that_of_different_maps():
    values = np.random.default_rng(1).random((2, 30, 5))
    values[:, :, 4] = 0  # dead
    values[1] += np.arange(30)[:, None] / 20  # some pictures excite all
    values[:, :, 4] = 0
    pairs = [
        spearmanr(values[1, :, a], values[1, :, b]).statistic for a in range(4) for b in range(a)
    ]
    assert settling.ranking_chance(by_hand(values), "conv1") == pytest.approx(np.mean(pairs))
    assert np.isnan(settling.ranking_chance(by_hand(values[:, :, :1]), "conv1"))


def test_identical_snapshots_are_settled_from_the_first(pictures):
    nets = {epoch: small(0) for epoch in (1, 4, 9)}
    found = ev.answers(nets, pictures)
    for layer in LAYERS:
        maps = ev.random_maps(found, layer, 5)
        kinds = (
            settling.ranking_likeness(found)[layer],
            settling.filter_likeness(nets, [layer])[layer],
            settling.projection_likeness(nets, pictures, found, layer, maps),
        )
        for values in kinds:
            assert values[np.isfinite(values)] == pytest.approx(1)
            assert settling.settled_at(found.epochs, values) == 1
            assert settling.epochs_apart(found.epochs, values) == pytest.approx(0, abs=1e-6)
        changed = settling.changes(found, layer)
        assert not changed[np.isfinite(changed)].any()


def test_a_layer_that_is_random_until_the_end_settles_last(late, found, pictures):
    ranking, filters = settling.ranking_likeness(found), settling.filter_likeness(late, LAYERS)
    for values in (ranking, filters):
        settled = {layer: settling.settled_at(found.epochs, values[layer]) for layer in LAYERS}
        assert settled["conv5"] == 10  # only at the end
        assert settled["conv1"] == settled["conv2"] == 1
        assert 1 < settled["conv3"] <= 2
    # Layer 4 is done, but what comes from layer 3 is not: its filters do not tell.
    assert settling.settled_at(found.epochs, filters["conv4"]) == 1
    assert 1 < settling.settled_at(found.epochs, ranking["conv4"]) <= 2
    projections = {
        layer: settling.projection_likeness(
            late, pictures, found, layer, ev.random_maps(found, layer, 9)
        )
        for layer in LAYERS
    }
    apart = {layer: settling.epochs_apart(found.epochs, projections[layer]) for layer in LAYERS}
    assert apart["conv1"] == pytest.approx(0, abs=1e-6) and apart["conv5"] > 1
    assert apart["conv5"] > apart["conv3"] > 0
    assert np.isfinite(settling.changes(found, "conv5")).any()


def test_projections_of_the_same_unit_do_not_jump(late, found, pictures):
    maps = ev.random_maps(found, "conv5", 4)
    likeness = settling.projection_likeness(late, pictures, found, "conv5", maps)
    assert likeness.shape == (4, 4) and likeness[-1] == pytest.approx(1)
    for m, feature_map in enumerate(maps):
        image = pictures.images[found.winners("conv5")[-1, feature_map]]
        last = zfnb.Deconvnet(late[10]).project(image, "conv5", feature_map)
        then = zfnb.Deconvnet(late[1]).project(image, "conv5", feature_map, last.position)
        a, b = then.pixels.flatten().double(), last.pixels.flatten().double()
        expected = a @ b / (a.norm() * b.norm()) if a.norm() > 0 else 0
        assert likeness[0, m] == pytest.approx(float(expected), abs=1e-5)


def test_many_projections_are_made_in_parts(late, found, pictures, monkeypatch):
    maps = ev.random_maps(found, "conv2", 7)
    together = settling.projection_likeness(late, pictures, found, "conv2", maps)
    monkeypatch.setattr(settling, "AT_ONCE", 2)
    apart = settling.projection_likeness(late, pictures, found, "conv2", maps)
    assert apart == pytest.approx(together, abs=1e-5)


def test_filter_likeness_by_hand():
    nets = {1: small(0), 2: small(0), 3: small(0)}
    with torch.no_grad():
        nets[1].conv1[0].weight[0] *= -7
        nets[2].conv1[0].weight[0] *= 3
        nets[1].conv1[0].weight[1] = 0
    likeness = settling.filter_likeness(nets, ["conv1", "conv2"])
    assert likeness["conv1"][:, 0] == pytest.approx([-1, 1, 1])
    assert np.isnan(likeness["conv1"][0, 1]) and likeness["conv2"] == pytest.approx(1)
    with pytest.raises(BadInput, match="pool1 has no filters"):
        settling.filter_likeness(nets, ["pool1"])
    with pytest.raises(UnknownName, match="conv9"):
        settling.filter_likeness(nets, ["conv9"])


# ---------------------------------------------------------------- when


def likeness(*means):
    """(E, 2) values with these means."""
    return np.array([[mean - 0.1, mean + 0.1] for mean in means])


@pytest.mark.parametrize(
    ("means", "when"),
    [
        ((0.95, 0.95, 0.95, 1), 1),
        ((0.8, 1, 1, 1), 1.5),  # half of the way from 0.8 to 1, from epoch 1 to 2
        ((0.1, 0.6, 1, 1), 4.25),  # three quarters of the way from epoch 2 to 5
        ((0.95, 0.8, 1, 1), 3.5),  # above it, but not to stay
        ((0.1, 0.2, 0.89, 1), 10),  # only at the end: no interpolation to 1
        ((0.1, 0.2, 0.9, 1), 5),
    ],
)
def test_settled_is_when_the_mean_stays_above(means, when):
    found = settling.settled_at((1, 2, 5, 10), likeness(*means))
    assert found == pytest.approx(when)


def test_settled_at_its_edges():
    values = likeness(0.5, 1, 1)
    values[1, 0] = np.nan  # the mean is over what there is
    assert settling.settled_at((1, 2, 3), values, threshold=0.8) == pytest.approx(1.5, abs=0.1)
    assert np.isnan(settling.settled_at((1, 2), np.full((2, 3), np.nan)))
    assert settling.settled_at((7,), np.ones((1, 3))) == 7  # one snapshot only
    with pytest.raises(BadInput, match="between 0 and 1"):
        settling.settled_at((1, 2), likeness(0.5, 1), threshold=1)
    with pytest.raises(BadInput, match="3 epochs do not fit 2 rows"):
        settling.settled_at((1, 2, 3), likeness(0.5, 1))


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        ((2, 4, 12, 14, 20), True),
        ((9, 19, 19, 19, 20), "in part"),  # a low layer is as late as the others
        ((2, 4, 5, 14, 20), "in part"),  # an upper one is early
        ((2, 4, 5, 6, 7), False),
        ((15, 4, 5, 6, 7), False),
        ((2, 4, 12, 14, np.nan), None),
    ],
)
def test_late_upper_layers_are_news_only_if_low_ones_are_not(settled, expected):
    named = dict(zip(("conv1", "conv2", "conv3", "conv4", "conv5"), settled, strict=True))
    assert settling.upper_late(named, last=20) is expected or (
        settling.upper_late(named, last=20) == expected == "in part"
    )


def test_upper_layers_need_an_upper_one():
    for low in (0, 2):
        with pytest.raises(BadInput, match="low ones"):
            settling.upper_late({"conv1": 1.0, "conv2": 9.0}, 10, low=low)


def test_an_epoch_of_the_paper_in_epochs_of_a_run(tmp_path):
    facts = {
        "data": {"training_pictures": 12_811},
        "settings": {"recipe": {"batch": 128}},
    }
    (tmp_path / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert settling.paper_epoch(tmp_path) == pytest.approx(100, rel=0.02)
    facts["settings"]["recipe"]["batch"] = 1000  # fewer steps an epoch
    (tmp_path / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert settling.paper_epoch(tmp_path) == pytest.approx(10_009 / 12)
    assert settling.paper_epoch(tmp_path / "none") is None
    assert settling.paper_epoch(network="no such network") is None
    assert settling.paper_epoch() > 1  # the run that travels with the package


def test_one_snapshot_only(pictures):
    nets = {3: small(0)}
    found = ev.answers(nets, pictures, ["conv2"])
    values = settling.ranking_likeness(found)["conv2"]
    assert values[np.isfinite(values)] == pytest.approx(1)
    assert settling.changes(found, "conv2").shape[0] == 0
    one = ev.evolution(nets, pictures, found, "conv2", ev.random_maps(found, "conv2", 2))
    assert one.jumps.shape == (0, 2) and settling.steps_alike(one).shape == (0, 2)


def test_settled_in_words():
    epochs = (1, 2, 10)
    words = [settling.settled_words(epochs, when) for when in (1, 3.25, 10, np.nan)]
    assert words == ["by epoch 1", "epoch 3.2", "only at the end", "no map to compare"]


def test_epochs_apart_is_the_missing_likeness():
    # 0 until epoch 3, then all of it at once, up to the width of a step.
    assert settling.epochs_apart((1, 3, 3.001, 9), likeness(0, 0, 1, 1)) == pytest.approx(
        2, abs=1e-3
    )
    assert settling.epochs_apart((1, 5), likeness(0.5, 1)) == pytest.approx(1)


def test_an_own_run_is_read_to_the_end(folder, pictures):
    """From the files of a run to a number."""
    shutil.copy(
        folder / "snapshots" / "epoch-010.safetensors",
        folder / "snapshots" / "epoch-005.safetensors",
    )
    nets = snapshots.snapshots(folder)
    found = ev.answers(nets, pictures, ["conv1", "conv3"])
    settled = settling.settled_at(found.epochs, settling.ranking_likeness(found)["conv3"])
    assert list(nets) == [1, 2, 5, 10] and 2 < settled <= 5
