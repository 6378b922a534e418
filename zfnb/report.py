"""``zfnb report``: run the notebooks, write what they say as pages that need nothing else.

In a notebook::

    from zfnb.report import claim
    claim("Parameters of ZFNet", 62.4, count / 1e6, section="Sec. 3", unit="million", agrees=...)
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zfnb.claims import Claim, claim
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.paths import data_root

__all__ = ["Claim", "Report", "build", "claim"]

# Seconds a cell may take before its notebook counts as stuck. Real datasets take what they take.
TIMEOUTS = {"quick": 600.0, "default": 1800.0, "paper": None}


@dataclass(frozen=True)
class Report:
    """What `build` made: the index page, and how it went."""

    index: Path
    passed: list[str]
    failed: dict[str, str]  # notebook -> error
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0 if every notebook of this call passed, 130 after a Ctrl-C, else 1."""
        return 130 if self.interrupted else int(bool(self.failed))


def build(
    out: str | os.PathLike = "reports",
    profile: str = "default",
    only: Iterable[str] = (),
    parameters: Mapping[str, object] | None = None,
    notebooks: str | os.PathLike | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Report:
    """Execute the notebooks and write the report.

    Parameters
    ----------
    out : path
        Folder of the report. With `only`, notebooks that an earlier call ran there in the same
        profile stay in it.
    profile : str
        "quick", "default" or "paper".
    only : iterable of str
        Numbers of notebooks; all of them where empty.
    parameters : dict
        Name -> value, or the value as YAML text; each must be known to a chosen notebook.
    notebooks : path, optional
        Folder of the notebooks, instead of those that come with the package.
    timeout : float, optional
        Seconds a cell may take; None for the profile's (`TIMEOUTS`).
    progress : bool
        Show progress bars.

    Returns
    -------
    Report

    Raises
    ------
    UnknownName, BadInput, MissingData
        An unknown profile, notebook or parameter; a value of the wrong type; `out` cannot be
        written to; no notebooks. What fails in a notebook does not raise: see `Report.failed`.
    """
    # papermill and nbconvert are slow to import, and notebooks import this file for `claim`.
    import nbformat

    from zfnb import notebooks as nbs
    from zfnb import pages

    folder = Path(notebooks) if notebooks is not None else None
    chosen = nbs.find(only, folder)
    given = nbs.assign(chosen, profile, parameters or {})
    for path in chosen:  # a notebook may read what ran before it
        if "report" in nbs.declared(path):
            given[path].setdefault("report", "../..")  # `out`, as seen from where it runs
    timeout = timeout if timeout is not None else TIMEOUTS[profile]
    out = writable(out)
    work = out / "work"
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()

    interrupted, done = False, {}
    with progress_bars(len(chosen), progress) as bars:
        for path in chosen:
            if interrupted:
                break
            bars.begin(path)
            (work / path.stem).mkdir(parents=True, exist_ok=True)
            nb = nbs.run(path, work / path.stem, given[path], timeout, bars.cell)
            bars.end(path, nbs.Run.of(nb))
            interrupted = nbs.Run.of(nb).status == "interrupted"
            done[path.stem] = nb
            with replacing(out / "notebooks" / path.name) as temporary:
                nbformat.write(nb, temporary)
    remove_empty(work)

    entries = []
    for path in nbs.find((), folder):
        earlier = out / "notebooks" / path.name
        if path.stem in done:
            entries.append(pages.Entry(path.stem, done[path.stem]))
        elif earlier.exists() and nbs.Run.of(nb := nbs.read(earlier, path)).profile == profile:
            entries.append(pages.Entry(path.stem, nb, earlier=True))
        elif path in chosen:
            entries.append(pages.Entry(path.stem, nbs.not_run(path)))
    results = {
        "profile": profile,
        "parameters": dict(parameters or {}),
        "started": started,
        "seconds": round(time.monotonic() - clock, 2),
        "interrupted": interrupted,
        "environment": {"profile": profile, "started": started, **environment()},
    }
    pages.write(out, entries, results)
    ran = [entry for entry in entries if not entry.earlier]
    return Report(
        index=out / "index.html",
        passed=[entry.stem for entry in ran if entry.run.status == "passed"],
        failed={entry.stem: entry.run.error for entry in ran if entry.run.status == "failed"},
        interrupted=interrupted,
    )


def writable(out: str | os.PathLike) -> Path:
    """The folder, made if need be; refused if nothing can be written there."""
    out = Path(out).expanduser().resolve()
    try:
        (out / "notebooks").mkdir(parents=True, exist_ok=True)
        with replacing(out / "notebooks" / "probe") as probe:
            probe.touch()
        (out / "notebooks" / "probe").unlink()
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"Cannot write to {out} ({reason}); choose another folder.") from error
    return out


def remove_empty(work: Path) -> None:
    """Remove the working directories in which the notebooks left nothing."""
    for folder in [*work.iterdir(), work]:
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder)


def environment() -> dict[str, str]:
    """What the numbers were made with; for the report and results.json."""
    import joblib
    import torch

    from zfnb.runs import git

    packages = {}
    for name in ("zfnb", "torch", "torchvision", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = "Apple GPU (MPS)" if torch.backends.mps.is_available() else "CPU"
    found = {
        "Python": platform.python_version(),
        **packages,
        "commit": git("describe", "--always", "--dirty", "--exclude", "*"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(joblib.cpu_count()),
        "device": device,
        "datasets": "in $ZFNB_DATA" if data_root() else "embedded",
    }
    return {name: value for name, value in found.items() if value}


class Bars:
    """A bar for the notebooks and one for the cells of the notebook that is running."""

    def __init__(self, progress, total: int):
        self.progress = progress
        self.all = progress.add_task("notebooks", total=total)
        self.one = progress.add_task("", total=None)

    def begin(self, path: Path) -> None:
        """A notebook starts."""
        import nbformat

        try:
            cells = len(nbformat.read(path, as_version=4).cells) + 1  # the injected parameters
        except Exception:
            cells = None
        self.progress.reset(self.one, description=path.stem, total=cells)

    def cell(self, number: int) -> None:
        """A cell starts."""
        self.progress.update(self.one, completed=number)

    def end(self, path: Path, run) -> None:
        """A notebook has ended: a line that stays."""
        from rich.markup import escape

        from zfnb.pages import duration

        colour = {"passed": "green", "failed": "red"}.get(run.status, "yellow")
        line = f"[{colour}]{run.status:>6}[/] {path.stem} [dim]{duration(run.seconds)}[/]"
        if run.error:
            line += f"\n       {escape(run.error)}"
        self.progress.console.print(line, highlight=False)
        self.progress.advance(self.all)


@contextmanager
def progress_bars(total: int, shown: bool):
    """`Bars` on stderr while the block runs; only the lines where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=not shown, file=sys.stderr)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    columns = (TextColumn(columns[0]), *columns[1:])
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress, total)
