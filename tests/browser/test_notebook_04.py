"""Notebook 04 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_04(opened):
    notebook = opened("04_feature_visualisation.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    layer, rule = page.locator(".zfnb-layer select"), page.locator(".zfnb-rule select")
    seen = [notebook.picture()]
    seen.append(notebook.new_picture(lambda: layer.select_option("conv5")))
    before = notebook.feature_map()
    seen.append(notebook.new_picture(lambda: notebook.slider().press("ArrowRight")))
    assert notebook.feature_map() == before + 1
    seen.append(notebook.new_picture(lambda: rule.select_option("guided")))
    seen.append(notebook.new_picture(lambda: notebook.slider().press("PageUp")))
    assert notebook.feature_map() > 63
    seen.append(notebook.new_picture(lambda: layer.select_option("conv1")))
    assert notebook.feature_map() == 63  # the slider follows the layer, which has 64 maps
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
