"""A claim: what the paper says, what we measure, and whether the two agree.

A notebook states one with `claim`; it shows as a row under the cell, and the report collects all
of them from the executed notebooks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from numbers import Integral, Real

from zfnb.errors import BadInput

MIME = "application/vnd.zfnb.claim+json"
Value = int | float | str | None
IN_PART = "in part"


@dataclass(frozen=True)
class Claim:
    """One row of the table *paper / ours / data / agrees?*.

    Attributes
    ----------
    what : str
        What is measured, e.g. "Parameters of ZFNet".
    paper, ours : int, float, str or None
        The paper's value and ours, in `unit`. None in `paper`: the paper gives none.
    section : str
        Where the paper says it, e.g. "Sec. 3, Fig. 3".
    unit, data, note : str
        Unit of values that are numbers; what ours was measured on; a remark, such as the likely
        cause of a gap.
    agrees : bool, str or None
        True, False, a short verdict such as "in part", or None where the two cannot be compared.
    """

    what: str
    paper: Value
    ours: Value
    section: str
    unit: str = ""
    data: str = ""
    agrees: bool | str | None = None
    note: str = ""

    @classmethod
    def of(cls, row: Mapping) -> Claim:
        """A claim as results.json and notebooks keep it; what it has besides is passed over.

        Raises
        ------
        BadInput
            It lacks one of what, paper, ours, section.
        """
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        try:
            return cls(**known)
        except TypeError:
            raise BadInput(f"A claim lacks a part; it has {', '.join(known) or 'none'}.") from None

    @property
    def verdict(self) -> str:
        """The last column in words."""
        return {True: "yes", False: "no", None: "not comparable"}.get(self.agrees, self.agrees)

    def shown(self, value: Value) -> str:
        """`value` as people read it: its unit, thousands apart, four digits; tenths of percent."""
        if value is None or isinstance(value, str):
            return value or "–"
        if isinstance(value, int):
            value = f"{value:,}"
        else:
            percent = self.unit in ("%", "points")
            digits = ".1f" if percent and 10 <= abs(value) < 1e4 else ".3g" if percent else ".4g"
            value = f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:{digits}}"
        return f"{value} {self.unit}" if self.unit else value

    def bundle(self) -> dict:
        """What a notebook stores of it, by MIME type."""
        return {MIME: asdict(self), "text/html": self._html(), "text/plain": str(self)}

    def _ipython_display_(self) -> None:
        """Nothing: `claim` has shown the row; the last line of a cell would show it again."""

    def __str__(self) -> str:
        line = f"{self.what}: paper {self.shown(self.paper)}, ours {self.shown(self.ours)}"
        line += f" (agrees: {self.verdict}; {self.section}"
        line += f"; {self.data})" if self.data else ")"
        return f"{line} {self.note}".rstrip()

    def _html(self) -> str:
        # Inline styles: JupyterLab strips <style>. `inherit` and transparency suit both its themes.
        colour = {True: "#2e9e5b", False: "#d0533c", None: "#858a93"}.get(self.agrees, "#b98a00")
        small = "font-size:.85em;opacity:.7"
        cells = "".join(
            f'<span style="flex:{share} 1 9em"><span style="{small}">{label}</span><br>'
            f'<b style="font-variant-numeric:tabular-nums">{escape(text)}</b></span>'
            for label, share, text in (
                ("paper", 2, self.shown(self.paper)),
                ("ours", 3, self.shown(self.ours)),
            )
        )
        under = " · ".join(escape(text) for text in (self.section, self.data, self.note) if text)
        return (
            f'<div class="zfnb-claim" style="border-left:4px solid {colour};padding:.4em .9em;'
            "margin:.3em 0;display:flex;flex-wrap:wrap;gap:.2em 1.6em;"
            'background:rgba(128,128,128,.08);border-radius:0 6px 6px 0">'
            f'<span style="flex:1 1 18em">{escape(self.what)}</span>'
            f'<span style="color:{colour};font-weight:600">{MARK[self.agrees]} '
            f"{escape(self.verdict)}</span>"
            f'<span style="flex:1 0 100%;{small}">{under}</span>{cells}</div>'
        )


class _Marks(dict):
    def __missing__(self, verdict: str) -> str:
        return "◐"


MARK = _Marks({True: "✓", False: "✗", None: "–"})


def claim(
    what: str,
    paper: Value,
    ours: Value,
    *,
    section: str,
    unit: str = "",
    data: str = "",
    agrees: bool | str | None,
    note: str = "",
) -> Claim:
    """Show a claim under the cell, and hand it to the report.

    Parameters are those of `Claim`; `agrees` must be said. Numbers of NumPy and PyTorch are taken
    too.

    Returns
    -------
    Claim

    Raises
    ------
    BadInput
        A number that is not finite, an empty text, a verdict of another type.
    """
    texts = {"what": what, "section": section, "unit": unit, "data": data, "note": note}
    for name, text in texts.items():
        if not isinstance(text, str) or (name in ("what", "section") and not text.strip()):
            raise BadInput(f"claim(): {name} must be a text, got {text!r}.")
    row = Claim(
        paper=plain("paper", paper),
        ours=plain("ours", ours),
        agrees=checked_verdict(agrees),
        **texts,
    )
    if row.ours is None:
        raise BadInput(f"claim({what!r}): ours is None; state a claim only once it is measured.")
    show(row)
    return row


def plain(name: str, value) -> Value:
    """A value as JSON can hold it; refused if it is not finite or not a number or a text."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a NumPy or PyTorch scalar
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, Real) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise BadInput(f"claim(): {name} must be finite, got {value}.")
        return int(value) if isinstance(value, Integral) else float(value)
    raise BadInput(f"claim(): {name} must be a number or a text, got {value!r}.")


def checked_verdict(agrees) -> bool | str | None:
    """`agrees` with a NumPy or PyTorch bool made plain."""
    if hasattr(agrees, "item") and getattr(agrees, "ndim", 0) == 0:
        agrees = agrees.item()
    if agrees is None or isinstance(agrees, bool):
        return agrees
    if isinstance(agrees, str) and 0 < len(agrees.strip()) <= 40:
        return agrees.strip()
    raise BadInput(
        f"claim(): agrees must be True, False, None or a verdict of at most 40 letters, "
        f"got {agrees!r}."
    )


def show(row: Claim) -> None:
    """Display in a notebook; print elsewhere."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(row)
        return
    from IPython.display import display

    display(row.bundle(), raw=True)
