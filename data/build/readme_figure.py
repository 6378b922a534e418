"""Draw the picture of the README: a cat in layer 3, as in notebook 00.

    python data/build/readme_figure.py            # writes data/figures/cat_conv3.png
"""

from __future__ import annotations

import matplotlib

matplotlib.use("agg")

import zfnb
from zfnb import plots
from zfnb.data import sample_pictures
from zfnb.files import replacing
from zfnb.paths import embedded

LAYER, MAPS = "conv3", 6


def main() -> None:
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    image = zfnb.preprocess(sample_pictures()["cat"], net)
    deconvnet = zfnb.Deconvnet(net)
    recording = deconvnet.record(image)
    activations = recording.activations[LAYER][0]  # (C, h, w)
    chosen = activations.amax((1, 2)).topk(MAPS).indices.tolist()
    found = deconvnet.project(recording, LAYER, chosen)
    figure = plots.strongest_maps(image, activations, found, net, LAYER, chosen)
    with replacing(embedded("data", "figures", "cat_conv3.png")) as temporary:
        figure.savefig(temporary, bbox_inches="tight", dpi=100)


if __name__ == "__main__":
    main()
