"""Whole numbers from people: Python's and NumPy's are taken, True and 2.0 are not."""

from __future__ import annotations

import operator

from zfnb.errors import BadInput


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
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    good = number is not None and not isinstance(value, bool) and number >= least
    if not good or (most is not None and number > most):
        raise BadInput(f"{must}, not {value!r}.")
    return number


def map_number(feature_map: object, maps: int, layer: str) -> int:
    """The number of one of the `maps` feature maps (or units) of a layer, as an int.

    Raises
    ------
    BadInput
        If the layer has no such map.
    """
    try:
        return whole_number(feature_map, "", 0, maps - 1)
    except BadInput:
        raise BadInput(
            f"Feature map {feature_map!r} is not in {layer}; it has maps 0 to {maps - 1}."
        ) from None
