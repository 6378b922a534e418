"""Notebook 00 in JupyterLab, as a reader uses it."""

from __future__ import annotations

from PIL import Image


def test_the_panel_of_notebook_00(opened, tmp_path):
    notebook = opened("00_tour.ipynb")
    notebook.run_all()
    notebook.panel()
    page = notebook.page
    assert notebook.errors() == []

    menu = page.locator(".zfnb-picture-menu select")
    names = menu.locator("option").all_inner_texts()
    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: menu.select_option(names[1])))
    layer = page.locator(".zfnb-layer select")
    seen.append(notebook.new_picture(lambda: layer.select_option("conv1")))
    assert notebook.feature_map() == 63  # the slider follows the layer, which has 64 maps
    seen.append(notebook.new_picture(lambda: notebook.slider().press("ArrowLeft")))
    assert notebook.feature_map() == 62

    # A picture of one's own: added to the menu, chosen and drawn.
    path = tmp_path / "mine.png"
    Image.radial_gradient("L").resize((300, 200)).convert("RGB").save(path)

    def upload():
        with page.expect_file_chooser() as chooser:
            page.locator("button.zfnb-own").click()
        chooser.value.set_files(path)

    seen.append(notebook.new_picture(upload))
    assert menu.locator("option").all_inner_texts() == [*names, "mine.png"]
    assert menu.input_value() == "mine.png"
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
