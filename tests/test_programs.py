"""Commands as programs: one sentence and exit code 2, or with --debug the traceback."""

from __future__ import annotations

import pytest
import typer

from zfnb.errors import BadInput
from zfnb.programs import run_alone


def refused(pictures: int = 3) -> None:
    raise BadInput(f"{pictures} pictures are too few.")


def test_an_error_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["program", "--pictures", "2"])
    with pytest.raises(SystemExit) as left:
        run_alone(refused, "program")
    assert left.value.code == 2 and capsys.readouterr().err == "program: 2 pictures are too few.\n"


@pytest.mark.parametrize("words", [["--debug", "--pictures", "2"], ["--pictures", "2", "--debug"]])
def test_debug_keeps_the_traceback_of_a_program_that_has_no_such_option(monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["program", *words])
    with pytest.raises(BadInput, match="2 pictures are too few"):
        run_alone(refused, "program")


def test_debug_is_no_word_of_the_command(monkeypatch, capsys):
    def said(name: str) -> None:
        typer.echo(name)

    monkeypatch.setattr("sys.argv", ["program", "--debug", "a name"])
    with pytest.raises(SystemExit) as left:
        run_alone(said, "program")
    assert left.value.code == 0 and capsys.readouterr().out == "a name\n"
