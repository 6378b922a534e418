"""Curves that grow while a network trains."""

from __future__ import annotations

import matplotlib.pyplot as plt
from IPython.display import Image, display

from zfnb.plots_training import training_curves
from zfnb.training import Run
from zfnb.widgets import png


class LiveCurves:
    """Redraws one picture after every epoch: give it to `zfnb.training.train` as ``on_epoch``.

    It is a plain picture that is replaced, and no widget. So the saved notebook and its page hold
    the last one, and an error in it stops the training where one sees it.

    Parameters
    ----------
    title : str
    every : int
        Epochs from one drawing to the next; the last epoch is always drawn.

    Attributes
    ----------
    lines : list of dict
        The epochs so far.
    picture : Image or None
        As it was last drawn.
    """

    def __init__(self, title: str, every: int = 1):
        self.title, self.every = title, every
        self.lines: list[dict] = []
        self.picture: Image | None = None
        self._handle = None

    def __call__(self, run: Run, line: dict) -> None:
        self.lines.append(line)
        epochs = run.recipe.epochs
        if line["epoch"] % self.every and line["epoch"] < epochs:
            return
        with plt.ioff():
            figure = training_curves({self.title: self.lines}, self.title, epochs)
            last = f"Loss and error after {line['epoch']} of {epochs} epochs"
            self.picture = Image(png(figure), format="png", alt=last)
        if self._handle is None:
            self._handle = display(self.picture, display_id=True)
        else:
            self._handle.update(self.picture)
