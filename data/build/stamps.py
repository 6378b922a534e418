"""Build ``data/stamps/`` from the photographs in Debian's package ``tuxpaint-stamps-default``.

    python data/build/stamps.py --deb tuxpaint-stamps-default_2022.06.04-1_all.deb
    python data/build/stamps.py --folder DIR     # the package, unpacked: DIR/usr/share/tuxpaint
    python data/build/stamps.py                  # on Debian: apt-get download
    python data/build/stamps.py --check ...      # compare a new build with what is in data/stamps

Which stamps, in which class and under which name, is in ``stamps-selection.csv``: photographs only,
no drawing, rendering, symbol, flag or seasonal stamp, no mirrored or recoloured twin, and none that
the package's own notes say came under a licence other than the GPL or the public domain.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import math
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.measure import label

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "stamps"
SELECTION = HERE / "stamps-selection.csv"

DEB = "tuxpaint-stamps-default"
DEB_VERSION = "2022.06.04-1"
DEB_SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
INSIDE = "usr/share/tuxpaint/stamps/"

LONGEST = 224  # pixels; smaller originals keep their size
TEST_SHARE = 0.3
COLUMNS = ("file", "class", "split", "name", "synset", "width", "height")
COLUMNS += ("original", "credit", "sha256")


def read_selection() -> list[dict[str, str]]:
    with SELECTION.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_deb(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """The wanted files of the .deb, after its checksum has been verified."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != DEB_SHA256:
        raise SystemExit(f"{path} has sha256 {found}, expected {DEB_SHA256}.")
    files = {}
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as tar,
    ):
        for member in tar:
            name = member.name.removeprefix("./").removeprefix(INSIDE)
            if name in wanted:
                files[name] = tar.extractfile(member).read()
    return files


def download_deb(folder: Path) -> Path:
    command = ["apt-get", "download", f"{DEB}={DEB_VERSION}"]
    subprocess.run(command, cwd=folder, check=True)
    return next(folder.glob("*.deb"))


def read_folder(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    return {name: (folder / INSIDE / name).read_bytes() for name in wanted}


def cut_out(raw: bytes) -> Image.Image:
    """The stamp without stray specks, cropped to what is visible, at most LONGEST a side."""
    image = Image.open(io.BytesIO(raw)).convert("RGBA")
    alpha = np.asarray(image.getchannel("A"))
    islands = label(alpha > 16, connectivity=2)
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    large = sizes >= 0.003 * sizes.max()
    near = islands * large[islands]
    # Soft borders below the threshold stay, where they touch an island that stays.
    soft = label(alpha > 0, connectivity=2)
    keep = np.isin(soft, np.unique(soft[near > 0])) & ~((islands > 0) & (near == 0))
    image.putalpha(Image.fromarray(np.where(keep, alpha, 0).astype(np.uint8)))
    image = image.crop(Image.fromarray(((alpha > 8) & keep).astype(np.uint8)).getbbox())
    if max(image.size) > LONGEST:
        factor = LONGEST / max(image.size)
        size = tuple(max(1, round(side * factor)) for side in image.size)
        # Premultiplied, so that the colour of invisible pixels does not bleed into the border.
        image = image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return image


def to_webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=95, alpha_quality=100, method=6)
    return buffer.getvalue()


def split(rows: list[dict[str, str]]) -> dict[str, str]:
    """Original path -> train or test: three in ten of each class, rounded up, ordered by hash."""
    classes = defaultdict(list)
    for row in rows:
        classes[row["class"]].append(row["original"])
    where = {}
    for originals in classes.values():
        originals.sort(key=lambda original: hashlib.sha256(original.encode()).hexdigest())
        tests = math.ceil(TEST_SHARE * len(originals))
        where |= {name: "test" if i < tests else "train" for i, name in enumerate(originals)}
    return where


def build(files: dict[str, bytes], out: Path) -> None:
    rows = read_selection()
    where = split(rows)
    index = []
    for row in sorted(rows, key=lambda row: (row["class"], row["original"])):
        image = cut_out(files[row["original"]])
        raw = to_webp(image)
        name = f"{row['class']}/{Path(row['original']).stem.lower().replace('_', '-')}.webp"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(raw)
        more = {"file": name, "split": where[row["original"]]}
        more |= {"width": image.width, "height": image.height}
        more |= {"sha256": hashlib.sha256(raw).hexdigest()}
        index.append(row | more)
    files_named = [row["file"] for row in index]
    if len(set(files_named)) != len(files_named):
        raise SystemExit("Two stamps have the same file name.")
    for old in out.glob("*/*.webp"):
        if old.relative_to(out).as_posix() not in files_named:
            old.unlink()
    part = out / "index.csv.part"
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(index)
    part.replace(out / "index.csv")
    size = sum((out / name).stat().st_size for name in files_named)
    print(f"{out}: {len(index)} stamps, {size / 1e6:.1f} MB")


def compare(new: Path, old: Path) -> int:
    """How far the pixels of two builds differ; another libwebp may round differently."""

    def read(folder: Path) -> dict[str, dict[str, str]]:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            return {row["file"]: row for row in csv.DictReader(file)}

    ours, theirs = read(new), read(old)
    worst = 0.0
    same = ours.keys() == theirs.keys()
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = (dict(rows[name], sha256="") for rows in (ours, theirs))
        same &= a == b
        pair = [np.asarray(Image.open(folder / name).convert("RGBa"), int) for folder in (new, old)]
        worst = max(worst, float(np.abs(pair[0] - pair[1]).mean()))
    print(f"index equal: {same}; largest mean difference of a stamp: {worst:.3f} of 255")
    return 0 if same and worst < 1.5 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deb", type=Path, help="the package file")
    parser.add_argument("--folder", type=Path, help="the package, unpacked")
    parser.add_argument("--check", action="store_true", help="compare with data/stamps")
    arguments = parser.parse_args()
    wanted = {row["original"] for row in read_selection()}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.folder:
            files = read_folder(arguments.folder, wanted)
        else:
            files = read_deb(arguments.deb or download_deb(Path(folder)), wanted)
        if missing := wanted - files.keys():
            raise SystemExit(f"Not in the package: {sorted(missing)}")
        if arguments.check:
            build(files, Path(folder) / "new")
            return compare(Path(folder) / "new", OUT)
    build(files, OUT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
