"""What can go wrong, as types: one sentence each, saying what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ZfnbError(Exception):
    """Base of every error that zfnb raises on purpose; the command line prints its sentence."""


class BadInput(ZfnbError, ValueError):
    """An argument has a wrong shape, type, device or value."""


class UnknownName(BadInput):
    """A name (of a layer, network, dataset, rule, ...) that is not one of the valid choices."""

    @classmethod
    def of(cls, kind: str, given: object, valid: Iterable[object]) -> UnknownName:
        """Name what was given, the closest valid choice, and all valid choices."""
        choices = [str(choice) for choice in valid]
        close = get_close_matches(str(given), choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return cls(f"Unknown {kind} {given!r}.{hint} Choose one of: {', '.join(choices)}.")


class BadPicture(BadInput):
    """A picture that cannot be read, or that is too large to be safe."""


class MissingData(ZfnbError, FileNotFoundError):
    """Data that must be fetched, or pointed at with ``ZFNB_DATA``, first."""


class BadWeights(BadInput):
    """A weights file that is damaged or does not fit the network."""


class CannotInvert(ZfnbError, TypeError):
    """A network that holds something the deconvnet has no inverse for."""


class StaleIndex(BadInput):
    """A saved index that was made from another dataset or another network."""


class NotebookFailed(ZfnbError, RuntimeError):
    """A notebook of the report did not run to its end."""
