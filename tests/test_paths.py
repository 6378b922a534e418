"""Where files go."""

from pathlib import Path

from zfnb import paths


def test_results_go_where_one_says_else_where_they_are_kept(tmp_path, monkeypatch):
    assert paths.results_file("a.json", tmp_path / "b.json") == tmp_path / "b.json"
    assert paths.results_file("a.json") == paths.embedded("data", "results", "a.json")
    monkeypatch.setattr(paths, "EMBEDDED", tmp_path / "_embedded")  # an installed package
    assert paths.results_file("a.json") == Path("zfnb-results", "a.json")
