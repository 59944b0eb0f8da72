"""Preparing a slide: whole files or none, progress, blank parts once, an end when it is told."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from czi_writer import CziWriter, drawn, write_slide

from cmlcore.errors import SlideError, StorageError
from cmlcore.geometry import Mpp
from cmlcore.slides import prepare
from cmlcore.slides.convert import scene_file
from cmlcore.slides.jpeg_tiff import JpegTiff, level_sizes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "a.czi"
    write_slide(
        path, [((0, 0), drawn(2600, 2200)), ((9000, 0), drawn(300, 500))], pyramid=False, mpp=Mpp(0.2, 0.2)
    )
    return path


def test_progress_rises_to_one(slide: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    prepare(slide, tmp_path / "out", seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert len(seen) >= 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scene0.tif", "scene1.tif"]


def test_what_is_there_is_not_done_again(slide: Path, tmp_path: Path) -> None:
    prepare(slide, tmp_path)
    first = [scene_file(tmp_path, k).stat().st_mtime_ns for k in (0, 1)]
    prepare(slide, tmp_path)
    assert [scene_file(tmp_path, k).stat().st_mtime_ns for k in (0, 1)] == first


def test_stopped_half_way_nothing_half_written_stays(slide: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(share: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        prepare(slide, tmp_path / "out", stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk(slide: Path, tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the write fails part of the way with an OSError."""
    code = f"""
        import resource, sys
        from pathlib import Path
        from cmlcore.errors import StorageError
        from cmlcore.slides import prepare
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
        try:
            prepare(Path(sys.argv[1]), Path(sys.argv[2]))
        except StorageError as e:
            print(e)
    """
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(code), str(slide), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "free space" in done.stdout
    assert list(out.iterdir()) == []


def test_a_folder_that_cannot_be(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        prepare(slide, tmp_path / "file" / "out")


def test_a_damaged_slide_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(b"ZISRAWFILE" + bytes(1000))
    with pytest.raises(SlideError):
        prepare(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_blank_tiles_are_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    with CziWriter(path) as czi:
        czi.add(drawn(300, 300, seed=1), (0, 0), dims={"M": 0})
        czi.add(drawn(300, 300, seed=2), (9000, 7000), dims={"M": 1})
    prepare(path, tmp_path)
    tiles = JpegTiff(scene_file(tmp_path, 0))
    assert tiles.fits
    assert tiles.tile(0, 5, 5) == tiles.tile(0, 9, 3) == tiles.tile(1, 3, 3)
    assert tiles.tile(0, 0, 0) != tiles.tile(0, 5, 5)
    assert scene_file(tmp_path, 0).stat().st_size < 400_000
    tiles.close()


@pytest.mark.parametrize("size", [(1, 1), (512, 512), (513, 512), (1024, 1), (2048, 2048), (2049, 2047)])
def test_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path, image = tmp_path / "a.czi", np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    write_slide(path, [((0, 0), image)], pyramid=False)
    prepare(path, tmp_path)
    tiles = JpegTiff(scene_file(tmp_path, 0))
    assert tiles.fits
    assert (tiles.size.w, tiles.size.h) == size
    assert max(level_sizes(tiles.size)[-1].w, level_sizes(tiles.size)[-1].h) <= 512
    tiles.close()
