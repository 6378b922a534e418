"""The report as HTML: a page for each executed notebook, and the index of all.

The pages stand alone: no script, no style, no font and no picture comes from elsewhere, and no
kernel is needed. nbconvert's own templates load RequireJS, MathJax and the widget manager from the
network; ours is `templates/page/`.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import nbformat
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from PIL import Image
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from zfnb import notebooks
from zfnb.claims import MARK, Claim
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.notebooks import Run

TEMPLATES = Path(__file__).parent / "templates"
CARD_WIDTH = 800  # pixels; twice what a card is wide, for sharp screens
# The first that an output has is shown. No widget view and no script: they need the network. A
# panel's still twin is an image/png.
SHOWN = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/markdown",
    "text/plain",
]
BAR = re.compile(r"\d+%\|[^|]*\|.*\]\s*")  # a state of tqdm's
FIGURE = r"[-−+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?"
NUMBER = re.compile(rf"{FIGURE}( ± {FIGURE})?( ?%)?|[-−]?inf|nan|NaN|None|–|")


@dataclass
class Entry:
    """A notebook on the index."""

    stem: str
    nb: NotebookNode
    earlier: bool = False  # run by an earlier call, kept by this one

    def __post_init__(self) -> None:
        self.run = Run.of(self.nb)
        self.number = self.stem.split("_")[0]
        self.page = f"{self.stem}.html"
        self.title = notebooks.title(self.nb, self.stem)
        self.summary = notebooks.summary(self.nb)
        self.claims = notebooks.claims(self.nb)
        self.took = duration(self.run.seconds) if self.run.seconds else ""
        self.figure, self.alt = "", ""
        with suppress(OSError, ValueError):  # what is no picture leaves a card without one
            if found := notebooks.key_figure(self.nb):
                self.figure, self.alt = thumbnail(found[0]), found[1]

    def fail(self, error: Exception) -> None:
        """Its page cannot be made: show that, with nothing of its content."""
        self.run.status, self.run.error = "failed", f"No page could be made: {error}"
        self.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {self.title}")])

    def results(self) -> dict:
        """Its part of results.json."""
        kept = {name: getattr(self.run, name) for name in Run.__dataclass_fields__}
        words = {"notebook": self.stem, "title": self.title, "page": self.page}
        return {**words, **kept, "earlier_run": self.earlier, "claims": self.claims}


def write(folder: Path, entries: list[Entry], results: dict) -> None:
    """Write the pages, the index and results.json; each file is replaced whole.

    Parameters
    ----------
    folder : Path
        Where; the executed notebooks are in its ``notebooks/`` already.
    entries : list of Entry
        In order.
    results : dict
        What results.json says about the run as a whole; the notebooks are added.
    """
    for i, entry in enumerate(entries):
        before = entries[i - 1] if i > 0 else None
        after = entries[i + 1] if i + 1 < len(entries) else None
        try:
            html = page(entry, before, after)
        except Exception as error:  # whatever is in a notebook, the report of the others is written
            entry.fail(error)
            html = page(entry, before, after)
        put(folder / entry.page, html)
    put(folder / "index.html", index(entries, results))
    results = {**results, "notebooks": [entry.results() for entry in entries]}
    put(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def put(path: Path, text: str) -> None:
    """Replace a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def page(entry: Entry, before: Entry | None = None, after: Entry | None = None) -> str:
    """One executed notebook as HTML.

    Raises
    ------
    BadInput
        The notebook shows something that is not in it; the addresses are named.
    """
    nb = entry.nb
    for cell in nb.cells:
        if "outputs" in cell and entry.run.status == "passed":  # else a bar tells how far it came
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]
        for output in cell.get("outputs", []):
            if "data" in output:
                output.metadata["zfnb_alt"] = notebooks.describe_picture(nb, cell, output)
    about = {"title": entry.title, "stem": entry.stem, "took": entry.took, "run": entry.run}
    resources = {"zfnb": {**about, "before": before, "after": after, "css": css()}}
    html, _ = exporter().from_notebook_node(nb, resources)
    soup = BeautifulSoup(html, "html.parser")
    if elsewhere := outside_sources(soup):
        raise BadInput(f"it shows something that is not in it: {', '.join(elsewhere)}.")
    for table in soup.select("main table"):
        align_numbers(table)
    headings = soup.select("main h2[id]")
    for heading in headings if len(headings) > 1 else []:
        link = soup.new_tag("a", href=f"#{heading['id']}")
        link.string = heading.get_text().removesuffix("¶").strip()
        soup.select_one("nav.contents").append(link)
    return str(soup)


def index(entries: list[Entry], results: dict) -> str:
    """The index page as HTML."""
    kinds = Counter(kind(row["agrees"]) for entry in entries for row in entry.claims)
    shown = [{**vars(entry), "claims": [words(row) for row in entry.claims]} for entry in entries]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        css=Markup(css()),
        entries=shown,
        passed=sum(entry.run.status == "passed" for entry in entries),
        counts={"all": kinds.total(), **{name: kinds[name] for name in KINDS.values()}},
        took=duration(sum(entry.run.seconds for entry in entries)),
        profile=results["profile"],
        interrupted=results["interrupted"],
        environment=results["environment"],
    )


KINDS = {True: "yes", False: "no", None: "open", "partly": "partly"}


def kind(agrees: bool | str | None) -> str:
    """How a verdict counts: yes, no, open (not comparable), partly (any words)."""
    return KINDS["partly"] if isinstance(agrees, str) else KINDS[agrees]


def words(row: dict) -> dict:
    """A claim as the table shows it."""
    claim = Claim.of(row)
    return {
        **row,
        "paper": claim.shown(claim.paper),
        "ours": claim.shown(claim.ours),
        "verdict": claim.verdict,
        "mark": MARK[claim.agrees],
        "kind": kind(claim.agrees),
    }


@cache
def exporter() -> HTMLExporter:
    """nbconvert with our template: pictures before widgets, and nothing remote."""
    config = Config()
    config.NbConvertBase.display_data_priority = SHOWN
    config.CoalesceStreamsPreprocessor.enabled = True  # of a progress bar, its last state
    return HTMLExporter(
        config=config, template_name="page", extra_template_basedirs=[str(TEMPLATES)]
    )


@cache
def css() -> str:
    """Our style, and the colours of code for light and dark screens."""
    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="nord").get_style_defs(".highlight")
    over = ".highlight { background: none }"
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{over}\n{style}"


def is_bar(output: NotebookNode) -> bool:
    """Whether an output is nothing but progress bars."""
    if output.output_type != "stream" or output.name != "stderr":
        return False
    lines = [line for line in "".join(output.text).split("\n") if line.strip()]
    return all(BAR.search(line.split("\r")[-1]) for line in lines)


def align_numbers(table: Tag) -> None:
    """Mark the cells of columns of numbers, which are easier to compare flush right."""
    body = [row.find_all("td") for row in table.select("tbody tr")]  # names of rows are th
    count = len(body[0]) if body else 0
    if not count or any(len(row) != count for row in body):
        return
    heads = [row.find_all(["th", "td"])[-count:] for row in table.select("thead tr")]
    for i, column in enumerate(zip(*body, strict=True)):
        words = [cell.get_text().strip() for cell in column]
        if all(map(NUMBER.fullmatch, words)) and any(words):
            for cell in (*column, *(row[i] for row in heads if len(row) == count)):
                cell["class"] = [*cell.get("class", []), "number"]


def outside_sources(page: str | BeautifulSoup) -> list[str]:
    """What a browser would fetch to show the page (a link to follow is no such thing)."""
    soup = BeautifulSoup(page, "html.parser") if isinstance(page, str) else page
    loaded = [tag[name] for tag in soup.find_all(True) for name in ("src", "data") if tag.get(name)]
    loaded += [tag["href"] for tag in soup.find_all("link") if tag.get("href")]
    styles = " ".join(tag.get_text() for tag in soup.find_all("style"))
    loaded += [part.split(")")[0].strip("'\" ") for part in styles.split("url(")[1:]]
    return [address for address in loaded if not address.startswith("data:")]


def thumbnail(png: bytes) -> str:
    """A picture at the width of a card, as base64 WebP."""
    with Image.open(io.BytesIO(png)) as picture:
        # Transparent figures are drawn for white paper.
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture).convert("RGB")
        picture.thumbnail((CARD_WIDTH, 4 * CARD_WIDTH), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def duration(seconds: float) -> str:
    """Seconds for people: "4.2 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
