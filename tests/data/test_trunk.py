"""The build script of the embedded weights: its restricted unpickler, its key and shape mapping."""

import hashlib
import importlib.util
import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from zfnb.paths import embedded

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = embedded("data", "weights", "alexnet-imagenet-trunk.safetensors")


@pytest.fixture(scope="module")
def trunk():
    spec = importlib.util.spec_from_file_location("trunk", REPOSITORY / "data/build/trunk.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pickled(content, protocol=3):
    return io.BytesIO(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_come_back_equal(trunk, protocol):
    content = {
        "a": {"kernel": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), "n": 3},
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "half": np.ones(5, dtype=np.float16),
    }
    read = trunk.load_arrays(pickled(content, protocol))
    np.testing.assert_array_equal(read["a"]["kernel"], content["a"]["kernel"])
    np.testing.assert_array_equal(read["fortran"], content["fortran"])
    np.testing.assert_array_equal(read["half"], content["half"])
    assert read["a"]["n"] == 3
    assert read["half"].dtype == np.float16


class _Evil:
    def __init__(self, function, argument):
        self.call = (function, (argument,))

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [eval, exec, print, np.load, Path.unlink])
def test_a_pickle_that_calls_something_is_refused(trunk, function, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("still here")
    argument = victim if function is Path.unlink else f"open({str(victim)!r}, 'w').close()"
    with pytest.raises(pickle.UnpicklingError, match="only numpy arrays are admitted"):
        trunk.load_arrays(pickled({"x": _Evil(function, argument)}))
    assert victim.read_text() == "still here"


@pytest.mark.parametrize(
    "array",
    [np.array([{}, []], dtype=object), np.array(["text"]), np.arange(3), np.ones(2, dtype=">f4")],
)
def test_arrays_of_anything_but_plain_floats_are_refused(trunk, array):
    with pytest.raises(pickle.UnpicklingError):
        trunk.load_arrays(pickled(array))


def fake_flax(trunk):
    rng = np.random.default_rng(0)
    params = {}
    for number, (out, inp, rows, columns) in enumerate(trunk.SHAPES.values()):
        kernel = rng.normal(size=(rows, columns, inp // 3 or 1, out // 8)).astype(np.float32)
        params[f"Conv_{number}"] = {"kernel": kernel, "bias": np.full(out // 8, number)}
    return params


def test_flax_kernels_become_oihw(trunk):
    params = fake_flax(trunk)
    arrays = trunk.convert_flax(params)
    assert list(arrays) == [
        f"conv{n}.filter.{kind}" for n in range(1, 6) for kind in ("weight", "bias")
    ]
    kernel = params["Conv_1"]["kernel"]  # rows, columns, in, out
    weight = arrays["conv2.filter.weight"]
    assert weight.shape == kernel.shape[3:] + kernel.shape[2:3] + kernel.shape[:2]
    assert weight[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert arrays["conv5.filter.bias"][0] == 4


def test_both_sources_give_the_same_arrays(trunk):
    params = fake_flax(trunk)
    state = {"classifier.1.weight": np.zeros(3)}
    for number, index in enumerate((0, 3, 6, 8, 10)):
        state[f"features.{index}.weight"] = np.moveaxis(
            params[f"Conv_{number}"]["kernel"], (3, 2), (0, 1)
        )
        state[f"features.{index}.bias"] = params[f"Conv_{number}"]["bias"]
    ours, theirs = trunk.convert_flax(params), trunk.convert_torchvision(state)
    assert ours.keys() == theirs.keys()
    for key in ours:
        np.testing.assert_array_equal(ours[key], theirs[key])


def test_the_torchvision_indices_are_the_convolutions_of_alexnet(trunk):
    from zfnb.compat import torchvision

    state = torchvision.models.alexnet(weights=None).state_dict()
    arrays = trunk.convert_torchvision({key: value.numpy() for key, value in state.items()})
    trunk.check_shapes(arrays)  # stops if a shape or a key is wrong


def test_wrong_shapes_and_infinite_numbers_stop_the_build(trunk):
    arrays = {f"{n}.filter.weight": np.zeros(s, np.float32) for n, s in trunk.SHAPES.items()}
    arrays |= {f"{n}.filter.bias": np.zeros(s[0], np.float32) for n, s in trunk.SHAPES.items()}
    trunk.check_shapes(arrays)
    with pytest.raises(SystemExit, match="Unexpected"):
        trunk.check_shapes(arrays | {"conv6.filter.bias": np.zeros(3)})
    arrays["conv3.filter.bias"][5] = np.inf
    with pytest.raises(SystemExit, match="finite"):
        trunk.check_shapes(arrays)


def test_the_file_is_the_same_each_time(trunk):
    arrays = {"conv1.filter.bias": np.arange(4, dtype=np.float32), "b": np.ones(3, np.float32)}
    raw = trunk.to_bytes(arrays, {"source": "a test", "zebra": "last"})
    assert all(trunk.to_bytes(arrays, {"source": "a test", "zebra": "last"}) == raw for _ in "123")
    read = load(raw)
    np.testing.assert_array_equal(read["conv1.filter.bias"], arrays["conv1.filter.bias"])


def test_the_shipped_file(trunk):
    with safe_open(SHIPPED, framework="np") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    trunk.check_shapes(arrays)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    assert metadata["network"] == "torchvision-alexnet"
    assert "BSD-3-Clause" in metadata["licence"]
    card = SHIPPED.with_name("README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in re.findall(r"[0-9a-f]{64}", card)


def test_the_first_layer_has_learnt_smooth_filters(trunk):
    """Neighbouring numbers of a trained filter are alike; shuffled ones are not."""
    with safe_open(SHIPPED, framework="np") as file:
        filters = file.get_tensor("conv1.filter.weight").astype(np.float64)

    def alike(x):
        x = x - x.mean((2, 3), keepdims=True)
        return np.median((x[..., 1:] * x[..., :-1]).mean((1, 2, 3)) / x.var((1, 2, 3)))

    shuffled = np.random.default_rng(0).permuted(filters.reshape(64, 3, 121), axis=2)
    assert alike(filters) > 0.4
    assert abs(alike(shuffled.reshape(filters.shape))) < 0.1
