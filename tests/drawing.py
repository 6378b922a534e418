"""What the tests of all figures share."""

from __future__ import annotations

import inspect
from types import ModuleType

from matplotlib.colors import to_rgb
from matplotlib.text import Text


def figures_of(module: ModuleType) -> list[str]:
    """Names of a module's own functions that return a figure: none can be forgotten."""
    return [
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and function.__annotations__["return"] == "Figure"
    ]


def assert_warns_of_random_weights(title: Text) -> None:
    """The title says so first, in red."""
    assert title.get_text().startswith("RANDOM WEIGHTS, not trained: ")
    assert to_rgb(title.get_color()) == to_rgb("crimson")
