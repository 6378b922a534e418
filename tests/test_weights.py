"""Weights from files, from other packages and from the package itself; and files that are wrong."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import types
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import zfnb
from zfnb.compat import torchvision
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, BadWeights, MissingData, UnknownName
from zfnb.models import NETWORKS, build, describe_variant
from zfnb.paths import embedded
from zfnb.runs import read_json
from zfnb.weights import (
    EMBEDDED,
    PUBLISHED,
    available_weights,
    fingerprint,
    read_metadata,
    save_weights,
)

# isort: split
import pytorchcv.model_provider  # after zfnb.compat: it imports torchvision

LOUD = 100  # contrast normalisation does nearly nothing to activations of about 1
VARIANT = {"input_size": 64, "width": 1 / 32}
PUBLISHED_ALEXNET = torchvision.models.AlexNet_Weights.IMAGENET1K_V1


def shake(net: torch.nn.Module) -> torch.nn.Module:
    """Random biases as well: with zero ones, swapped or lost biases would not show."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    return net.eval()


def assert_same_logits(net, peer, images) -> None:
    with torch.inference_mode():
        found, expected = net(images), peer(images)
    assert expected.std() > 0
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.fixture(scope="module")
def pytorchcv_net():
    """A function: pytorchcv's network by name with random weights, made once."""
    made = {}

    def get(name: str):
        if name not in made:
            torch.manual_seed(0)
            made.clear()  # one at a time: zfnetb has 108 million weights
            made[name] = shake(pytorchcv.model_provider.get_model(name))
        return made[name]

    return get


@pytest.fixture(scope="module")
def torchvision_net():
    torch.manual_seed(0)
    return shake(torchvision.models.alexnet())


@pytest.fixture(scope="module")
def small():
    """A narrow AlexNet for 5 classes, and where its weights can be found out to be swapped."""
    torch.manual_seed(3)
    net = build(
        describe_variant("alexnet", **VARIANT),
        num_classes=5,
        classes=[("n01440764", "tench"), *(("", f"thing {i}") for i in range(4))],
        preprocessing=Preprocessing(70, 64, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
    )
    return shake(net)


@pytest.fixture
def saved(small, tmp_path):
    path = tmp_path / "small.safetensors"
    save_weights(small, path, data="noise")
    return path


def facts(path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


# Other packages' networks


@pytest.mark.parametrize(("name", "ending"), [("zfnet", ".pth"), ("zfnetb", ".safetensors")])
def test_pytorchcv_gives_the_same_logits(name, ending, pytorchcv_net, noise, tmp_path):
    peer, path = pytorchcv_net(name), tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save(peer.state_dict(), path)
    else:
        save_file(peer.state_dict(), path)
    net = zfnb.load_model(name, weights=path)
    assert_same_logits(net, peer, LOUD * noise(2, 224))
    assert net.weights == path.name
    # pytorchcv normalises before it pools, the paper after.
    assert net.layer_names == (
        *("conv1", "norm1", "pool1", "conv2", "norm2", "pool2"),
        *("conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"),
    )
    assert not net.training


def test_the_place_of_the_normalisation_matters(pytorchcv_net, noise):
    """The comparison above can tell the two places apart."""
    peer, images = pytorchcv_net("zfnet"), LOUD * noise(1, 224)
    logits = {}
    for norm in ("before", "after"):
        net = build(describe_variant("zfnet", norm=norm))
        net.load_state_dict(zfnb.weights.from_pytorchcv(peer.state_dict()))
        with torch.inference_mode():
            logits[norm] = net(images)
    difference = (logits["before"] - logits["after"]).abs().max() / logits["before"].abs().max()
    assert difference > 0.01


def test_pytorchcv_weights_fix_their_variant(pytorchcv_net, tmp_path):
    path = tmp_path / "zfnet.pth"
    torch.save(pytorchcv_net("zfnet").state_dict(), path)
    with pytest.raises(BadWeights, match=r"trained with norm='before', not 'after'; leave norm"):
        zfnb.load_model("zfnet", weights=path, norm="after")
    with pytest.raises(BadWeights, match=r"trained with pools='ceil', not 'floor'"):
        zfnb.load_model("zfnet", weights=path, pools="floor")
    with pytest.raises(BadWeights, match=r"do not fit zfnetb: 'conv3.filter.weight' is"):
        zfnb.load_model("zfnetb", weights=path)


def test_pytorchcv_alexnet_is_another_network(tmp_path):
    """Its shapes are those of "alexnet", but it does not pad: it would load and be wrong."""
    with torch.device("meta"):
        peer = pytorchcv.model_provider.get_model("alexnet")
        shapes = {key: value.shape for key, value in peer.state_dict().items()}
    path = tmp_path / "alexnet.pth"
    torch.save({key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}, path)
    with pytest.raises(BadWeights, match="pytorchcv's alexnet, which does not pad"):
        zfnb.load_model("alexnet", weights=path)


def test_torchvision_gives_the_same_logits(torchvision_net, noise, tmp_path):
    path = tmp_path / "alexnet.pth"
    torch.save({"epoch": 3, "state_dict": torchvision_net.state_dict()}, path)
    net = zfnb.load_model("torchvision-alexnet", weights=str(path))
    assert_same_logits(net, torchvision_net, noise(2, 224))
    with pytest.raises(BadWeights, match=r"do not fit alexnet: .*check input_size"):
        zfnb.load_model("alexnet", weights=path)


# The names "imagenet" and "imagenet-trunk"


def test_imagenet_through_torchvision(torchvision_net, noise, monkeypatch):
    asked = []

    def get_state_dict(self, *arguments, **options):
        asked.append(options)
        return torchvision_net.state_dict()

    monkeypatch.setattr(type(PUBLISHED_ALEXNET), "get_state_dict", get_state_dict)
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet")
    assert asked == [{"check_hash": True}]
    assert_same_logits(net, torchvision_net, noise(1, 224))
    assert net.weights == "imagenet (torchvision)"
    assert len(net.classes) == 1000
    assert [net.classes[i][1] for i in (0, 281, 999)] == ["tench", "tabby", "toilet tissue"]
    usual = PUBLISHED_ALEXNET.transforms()
    mine = net.preprocessing
    assert ([mine.resize], [mine.crop]) == (usual.resize_size, usual.crop_size)
    assert (mine.mean, mine.std) == (tuple(usual.mean), tuple(usual.std))


def test_imagenet_through_pytorchcv(pytorchcv_net, noise, monkeypatch):
    peer, asked = pytorchcv_net("zfnet"), []

    def get_model(name, **options):
        asked.append((name, options))
        return peer

    monkeypatch.setattr(pytorchcv.model_provider, "get_model", get_model)
    net = zfnb.load_model("zfnet", weights="imagenet")
    assert asked == [("zfnet", {"pretrained": True})]
    assert_same_logits(net, peer, noise(1, 224))
    assert net.weights == "imagenet (pytorchcv)"
    assert (len(net.classes), net.classes[281]) == (1000, ("", "tabby"))
    assert net.layer_names[1] == "norm1"
    with pytest.raises(BadWeights, match="norm='before', not 'none'"):
        zfnb.load_model("zfnet", weights="imagenet", norm="none")


@pytest.mark.parametrize("name", ["torchvision-alexnet", "zfnet", "zfnetb"])
@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("invalid hash value")])
def test_a_failed_download_is_one_sentence(name, error, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(type(PUBLISHED_ALEXNET), "get_state_dict", fail)
    monkeypatch.setattr(pytorchcv.model_provider, "get_model", fail)
    with pytest.raises(MissingData, match=rf"{error}\). Check the network.*'imagenet-trunk'"):
        zfnb.load_model(name, weights="imagenet")


def test_pytorchcv_is_imported_beside_any_torch():
    """pytorchcv imports torchvision, which zfnb.compat has to prepare beside a CPU-only torch."""
    code = (
        "import zfnb.weights as w\n"
        "w.downloaded = lambda package, fetch: exit(f'{package} was imported')\n"
        "w.PUBLISHED['zfnet', 'imagenet']()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stderr.strip().endswith("pytorchcv was imported")


def test_pytorchcv_is_asked_for_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorchcv", None)
    monkeypatch.setitem(sys.modules, "pytorchcv.model_provider", None)
    with pytest.raises(MissingData, match=r'pip install "zfnb\[pytorchcv\]"'):
        zfnb.load_model("zfnet", weights="imagenet")


def test_the_embedded_trunk(trunk, noise):
    assert trunk.layer_names == (
        *("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"),
    )
    widths = [trunk.shapes[f"conv{n}"][0] for n in range(1, 6)]
    assert widths == [64, 192, 384, 256, 256]
    assert sum(p.numel() for p in trunk.parameters()) == 2_469_696
    assert {p.dtype for p in trunk.parameters()} == {torch.float32}
    assert trunk.classes is None
    half = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk", input_size=112)
    assert (half.input_size, half.shapes["conv5"]) == (112, (256, 6, 6))
    assert (half.preprocessing.resize, half.preprocessing.crop) == (128, 112)
    assert torch.equal(half.conv1.filter.weight, trunk.conv1.filter.weight)
    assert zfnb.features(half, noise(1, 112), "conv5").shape == (1, 256, 6, 6)
    with pytest.raises(BadWeights, match="no classifier, so num_classes=10 does not fit"):
        zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk", num_classes=10)


def test_names_of_weights():
    assert available_weights("torchvision-alexnet") == [
        "imagenet-trunk",
        "imagenet-trunk+tiny-imagenet",
        "imagenet",
    ]
    assert available_weights("zfnet")[0] == "tiny-imagenet"
    assert available_weights("alexnet") == ["tiny-imagenet"]
    assert available_weights("zfnetb") == ["imagenet"]
    assert available_weights("alexnet-no34") == []
    assert {network for network, _ in (*EMBEDDED, *PUBLISHED)} <= set(NETWORKS)


def test_unknown_weights_name_the_valid_ones():
    with pytest.raises(UnknownName) as caught:
        zfnb.load_model("torchvision-alexnet", weights="imagenet-trunc")
    sentence = str(caught.value)
    assert "weights for torchvision-alexnet: 'imagenet-trunc'" in sentence
    assert "Did you mean 'imagenet-trunk'?" in sentence
    for choice in ("imagenet-trunk", "imagenet", ".safetensors", "None"):
        assert choice in sentence
    with pytest.raises(UnknownName, match="'imagenet-trunk' belong to torchvision-alexnet"):
        zfnb.load_model("alexnet", weights="imagenet-trunk")
    with pytest.raises(UnknownName, match="'imagenet' belong to torchvision-alexnet, zfnet, zfn"):
        zfnb.load_model("alexnet", weights="imagenet")
    with pytest.raises(UnknownName, match="network 'alexnett'"):
        zfnb.load_model("alexnett", weights="imagenet")
    for wrong in (True, 3, {"conv1": torch.zeros(1)}):
        with pytest.raises(BadInput, match=f"name, a path or None, not {type(wrong).__name__}"):
            zfnb.load_model("zfnet", weights=wrong)


# zfnb's own files


def test_a_file_knows_its_network(small, saved, noise):
    net = zfnb.load_model("alexnet", weights=saved)
    assert net.description == small.description
    assert (net.input_size, net.classes) == (64, small.classes)
    assert net.preprocessing == small.preprocessing
    assert net.weights == "small.safetensors"
    assert net.shapes["fc8"] == (5,)
    assert {value.dtype for value in load_file(saved).values()} == {torch.float16}
    with torch.inference_mode():
        found, expected = net(noise(2, 64)), small(noise(2, 64))
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 * float(expected.abs().max()))
    assert facts(saved)["data"] == "noise"
    assert json.loads(facts(saved)["variant"])["width"] == pytest.approx(1 / 32)
    again = zfnb.load_model("alexnet", weights=saved, num_classes=5, norm="after")
    assert torch.equal(again.fc8.linear.weight, net.fc8.linear.weight)


def test_float32_is_kept_exactly(small, tmp_path):
    path = tmp_path / "exact.safetensors"
    save_weights(small, path, dtype=torch.float32)
    net = zfnb.load_model("alexnet", weights=path)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in small.state_dict().items())
    assert fingerprint(net) == fingerprint(small)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("zfnet", {"norm": "before", "pools": "pad"}),
        ("zfnet", {"batch_norm": True, "norm": "none"}),
        ("alexnet-no67", {"input_size": 96}),
    ],
)
def test_every_variant_is_found_again(name, variant, noise, tmp_path):
    variant = VARIANT | variant
    net = shake(build(describe_variant(name, **variant), num_classes=3))
    if "batch_norm" in variant:
        net.conv1.bn.num_batches_tracked.fill_(100_000)  # more than float16 can hold
    path = tmp_path / "variant.safetensors"
    save_weights(net, path, dtype=torch.float32)
    loaded = zfnb.load_model(name, weights=path)
    assert loaded.layer_names == net.layer_names
    images = noise(1, variant["input_size"])
    with torch.inference_mode():
        assert torch.equal(loaded(images), net(images))


def test_a_trunk_is_found_again(trunk, tmp_path):
    path = tmp_path / "trunk.safetensors"
    save_weights(trunk, path)
    loaded = zfnb.load_model("torchvision-alexnet", weights=path)
    assert fingerprint(loaded) == fingerprint(trunk)  # it was float16 before


def test_another_size_keeps_the_colours(small, tmp_path):
    path = tmp_path / "trunk.safetensors"
    state = {k: v for k, v in small.state_dict().items() if k.startswith("conv")}
    about = {"resize": 70, "crop": 64, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    metadata = {"variant": json.dumps({"width": 1 / 32}), "preprocessing": json.dumps(about)}
    save_file(state, path, metadata)
    net = zfnb.load_model("alexnet", weights=path, input_size=128)
    assert net.preprocessing == Preprocessing(140, 128, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


def test_what_cannot_be_saved(small, tmp_path):
    with pytest.raises(BadInput, match=r"must end in .safetensors, not 'net.pth'"):
        save_weights(small, tmp_path / "net.pth")
    with pytest.raises(BadInput, match=r"is not the variant .*'norm': 'before'.* of alexnet"):
        save_weights(small, tmp_path / "net.safetensors", {"norm": "before"})
    large = build(describe_variant("alexnet", **VARIANT), num_classes=5)
    with torch.no_grad():
        large.fc6.linear.bias[1] = 1e5
    with pytest.raises(BadInput, match=r"'fc6.linear.bias' holds values .* torch.float16"):
        save_weights(large, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_fingerprints_tell_networks_apart(small):
    def made(**variant):
        torch.manual_seed(0)
        return build(describe_variant("zfnet", **(VARIANT | variant)), num_classes=3)

    first = fingerprint(made())
    assert len(first) == 64
    assert fingerprint(made()) == first
    others = [made(norm="before"), made(norm="none"), made(pools="pad"), made(input_size=66)]
    others += [made(batch_norm=True)]
    changed = made()
    with torch.no_grad():
        changed.conv3.filter.bias[0] += 1e-6
    prints = {first, fingerprint(small), *map(fingerprint, others), fingerprint(changed)}
    assert len(prints) == 8


# Files that are wrong


def rewrite(path, change=None, **metadata):
    """Write the file again with its state dict changed, or with other metadata."""
    state, about = load_file(path), facts(path)
    if change is not None:
        change(state)
    save_file(state, path, about | metadata)


def lose(state):
    del state["conv2.filter.bias"]


def gain(state):
    state["conv9.filter.bias"] = torch.zeros(3)


def reshape(state):
    state["conv3.filter.weight"] = torch.zeros(12, 8, 5, 5)


def spoil(state):
    state["fc7.linear.weight"][3, 4] = torch.nan


def squeeze(state):
    state["fc8.linear.bias"] = torch.tensor(1.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lose, "are not of alexnet: they lack 'conv2.filter.bias'"),
        (gain, "are not of alexnet: they hold an unknown 'conv9.filter.bias'"),
        (reshape, r"'conv3.filter.weight' is \(12, 8, 5, 5\) but must be \(12, 8, 3, 3\)"),
        (spoil, "hold NaN or infinity in 'fc7.linear.weight'"),
        (squeeze, "name 5 classes but have 1 outputs"),
    ],
)
def test_state_dicts_that_do_not_fit(saved, change, sentence):
    rewrite(saved, change)
    with pytest.raises(BadWeights, match=sentence):
        zfnb.load_model("alexnet", weights=saved)


def test_what_a_file_says_is_believed(saved):
    with pytest.raises(BadWeights, match=r"of alexnet, not zfnet; use load_model\('alexnet'"):
        zfnb.load_model("zfnet", weights=saved)
    with pytest.raises(BadWeights, match="5 classes, so num_classes=7 does not fit"):
        zfnb.load_model("alexnet", weights=saved, num_classes=7)
    with pytest.raises(BadWeights, match="trained with input_size=64, not 224"):
        zfnb.load_model("alexnet", weights=saved, input_size=224)
    with pytest.raises(BadWeights, match="trained with norm='after', not 'none'"):
        zfnb.load_model("alexnet", weights=saved, norm="none")


@pytest.mark.parametrize(
    "metadata",
    [
        {"variant": "{"},
        {"variant": "[1]"},
        {"variant": '{"size": 64}'},
        {"variant": '{"norm": "both"}'},
        {"variant": '{"input_size": "64"}'},
        {"classes": "3"},
        {"classes": "[[1, 2, 3]]"},
        {"preprocessing": '{"resize": 64}'},
        {"preprocessing": '{"resize": 64, "crop": 64, "mean": [0], "std": [1]}'},
    ],
)
def test_metadata_that_make_no_sense(saved, metadata):
    rewrite(saved, **metadata)
    with pytest.raises(BadWeights, match=r"The metadata of small.safetensors cannot be read"):
        zfnb.load_model("alexnet", weights=saved)


def test_another_number_of_class_names(saved):
    rewrite(saved, classes='[["", "tench"]]')
    with pytest.raises(BadWeights, match="name 1 classes but have 5 outputs"):
        zfnb.load_model("alexnet", weights=saved)


def test_absent_file(tmp_path):
    for name in ("none.pth", "none.safetensors"):
        with pytest.raises(BadWeights, match=f"There is no weights file '.*{name}'"):
            zfnb.load_model("alexnet", weights=tmp_path / name)
    with pytest.raises(BadWeights, match="There is no weights file"):
        zfnb.load_model("alexnet", weights=tmp_path)  # a folder


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("part", [0, 7, 0.5, 0.99], ids=["empty", "start", "half", "nearly all"])
def test_truncated_files(small, saved, ending, part):
    path = saved.with_name(f"cut{ending}")
    if ending == ".pth":
        torch.save(small.state_dict(), path)
    else:
        path.write_bytes(saved.read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[: part if isinstance(part, int) else int(len(whole) * part)])
    with pytest.raises(BadWeights, match=f"^cut{ending} "):
        zfnb.load_model("alexnet", weights=path)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_files_of_something_else(tmp_path, ending):
    path = tmp_path / f"other{ending}"
    path.write_text("<html>404 Not Found</html>\n" * 20, encoding="utf-8")
    with pytest.raises(
        BadWeights, match=f"(?s)^other{ending} .*; save (or download it again|its state)"
    ):
        zfnb.load_model("alexnet", weights=path)
    with pytest.raises(BadWeights, match=f"^other{ending} .*; save or download it again"):
        read_metadata(path)


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [1, 2], {"conv1": 3}, {1: torch.zeros(3)}, {"state_dict": {"a": 1}}]
)
def test_tensors_that_are_no_state_dict(tmp_path, content):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(BadWeights, match="does not hold a state dict"):
        zfnb.load_model("alexnet", weights=path)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (exec, (f"open({self.path!r}, 'w').close()",))


@pytest.mark.parametrize("how", ["torch", "pickle", "module"])
def test_no_code_is_run(tmp_path, how):
    path, sign = tmp_path / "bomb.pth", tmp_path / "sign"
    if how == "torch":
        torch.save({"conv1.filter.weight": Bomb(sign)}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(sign)))
    else:
        torch.save(torch.nn.Linear(2, 2), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BadWeights, match=r"bomb.pth holds more than tensors|is not a readable"):
            zfnb.load_model("alexnet", weights=path)
    assert not sign.exists()
    if how == "pickle":  # the bomb does go off where code is run
        pickle.loads(path.read_bytes())
        assert sign.exists()


def test_a_path_below_home(small, saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    monkeypatch.setenv("USERPROFILE", str(saved.parent))
    assert zfnb.load_model("alexnet", weights="~/small.safetensors").input_size == 64


def test_pytorchcv_need_not_be_installed_for_its_files(pytorchcv_net, tmp_path, monkeypatch):
    """Its weights files are read without it."""
    path = tmp_path / "zfnet.safetensors"
    save_file({k: v.half() for k, v in pytorchcv_net("zfnet").state_dict().items()}, path)
    monkeypatch.setitem(sys.modules, "pytorchcv", types.ModuleType("pytorchcv"))
    monkeypatch.delitem(sys.modules, "pytorchcv.model_provider", raising=False)
    assert zfnb.load_model("zfnet", weights=path).weights == "zfnet.safetensors"


@pytest.mark.parametrize("key", sorted(EMBEDDED), ids=" ".join)
def test_embedded_networks_load_and_know_their_classes(key):
    name, weights = key
    net = zfnb.load_model(name, weights=weights)
    assert net.weights == weights and not net.training
    with torch.inference_mode():
        out = net(torch.zeros(1, 3, net.input_size, net.input_size))
    assert torch.isfinite(out).all()
    if net.layer_names[-1] == "fc8":
        synsets = [synset for synset, _ in net.classes]
        assert len(net.classes) == out.shape[1] == 200 and synsets == sorted(synsets)
        assert ("n02124075", "Egyptian cat") in net.classes
    else:
        assert out.ndim == 4  # layers of filters only


def test_the_head_stands_on_the_trunk_as_it_is():
    trunk = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    whole = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk+tiny-imagenet")
    assert whole.layer_names == (*trunk.layer_names, "fc8")
    state = whole.state_dict()
    assert all(torch.equal(state[key], value) for key, value in trunk.state_dict().items())
    assert whole.preprocessing == trunk.preprocessing


def test_alexnet_and_zfnet_were_trained_alike():
    """Table 2 compares architectures, so nothing else may differ."""
    folder = embedded("data", "results", "training")
    runs = [read_json(folder / f"{name}.json") for name in ("alexnet", "zfnet")]
    settings = [run["settings"] for run in runs]
    assert [facts.pop("network") for facts in settings] == ["alexnet", "zfnet"]
    assert settings[0] == settings[1] and settings[0]["recipe"]["epochs"] >= 25
    assert runs[0]["data"] == runs[1]["data"]
    nets = [zfnb.load_model(name, weights="tiny-imagenet") for name in ("alexnet", "zfnet")]
    assert nets[0].classes == nets[1].classes and len(nets[0].classes) == 200
    assert nets[0].preprocessing == nets[1].preprocessing
    for name, run in zip(("alexnet", "zfnet"), runs, strict=True):
        facts = read_metadata(embedded("data", "weights", f"{name}-tiny-imagenet.safetensors"))
        assert facts["epochs"] == str(run["result"]["epochs"]) == str(len(run["epochs"]))


def test_snapshots_are_of_the_run_of_the_finished_network():
    finished = read_metadata(embedded("data", "weights", EMBEDDED["zfnet", "tiny-imagenet"][0]))
    epochs = []
    for (name, weights), (file, *_) in EMBEDDED.items():
        if name == "zfnet" and "epoch" in weights:
            facts = read_metadata(embedded("data", "weights", file))
            assert facts["epochs"] == str(int(weights[-3:]))
            assert facts["seed"] == finished["seed"] and facts["data"] == finished["data"]
            epochs.append(int(facts["epochs"]))
    assert epochs == sorted(epochs) and len(epochs) >= 2
    assert epochs[-1] < int(finished["epochs"])
