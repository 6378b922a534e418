"""NETWORK:WEIGHTS, taken apart and put together."""

import pytest

from zfnb.errors import BadInput
from zfnb.named import data_name, named_networks, network_and_weights, network_name, weights_name


def test_names_of_weights():
    assert weights_name("tiny-imagenet") == "tiny-imagenet"
    assert weights_name("imagenet-trunk+tiny-imagenet") == "imagenet-trunk+tiny-imagenet"
    assert weights_name("/home/me/runs/zfnet.safetensors") == "zfnet.safetensors"


def test_taken_apart():
    assert network_and_weights("zfnet:tiny-imagenet") == ("zfnet", "tiny-imagenet")
    assert network_and_weights("zfnet:C:/runs/a.pth") == ("zfnet", "C:/runs/a.pth")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("zfnet", "zfnet:FILE"), ("alexnet:", "alexnet:FILE"), (":tiny", "zfnet:FILE")],
)
def test_half_a_name(text, hint):
    with pytest.raises(BadInput, match=rf"^Name a network .* not '{text}'; .*, or {hint}\.$"):
        network_and_weights(text)


def test_files_say_nothing_of_places():
    texts = ["zfnet:tiny-imagenet", "zfnet:/home/me/a.safetensors"]
    names = ["zfnet:tiny-imagenet", "zfnet:a.safetensors"]
    assert [network_name(text) for text in texts] == names
    assert named_networks(texts) == dict(zip(names, texts, strict=True))
    with pytest.raises(
        BadInput, match=r"^Two of the networks are called zfnet:a\.safetensors; rename"
    ):
        named_networks([*texts, "zfnet:/home/you/a.safetensors"])


def test_a_folder_without_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for data in ("caltech101", "../x/caltech101", tmp_path / "caltech101", "caltech101/"):
        assert data_name(data) == "caltech101"
    assert data_name(".") == tmp_path.name
