"""Where a network's weights come from: files that travel with zfnb, other packages, one's own.

A zfnb weights file is a safetensors file with a state dict (float16, float32 or, see
`zfnb.quantise`, fewer bits) and, as metadata, what `load_model` needs to rebuild the network: its
name, variant, classes and preprocessing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zfnb.data.pictures import Preprocessing
from zfnb.data.public import imagenet_classes
from zfnb.errors import BadInput, BadWeights, MissingData, UnknownName
from zfnb.files import replacing
from zfnb.models import NETWORKS, Description, Network, build, describe_variant
from zfnb.paths import embedded
from zfnb.quantise import pack, unpack

State = dict[str, Tensor]
PACKED = "zfnb packed 1"
# pytorchcv normalises before the pool, and its pools count a last window that overhangs.
PYTORCHCV_VARIANT = {"norm": "before", "pools": "ceil"}


@dataclass(frozen=True)
class Stored:
    """A state dict with zfnb's names, and what is known about the network it is of."""

    state: State
    source: str
    network: str | None = None
    variant: dict = field(default_factory=dict)
    classes: list[tuple[str, str]] | None = None
    preprocessing: Preprocessing | None = None


def _torchvision_imagenet() -> Stored:
    from zfnb.compat import torchvision

    published = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    state = downloaded("torchvision", lambda: published.get_state_dict(check_hash=True))
    return Stored(from_torchvision(state), "imagenet (torchvision)", classes=published_classes())


def _pytorchcv_imagenet(name: str) -> Stored:
    import zfnb.compat  # noqa: F401  pytorchcv imports torchvision, which may need help

    try:
        from pytorchcv.model_provider import get_model
    except ImportError as error:
        raise MissingData(
            f"The published {name} weights come through the package pytorchcv; install it with: "
            'pip install "zfnb[pytorchcv]", in a checkout pip install -e ".[pytorchcv]"'
        ) from error
    net = downloaded("pytorchcv", lambda: get_model(name, pretrained=True))
    return Stored(
        from_pytorchcv(net.state_dict()),
        "imagenet (pytorchcv)",
        variant=PYTORCHCV_VARIANT,
        classes=published_classes(),
    )


def published_classes() -> list[tuple[str, str]]:
    """The 1000 classes of ILSVRC 2012, in the order that all published networks use.

    torchvision knows their names only, so the synsets are empty.
    """
    return [("", name) for name in imagenet_classes()]


def downloaded(package: str, fetch: Callable):
    """Run another package's download; turn its many errors into one sentence."""
    try:
        return fetch()
    except Exception as error:  # urllib, ssl, checksum and zip errors, one kind a package
        raise MissingData(
            f"{package} could not fetch its published weights "
            f"({type(error).__name__}: {error}). Check the network connection and try again; "
            "offline, use weights='imagenet-trunk' with 'torchvision-alexnet'."
        ) from error


SNAPSHOTS = (1, 2, 5, 10, 20)  # epochs of the ZFNet run that are kept, layers of filters only
_TRUNK, _HEAD = "alexnet-imagenet-trunk.safetensors", "alexnet-tiny-imagenet-head.safetensors"
# (network, weights) -> files under data/weights that together are the network
EMBEDDED: dict[tuple[str, str], tuple[str, ...]] = {
    key: files
    for key, files in {
        ("torchvision-alexnet", "imagenet-trunk"): (_TRUNK,),
        ("torchvision-alexnet", "imagenet-trunk+tiny-imagenet"): (_TRUNK, _HEAD),
        ("zfnet", "tiny-imagenet"): ("zfnet-tiny-imagenet.safetensors",),
        **{
            ("zfnet", f"tiny-imagenet-epoch-{epoch:03d}"): (f"zfnet-epoch-{epoch:03d}.safetensors",)
            for epoch in SNAPSHOTS
        },
        ("alexnet", "tiny-imagenet"): ("alexnet-tiny-imagenet.safetensors",),
    }.items()
    if all(embedded("data", "weights", file).exists() for file in files)
}
# (network, weights) -> what fetches them through another package
PUBLISHED: dict[tuple[str, str], Callable[[], Stored]] = {
    ("torchvision-alexnet", "imagenet"): _torchvision_imagenet,
    ("zfnet", "imagenet"): lambda: _pytorchcv_imagenet("zfnet"),
    ("zfnetb", "imagenet"): lambda: _pytorchcv_imagenet("zfnetb"),
}


def available_weights(name: str) -> list[str]:
    """Names that `load_model(name, weights=...)` takes, besides a path and None."""
    return [weights for network, weights in (*EMBEDDED, *PUBLISHED) if network == name]


def load_weights(name: str, weights: str | os.PathLike, num_classes: int, variant: dict) -> Network:
    """Build network `name` and fill it; what `load_model` does when weights are given."""
    if not isinstance(weights, str | os.PathLike):
        raise BadInput(
            f"weights must be a name, a path or None, not {type(weights).__name__}. Names for "
            f"{name}: {', '.join(available_weights(name)) or 'none'}."
        )
    key = (name, str(weights))
    if key in EMBEDDED:
        parts = [read_file(embedded("data", "weights", file)) for file in EMBEDDED[key]]
        state = {name: value for part in parts for name, value in part.state.items()}
        # A head comes last and knows the classes; a trunk comes first and knows the pictures.
        stored = replace(parts[0], state=state, source=key[1], classes=parts[-1].classes)
    elif key in PUBLISHED:
        stored = PUBLISHED[key]()
    else:
        path = Path(weights).expanduser()
        if not path.exists() and path.suffix not in (".safetensors", ".pt", ".pth"):
            owners = sorted({n for n, w in (*EMBEDDED, *PUBLISHED) if w == key[1]})
            hint = f" Weights {key[1]!r} belong to {', '.join(owners)}." if owners else ""
            choices = [*available_weights(name), "the path of a .safetensors or .pth file", "None"]
            error = UnknownName.of(f"weights for {name}:", str(weights), choices)
            raise UnknownName(str(error) + hint)
        stored = read_file(path)
    return fill(name, stored, num_classes, variant)


def fill(name: str, stored: Stored, num_classes: int, variant: dict) -> Network:
    """Build the network that `stored` is of, and load it."""
    if stored.network not in (None, name):
        raise BadWeights(
            f"The weights {stored.source!r} are of {stored.network}, not {name}; use "
            f"load_model({stored.network!r}, weights=...)."
        )
    for key, value in stored.variant.items():
        if variant.get(key, value) != value:
            raise BadWeights(
                f"The weights {stored.source!r} were trained with {key}={value!r}, not "
                f"{variant[key]!r}; leave {key} out, or choose other weights."
            )
    description = describe_variant(name, **{**stored.variant, **variant})
    if not any(key.startswith("fc") for key in stored.state):  # the layers of maps alone
        description = replace(description, fc=None)
    elif description.fc and not any(f"fc{n}.linear.weight" in stored.state for n in description.fc):
        description = replace(description, fc={})  # a classifier right on the layers of maps
    outputs = stored.state.get("fc8.linear.bias")
    held = None if outputs is None else outputs.numel()
    check_classes(stored, num_classes, held)
    net = build(
        description,
        held or num_classes,
        weights=stored.source,
        classes=stored.classes,
        preprocessing=at_size(stored.preprocessing, description.input_size),
    )
    expected = net.state_dict()
    check_state(stored, expected, name)
    net.load_state_dict({key: value.float() for key, value in stored.state.items()})
    return net


def at_size(preprocessing: Preprocessing | None, size: int) -> Preprocessing | None:
    """The same preparation of pictures for another size of the input."""
    if preprocessing is None or preprocessing.crop == size:
        return preprocessing
    resize = round(preprocessing.resize * size / preprocessing.crop)
    return replace(preprocessing, resize=resize, crop=size)


def check_classes(stored: Stored, asked: int, held: int | None) -> None:
    """A number of classes other than the default 1000 must be what the weights have."""
    if stored.classes is not None and held is not None and len(stored.classes) != held:
        raise BadWeights(
            f"The weights {stored.source!r} name {len(stored.classes)} classes but have {held} "
            "outputs; the file is damaged."
        )
    if asked in (1000, held):
        return
    has = "no classifier" if held is None else f"{held} classes"
    raise BadWeights(
        f"The weights {stored.source!r} have {has}, so num_classes={asked} does not fit; leave it "
        "out, and train a classifier on their features."
    )


def check_state(stored: Stored, expected: State, name: str) -> None:
    """Compare names and shapes, and say the first difference plainly."""
    missing = [key for key in expected if key not in stored.state]
    surplus = [key for key in stored.state if key not in expected]
    if missing or surplus:
        found = f"lack {missing[0]!r}" if missing else f"hold an unknown {surplus[0]!r}"
        raise BadWeights(
            f"The weights {stored.source!r} are not of {name}: they {found}. Choose the network "
            "that they were saved from."
        )
    for key, tensor in stored.state.items():
        if tensor.shape != expected[key].shape:
            raise BadWeights(
                f"The weights {stored.source!r} do not fit {name}: {key!r} is "
                f"{tuple(tensor.shape)} but must be {tuple(expected[key].shape)}; check "
                "input_size, width and the network's name."
            )
        if not torch.isfinite(tensor).all():
            raise BadWeights(f"The weights {stored.source!r} hold NaN or infinity in {key!r}.")


def read_file(path: str | os.PathLike) -> Stored:
    """Read a .safetensors file of zfnb, or a .pth state dict (tensors only, nothing is run)."""
    path = Path(path)
    if not path.is_file():
        raise BadWeights(f"There is no weights file {str(path)!r}; give an existing path.")
    metadata: dict[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise BadWeights(unreadable(path, error)) from error
    except Exception as error:  # pickle's own error types, when the file is no state dict
        raise BadWeights(
            f"{path.name} holds more than tensors and is not opened ({error}); save its state_dict."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if metadata.get("format") == PACKED:
        try:
            state = unpack(state)
        except BadInput as error:
            raise BadWeights(f"{path.name} is damaged: {error}") from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise BadWeights(f"{path.name} does not hold a state dict (names and tensors).")
    if "features.0.weight" in state:
        state = from_torchvision(state)
    elif "features.stage1.unit1.conv.weight" in state:
        state = from_pytorchcv(state)
        if state["conv1.filter.weight"].shape == (96, 3, 11, 11):
            raise BadWeights(
                f"{path.name} is of pytorchcv's alexnet, which does not pad the picture and so is "
                "none of zfnb's networks; use its zfnet, zfnetb or alexnetb."
            )
        metadata = {"variant": json.dumps(PYTORCHCV_VARIANT)}
    try:
        variant = json.loads(metadata.get("variant", "{}"))
        describe_variant("zfnet", **variant)  # its names and values
        classes = json.loads(metadata.get("classes", "null"))
        preprocessing = json.loads(metadata.get("preprocessing", "null"))
        return Stored(
            state,
            path.name,
            metadata.get("network"),
            variant,
            None if classes is None else [(str(synset), str(name)) for synset, name in classes],
            None if preprocessing is None else Preprocessing(**preprocessing),
        )
    except (ValueError, TypeError) as error:
        raise BadWeights(f"The metadata of {path.name} cannot be read ({error}).") from error


def unreadable(path: Path, error: Exception) -> str:
    """The sentence about a file that is damaged, cut short, or something else."""
    return (
        f"{path.name} is not a readable weights file ({error}); save or download it again, or "
        "give another file."
    )


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """What a .safetensors file says of itself: network, data, recipe, epochs, commit, ..."""
    try:
        with safe_open(Path(path), framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadWeights(unreadable(Path(path), error)) from error


def trained_width(name: str, weights: str | os.PathLike) -> float:
    """The width that weights say they were trained with; 1 if they say none.

    Nothing but their metadata is read. What is wrong with them, if anything, `load_model` says.
    """
    parts = EMBEDDED.get((name, str(weights)))
    try:
        path = embedded("data", "weights", parts[0]) if parts else Path(weights).expanduser()
        return json.loads(read_metadata(path).get("variant", "{}")).get("width", 1.0)
    except (BadWeights, ValueError, TypeError, AttributeError):
        return 1.0


def save_weights(
    net: Network,
    path: str | os.PathLike,
    variant: dict | None = None,
    dtype: torch.dtype = torch.float16,
    bits: Mapping[str, int] | None = None,
    **metadata: str,
) -> None:
    """Write a network's weights with what `load_model` needs to rebuild it.

    Parameters
    ----------
    net : Network
    path : path of a .safetensors file, replaced as a whole or not at all
    variant : dict, optional
        The variant it was built with (`input_size`, `norm`, `pools`, `width`, `batch_norm`), where
        the network itself does not tell.
    dtype : torch.dtype
        float16 halves the file; its error is far below that of the weights' training.
    bits : {layer: 8 or 4}, optional
        Layers whose weights are kept in fewer bits; `zfnb.quantise`.
    **metadata : str
        More lines for the file's metadata, e.g. ``data="tiny-imagenet"``.

    Raises
    ------
    BadInput
        If the path does not end in .safetensors, a weight does not fit in `dtype`, or the variant
        is not the network's.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise BadInput(f"A weights file must end in .safetensors, not {path.name!r}.")
    for layer in bits or {}:
        net.check_layer(layer)
    if bits:
        metadata = {"format": PACKED, **metadata}
    state = {}
    for key, value in pack(net.state_dict(), bits or {}).items():
        kept = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)
        if not torch.isfinite(kept).all():
            raise BadInput(f"{key!r} holds values that are not finite as {dtype}; not saved.")
        state[key] = kept.contiguous()
    facts = {
        "network": net.name,
        "variant": json.dumps(variant_of(net, variant or {})),
        "classes": json.dumps(net.classes),
        "preprocessing": json.dumps(asdict(net.preprocessing)),
        **metadata,
    }
    with replacing(path) as temporary:
        save_file(state, temporary, facts)


def variant_of(net: Network, given: dict) -> dict:
    """What `describe_variant` needs to describe `net`; `given` is what is known of it."""
    description = net.description
    if description is None or net.name not in NETWORKS:
        return given
    plain = NETWORKS[net.name]
    names = ("input_size", "norm", "pools", "batch_norm")
    variant = {name: getattr(description, name) for name in names}
    usual, units = max(zip(widths(plain), widths(description), strict=False))
    if units != usual:
        variant["width"] = units / usual
    variant |= given
    expected = describe_variant(net.name, **variant)
    if replace(expected, fc=description.fc and expected.fc) != description:
        raise BadInput(
            f"The network is not the variant {variant} of {net.name}; give save_weights the "
            "variant that it was built with."
        )
    return variant


def widths(description: Description) -> list[int]:
    """Number of maps or units of each layer."""
    return [conv.maps for conv in description.conv.values()] + list((description.fc or {}).values())


def fingerprint(net: Network) -> str:
    """SHA-256 of all weights and of the graph, in hexadecimal: which network is this?"""
    digest = hashlib.sha256(repr([(name, str(step)) for name, step in net.steps()]).encode())
    digest.update(str(net.input_size).encode())
    for key, value in net.state_dict().items():
        digest.update(key.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def from_torchvision(state: State) -> State:
    """torchvision's AlexNet names to zfnb's."""
    places = {0: "conv1", 3: "conv2", 6: "conv3", 8: "conv4", 10: "conv5"}
    names = {f"features.{at}": f"{layer}.filter" for at, layer in places.items()}
    names |= {f"classifier.{at}": f"fc{n}.linear" for at, n in ((1, 6), (4, 7), (6, 8))}
    return renamed(state, names)


def from_pytorchcv(state: State) -> State:
    """pytorchcv's names (zfnet, zfnetb, alexnetb) to zfnb's."""
    units = ("stage1.unit1", "stage2.unit1", "stage3.unit1", "stage3.unit2", "stage3.unit3")
    names = {f"features.{unit}.conv": f"conv{n}.filter" for n, unit in enumerate(units, start=1)}
    names |= {"output.fc1.fc": "fc6.linear", "output.fc2.fc": "fc7.linear"}
    names |= {"output.fc3": "fc8.linear"}
    return renamed(state, names)


def renamed(state: State, names: dict[str, str]) -> State:
    """`state` with the module part of each key replaced; unknown keys stay, to be refused later."""
    result = {}
    for key, value in state.items():
        module, _, parameter = key.rpartition(".")
        result[f"{names.get(module, module)}.{parameter}"] = value
    return result
