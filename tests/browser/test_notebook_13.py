"""Notebook 13 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_13(opened):
    notebook = opened("13_feature_analysis.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    kind = page.locator(".zfnb-neighbours-class select")
    number = page.locator(".zfnb-neighbours-picture .noUi-handle")
    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: number.press("ArrowRight")))
    seen.append(notebook.new_picture(lambda: kind.select_option(index=1)))
    seen.append(notebook.new_picture(lambda: number.press("End")))
    # The slider ends at the last picture of this class.
    last = int(float(number.get_attribute("aria-valuemax")))
    assert int(float(number.get_attribute("aria-valuenow"))) == last > 0
    seen.append(notebook.new_picture(lambda: kind.select_option(index=2)))
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
