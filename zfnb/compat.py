"""torchvision, imported so that it also works beside a CPU-only build of torch.

A CPU-only torch next to torchvision's CUDA wheel makes the first ``import torchvision`` fail with
"operator torchvision::nms does not exist": the compiled operators cannot be loaded. zfnb needs only
torchvision's Python parts (models, datasets, transforms). They work once the schemas of the two
operators that the import asks about are declared. Nothing is declared where the import succeeds.

Everything in zfnb takes torchvision from here::

    from zfnb.compat import torchvision
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: torch.library.Library | None = None  # kept alive: the schemas vanish with it


def import_torchvision() -> ModuleType:
    """Import torchvision; declare its missing operators only if a first import has failed so.

    Returns
    -------
    module
        ``torchvision``, with ``models``, ``datasets`` and ``transforms`` imported.

    Raises
    ------
    ImportError, RuntimeError
        Whatever the import raises when the missing operators are not the reason.
    """
    try:
        module = importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        _declare_operators()
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half-imported
        module = importlib.import_module("torchvision")
    for part in ("models", "datasets", "transforms"):
        importlib.import_module(f"torchvision.{part}")
    return module


def _declare_operators() -> None:
    global _declared
    if _declared is not None:
        return
    # FRAGMENT: something else in the process may own the namespace, with some operators in it.
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        name = schema.split("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            _declared.define(schema)


torchvision = import_torchvision()
