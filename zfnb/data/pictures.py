"""Pictures of any kind to RGB, and RGB pictures to a network's input and back."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zfnb.errors import BadInput, BadPicture

if TYPE_CHECKING:
    from torch import nn

    Picture = str | os.PathLike | bytes | Image.Image | np.ndarray

MAX_PIXELS = 100_000_000  # decoded: 300 MB. A small file can claim a lot more (a bomb).
MAX_RESIZED = 16_000_000  # pixels of the whole picture at the network's scale
MATTE = (128, 128, 128)  # what shows through transparent places: grey says nothing to a network


def open_picture(picture: Picture) -> Image.Image:
    """Any picture as an upright 8-bit RGB image.

    Parameters
    ----------
    picture : path, bytes, PIL image or uint8 array
        A file of any kind that Pillow reads; the bytes of such a file; an image in any mode; or an
        array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 in [0, 255].

    Returns
    -------
    PIL.Image.Image
        Mode RGB. Turned upright by its EXIF orientation. Transparency is laid over mid grey
        (128, 128, 128). 16-bit grey is scaled by its full range, 65535 to 255. Of a file with
        several frames, the first.

    Raises
    ------
    BadPicture
        No such file, a folder, not a picture, damaged or cut short, without pixels, or more than
        100 megapixels (a decompression bomb).
    BadInput
        An object of another type, or an array of another shape or type.
    """
    if isinstance(picture, np.ndarray):
        return _to_rgb(_from_array(picture))
    if isinstance(picture, Image.Image):
        return _decode(picture, "The picture")
    if isinstance(picture, bytes | bytearray):
        return _read(io.BytesIO(picture), "The picture")
    if isinstance(picture, str | os.PathLike):
        path = Path(picture).expanduser()
        if path.is_dir():
            raise BadPicture(
                f"{path} is a folder, not a picture. To read all pictures in it, call "
                "load_dataset('folder', root=...)."
            )
        if not path.exists():
            raise BadPicture(f"There is no file {path}.")
        return _read(path, str(path))
    raise BadInput(
        f"A picture cannot be made from {type(picture).__name__}: give a path, the bytes of a "
        "file, a PIL image or a uint8 array (H, W) or (H, W, 3)."
    )


def _read(source: Path | io.BytesIO, name: str) -> Image.Image:
    # Pillow may warn of a large picture or odd EXIF. To silence that would change the warning
    # filters of the whole process, and pictures are read by several threads at once.
    try:
        image = Image.open(source)
    except Image.DecompressionBombError:
        raise BadPicture(_too_large(name)) from None
    except Exception as error:
        raise BadPicture(f"{name} is not a picture that can be read: {_why(error)}.") from error
    with image:
        return _decode(image, name)


def _decode(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadPicture(_too_large(name, f"{width} x {height}"))
    if width * height == 0:
        raise BadPicture(f"{name} has no pixels: it is {width} x {height}.")
    try:
        image.load()
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        raise BadPicture(f"{name} is damaged or cut short: {_why(error)}.") from error
    with suppress(Exception):  # the pixels are fine; only the camera's notes are damaged
        image = ImageOps.exif_transpose(image)
    return _to_rgb(image)


def _why(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _too_large(name: str, size: str = "too many") -> str:
    return (
        f"{name} claims {size} pixels; at most {MAX_PIXELS // 1_000_000} million are read, because "
        "a small file can unpack to more than the memory holds. Scale it down first."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        matte = Image.new("RGBA", image.size, (*MATTE, 255))
        return Image.alpha_composite(matte, image).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits. Pillow would cut it at 255 instead of scaling it."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadPicture("The picture holds numbers that are not finite.")
    if image.mode.startswith("I"):
        values = values / 257  # 65535 -> 255
    elif values.max() <= 1:
        values = values * 255  # floating point in [0, 1]; otherwise it is in [0, 255]
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise BadInput(
            f"A picture as an array must be uint8 in [0, 255]; this one is {array.dtype}."
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if (
        array.size == 0
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (3, 4))
    ):
        raise BadInput(
            f"A picture as an array must be (H, W), (H, W, 3) or (H, W, 4); this one is "
            f"{tuple(array.shape)}."
        )
    return Image.fromarray(np.ascontiguousarray(array))


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture before a network sees it, and the way back (paper, Sec. 3.1).

    The short side is scaled to `resize`, bilinear with antialiasing; the centre, `crop` x `crop`,
    is cut out; (picture / 255 - mean) / std. The same, pixel for pixel, as torchvision's Resize,
    CenterCrop, ToTensor and Normalize on a PIL image.

    Parameters
    ----------
    resize : int
        Short side in pixels, at least `crop`.
    crop : int
        Side of the square that the network sees.
    mean, std : sequence of 3 floats
        Of red, green and blue, in units of [0, 1].
    """

    resize: int
    crop: int
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3 or not np.isfinite(values).all():
                raise BadInput(f"{name} must be three finite numbers, not {values}.")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise BadInput(f"std must be positive, not {self.std}.")
        if not 1 <= self.crop <= self.resize:
            raise BadInput(f"crop must be from 1 to resize ({self.resize}), not {self.crop}.")

    def crop_picture(self, picture: Picture) -> Image.Image:
        """The part of the picture that the network sees: RGB, `crop` x `crop`."""
        image = open_picture(picture)
        width, height = image.size
        short = min(width, height)
        # The long side, cut to a whole number as torchvision does.
        new_width = int(self.resize * width / short)
        new_height = int(self.resize * height / short)
        left = round((new_width - self.crop) / 2)
        top = round((new_height - self.crop) / 2)
        bilinear = Image.Resampling.BILINEAR
        if new_width * new_height <= MAX_RESIZED:
            whole = image.resize((new_width, new_height), bilinear)
            return whole.crop((left, top, left + self.crop, top + self.crop))
        # A 1 x 5000 picture would become a 256 x 1280000 one: compute the crop only. It is the
        # same up to a rounding of one grey level.
        x, y = width / new_width, height / new_height
        box = (left * x, top * y, (left + self.crop) * x, (top + self.crop) * y)
        return image.resize((self.crop, self.crop), bilinear, box=box)

    def normalize(self, picture: Picture) -> Tensor:
        """(3, H, W) float32 of the picture at its own size, normalised, not resized."""
        values = np.asarray(open_picture(picture))  # (H, W, 3)
        x = torch.from_numpy(values.copy()).permute(2, 0, 1).contiguous()
        x = x.to(torch.float32).div_(255)
        return x.sub_(_per_channel(self.mean)).div_(_per_channel(self.std))

    def __call__(self, picture: Picture) -> Tensor:
        """(3, crop, crop) float32: the network's input."""
        return self.normalize(self.crop_picture(picture))

    def to_picture(self, tensor: Tensor) -> Image.Image:
        """The way back: a normalised (3, H, W) tensor to an RGB image, clipped to [0, 255]."""
        if not isinstance(tensor, Tensor) or tensor.ndim != 3 or tensor.shape[0] != 3:
            given = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise BadInput(f"to_picture takes one tensor (3, H, W), not {given}.")
        x = tensor.detach().to("cpu", torch.float32)
        x = x.mul(_per_channel(self.std)).add_(_per_channel(self.mean)).mul_(255)
        values = x.nan_to_num_(0).round_().clamp_(0, 255).to(torch.uint8)
        return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]  # (3, 1, 1)


def preprocess(picture: Picture, net: nn.Module) -> Tensor:
    """A picture as the input of a network.

    Parameters
    ----------
    picture : path, bytes, PIL image or uint8 array
        Anything that `open_picture` takes.
    net : Network
        From `load_model`; its ``.preprocessing`` says what to do.

    Returns
    -------
    Tensor
        (3, H, W) float32 on the CPU. Stack several, or write ``[None]``, for a batch.

    Raises
    ------
    BadPicture
        A picture that cannot be read.
    BadInput
        Something that is no picture, or a network that says nothing about its input.
    """
    preprocessing = getattr(net, "preprocessing", None)
    if not isinstance(preprocessing, Preprocessing):
        raise BadInput(
            f"{type(net).__name__} has no .preprocessing: load the network with zfnb.load_model."
        )
    return preprocessing(picture)
