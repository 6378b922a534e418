"""The paper on one page: every figure and table, its side, ours, and whether they agree.

A row is made from three sources, and nothing in it is typed in by hand:

- *measured*: numbers on real data, kept in ``data/results/`` with how they were made
  (`zfnb.summary_tables`);
- *claims*: what the notebooks found in the kept report, ``data/results/report_default.json``;
- *run*: what they found in a report of one's own, read from its executed notebooks.

What cannot be read costs one sentence in `Summary.problems`; the rest of the page stands.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from zfnb import summary_tables as tables
from zfnb.claims import Claim
from zfnb.errors import ZfnbError
from zfnb.paths import embedded

AGREES, IN_PART, DIFFERS = "agrees", tables.IN_PART, "differs"
OPEN, MISSING = "not comparable", "not measured yet"
WORDS = (AGREES, IN_PART, DIFFERS, OPEN, MISSING)
NO_CAUSE = "No cause is known."
REPORT = "report_default.json"
# What a damaged file looks like from inside.
DAMAGE = (ZfnbError, LookupError, TypeError, ValueError, AttributeError, OSError)


# ---------------------------------------------------------------- verdicts


def word(claim: Claim) -> str:
    """The verdict of one claim, one of `WORDS`."""
    if claim.ours is None:
        return MISSING
    return {True: AGREES, False: DIFFERS, None: OPEN}.get(claim.agrees, IN_PART)


@dataclass(frozen=True)
class Tally:
    """How many claims agree, agree in part, differ, cannot be compared, are not measured yet."""

    agree: int = 0
    part: int = 0
    differ: int = 0
    open: int = 0
    missing: int = 0

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> Tally:
        """Count them."""
        words = [word(claim) for claim in claims]
        return cls(*(words.count(one) for one in WORDS))

    @property
    def compared(self) -> int:
        """How many could be compared."""
        return self.agree + self.part + self.differ

    @property
    def word(self) -> str:
        """One of `WORDS` for all of them.

        "agrees" asks for all: one that differs, or that is not measured yet, makes it "in part".
        """
        if not self.compared:
            return OPEN if self.open else MISSING
        if self.agree == self.compared and not self.missing:
            return AGREES
        return DIFFERS if self.differ == self.compared else IN_PART

    def __str__(self) -> str:
        if not self.compared:
            return self.word
        more = ((self.part, IN_PART), (self.missing, MISSING))
        return ", ".join(
            [f"{self.agree} of {self.compared} agree", *(f"{n} {what}" for n, what in more if n)]
        )


# ---------------------------------------------------------------- the list


@dataclass(frozen=True)
class Item:
    """A figure or a table of the paper, or a panel of one.

    Attributes
    ----------
    label, title, section : str
    notebook : str
        Number of the one that reproduces it.
    says : str
        What the paper says, in a few words.
    places : tuple of str
        The claims that belong to it: those whose section names one of these; see `places`.
    file : str
        Of ``data/results/``, if it is measured on real data.
    measured : callable
        ``file``'s path -> its claims, those without a value of ours too.
    """

    label: str
    title: str
    section: str
    notebook: str
    says: str
    places: tuple[str, ...]
    file: str = ""
    measured: Callable[[Path], list[Claim]] | None = None


ITEMS = (
    Item("Fig. 1", "The deconvnet", "Sec. 2.1", "02",
         "one activation is carried down to pixels by unpooling, rectifying, filtering",
         ("Fig. 1", "Sec. 2", "Sec. 2.1")),
    Item("Fig. 3", "The network", "Sec. 3", "01",
         "eight layers; maps of 110, 55, 26 and 13, then 6 positions a side",
         ("Fig. 3", "Sec. 3")),
    Item("Sec. 3.1", "The training", "Sec. 3.1", "03",
         "a falling learning rate; filters clipped to a radius",
         ("Sec. 3.1",)),
    Item("Fig. 2", "Feature visualisation", "Sec. 4", "04",
         "maps group their pictures; higher ones are more invariant and class-specific",
         ("Fig. 2", "Sec. 4")),
    Item("Fig. 4", "Feature evolution", "Sec. 4", "05",
         "low layers settle in a few epochs, high ones after 40 to 50 of 70",
         ("Fig. 4",)),
    Item("Fig. 5", "Feature invariance", "Sec. 4", "06",
         "dramatic in layer 1, quasi-linear in layer 7; no invariance to rotation",
         ("Fig. 5",)),
    Item("Fig. 6 (a)", "Layer 1 without clipping", "Sec. 4.1", "03",
         "one filter dominates", ("Fig. 6a",)),
    Item("Fig. 6 (b)", "AlexNet's layer 1", "Sec. 4.1", "07",
         "very high and low frequencies, few between; dead filters", ("Fig. 6b",)),
    Item("Fig. 6 (c)", "ZFNet's layer 1", "Sec. 4.1", "07",
         "more distinct filters, fewer dead ones", ("Fig. 6c",)),
    Item("Fig. 6 (d)", "AlexNet's layer 2", "Sec. 4.1", "07",
         "aliasing from the stride of 4", ("Fig. 6d", "Sec. 4.1")),
    Item("Fig. 6 (e)", "ZFNet's layer 2", "Sec. 4.1", "07",
         "clean, no aliasing", ("Fig. 6e",)),
    Item("Fig. 7 (b), (c)", "Occlusion: a map", "Sec. 4.2", "08",
         "the map falls where its projection is covered", ("Fig. 7b", "Fig. 7c", "Fig. 7")),
    Item("Fig. 7 (d)", "Occlusion: the class", "Sec. 4.2", "08",
         "the probability of the class falls where the object is covered", ("Fig. 7d", "Fig. 7")),
    Item("Fig. 7 (e)", "Occlusion: the label", "Sec. 4.2", "08",
         "with the object covered, the label is another's", ("Fig. 7e",)),
    Item("Fig. 8", "Correspondence", "Sec. 4.3", "09",
         "parts of faces correspond, though nobody taught it", ("Fig. 8", "Sec. 4.3")),
    Item("Table 1", "Sign changes", "Sec. 4.3", "09",
         "parts change more consistently than random places in layer 5, hardly so in layer 7",
         ("Table 1",), "table1.json", tables.table1_claims),
    Item("Table 2", "ImageNet classification", "Sec. 5.1", "10",
         "ZFNet makes fewer errors than AlexNet, several networks fewer still",
         ("Table 2", "Sec. 5"), "table2.json", tables.table2_claims),
    Item("Table 3", "The model's size", "Sec. 5.1", "11",
         "no pair of layers is worth much; the depth of the whole is",
         ("Table 3", "Sec. 5.1"), "table3.json", tables.table3_claims),
    Item("Table 4", "Caltech-101", "Sec. 5.2", "12",
         "pretrained features beat everything before", ("Table 4", "Sec. 5.2"), "table4.json",
         lambda path: tables.accuracy_claims(path, "caltech101")),
    Item("Table 5", "Caltech-256", "Sec. 5.2", "12",
         "pretrained features beat everything before", ("Table 5",), "table5.json",
         lambda path: tables.accuracy_claims(path, "caltech256")),
    Item("Fig. 9", "Few training pictures", "Sec. 5.2", "12",
         "6 pictures a class beat the best published at 60",
         ("Fig. 9",), "fig9.json", tables.fig9_claims),
    Item("Table 6", "PASCAL VOC 2012", "Sec. 5.2", "12",
         "3.2 points behind the best entry on average, ahead on 5 classes",
         ("Table 6",), "table6.json", tables.table6_claims),
    Item("Table 7 (101)", "Layer by layer, Caltech-101", "Sec. 5.3", "13",
         "each of layers 1 to 5 is better than the one below; 7 is level with 5",
         ("Table 7", "Sec. 5.3"), "table7.json",
         lambda path: tables.table7_claims(path, "caltech101")),
    Item("Table 7 (256)", "Layer by layer, Caltech-256", "Sec. 5.3", "13",
         "each layer is better than the one below, 7 well ahead of 5",
         ("Table 7 (256)",), "table7.json",
         lambda path: tables.table7_claims(path, "caltech256")),
)  # fmt: skip

NAMED = re.compile(r"(Fig|Table)s?\.? (\d)((?:(?:, ?| )?(?:\([a-e]\)|[a-e]\b|\(256\)))*)")


def places(section: str) -> set[str]:
    """What a claim's section names: its figures and tables, else its section.

    "Sec. 4.1, Fig. 6 (b), (c)" is {"Fig. 6b", "Fig. 6c"}; "Sec. 4.3" is {"Sec. 4.3"}. Of Table 7
    the column of Caltech-256 is "Table 7 (256)".
    """
    found = set()
    for kind, which, panels in NAMED.findall(section):
        name = f"{kind}. {which}" if kind == "Fig" else f"{kind} {which}"
        letters = re.findall(r"\b[a-e]\b| \(256\)", panels)
        found |= {f"{name}{letter}" for letter in letters} or {name}
    return found or set(re.findall(r"Sec\. \d(?:\.\d)?", section))


# ---------------------------------------------------------------- how a number was made


@dataclass(frozen=True)
class Origin:
    """How kept numbers were made.

    Attributes
    ----------
    file : str
        Below ``data/results/``.
    command, commit, device, date, data : str
        Empty where the file does not say. A commit with " +" had changed files beside it.
    """

    file: str
    command: str
    commit: str = ""
    device: str = ""
    date: str = ""
    data: str = ""


def origins(content, file: str, data: object = "") -> Iterator[Origin]:
    """Every measurement that a results file tells of, whatever its layout.

    Where its rows were made one by one, at commits of their own, those are named.
    """
    if isinstance(content, list):
        for one in content:
            yield from origins(one, file, data)
    elif isinstance(content, Mapping):
        data = content.get("data") or content.get("benchmark") or data
        if isinstance(content.get("command"), str):
            code, machine = content.get("code") or content, content.get("machine") or content
            commit = str(code.get("commit") or "")[:7] + (" +" if code.get("changed") else "")
            rows = (row for row in content.get("rows") or () if isinstance(row, Mapping))
            own = dict.fromkeys(str(row["commit"])[:7] for row in rows if row.get("commit"))
            commit = ", ".join(own) or commit
            when = str(content.get("date") or content.get("started") or "")[:10]
            device = str(machine.get("device") or "")
            yield Origin(file, content["command"], commit, device, when, named(data))
        else:
            for one in content.values():
                yield from origins(one, file, data)


def named(data: object) -> str:
    """Words for a file's entry ``data``: a name, what has a name, or {name: pictures}."""
    if isinstance(data, Mapping):
        if "name" in data:
            return " ".join(str(data[key]) for key in ("name", "split") if key in data)
        return ", ".join(map(str, data))
    return str(data)


def report_origin(content: Mapping) -> Origin:
    """The same of a kept report, which is made by one command."""
    facts = content.get("environment") or {}
    return Origin(
        REPORT,
        f"zfnb report --profile {content['profile']}",
        str(facts.get("commit", "")),
        str(facts.get("device", "")),
        str(content.get("started", ""))[:10],
        "what travels with the package",
    )


# ---------------------------------------------------------------- the page


@dataclass
class Row:
    """An item and all that was found of it.

    Attributes
    ----------
    item : Item
    measured, claims, run : list of Claim
        On real data; in the kept report; in this run.
    damaged : bool
        Whether the item's file could not be read.
    """

    item: Item
    measured: list[Claim] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    run: list[Claim] = field(default_factory=list)
    damaged: bool = False

    @property
    def kept(self) -> list[Claim]:
        """What the verdict rests on: an item with a file is only measured by that."""
        return self.measured if self.item.file else self.claims

    @property
    def tally(self) -> Tally:
        """Of `kept`."""
        return Tally.of(self.kept)

    @property
    def verdict(self) -> str:
        """One of `WORDS`."""
        return self.tally.word

    @property
    def shown(self) -> list[Claim]:
        """Two to show: the first that agrees and the first that does not, else the first."""
        words = [word(claim) for claim in self.kept]
        first = [words.index(one) for one in (AGREES, DIFFERS, IN_PART) if one in words][:2]
        return [self.kept[i] for i in sorted(first)] or self.kept[:1]


@dataclass
class Summary:
    """What `gather` found: a `Row` an item, every `Origin`, and sentences about what is amiss."""

    rows: list[Row]
    origins: list[Origin]
    problems: list[str]
    profile: str = ""
    from_run: int = 0  # notebooks of this run that were read

    @property
    def counts(self) -> dict[str, int]:
        """{verdict: items}, in the order of `WORDS`."""
        verdicts = [row.verdict for row in self.rows]
        return {one: verdicts.count(one) for one in WORDS}

    def every(self, of: str = "kept") -> list[tuple[Row, Claim]]:
        """Each measured claim once, though it may count for several items: "kept" or "run"."""
        found, seen = [], set()
        for row in self.rows:
            # A notebook that reads a kept table states the same numbers once more.
            own = {(claim.shown(claim.paper), claim.shown(claim.ours)) for claim in row.measured}
            told = [c for c in row.claims if (c.shown(c.paper), c.shown(c.ours)) not in own]
            for claim in row.run if of == "run" else [*row.measured, *told]:
                if claim.ours is not None and (claim.section, claim.what) not in seen:
                    seen.add((claim.section, claim.what))
                    found.append((row, claim))
        return found

    def sentence(self) -> str:
        """The counts in words, a line of items and one of claims."""
        counts, tally = self.counts, Tally.of(claim for _, claim in self.every())
        compared = sum(counts[one] for one in WORDS[:3])
        return (
            f"{compared} of {len(self.rows)} parts of the paper can be compared: "
            f"{counts[AGREES]} agree, {counts[IN_PART]} in part, "
            f"{counts[DIFFERS]} differ.\n{counts[MISSING]} are {MISSING}. Claim by claim, "
            f"{tally.agree} of {tally.compared} agree, {tally.part} in part, "
            f"{tally.differ} differ."
        )

    def disagreements(self) -> pd.DataFrame:
        """What differs or agrees in part, with its likely cause: a claim a row."""
        return pd.DataFrame(
            [
                {
                    "of the paper": row.item.label,
                    "claim": claim.what,
                    "paper": claim.shown(claim.paper),
                    "ours": claim.shown(claim.ours),
                    "verdict": word(claim),
                    "likely cause": claim.note or NO_CAUSE,
                    "data": claim.data,
                }
                for row, claim in self.every()
                if word(claim) in (IN_PART, DIFFERS)
            ],
            columns=["of the paper", "claim", "paper", "ours", "verdict", "likely cause", "data"],
        )

    def changed(self) -> pd.DataFrame:
        """Claims on which this run has another verdict than the kept report."""
        before = {(claim.section, claim.what): claim for _, claim in self.every()}
        pairs = [
            (row, before[key], now)
            for row, now in self.every("run")
            if (key := (now.section, now.what)) in before and word(before[key]) != word(now)
        ]
        return pd.DataFrame(
            [
                {
                    "of the paper": row.item.label,
                    "claim": now.what,
                    "kept": f"{old.shown(old.ours)} ({word(old)})",
                    "this run": f"{now.shown(now.ours)} ({word(now)})",
                }
                for row, old, now in pairs
            ],
            columns=["of the paper", "claim", "kept", "this run"],
        )

    def numbers(self) -> pd.DataFrame:
        """Every number of the paper that ours can be held against.

        Returns
        -------
        DataFrame
            ``item``, ``what``, ``unit``, ``paper``, ``ours`` (NaN: not measured yet), ``verdict``.
        """
        lines = [
            {
                "item": row.item.label,
                "what": claim.what,
                "unit": claim.unit,
                "paper": float(claim.paper),
                "ours": math.nan if claim.ours is None else float(claim.ours),
                "verdict": word(claim),
            }
            for row in self.rows
            for claim in row.kept
            if isinstance(claim.paper, (int, float))
            and isinstance(claim.ours, (int, float, type(None)))
            and word(claim) != OPEN
        ]
        return pd.DataFrame(
            lines, columns=["item", "what", "unit", "paper", "ours", "verdict"]
        ).drop_duplicates(ignore_index=True)

    def made(self, row: Row) -> Origin | None:
        """How the latest of what a row rests on was made."""
        own = [one for one in self.origins if one.file == (row.item.file or REPORT)]
        return max(own, key=lambda one: one.date, default=None)

    def how_measured(self) -> pd.DataFrame:
        """How every kept number was made, a command a row."""
        columns = ["file", "data", "date", "commit", "device", "command"]
        lines = [[getattr(one, name) for name in columns] for one in self.origins]
        return pd.DataFrame(lines, columns=columns)


def gather(
    profile: str = "default",
    report: str | Path | None = None,
    results: str | Path | None = None,
) -> Summary:
    """Put the page together.

    Parameters
    ----------
    profile : str
        Only notebooks that ran in this profile are read from `report`.
    report : path, optional
        Folder of a report, whose ``notebooks/`` hold what ran so far. Without one, the page shows
        what is kept.
    results : path, optional
        By default ``data/results/``, which travels with the package.

    Returns
    -------
    Summary
        Files that are damaged or missing do not raise; see `Summary.problems`.
    """
    results = Path(results) if results else embedded("data", "results")
    rows, problems = [Row(item) for item in ITEMS], []
    for row in rows:
        if row.item.measured:
            path = results / row.item.file
            try:
                row.measured = row.item.measured(path)
            except DAMAGE as error:
                row.damaged = True
                problems.append(sentence_about(path, error))
    kept, made = kept_report(results / REPORT, problems)
    share(rows, kept, "claims", problems)
    run = run_claims(Path(report), profile, problems) if report else {}
    share(rows, [claim for claims in run.values() for claim in claims], "run", problems)
    found = [*made, *every_origin(results, problems)]
    return Summary(rows, found, list(dict.fromkeys(problems)), profile, len(run))


def sentence_about(path: Path, error: Exception) -> str:
    """One sentence: the file's own where the package has one."""
    if isinstance(error, ZfnbError):
        return str(error)
    return f"{path.name} is damaged ({error}); make it again, or fetch it with the package."


def kept_report(path: Path, problems: list[str]) -> tuple[list[Claim], list[Origin]]:
    """The claims of the kept report, and how it was made."""
    if not path.exists():
        problems.append(f"There is no {path.name}: claims of the notebooks are missing here.")
        return [], []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        claims = [
            Claim.of(row)
            for notebook in content["notebooks"]
            if not notebook["notebook"].endswith("_summary")  # this page itself
            for row in notebook["claims"]
        ]
        return claims, [report_origin(content)]
    except DAMAGE as error:
        problems.append(sentence_about(path, error))
        return [], []


def run_claims(folder: Path, profile: str, problems: list[str]) -> dict[str, list[Claim]]:
    """{notebook: its claims} of a report that is being made, or was."""
    from zfnb import notebooks  # papermill is slow to import

    paths = sorted((folder / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        problems.append(f"No notebook has run yet in the report {folder.as_posix()}.")
    found = {}
    for path in paths:
        if path.stem.endswith("_summary"):
            continue  # this page itself, from an earlier call
        nb = notebooks.read(path, path)
        run = notebooks.Run.of(nb)
        if run.status == "not run":
            problems.append(f"{path.name} cannot be read, or was never run; run it again.")
        elif run.profile == profile:
            found[path.stem] = [Claim.of(row) for row in notebooks.claims(nb)]
            if run.status == "failed":
                problems.append(f"{path.name} did not run to its end: {run.error}")
    return found


def share(rows: Sequence[Row], claims: Iterable[Claim], of: str, problems: list[str]) -> None:
    """Give each claim to the items that its section names; none may be lost in silence."""
    for claim in claims:
        named_here = places(claim.section)
        own = [row for row in rows if named_here & set(row.item.places)]
        for row in own:
            getattr(row, of).append(claim)
        if not own:
            problems.append(f"The claim {claim.what!r} ({claim.section}) belongs to no row.")


def every_origin(results: Path, problems: list[str]) -> list[Origin]:
    """How each file below ``data/results/`` was made."""
    found = []
    for path in sorted(results.rglob("*.json")):
        if path.name.startswith(".") or path.name == REPORT:
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found += origins(content, path.relative_to(results).as_posix())
        except DAMAGE as error:
            if not any(one.startswith(path.name) for one in problems):
                problems.append(sentence_about(path, error))
    return found
