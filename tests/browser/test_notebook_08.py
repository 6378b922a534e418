"""Notebook 08 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_08(opened):
    notebook = opened("08_occlusion.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    def handle(name):
        return page.locator(f".zfnb-{name} .noUi-handle")

    def value(name):
        return int(float(handle(name).get_attribute("aria-valuenow")))

    seen = [notebook.picture()]
    for name in ("row", "column", "square"):  # the square moves, and grows
        before = value(name)
        seen.append(notebook.new_picture(lambda name=name: handle(name).press("ArrowRight")))
        assert value(name) == before + 1
    fill = page.locator(".zfnb-fill select")
    seen.append(notebook.new_picture(lambda: fill.select_option("noise")))
    pictures = page.locator(".zfnb-picture-menu select")
    seen.append(notebook.new_picture(lambda: pictures.select_option("coffee")))
    row = value("row")
    network = page.locator(".zfnb-network select")
    seen.append(notebook.new_picture(lambda: network.select_option("zfnet")))
    assert value("row") < row  # its pictures are smaller, and the slider follows
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
