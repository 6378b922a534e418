"""NETWORK:WEIGHTS, datasets: how commands take them, and how files of results name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from zfnb.errors import BadInput


def weights_name(weights: str | os.PathLike) -> str:
    """Weights as files name them: a weights file without its place on one machine."""
    path = Path(weights)
    return path.name if path.suffix in (".safetensors", ".pth", ".pt") else str(weights)


def data_name(data: str | os.PathLike) -> str:
    """A dataset as files name it: a folder without its place on one machine."""
    return Path(data).absolute().name  # "." has none; a link keeps its own


def network_and_weights(text: str) -> tuple[str, str]:
    """NETWORK:WEIGHTS, as commands take a network, in two.

    Raises
    ------
    BadInput
        One of the two is missing.
    """
    network, _, weights = text.partition(":")
    if not network or not weights:
        raise BadInput(
            f"Name a network and its weights, NETWORK:WEIGHTS, not {text!r}; say, "
            f"{network or 'zfnet'}:tiny-imagenet, or {network or 'zfnet'}:FILE."
        )
    return network, weights


def network_name(text: str) -> str:
    """NETWORK:WEIGHTS as files name it: a weights file without its place on one machine."""
    network, weights = network_and_weights(text)
    return f"{network}:{weights_name(weights)}"


def named_networks(texts: Iterable[str]) -> dict[str, str]:
    """NETWORK:WEIGHTS of several networks, by the names that files give them.

    Raises
    ------
    BadInput
        Two of the names are the same, or one is incomplete.
    """
    named = {}
    for text in texts:
        name = network_name(text)
        if name in named:
            raise BadInput(
                f"Two of the networks are called {name}; rename a file, or leave one out."
            )
        named[name] = text
    return named
