"""Notebook 06 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_06(opened):
    notebook = opened("06_feature_invariance.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    menu, kind = page.locator(".zfnb-picture-menu select"), page.locator(".zfnb-transform select")
    moves, value = page.locator(".zfnb-moves select"), page.locator(".zfnb-value .noUi-handle")
    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: value.press("ArrowRight")))
    seen.append(notebook.new_picture(lambda: moves.select_option("the object alone")))
    seen.append(notebook.new_picture(lambda: menu.select_option(index=1)))
    seen.append(notebook.new_picture(lambda: kind.select_option("rotation")))
    # The slider has followed: 36 turns, and it stands at the first.
    assert int(float(value.get_attribute("aria-valuenow"))) == 0
    assert int(float(value.get_attribute("aria-valuemax"))) == 35
    seen.append(notebook.new_picture(lambda: value.press("ArrowRight")))
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
