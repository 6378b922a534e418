"""The summary as figures and tables: a tile an item, the paper's numbers against ours, text.

They draw what `zfnb.summary` found and compute nothing. Every verdict is a word and a mark as well
as a colour, so the page can be read in grey and by the colour-blind.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from zfnb.claims import Claim
from zfnb.errors import BadInput
from zfnb.summary import AGREES, DIFFERS, IN_PART, MISSING, OPEN, REPORT, Row, Summary, Tally, word

# Ground and ink. Blue, yellow, orange-red: told apart by all common kinds of colour-blindness.
COLOURS = {
    AGREES: ("#cfe4f3", "#0b4f7d"),
    IN_PART: ("#fbe9b7", "#6e4a00"),
    DIFFERS: ("#f6cdbd", "#8a2508"),
    OPEN: ("#e9e9e9", "#4a4a4a"),
    MISSING: ("#ffffff", "#666666"),
}
MARKS = {AGREES: "✓", IN_PART: "◐", DIFFERS: "✗", OPEN: "–", MISSING: "·"}
COLUMNS = 5
# Ours among the numbers: colour and form.
DOTS = {AGREES: ("#1f77b4", "o"), IN_PART: ("#d99a00", "D"), DIFFERS: ("#d1451b", "X")}
UNITS = {"%": "percent", "points": "percentage points", "times random": "times random masks"}
LINE = 0.31  # inches a number


class Html:
    """A table that shows as HTML, and as text where there is none."""

    def __init__(self, html: str, text: str):
        self.html, self.text = html, text

    def _repr_mimebundle_(self, **kwargs) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


# ---------------------------------------------------------------- figures


def tiles(rows: Sequence[Row], title: str) -> Figure:
    """A tile for each item: its verdict, and how many of its claims agree.

    Parameters
    ----------
    rows : sequence of Row
        Of a `Summary`; where they hold claims of a run, its count stands at the bottom.
    """
    if not rows:
        raise BadInput("There is no item to draw; give at least one row.")
    lines = -(-len(rows) // COLUMNS)
    figure, axis = plt.subplots(figsize=(10, 1.4 * lines + 0.5), layout="constrained")
    for i, row in enumerate(rows):
        x, y = i % COLUMNS, -(i // COLUMNS)
        ground, ink = COLOURS[row.verdict]
        axis.add_patch(
            FancyBboxPatch(
                (x + 0.04, y + 0.05),
                0.92,
                0.9,
                boxstyle="round,pad=0,rounding_size=0.06",
                mutation_aspect=1.33,
                facecolor=ground,
                edgecolor=ink,
                linestyle="--" if row.verdict == MISSING else "-",
            )
        )
        below = f"this run: {short(Tally.of(row.run))}" if row.run else ""
        for height, words, style in (
            (0.84, row.item.label, {"size": 11.5, "weight": "bold"}),
            (0.66, textwrap.fill(row.item.title, 26), {"size": 8.5}),
            (0.40, f"{MARKS[row.verdict]} {row.verdict}", {"size": 10.5, "weight": "bold"}),
            (0.245, short(row.tally) if row.tally.compared else "", {"size": 8.5}),
            (0.115, below, {"size": 7.5, "style": "italic"}),
        ):
            axis.text(x + 0.11, y + height, words, color=ink, va="center", **style)
    axis.set(xlim=(0, COLUMNS), ylim=(1 - lines, 1))
    axis.set_axis_off()
    figure.suptitle(title)
    return figure


def short(tally: Tally) -> str:
    """A tally in the width of a tile."""
    if not tally.compared:
        return tally.word
    more = f", {tally.missing} to measure" if tally.missing else ""
    return f"{tally.agree} of {tally.compared} agree{more}"


def against_the_paper(table: pd.DataFrame, title: str) -> Figure:
    """Every number of the paper with ours, a line each; a panel a unit.

    Parameters
    ----------
    table : DataFrame
        From `Summary.numbers`. Below the panels stand, in words, the units with fewer than three
        numbers, which no axis fits, and the items of which nothing is measured yet.
    """
    if table.empty:
        raise BadInput("There is no number to draw; measure some first.")
    begun = table.groupby("item")["ours"].transform("count") > 0
    drawn, waiting = table[begun], table[~begun]["item"].value_counts(sort=False)
    sizes = drawn["unit"].value_counts(sort=False)
    panels = [unit for unit in sizes.index if unit and sizes[unit] >= 3]
    foot = [written(one) for _, one in drawn[~drawn["unit"].isin(panels)].iterrows()]
    if len(waiting):
        names = ", ".join(f"{item} ({count})" for item, count in waiting.items())
        foot += textwrap.wrap(f"Numbers of the paper that wait for ours: {names}.", 105)
    high = sum(LINE * sizes[unit] + 0.75 for unit in panels)
    height = 0.85 + high + 0.22 * len(foot) + 0.15
    figure = plt.figure(figsize=(9.5, height))
    figure.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", va="top")
    above = height - 0.85
    for unit in panels:
        tall = LINE * sizes[unit]
        axis = figure.add_axes((0.43, (above - tall) / height, 0.55, tall / height))
        dots(axis, drawn[drawn["unit"] == unit], unit)
        above -= tall + 0.75  # its scale, and the next one's title
    if panels:
        handles = [mark_of(verdict) for verdict in (None, *DOTS)]
        place = {"loc": "upper right", "bbox_to_anchor": (0.99, 1 - 0.3 / height)}
        figure.legend(handles=handles, ncols=4, frameon=False, fontsize=9, **place)
    for n, words in enumerate(foot):
        figure.text(0.02, (0.22 * (len(foot) - n) - 0.05) / height, words, size=9)
    return figure


def written(one: pd.Series) -> str:
    """A number of the paper and ours as a line of text."""
    claim = Claim(f"{one['item']}: {one['what']}", one["paper"], None, "", unit=one["unit"])
    ours = MISSING if np.isnan(one["ours"]) else claim.shown(one["ours"])
    return f"{claim.what}: paper {claim.shown(claim.paper)}, ours {ours}"


def mark_of(verdict: str | None) -> Line2D:
    """An entry of the legend; None: the paper."""
    style = {"linestyle": "", "markersize": 7}
    if verdict is None:
        label = "the paper"
        return Line2D([], [], marker="o", mfc="none", mec="0.3", label=label, **style)
    ink, mark = DOTS[verdict]
    return Line2D([], [], marker=mark, color=ink, label=f"ours: {verdict}", **style)


def dots(axis: plt.Axes, table: pd.DataFrame, unit: str) -> None:
    """One panel: the paper as a ring, ours as a mark of its verdict's colour and form."""
    y = np.arange(len(table))
    axis.scatter(table["paper"], y, s=46, facecolors="none", edgecolors="0.3", lw=1.4, zorder=3)
    for verdict, (ink, mark) in DOTS.items():
        own = (table["verdict"] == verdict).to_numpy()
        axis.hlines(y[own], table["paper"][own], table["ours"][own], color=ink, lw=1.2)
        axis.scatter(table["ours"][own], y[own], s=32, color=ink, marker=mark, zorder=2)
    labels = [textwrap.fill(f"{o['item']}:  {o['what']}", 56) for _, o in table.iterrows()]
    axis.set_yticks(y, labels)
    missing = table["ours"].isna().to_numpy()
    for tick, none in zip(axis.get_yticklabels(), missing, strict=True):
        size = 8 if "\n" in tick.get_text() else 8.5
        tick.set(fontsize=size, color="0.45" if none else "0.1", linespacing=0.95)
    axis.set_ylim(len(table) - 0.5, -0.5)
    if unit == "%":
        axis.set_xlim(0, 100)
    elif unit == "points":  # a difference is read from zero
        axis.axvline(0, color="0.6", lw=0.8)
        low, high = axis.get_xlim()
        axis.set_xlim(min(low, -0.02 * high), high)
    axis.set_title(UNITS.get(unit, unit), fontsize=10, loc="left", weight="bold")
    axis.grid(axis="x", color="0.92")
    items = table["item"].to_numpy()
    for border in np.flatnonzero(items[1:] != items[:-1]):
        axis.axhline(border + 0.5, color="0.8", lw=0.8)
    axis.tick_params(axis="x", labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    sns.despine(ax=axis, left=True)


# ---------------------------------------------------------------- tables

CELL = "padding:.35em .6em;vertical-align:top;text-align:left;border-top:1px solid #8886"
SMALL = "font-size:.88em;opacity:.8"
TABLE = "display:table;width:100%;border-collapse:collapse;font-size:.84em;line-height:1.35"
# On paper: no code, small type, the page of all items on a sheet of its own. JupyterLab leaves it
# out, and prints nothing anyway.
STYLE = """<style>
@page { size: A4; margin: 9mm }
@media print {
  html { font-size: 11px } body { font-size: 11px !important; background: none !important }
  .code, .anchor-link { display: none } .cell { break-inside: auto !important }
  .columns { display: block !important; padding: 0 !important } .columns main { padding: 0 }
  .zfnb-table { font-size: 6.6pt !important; line-height: 1.2 !important }
  .zfnb-table th, .zfnb-table td { padding: .2em .45em !important }
  .zfnb-items { font-size: 6pt !important; line-height: 1.13 !important }
  .zfnb-items { break-before: page; break-after: page } .zfnb-items details { display: none }
}
</style>"""
PRINTED = "-webkit-print-color-adjust:exact;print-color-adjust:exact"


def overview(summary: Summary) -> Html:
    """The page itself: a row an item, with what is measured and where it comes from.

    The claims of a row fold out; no kernel is needed for it.
    """
    heads = ("of the paper", "the paper says", "measured here", "agrees?", "from")
    html = "".join(f'<th style="{CELL};border-top:0">{one}</th>' for one in heads)
    body = "".join(line(row, summary) for row in summary.rows)
    text = "\n".join(f"{row.item.label}: {row.verdict} ({row.tally})" for row in summary.rows)
    return Html(STYLE + framed("zfnb-table zfnb-items", html, body), text)


def framed(kind: str, head: str, body: str) -> str:
    """A table of HTML around its head and its rows."""
    return (
        f'<table class="{kind}" style="{TABLE}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def line(row: Row, summary: Summary) -> str:
    """One row of `overview`."""
    item, tally = row.item, row.tally
    measured = "".join(f"<div>{stated(claim)}</div>" for claim in row.shown)
    if row.damaged:
        measured = f"<div><i>{escape(item.file)} cannot be read.</i></div>"
    groups = [("kept", row.kept), ("this run", row.run)]
    if item.file:
        groups.insert(1, ("of the notebook, in the kept report", row.claims))
    inner = "".join(
        f'<div style="margin:.3em 0 0"><b>{name}</b></div>'
        + "".join(f"<div>{MARKS[word(claim)]} {stated(claim)}</div>" for claim in claims)
        for name, claims in groups
        if claims
    )
    count = sum(len(claims) for _, claims in groups)
    if count > len(row.shown):
        measured += (
            f'<details style="{SMALL}"><summary>all {count} claims</summary>{inner}</details>'
        )
    made, source = summary.made(row), item.file or REPORT
    facts = (source, f"{made.commit}, {made.date}" if made else MISSING)
    ground, ink = COLOURS[row.verdict]
    more = [str(tally)] if tally.compared else []
    if item.file and (own := Tally.of(row.claims)).compared:
        more.append(f"in the notebook: {short(own)}")
    if row.run:
        more.append(f"this run: {short(Tally.of(row.run))}")
    cells = (
        f"<b>{escape(item.label)}</b><br>{escape(item.title)}"
        f'<br><span style="{SMALL}">{escape(item.section)}</span>',
        escape(item.says),
        measured,
        f'<b style="white-space:nowrap">{MARKS[row.verdict]} {escape(row.verdict)}</b>'
        + "".join(f'<br><span style="{SMALL}">{escape(one)}</span>' for one in more),
        f"notebook {item.notebook}"
        + "".join(f'<br><span style="{SMALL}">{escape(one)}</span>' for one in facts if one),
    )
    widths = ("13%", "16%", "43%", "15%", "13%")
    styles = [f"{CELL};width:{width}" for width in widths]
    styles[3] += f";background:{ground};color:{ink};border-left:5px solid {ink};{PRINTED}"
    return (
        '<tr style="break-inside:avoid">'
        + "".join(f'<td style="{s}">{c}</td>' for s, c in zip(styles, cells, strict=True))
        + "</tr>"
    )


def stated(claim: Claim) -> str:
    """A claim in one line of HTML."""
    ours = MISSING if claim.ours is None else claim.shown(claim.ours)
    words = f"{escape(claim.what)}: <b>{escape(ours)}</b>"
    return words if claim.paper is None else f"{words} (paper: {escape(claim.shown(claim.paper))})"


def text_table(table: pd.DataFrame, none: str) -> Html:
    """A table of texts that wrap, its verdicts coloured.

    Parameters
    ----------
    table : DataFrame
    none : str
        What to say where it has no rows.
    """
    if table.empty:
        return Html(f"<p>{escape(none)}</p>", none)
    head = "".join(f'<th style="{CELL};border-top:0">{escape(str(one))}</th>' for one in table)
    body = ""
    for _, one in table.iterrows():
        cells = ""
        for name, value in one.items():
            style, value = CELL, str(value)
            if value in COLOURS:
                ground, ink = COLOURS[value]
                style += f";background:{ground};color:{ink};white-space:nowrap;{PRINTED}"
                value = f"{MARKS[value]} {value}"
            words = escape(value)
            if name in ("of the paper", "date", "commit"):
                style += ";white-space:nowrap"
            if name == "command":
                words = f'<code style="font-size:.92em;overflow-wrap:anywhere">{words}</code>'
            cells += f'<td style="{style}">{words}</td>'
        body += f'<tr style="break-inside:avoid">{cells}</tr>'
    return Html(framed("zfnb-table", head, body), table.to_string(index=False))


def sentences(problems: Sequence[str], none: str) -> Html:
    """What is amiss, a line each; `none` where nothing is."""
    lines = list(problems) or [none]
    html = "".join(f"<li>{escape(one)}</li>" for one in lines)
    return Html(f"<ul>{html}</ul>" if problems else f"<p>{escape(none)}</p>", "\n".join(lines))
