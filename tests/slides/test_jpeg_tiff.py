"""Tiles written in any order come back as the bytes they were; foreign files are told by their layout."""

from __future__ import annotations

import random
from pathlib import Path

import tifffile
from czi_writer import drawn

from cmlcore.geometry import Mpp, Size
from cmlcore.slides import TileStore, probe
from cmlcore.slides.jpeg_tiff import JpegTiff, JpegTiffWriter, grid, level_sizes
from cmlcore.slides.pixels import jpeg, mean_down


def test_levels_end_in_one_tile() -> None:
    assert level_sizes(Size(1, 1)) == [Size(1, 1)]
    assert level_sizes(Size(512, 512)) == [Size(512, 512)]
    assert level_sizes(Size(513, 2)) == [Size(513, 2), Size(257, 1)]
    assert len(level_sizes(Size(400_000, 300_000))) == 11


def test_bytes_come_back(tmp_path: Path) -> None:
    path, size = tmp_path / "a.tif", Size(1500, 1100)
    tiles = {
        (level, col, row): jpeg(drawn(512, 512, seed=level * 100 + col * 10 + row), 80)
        for level, s in enumerate(level_sizes(size))
        for col in range(grid(s).w)
        for row in range(grid(s).h)
    }
    order = list(tiles)
    random.Random(1).shuffle(order)
    with path.open("wb") as f:
        writer = JpegTiffWriter(f, size, Mpp(0.22, 0.22))
        for key in order:
            writer.put(*key, tiles[key])
        writer.finish()
    file = JpegTiff(path)
    assert file.fits
    assert {key: file.tile(*key) for key in order} == tiles
    file.close()
    file.close()
    assert probe(path).mpp == Mpp(0.22, 0.22)  # stored as a ratio of whole numbers


def test_a_foreign_file_laid_out_alike_is_handed_on(tmp_path: Path) -> None:
    """JPEG tables kept apart from the tiles are put back in; other tile sizes are not taken."""
    image = drawn(1024, 1024)
    ours, other = tmp_path / "ours.tif", tmp_path / "other.tif"
    for path, side in ((ours, 512), (other, 256)):
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            for level in (image, mean_down(image, 2)):
                writer.write(level, photometric="ycbcr", tile=(side, side), compression="jpeg")
    assert JpegTiff(ours).fits
    assert not JpegTiff(other).fits
    store = TileStore(ours, probe(ours), tmp_path / "cache")
    assert store.tile(0, 0, 1, 1) == JpegTiff(ours).tile(0, 1, 1)
    assert store._reader is None
    store.close()
