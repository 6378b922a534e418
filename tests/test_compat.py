"""torchvision imports beside any build of torch; each case in its own process."""

import subprocess
import sys

import pytest


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_torchvision_is_whole():
    done = run(
        "from zfnb.compat import torchvision as tv; import torchvision\n"
        "assert tv is torchvision\n"
        "tv.models.alexnet(weights=None, num_classes=2); tv.datasets.ImageFolder\n"
        "from torchvision.transforms import v2\n"
        "print(tv.transforms.Resize(3))"
    )
    assert done.returncode == 0, done.stderr
    assert "Resize" in done.stdout


@pytest.fixture
def fake(tmp_path):
    """Put a torchvision with this body before the real one on the path."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "half.py").write_text("")
    for part in ("models", "datasets", "transforms"):
        (folder / f"{part}.py").write_text("")

    def use(body):
        (folder / "__init__.py").write_text("import torchvision.half\n" + body)
        return f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"

    return use


def test_missing_operators_are_declared_and_the_import_tried_again(fake):
    prelude = fake(
        "import torch\nif not hasattr(torch.ops.torchvision, 'nms'):\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    done = run(
        prelude + "from zfnb.compat import torchvision\nimport torch\n"
        "print(torch.ops.torchvision.nms.default._schema)"
    )
    assert done.returncode == 0, done.stderr
    assert "float iou_threshold" in done.stdout


def test_nothing_is_declared_when_the_import_succeeds(fake):
    done = run(
        fake("") + "from zfnb.compat import torchvision\nimport torch\n"
        "print(hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert done.stdout.strip() == "False", done.stderr


def test_other_failures_pass_through(fake):
    done = run(
        fake("raise RuntimeError('a broken disk')\n") + "from zfnb.compat import torchvision"
    )
    assert done.returncode == 1
    assert "a broken disk" in done.stderr
