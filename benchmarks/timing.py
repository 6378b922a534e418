"""What the benchmarks share: interleaved timing, the record of a run, the table.

Two programs are compared by running them in turns. Whatever slows the machine down for a while then
slows both, and the ratio of their medians says which is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil
import torch
from rich.console import Console
from rich.table import Table

from zfnb.files import replacing

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "data" / "results" / "benchmarks"
PACKAGES = ("torch", "torchvision", "captum", "numpy", "pillow", "zfnb")


@dataclass
class Times:
    """Seconds of each call, by the function's name.

    Attributes
    ----------
    seconds : dict {name: list of float}
    disturbed : int
        Rounds that were kept although other programs were busy, because patience had run out.
    repeated : int
        Rounds that were measured again for that reason.
    """

    seconds: dict[str, list[float]]
    disturbed: int = 0
    repeated: int = 0

    def __getitem__(self, name: str) -> list[float]:
        return self.seconds[name]


def interleaved(
    functions: dict[str, Callable[[], object]],
    repeats: int,
    warmup: int = 2,
    patience: float = 60.0,
) -> Times:
    """Time functions that take turns; each round begins with the next one.

    A round in which other programs used the processor is measured again a little later. After
    `patience` seconds spent so, rounds count as they come.
    """
    names = list(functions)
    times = Times({name: [] for name in names})
    turn, lost = -warmup, 0.0
    while turn < repeats:
        first = turn % len(names)
        seconds = {}
        began, others = time.perf_counter(), time_of_others()
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            functions[name]()
            seconds[name] = time.perf_counter() - start
        length, others = time.perf_counter() - began, time_of_others() - others
        # The system counts in steps of 0.01 s a core.
        disturbed = others > 0.1 * length * torch.get_num_threads() + 0.02
        if disturbed and lost < patience:
            time.sleep(1.0)
            lost += length + 1.0
            times.repeated += 1
            continue
        turn += 1
        if turn > 0:
            times.disturbed += disturbed
            for name, value in seconds.items():
                times.seconds[name].append(value)
    return times


def time_of_others() -> float:
    """Processor seconds that all programs but this one have used so far."""
    system, own = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = system.idle + getattr(system, "iowait", 0.0)
    guest = getattr(system, "guest", 0.0) + getattr(system, "guest_nice", 0.0)  # in user already
    return sum(system) - idle - guest - own.user - own.system


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    what : str
    ours, peer : float
        Median seconds.
    ours_min, peer_min : float
        Least seconds: what the machine can do when nothing disturbs it.
    ratio, ratio_min : float
        Of the medians and of the minima; what is divided by what, `unit` says.
    unit : str
    disturbed : int
        Rounds in which other programs were busy.
    bound : float or None
    at_most : bool
        Whether the ratio has to stay below the bound, or above it.
    met : bool or None
        Whether the ratio of the medians does.
    """

    what: str
    ours: float
    peer: float
    ours_min: float
    peer_min: float
    ratio: float
    ratio_min: float
    unit: str
    disturbed: int
    bound: float | None
    at_most: bool
    met: bool | None


def compare(
    what: str,
    times: Times,
    ours: str,
    peer: str,
    bound: float | None,
    at_most: bool = True,
    unit: str = "our time / theirs",
) -> Row:
    """A row from the times of two functions. `at_most`: the ratio is ours / theirs and has to stay
    below the bound; otherwise it is theirs / ours, a gain in speed, and has to reach it."""

    def ratio(statistic: Callable[[list[float]], float]) -> float:
        own, other = statistic(times[ours]), statistic(times[peer])
        return own / other if at_most else other / own

    met = None
    if bound is not None:
        met = ratio(median) <= bound if at_most else ratio(median) >= bound
    return Row(
        what=what,
        ours=median(times[ours]),
        peer=median(times[peer]),
        ours_min=min(times[ours]),
        peer_min=min(times[peer]),
        ratio=ratio(median),
        ratio_min=ratio(min),
        unit=unit,
        disturbed=times.disturbed,
        bound=bound,
        at_most=at_most,
        met=met,
    )


def parser(text: str | None, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(description=(text or "").split("\n")[0])
    options.add_argument("--threads", type=int, default=2, help="threads of PyTorch (2)")
    options.add_argument("--repeats", type=int, default=repeats, help=f"rounds ({repeats})")
    options.add_argument(
        "--patience",
        type=float,
        default=60,
        help="seconds a comparison may lose by waiting for other programs (60)",
    )
    options.add_argument("--write", action="store_true", help="keep the result as JSON, in data/")
    options.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    return options


def rounds(arguments: argparse.Namespace) -> dict:
    """The options of `interleaved` among the `arguments`."""
    return {"repeats": arguments.repeats, "patience": arguments.patience}


def environment() -> dict:
    """Where and with what this run measures."""
    commit = git("rev-parse", "HEAD")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "changed": git("status", "--porcelain", "--", "zfnb", "benchmarks") != "",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def git(*command: str) -> str | None:
    """What git says, or None outside a checkout."""
    try:
        run = subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()


def cpu_name() -> str:
    """The processor, as the system calls it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def finish(name: str, rows: list[Row], arguments: argparse.Namespace, facts: dict) -> int:
    """Show the table, keep it if asked to, and return the exit code.

    Parameters
    ----------
    name : str
        Of the benchmark: the file below data/results/benchmarks.
    rows : list of Row
    arguments : Namespace
        From `parser`.
    facts : dict
        What else was found, e.g. how far the results of the two differ.
    """
    table = Table(title=f"{name}: {arguments.threads} threads, {arguments.repeats} rounds")
    for heading in ("", "ours", "theirs", "ratio", "of minima", "bound", "met", "disturbed"):
        table.add_column(heading, justify="left" if heading in ("", "met") else "right")
    for row in rows:
        sign = "<=" if row.at_most else ">="
        table.add_row(
            row.what,
            f"{row.ours * 1e3:.2f} ms",
            f"{row.peer * 1e3:.2f} ms",
            f"{row.ratio:.3f}",
            f"{row.ratio_min:.3f}",
            "" if row.bound is None else f"{sign} {row.bound:g}",
            {None: "", True: "yes", False: "NO"}[row.met],
            str(row.disturbed),
        )
    console = Console(width=None if sys.stdout.isatty() else 110)
    if rows:
        console.print(table)
    for key, value in facts.items():
        console.print(f"{key}: {value}")
    if arguments.write:
        record = {
            "benchmark": name,
            "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
            "repeats": arguments.repeats,
            "statistic": "medians of interleaved rounds; seconds",
            **environment(),
            **facts,
            "rows": [asdict(row) for row in rows],
        }
        path = RESULTS / f"{name}.json"
        with replacing(path) as temporary:
            text = json.dumps(record, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        console.print(f"written: {path.relative_to(ROOT).as_posix()}")
    missed = [row.what for row in rows if row.met is False]
    if missed:
        console.print(f"bounds missed: {', '.join(missed)}")
    return int(bool(missed) and arguments.check)
