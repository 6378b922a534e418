"""Notebook 05 in JupyterLab, as a reader uses it."""

from __future__ import annotations


def test_the_panel_of_notebook_05(opened):
    notebook = opened("05_feature_evolution.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.panel()
    assert notebook.errors() == []

    layer, epoch = page.locator(".zfnb-layer select"), page.locator(".zfnb-epoch .noUi-handle")
    seen = [notebook.picture()]
    # It stands at the last epoch; earlier ones show the same map.
    before = notebook.feature_map()
    seen.append(notebook.new_picture(lambda: epoch.press("Home")))
    seen.append(notebook.new_picture(lambda: epoch.press("ArrowRight")))
    assert notebook.feature_map() == before
    seen.append(notebook.new_picture(lambda: layer.select_option("conv1")))
    assert notebook.feature_map() <= 95  # the slider follows the layer, which has 96 maps
    chosen = notebook.feature_map()
    key = "ArrowRight" if chosen < 95 else "ArrowLeft"
    seen.append(notebook.new_picture(lambda: notebook.slider().press(key)))
    assert abs(notebook.feature_map() - chosen) == 1
    assert len(set(seen)) == len(seen)
    assert notebook.errors() == [] and notebook.elsewhere == []
