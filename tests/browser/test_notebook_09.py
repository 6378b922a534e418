"""Notebook 09 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_09(opened):
    notebook = opened("09_correspondence.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    def menu(name):
        return page.locator(f".zfnb-mask-{name} select")

    def handle(name):
        return page.locator(f".zfnb-mask-{name} .noUi-handle")

    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: menu("part").select_option("nose")))
    seen.append(notebook.new_picture(lambda: handle("row").press("ArrowRight")))
    row = handle("row").get_attribute("aria-valuenow")
    # Another picture has a mask of its own: the sliders go to it, and come back.
    seen.append(notebook.new_picture(lambda: menu("picture").select_option(index=1)))
    seen.append(notebook.new_picture(lambda: handle("column").press("ArrowLeft")))
    notebook.new_picture(lambda: menu("picture").select_option(index=0))
    assert handle("row").get_attribute("aria-valuenow") == row
    seen.append(notebook.new_picture(lambda: menu("zero").select_option("left out")))

    def enlarge():  # by a tenth: one per cent may change no whole pixel
        for _ in range(10):
            handle("size").press("ArrowRight")

    seen.append(notebook.new_picture(enlarge))
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
