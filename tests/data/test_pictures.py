"""Pictures of any kind become RGB; the preparation equals torchvision's."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb.compat import torchvision
from zfnb.data import pictures
from zfnb.data.pictures import Preprocessing, open_picture, preprocess
from zfnb.errors import BadInput, BadPicture, ZfnbError

RNG = np.random.default_rng(0)
IMAGENET = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(height=40, width=60):
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(image, path, **options):
    image.save(path, **options)
    return path


# -- opening -----------------------------------------------------------------------------------


def test_rgb_is_unchanged(tmp_path):
    image = noise()
    read = open_picture(saved(image, tmp_path / "a.png"))
    assert read.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(read), np.asarray(image))
    assert open_picture(image) is not image  # the caller's picture stays the caller's


@pytest.mark.parametrize("kind", ["path", "text", "bytes"])
def test_paths_and_bytes(tmp_path, kind):
    path = saved(noise(), tmp_path / "a.png")
    source = {"path": path, "text": str(path), "bytes": path.read_bytes()}[kind]
    assert open_picture(source).size == (60, 40)


def test_grey_has_three_equal_channels(tmp_path):
    read = np.asarray(open_picture(saved(noise().convert("L"), tmp_path / "a.png")))
    assert read.shape == (40, 60, 3)
    assert (read == read[:, :, :1]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path, suffix):
    values = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    read = open_picture(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"))
    np.testing.assert_allclose(np.asarray(read)[:, :, 1], values / 257, atol=0.5)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_grey(tmp_path, top):
    values = np.linspace(0, top, 30, dtype=np.float32).reshape(5, 6)
    read = np.asarray(open_picture(saved(Image.fromarray(values), tmp_path / "a.tif")))
    np.testing.assert_allclose(read[:, :, 0], values * 255 / top, atol=0.51)


def test_floating_point_with_nan_is_refused(tmp_path):
    values = np.full((5, 6), np.nan, dtype=np.float32)
    with pytest.raises(BadPicture, match="not finite"):
        open_picture(saved(Image.fromarray(values), tmp_path / "a.tif"))


def test_cmyk(tmp_path):
    image = Image.new("RGB", (30, 20), (200, 40, 90)).convert("CMYK")
    read = np.asarray(open_picture(saved(image, tmp_path / "a.jpg", quality=95)))
    np.testing.assert_allclose(read[10, 15], (200, 40, 90), atol=8)


def test_palette(tmp_path):
    image = noise().quantize(16)
    read = open_picture(saved(image, tmp_path / "a.png"))
    np.testing.assert_array_equal(np.asarray(read), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_mid_grey(tmp_path, mode):
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    image.paste((250, 250, 250, 255), (10, 0, 20, 20))
    if mode == "P":
        image = image.quantize(4)
    read = np.asarray(open_picture(saved(image.convert(mode), tmp_path / "a.png")))
    assert (read[:, :10] == 128).all()
    assert (read[:, 10:] == 250).all()


def test_half_transparency_blends(tmp_path):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    read = np.asarray(open_picture(saved(image, tmp_path / "a.png")))
    np.testing.assert_allclose(read[0, 0], (192, 64, 64), atol=1)


def test_a_transparent_colour_of_an_rgb_file(tmp_path):
    image = Image.new("RGB", (8, 8), (10, 200, 30))
    image.paste((1, 2, 3), (0, 0, 4, 8))
    read = np.asarray(open_picture(saved(image, tmp_path / "a.png", transparency=(1, 2, 3))))
    assert (read[:, :4] == 128).all()
    assert (read[0, 7] == (10, 200, 30)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = Image.fromarray(
        np.kron(RNG.integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1))).astype("u1")
    )
    undo = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(undo[orientation](upright), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_picture(path)), np.asarray(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_matter(tmp_path):
    path = saved(noise(), tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 30)
    assert open_picture(path).size == (60, 40)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_picture(path).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_arrays(shape):
    array = np.full(shape, 255, dtype=np.uint8)
    assert np.array_equal(np.asarray(open_picture(array)), np.full((4, 5, 3), 255))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((4, 5), np.float32), "uint8"),
        (np.zeros((3, 4, 5), np.uint8), "(3, 4, 5)"),
        (np.zeros((0, 5, 3), np.uint8), "(0, 5, 3)"),
        (np.zeros(4, np.uint8), "(4,)"),
        (torch.zeros(3, 4, 4), "Tensor"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
def test_what_is_no_picture_at_all(given, says):
    with pytest.raises(BadInput) as caught:
        open_picture(given)
    assert says in str(caught.value)


# -- files that cannot be read -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_cut_short(tmp_path, suffix):
    path = saved(noise(90, 90), tmp_path / f"short.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadPicture, match=f"short.{suffix}"):
        open_picture(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"]
)
def test_not_a_picture(tmp_path, content):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(BadPicture, match=r"notes\.jpg"):
        open_picture(path)
    with pytest.raises(BadPicture):
        open_picture(content)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadPicture, match="There is no file"):
        open_picture(tmp_path / "nothing.png")
    with pytest.raises(BadPicture, match="is a folder"):
        open_picture(tmp_path)
    with pytest.raises(ZfnbError):  # every refusal is one of ours
        open_picture("")


def bomb(width, height):
    """A PNG that claims a size, without the pixels to fill it."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


@pytest.mark.parametrize("size", [(12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(tmp_path, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(*size))
    with pytest.raises(BadPicture, match=r"bomb\.png claims .* at most 100 million"):
        open_picture(path)


def test_an_open_file_is_closed_even_if_it_is_bad(tmp_path):
    path = saved(noise(90, 90), tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadPicture):
        open_picture(path)
    path.rename(tmp_path / "b.png")  # Windows would refuse while a handle is open


def test_reading_leaves_the_warning_filters_alone(tmp_path):
    """`catch_warnings` in one thread would swallow what another one has to say."""
    path = saved(noise(), tmp_path / "a.png")
    filters = list(warnings.filters)
    seen = []

    def look(_):
        open_picture(path)
        seen.append(list(warnings.filters) == filters)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(50)))
    assert all(seen)


# -- preprocessing -----------------------------------------------------------------------------


@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (224, 224), (128, 112), (9, 4)])
@pytest.mark.parametrize("size", [(300, 400), (401, 299), (256, 256), (31, 20), (1, 1), (7, 90)])
def test_equal_to_torchvision(resize, crop, size):
    image = noise(*size)
    transforms = torchvision.transforms
    theirs = transforms.Compose(
        [
            transforms.Resize(resize),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET.mean, IMAGENET.std),
        ]
    )
    ours = Preprocessing(resize, crop, IMAGENET.mean, IMAGENET.std)(image)
    assert ours.shape == (3, crop, crop)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs(image), rtol=0, atol=1e-6)


def test_very_long_pictures_do_not_explode(monkeypatch):
    image = noise(90, 500)
    plain = np.asarray(IMAGENET.crop_picture(image)).astype(int)
    monkeypatch.setattr(pictures, "MAX_RESIZED", 1000)
    boxed = np.asarray(IMAGENET.crop_picture(image)).astype(int)
    assert np.abs(boxed - plain).max() <= 1
    monkeypatch.undo()
    assert IMAGENET(np.zeros((1, 90_000), np.uint8)).shape == (3, 224, 224)


def test_to_picture_is_the_inverse():
    image = noise(300, 260)
    seen = IMAGENET.crop_picture(image)
    back = IMAGENET.to_picture(IMAGENET(image))
    np.testing.assert_array_equal(np.asarray(back), np.asarray(seen))


def test_to_picture_clips():
    tensor = torch.tensor([100.0, -100.0, float("nan")])[:, None, None].expand(3, 2, 2)
    assert IMAGENET.to_picture(tensor).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("tensor", [torch.zeros(1, 3, 4, 4), torch.zeros(4, 4), None])
def test_to_picture_refuses_other_shapes(tensor):
    with pytest.raises(BadInput, match=r"\(3, H, W\)"):
        IMAGENET.to_picture(tensor)


@pytest.mark.parametrize(
    "change",
    [
        {"crop": 300},
        {"crop": 0},
        {"mean": (0.5, 0.5)},
        {"std": (1, 1, 0)},
        {"std": (1, float("nan"), 1)},
    ],
)
def test_preprocessing_checks_itself(change):
    values = {"resize": 256, "crop": 224, "mean": (0, 0, 0), "std": (1, 1, 1)}
    with pytest.raises(BadInput):
        Preprocessing(**(values | change))


def test_preprocessing_is_a_value():
    lists = Preprocessing(256, 224, list(IMAGENET.mean), list(IMAGENET.std))
    assert lists == IMAGENET
    assert hash(lists) == hash(IMAGENET)


def test_preprocess_follows_the_network(tmp_path):
    net = SimpleNamespace(preprocessing=Preprocessing(64, 56, (0, 0, 0), (1, 1, 1)))
    image = noise(90, 70)
    x = preprocess(saved(image, tmp_path / "a.png"), net)
    assert x.shape == (3, 56, 56)
    torch.testing.assert_close(x, preprocess(np.asarray(image), net))
    assert x.min() >= 0 and x.max() <= 1


def test_preprocess_names_a_foreign_network():
    with pytest.raises(BadInput, match=r"Linear has no \.preprocessing"):
        preprocess(np.zeros((4, 4), np.uint8), torch.nn.Linear(2, 2))


def test_bytes_of_an_upload():
    buffer = io.BytesIO()
    noise().save(buffer, "JPEG")
    assert open_picture(buffer.getvalue()).mode == "RGB"
