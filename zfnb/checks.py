"""Whole numbers from people: Python's and NumPy's are taken, True and 2.0 are not."""

from __future__ import annotations

import operator

from zfnb.errors import BadInput


def index(value: object, least: int, most: int | None = None) -> int | None:
    """`value` as an int from `least` to `most` (None: no end); None if it is no such number."""
    try:
        number = operator.index(value)
    except TypeError:
        return None
    if isinstance(value, bool) or number < least or (most is not None and number > most):
        return None
    return number


def whole_number(value: object, must: str, least: int, most: int | None = None) -> int:
    """`value` as an int from `least` to `most`.

    Parameters
    ----------
    value : object
    must : str
        What it has to be, as a sentence without its end: "k must be a whole number from 1 on".
    least, most : int
        The smallest and the largest that is taken; None: there is no largest.

    Raises
    ------
    BadInput
        `must`, and what was given instead.
    """
    number = index(value, least, most)
    if number is None:
        raise BadInput(f"{must}, not {value!r}.")
    return number


def map_number(feature_map: object, maps: int, layer: str) -> int:
    """The number of one of the `maps` feature maps (or units) of a layer, as an int.

    Raises
    ------
    BadInput
        If the layer has no such map.
    """
    number = index(feature_map, 0, maps - 1)
    if number is None:
        raise BadInput(
            f"Feature map {feature_map!r} is not in {layer}; it has maps 0 to {maps - 1}."
        )
    return number
