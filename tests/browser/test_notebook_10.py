"""Notebook 10 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_10(opened):
    notebook = opened("10_imagenet_classification.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    menu, network = page.locator(".zfnb-picture-menu select"), page.locator(".zfnb-network select")
    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: menu.select_option(index=1)))
    seen.append(notebook.new_picture(lambda: network.select_option(index=1)))
    ten = page.locator(".zfnb-crops button").nth(1)
    seen.append(notebook.new_picture(ten.click))
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
