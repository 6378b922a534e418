"""zfnb: *Visualizing and Understanding Convolutional Networks*, section by section.

M. D. Zeiler and R. Fergus, arXiv 1311.2901 (2013).
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

# Imported on first use, so that `zfnb --help` does not wait for PyTorch.
_PLACES = {
    "load_model": "zfnb.models",
    "features": "zfnb.models",
    "preprocess": "zfnb.data",
    "load_dataset": "zfnb.data",
    "Deconvnet": "zfnb.deconvnet",
    "TopActivations": "zfnb.activations",
    "correspondence": "zfnb.correspondences",
    "invariance_curves": "zfnb.invariance",
    "occlusion_maps": "zfnb.occlusion",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str):
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'zfnb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
