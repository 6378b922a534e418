"""A handful of pictures to begin with: photographs of scikit-image, and stamps on a background."""

from __future__ import annotations

from PIL import Image

from zfnb.data.scenes import background
from zfnb.data.stamps import compose, stamp

PHOTOGRAPHS = {"cat": "chelsea", "astronaut": "astronaut", "coffee": "coffee"}
STAMPS = {
    "tiger": "mammal/tiger",
    "peacock": "bird/peacock",
    "zebra": "mammal/zebra",
    "beetle": "vehicle/beetle",
    "guitar": "instrument/guitar-classical",
}


def sample_pictures(size: int = 256) -> dict[str, Image.Image]:
    """Name -> RGB picture. The stamps stand on noise of natural statistics, `size` pixels wide."""
    from skimage import data

    pictures = {
        name: Image.fromarray(getattr(data, photograph)())
        for name, photograph in PHOTOGRAPHS.items()
    }
    for seed, (name, key) in enumerate(STAMPS.items()):
        ground = background("noise", seed, size)
        pictures[name] = compose(stamp(key).image(), ground, scale=0.9, size=size).picture
    return pictures
