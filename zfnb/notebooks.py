"""The notebooks: which there are, the parameters they take, running one, what came out of it.

They are run by papermill, each in its own kernel. An executed notebook keeps how its run went in
``metadata.zfnb`` (see `Run`); everything the report shows is read back from executed notebooks.
"""

from __future__ import annotations

import ast
import base64
import os
import re
import sys
import time
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import joblib
import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from papermill.execute import remove_error_markers
from traitlets import default

from zfnb.claims import MIME as CLAIM
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.paths import embedded

PROFILES = ("quick", "default", "paper")
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
TRACEBACK = "Traceback (most recent call last)"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# ---------------------------------------------------------------- which notebooks there are


def find(only: Iterable[str] = (), folder: Path | None = None) -> list[Path]:
    """The notebooks in order; `only` those numbers, e.g. ``["02", "4"]``.

    Raises
    ------
    MissingData
        There are no notebooks in the folder.
    UnknownName
        A number that no notebook has; the valid ones are named.
    """
    folder = Path(folder) if folder is not None else embedded("notebooks")
    found = {path.stem.split("_")[0]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise MissingData(f"No notebooks such as 00_tour.ipynb in {folder}.")
    wanted = [str(number).strip().zfill(2) for number in only]
    for number in wanted:
        if number not in found:
            raise UnknownName.of("notebook number", number, found)
    return [path for number, path in found.items() if not wanted or number in wanted]


# ---------------------------------------------------------------- parameters


def declared(path: Path) -> dict[str, tuple[object, object]]:
    """Name -> (type, default) of each assignment in the cell tagged ``parameters``.

    Read from the syntax tree: `papermill.inspect_notebook` goes by a regular expression that
    overlooks ``picture: str | None = None``. A notebook that cannot be read declares nothing here;
    it fails when it is run.
    """
    try:
        cells = nbformat.read(path, as_version=4).cells
        [source] = [cell.source for cell in cells if "parameters" in tags(cell)][:1]
        body = ast.parse(source).body
    except (ValueError, SyntaxError, nbformat.ValidationError, OSError):
        return {}
    found = {}
    for line in body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value:
            name, hint = line.target.id, type_of(ast.unparse(line.annotation))
        elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name, hint = line.targets[0].id, None
        else:
            continue
        try:
            value = ast.literal_eval(line.value)
        except ValueError:
            value = ast.unparse(line.value)  # an expression: shown as it is written
            found[name] = (hint or object, value)
        else:
            found[name] = (hint or type(value), value)
    return found


def type_of(annotation: str) -> object:
    """The type that an annotation of built-in names spells; ``object`` (anything) if it is not."""
    names = {kind.__name__: kind for kind in (str, int, float, bool, list, tuple, dict)}
    try:
        return eval(annotation, {"__builtins__": {}, "Literal": typing.Literal, **names})
    except Exception:
        return object


def matches(value, hint) -> bool:
    """Whether `value`, as YAML or JSON gives it, is of type `hint`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if hint in (int, float):
        kinds = int if hint is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if (origin or hint) in (list, tuple):
        items = [one for one in inner if one is not Ellipsis]
        return isinstance(value, (list, tuple)) and (
            not items or all(any(matches(one, kind) for kind in items) for one in value)
        )
    return isinstance(value, origin or hint)


def typed(name: str, given, hint):
    """The value of a parameter: text is read as YAML, then checked against the declared type.

    What is text to YAML too stays as it was given, but for quotes around it: YAML would end a path
    at " #", where its comments begin.
    """
    choices = [given]
    if isinstance(given, str):
        with suppress(yaml.YAMLError):
            read = yaml.safe_load(given)
            plain = isinstance(read, str) and not given.lstrip().startswith(("'", '"'))
            choices = [given] if plain else [read, given]
        with suppress(ValueError):
            choices.append(float(given))  # YAML takes 1e-3 for a text
    for value in choices:
        if matches(value, hint):
            return value
    kind = hint.__name__ if isinstance(hint, type) else str(hint)
    raise BadInput(f"Parameter {name} must be of type {kind}, got {given!r}.")


def assign(paths: list[Path], profile: str, given: Mapping[str, object]) -> dict[Path, dict]:
    """What each notebook is to be given: the profile, and those of `given` that it declares.

    Raises
    ------
    UnknownName
        A profile that does not exist, or a parameter that none of the notebooks declares.
    BadInput
        A value of the wrong type; ``profile`` given as a parameter.
    """
    if profile not in PROFILES:
        raise UnknownName.of("profile", profile, PROFILES)
    if "profile" in given:
        raise BadInput("The profile has an option of its own: --profile quick, default or paper.")
    hints = {path: declared(path) for path in paths}
    known = sorted({name for names in hints.values() for name in names} - {"profile"})
    for name in given:
        if name not in known:
            raise UnknownName.of("parameter", name, known or ["(these notebooks have none)"])
    values = {"profile": profile, **given}
    return {
        path: {
            name: typed(name, value, names[name][0])
            for name, value in values.items()
            if name in names
        }
        for path, names in hints.items()
    }


# ---------------------------------------------------------------- running one


@dataclass
class Run:
    """How a run of a notebook went; kept in the executed notebook's ``metadata.zfnb``.

    Attributes
    ----------
    status : str
        "passed", "failed", "interrupted" (Ctrl-C) or "not run" (after a Ctrl-C).
    profile, parameters : str, dict
        What it ran with, defaults included.
    started, seconds : str, float
        When (ISO 8601, UTC) and how long.
    error : str
        One line: what went wrong.
    traceback : str
        Where, if Python said so.
    cell : str
        Identity of the cell that failed.
    """

    status: str = "passed"
    profile: str = ""
    parameters: dict = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""
    cell: str = ""

    @classmethod
    def of(cls, nb: NotebookNode) -> Run:
        """Read back from an executed notebook."""
        kept = nb.metadata.get("zfnb", {"status": "not run"})
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__ if name in kept})


class ThisInterpreter(KernelSpecManager):
    """Knows one kernel: the interpreter that runs the report, whatever else is registered."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The same kernel under any name."""
        return KernelSpec(
            argv=[
                *(sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"),
                "--log-level=CRITICAL",  # else it talks about its sockets on our terminal
            ],
            display_name="zfnb",
            language="python",
            env=kernel_environment(),
        )


def kernel_environment() -> dict[str, str]:
    """Variables for the kernels, besides those of this process."""
    env = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # the debugger warns about Python 3.11 and up
    # A container may be allowed fewer cores than PyTorch counts; joblib knows.
    if "OMP_NUM_THREADS" not in os.environ and joblib.cpu_count() < (os.cpu_count() or 1):
        env["OMP_NUM_THREADS"] = str(joblib.cpu_count())
    return env


class KernelOfThisInterpreter(AsyncKernelManager):
    """Starts kernels of `ThisInterpreter`."""

    @default("kernel_spec_manager")
    def _this_interpreter(self) -> KernelSpecManager:
        return ThisInterpreter()


def run(
    path: Path,
    folder: Path,
    parameters: dict,
    timeout: float | None = None,
    on_cell: Callable[[int], None] | None = None,
) -> NotebookNode:
    """Execute a notebook in the working directory `folder`; nothing that it does raises.

    Parameters
    ----------
    path : Path
        The notebook; it is not changed.
    folder : Path
        Where the kernel runs, an existing folder.
    parameters : dict
        Injected after the cell tagged ``parameters``.
    timeout : float, optional
        Seconds a cell may take; None for no limit.
    on_cell : callable, optional
        Called with a cell's index as it starts.

    Returns
    -------
    NotebookNode
        The notebook as far as it came, with its `Run` in ``metadata.zfnb``.
    """
    result = Run(started=datetime.now(UTC).isoformat(timespec="seconds"))
    result.parameters = {name: value for name, (_, value) in declared(path).items()} | parameters
    result.profile = parameters.get("profile", "")
    partial = folder / f".{path.name}"
    start = time.monotonic()
    try:
        papermill.execute_notebook(
            path,
            partial,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=folder,
            progress_bar=False,
            start_timeout=120,
            execution_timeout=timeout,
            kernel_manager_class=KernelOfThisInterpreter,
            shutdown_kernel="immediate",
            store_widget_state=True,
            on_cell_start=lambda cell, cell_index: on_cell and on_cell(cell_index),
        )
    except KeyboardInterrupt:
        result.status, result.error = "interrupted", "Interrupted (Ctrl-C)."
    except PapermillExecutionError as error:
        result.status, result.traceback = "failed", "\n".join(error.traceback)
        result.error = f"{error.ename}: {error.evalue or failing_line(result.traceback)}"
    except CellTimeoutError:
        result.status, result.error = "failed", f"A cell took longer than {timeout:g} seconds."
    except DeadKernelError:
        result.status, result.error = "failed", "The kernel died (often: out of memory)."
    except Exception as error:  # not a notebook, an invalid one, a kernel that does not start
        result.status, result.error = "failed", f"{type(error).__name__}: {error}"
    result.seconds = round(time.monotonic() - start, 2)

    nb = read(partial, path)
    partial.unlink(missing_ok=True)
    if result.status == "passed":
        if hidden := swallowed_errors(nb):
            result.status, result.error = "failed", f"In a widget: {ANSI.sub('', hidden[0][0])}"
            result.traceback = hidden[0][1]
    else:
        result.cell = stopped_at(nb)
    result.error = ANSI.sub("", result.error).strip().split("\n")[0]
    result.traceback = ANSI.sub("", result.traceback)
    nb.metadata.pop("papermill", None)  # paths of this machine
    nb.metadata["zfnb"] = asdict(result)
    return nb


def not_run(path: Path) -> NotebookNode:
    """A notebook that its turn never came for."""
    nb = read(path, path)
    nb.metadata["zfnb"] = asdict(Run(status="not run"))
    return nb


def read(executed: Path, path: Path) -> NotebookNode:
    """A notebook as papermill left it; one with just its name where that is nothing."""
    try:
        return remove_error_markers(nbformat.read(executed, as_version=4))
    except Exception:
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {path.stem}")])


def failing_line(traceback: str) -> str:
    """The code that IPython's arrow points at; for an ``assert`` without words."""
    pointed = re.findall(r"^-+> \d+ (.*)$", ANSI.sub("", traceback), re.M)
    return pointed[-1].strip() if pointed else ""


def stopped_at(nb: NotebookNode) -> str:
    """Identity of the last cell that was started."""
    started = [
        cell
        for cell in nb.cells
        if cell.metadata.get("papermill", {}).get("start_time") is not None
    ]
    return started[-1].get("id", "") if started else ""


def swallowed_errors(nb: NotebookNode) -> list[tuple[str, str]]:
    """Errors that stopped nothing: in Output widgets (`interact` and its like) and on stderr.

    Returns
    -------
    list of (str, str)
        One line, and the traceback.
    """
    states = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values()
    outputs = [one for model in states for one in model["state"].get("outputs") or []]
    outputs += [one for cell in nb.cells for one in cell.get("outputs", [])]
    found = []
    for one in outputs:
        if one["output_type"] == "error":
            found.append((f"{one['ename']}: {one['evalue']}", "\n".join(one["traceback"])))
        elif one["output_type"] == "stream" and one["name"] == "stderr":
            text = "".join(one["text"])
            if TRACEBACK in text:
                found.append((text.strip().split("\n")[-1], text))
    return found


# ---------------------------------------------------------------- what came out of it


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def title(nb: NotebookNode, otherwise: str = "") -> str:
    """The first heading, without marks."""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^#+\s+(.+)$", cell.source, re.M)):
            return plain_text(found[1])
    return otherwise


def summary(nb: NotebookNode) -> str:
    """The first paragraph after the first heading."""
    for cell in nb.cells:
        if cell.cell_type != "markdown":
            continue
        for block in re.split(r"\n\s*\n", re.sub(r"^#.*$", "", cell.source, flags=re.M)):
            if block.strip() and block.strip()[0] not in "|<>![-*0123456789`~":
                return plain_text(block)
    return ""


def plain_text(markdown: str) -> str:
    """Markdown of one paragraph without links, emphasis and code marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`]|(?<!\w)_|_(?!\w)", "", text).split())


def claims(nb: NotebookNode) -> list[dict]:
    """The claims stated in it, each with the identity of its cell."""
    return [
        {**output["data"][CLAIM], "cell": cell.get("id", "")}
        for cell in nb.cells
        for output in cell.get("outputs", [])
        if {"what", "paper", "ours", "section"} <= {*output.get("data", {}).get(CLAIM, ())}
    ]


def key_figure(nb: NotebookNode) -> tuple[bytes, str, str] | None:
    """PNG, description and cell of the last picture under the cell tagged ``key-figure``."""
    for cell in nb.cells:
        if "key-figure" in tags(cell):
            for output in reversed(cell.get("outputs", [])):
                if picture := output.get("data", {}).get("image/png"):
                    text = describe_picture(nb, cell, output)
                    return base64.b64decode("".join(picture)), text, cell.get("id", "")
    return None


def describe_picture(nb: NotebookNode, cell: NotebookNode, output: NotebookNode) -> str:
    """The words for a picture: ``alt`` of the output or cell, else the heading it stands under."""
    kinds = ("image/png", "image/svg+xml", "image/jpeg")
    metadata = output.get("metadata", {})
    for place in (*(metadata.get(kind, {}) for kind in kinds), metadata, cell.metadata):
        for name in ("alt", "caption"):
            if place.get(name):
                return place[name]
    heading = ""
    for above in nb.cells:
        if above is cell:
            break
        if above.cell_type == "markdown":
            heading = (re.findall(r"^#+\s+(.+)$", above.source, re.M) or [heading])[-1]
    return f"Figure: {plain_text(heading)}" if heading else "Figure"
