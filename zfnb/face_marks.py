"""Faces whose eyes, nose and mouth are marked by hand, made ready for a network (Sec. 4.3, Fig. 8).

The marks are this project's own: ``data/marks/*.json`` holds a centre and a size for each part, in
pixels of the file, and the box of the face. The pictures are stamps, which travel with the package,
or lie in the reader's copy of Caltech-101; a checksum makes sure that it is the same picture.

Left and right are the animal's own: the right eye is on the left of the picture.

Shapes: N faces, S pixels of the input's side.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zfnb.data.pictures import MATTE, open_picture
from zfnb.data.public import find
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.models import Network
from zfnb.paths import embedded

SETS = {
    "stamps": "7 animals among the embedded stamps",
    "cougars": "16 frontal cougars of Caltech-101 (cougar_face)",
    "dalmatians": "10 frontal dogs of Caltech-101 (dalmatian), the paper's kind of animal",
}
PARTS = ("right eye", "left eye", "nose", "mouth")
PAPERS = PARTS[:3]  # Table 1 has no mouth
FRAMES = {
    "face": "a square around the face, so that faces are of one size and at one place",
    "picture": "the picture as the network usually sees it: short side scaled, centre cut out",
}
MARGIN = 1.15  # side of the square over the face's longer side


@dataclass(frozen=True)
class Face:
    """A picture and where its parts are, in pixels of the file.

    Attributes
    ----------
    name : str
        "mammal/tiger", or "cougar_face/image_0004.jpg".
    path : Path
    sha256 : str
        Of the file.
    size : (height, width)
    box : (top, left, bottom, right)
        The face.
    parts : dict {part: (row, column, height, width)}
        Centre and size. A part that cannot be seen, such as an owl's mouth, is absent.
    """

    name: str
    path: Path
    sha256: str
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    parts: dict[str, tuple[float, float, float, float]]

    def picture(self) -> Image.Image:
        """The whole picture, RGB.

        Raises
        ------
        MissingData
            If it is not there, or is another file than the one that was marked.
        """
        if not self.path.is_file():
            raise MissingData(f"The marked picture {self.path} is missing.")
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise MissingData(
                f"{self.path} is not the file that was marked, so its marks may lie elsewhere; "
                "get the original one."
            )
        return open_picture(content)


def marked_faces(
    name: str = "stamps", root: str | Path | None = None, parts: Sequence[str] = PAPERS
) -> list[Face]:
    """The marked faces of a set that show all of `parts`.

    Parameters
    ----------
    name : {"stamps", "cougars", "dalmatians"}
    root : path, optional
        Where the datasets lie, ``$ZFNB_DATA`` by default. Stamps need none.
    parts : sequence of str
        Of `PARTS`.

    Raises
    ------
    UnknownName
        No such set or part.
    MissingData
        Caltech-101 is not there; the message says what to do.
    """
    if name not in SETS:
        raise UnknownName.of("set of marked faces", name, SETS)
    for part in parts:
        if part not in PARTS:
            raise UnknownName.of("part", part, PARTS)
    path = embedded("data", "marks", f"{name}.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(f"The marks are not at {path}; install zfnb again.") from None
    if name == "stamps":
        folder, suffix = embedded("data", "stamps"), ".webp"
    else:
        folder, suffix = find("caltech101", ["caltech101/101_ObjectCategories"], root), ""
    faces = [
        Face(
            row["picture"],
            folder / f"{row['picture']}{suffix}",
            row["sha256"],
            (row["height"], row["width"]),
            tuple(row["face"][side] for side in ("top", "left", "bottom", "right")),
            {
                part: tuple(mark[key] for key in ("row", "column", "height", "width"))
                for part, mark in row["parts"].items()
            },
        )
        for row in content["faces"]
    ]
    return [face for face in faces if set(parts) <= set(face.parts)]


@dataclass(frozen=True)
class Framed:
    """Faces as a network sees them, and their parts in pixels of its input.

    Attributes
    ----------
    names : list of str
    images : Tensor (N, 3, S, S)
        Normalised for the network.
    boxes : dict {part: int array (N, 4)}
        (top, left, bottom, right), inside the input.
    face : int array (N, 4)
        The faces' boxes.
    all_parts : list of N int arrays (P, 4)
        Every marked part of each picture, whether asked for or not: what random masks keep off.
    """

    names: list[str]
    images: Tensor
    boxes: dict[str, np.ndarray]
    face: np.ndarray
    all_parts: list[np.ndarray]


def framed(
    faces: Sequence[Face], net: Network, parts: Sequence[str] = PAPERS, frame: str = "face"
) -> Framed:
    """Make marked faces ready for a network.

    Parameters
    ----------
    faces : sequence of Face
        That have all of `parts`.
    net : Network
    parts : sequence of str
    frame : {"face", "picture"}
        See `FRAMES`.

    Raises
    ------
    BadInput
        If a face lacks a part, or a part lies outside of what the network sees.
    """
    if frame not in FRAMES:
        raise UnknownName.of("frame", frame, FRAMES)
    if not faces:
        raise BadInput("There is no face; give at least one.")
    images, whole, every = [], [], []
    boxes: dict[str, list] = {part: [] for part in parts}
    for face in faces:
        image, top, left, scale = (in_face if frame == "face" else in_picture)(face, net)
        images.append(image)
        size = net.input_size
        placed = {}
        for part, (row, column, height, width) in face.parts.items():
            corners = (row - height / 2, column - width / 2, row + height / 2, column + width / 2)
            placed[part] = scaled(corners, top, left, scale)
        for part in parts:
            if part not in placed:
                raise BadInput(f"{face.name} has no mark for its {part}; leave one of them out.")
            if not inside(placed[part], size):
                raise BadInput(
                    f"The {part} of {face.name} is not whole in what {net.name} sees; use "
                    "frame='face'."
                )
            boxes[part].append(placed[part])
        every.append(np.array(list(placed.values())))
        box = np.array(scaled(face.box, top, left, scale))
        whole.append(np.clip(box, 0, size))
    return Framed(
        [face.name for face in faces],
        torch.stack(images),
        {part: np.array(rows) for part, rows in boxes.items()},
        np.array(whole),
        every,
    )


def in_face(face: Face, net: Network) -> tuple[Tensor, float, float, float]:
    """The square around a face as an input: the picture, its top, left, and pixels per pixel.

    The square is moved inside the picture if it fits; else grey fills what is beyond the border.
    """
    top, left, bottom, right = face.box
    side = math.ceil(MARGIN * max(bottom - top, right - left))
    corner = []
    for start, end, limit in ((top, bottom, face.size[0]), (left, right, face.size[1])):
        first = round((start + end - side) / 2)
        corner.append(min(max(first, 0), limit - side) if side <= limit else first)
    top, left = corner
    square = Image.new("RGB", (side, side), MATTE)
    square.paste(face.picture(), (-left, -top))
    small = square.resize((net.input_size, net.input_size), Image.Resampling.BILINEAR)
    return net.preprocessing.normalize(small), top, left, net.input_size / side


def in_picture(face: Face, net: Network) -> tuple[Tensor, float, float, float]:
    """The usual input of a picture, and where it was cut out; see `in_face`."""
    height, width = face.size
    resize, crop = net.preprocessing.resize, net.preprocessing.crop
    scale = resize / min(height, width)
    top, left = ((round((int(side * scale) - crop) / 2)) / scale for side in (height, width))
    return net.preprocessing(face.picture()), top, left, scale


def scaled(box: Sequence[float], top: float, left: float, scale: float) -> tuple[int, ...]:
    """A box of the file in pixels of the input, to the nearest whole ones, at least 1 x 1."""
    a, b, c, d = (
        round((value - start) * scale) for value, start in zip(box, (top, left) * 2, strict=True)
    )
    return a, b, max(c, a + 1), max(d, b + 1)


def inside(box: Sequence[int], size: int) -> bool:
    return min(box[:2]) >= 0 and max(box[2:]) <= size
