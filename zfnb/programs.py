"""Commands as programs: what zfnb refuses is one sentence on stderr, and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from zfnb.errors import ZfnbError


def run_program(app: Callable, name: str) -> None:
    """Run an app of one or several commands; with ``--debug``, an error keeps its traceback."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]  # no app has to know it
    try:
        app()
    except (ZfnbError, OSError) as error:
        if debug:
            raise
        typer.echo(f"{name}: {error}", err=True)
        sys.exit(2)


def run_alone(command: Callable, name: str) -> None:
    """Run one command as a program of its own."""
    app = typer.Typer(add_completion=False)
    app.command()(command)
    run_program(app, name)
