"""The camera example, built as its README says and run on pictures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .conftest import HERE

EXAMPLE = HERE.parents[2] / "examples/camera"

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("cc") is None,
    reason="cmake or a C compiler is not installed",
)


def configure(model: str, build_dir: Path) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", EXAMPLE, "-B", build_dir, f"-DMODEL_DIR={HERE / model}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build_dir = tmp_path_factory.mktemp("camera")
    configured = configure("camera_model", build_dir)
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(
        ["cmake", "--build", build_dir], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return build_dir / "camera"


def run(camera: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [camera, *arguments], capture_output=True, text=True, timeout=10, check=False
    )


def write_pgm(path: Path, samples: np.ndarray) -> Path:
    height, width = samples.shape
    path.write_bytes(f"P5\n{width} {height}\n255\n".encode() + samples.tobytes())
    return path


def test_a_picture_goes_through_line_by_line(camera: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(5).integers(0, 256, (16, 20), dtype=np.uint8)
    done = run(camera, write_pgm(tmp_path / "picture.pgm", samples))
    assert done.returncode == 0, done.stderr
    expected = samples.max(axis=1).astype(int) - 128
    assert [int(line) for line in done.stdout.split()] == expected.tolist()


def test_without_a_picture_there_is_a_pattern(camera: Path) -> None:
    done = run(camera)
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in done.stdout.split()] == [8 * y + 19 - 128 for y in range(16)]


def test_a_sensor_that_stops_is_noticed(camera: Path, tmp_path: Path) -> None:
    path = write_pgm(tmp_path / "cut.pgm", np.zeros((16, 20), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    done = run(camera, path)
    assert done.returncode != 0
    assert "not all of them there" in done.stderr
    assert done.stdout == ""


def test_pictures_of_another_size_or_kind_are_refused(camera: Path, tmp_path: Path) -> None:
    done = run(camera, write_pgm(tmp_path / "small.pgm", np.zeros((15, 20), np.uint8)))
    assert done.returncode != 0
    assert "15 rows of 20 samples, the network wants 16 of 20" in done.stderr
    text = tmp_path / "text.pgm"
    text.write_text("P2 20 16 255 0 0 0")
    assert "is not a binary PGM" in run(camera, text).stderr
    assert "cannot be read" in run(camera, tmp_path / "none.pgm").stderr


def test_a_model_with_a_resident_input_is_refused(tmp_path: Path) -> None:
    configured = configure("sample_model", tmp_path)
    assert configured.returncode != 0
    assert "--input rows" in configured.stderr
