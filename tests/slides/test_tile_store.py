"""Tiles and thumbnails against direct reads, before and after a slide is prepared."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from czi_writer import PRIVATE_WORDS, drawn, write_private, write_slide
from numpy.typing import NDArray
from PIL import Image

from cmlcore.errors import InputError
from cmlcore.geometry import Region, Size
from cmlcore.slides import TILE, TileStore, needs_preparing, open_slide, prepare, probe
from cmlcore.slides.convert import scene_file
from cmlcore.slides.jpeg_tiff import grid
from cmlcore.slides.pixels import jpeg
from cmlcore.slides.tiles import TileMemory

CLOSE = 6.0  # mean difference that JPEG at quality 85 may make, of 255


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.uint8]]:
    """A CZI without a pyramid, larger than one block of the conversion, edges that fit nothing."""
    path, image = tmp_path_factory.mktemp("large") / "large.czi", drawn(2301, 4650, seed=9)
    write_slide(path, [((-50, 70), image)], pyramid=False, tile=1000)
    return path, image


def store_of(path: Path, folder: Path) -> TileStore:
    return TileStore(path, probe(path), folder)


def expected(image: NDArray[np.uint8], path: Path, level: int, col: int, row: int) -> NDArray[np.uint8]:
    side = TILE << level
    h, w = image.shape[:2]
    region = Region(col * side, row * side, side, side).clipped(Region(0, 0, w, h))
    with open_slide(path, isolated=False) as reader:
        return reader.read(0, region, 1 << level)


@pytest.mark.parametrize("prepared", [False, True])
def test_every_tile_is_the_slide(
    large: tuple[Path, NDArray[np.uint8]], tmp_path: Path, prepared: bool
) -> None:
    path, image = large
    if prepared:
        prepare(path, tmp_path)
    store = store_of(path, tmp_path)
    sizes = store.levels(0)
    assert sizes == [Size(4650, 2301), Size(2325, 1151), Size(1163, 576), Size(582, 288), Size(291, 144)]
    for level, size in enumerate(sizes):
        g = grid(size)
        for col in {0, g.w // 2, g.w - 1}:
            for row in {0, g.h - 1}:
                tile = simplejpeg.decode_jpeg(store.tile(0, level, col, row))
                direct = expected(image, path, level, col, row)
                assert tile.shape == direct.shape
                packed = simplejpeg.decode_jpeg(jpeg(direct, 85)).astype(int)
                assert np.abs(packed - tile).mean() < CLOSE / 2
    store.close()


def test_unprepared_tiles_are_exactly_the_encoded_read(
    slide_path: Path, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    store = store_of(slide_path, tmp_path)
    for level, col, row in [(0, 0, 0), (0, 2, 2), (1, 1, 0)]:
        assert store.tile(0, level, col, row) == jpeg(expected(picture, slide_path, level, col, row), 85)
    store.close()


def test_prepared_tiles_are_stored_bytes(large: tuple[Path, NDArray[np.uint8]], tmp_path: Path) -> None:
    path, image = large
    prepare(path, tmp_path)
    store = store_of(path, tmp_path)
    assert store.tile(0, 0, 1, 2) == jpeg(image[1024:1536, 512:1024], 85)
    assert not (tmp_path / "tiles0").exists()
    assert store._reader is None  # no decoding process was needed
    store.close()


def test_other_readers_open_a_prepared_scene(large: tuple[Path, NDArray[np.uint8]], tmp_path: Path) -> None:
    import openslide
    import tifffile

    path, image = large
    prepare(path, tmp_path)
    with tifffile.TiffFile(scene_file(tmp_path, 0)) as tiff:
        assert [p.shape[:2] for p in tiff.pages] == [
            (2301, 4650),
            (1151, 2325),
            (576, 1163),
            (288, 582),
            (144, 291),
        ]
        assert np.abs(tiff.pages[0].asarray().astype(int) - image).mean() < CLOSE
    with openslide.OpenSlide(str(scene_file(tmp_path, 0))) as other:
        assert other.level_count == 5
        read = np.asarray(other.read_region((900, 800), 0, (300, 200)).convert("RGB")).astype(int)
        assert np.abs(read - image[800:1000, 900:1200]).mean() < CLOSE
    with open_slide(scene_file(tmp_path, 0), isolated=False) as ours:
        assert np.abs(ours.read(0, Region(0, 0, 4650, 2301)).astype(int) - image).mean() < CLOSE


@pytest.mark.parametrize("prepared", [False, True])
def test_thumbnails(large: tuple[Path, NDArray[np.uint8]], tmp_path: Path, prepared: bool) -> None:
    path, image = large
    if prepared:
        prepare(path, tmp_path)
    store = store_of(path, tmp_path)
    for side in (2048, 600, 100):
        shown = np.asarray(Image.open(io.BytesIO(store.thumbnail(0, side))))
        assert side / 2 < max(shown.shape) <= side
        assert np.abs(shown.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < CLOSE
    store.close()


def test_no_thumbnail_or_tile_shows_the_label(tmp_path: Path) -> None:
    path = tmp_path / "secret_name.czi"
    image = write_private(path)
    prepare(path, tmp_path / "out")
    store = store_of(path, tmp_path / "out")
    shown = np.asarray(Image.open(io.BytesIO(store.thumbnail(0, 512)))).astype(int)
    assert np.abs(shown - image).mean() < CLOSE
    kept = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert not [word for word in PRIVATE_WORDS if word.encode() in kept]
    store.close()


def test_wrong_tiles(slide_path: Path, tmp_path: Path) -> None:
    store = store_of(slide_path, tmp_path)
    for scene, level, col, row in [
        (2, 0, 0, 0),
        (-1, 0, 0, 0),
        (0, 9, 0, 0),
        (0, -1, 0, 0),
        (0, 0, 3, 0),
        (0, 0, 0, -1),
    ]:
        with pytest.raises(InputError):
            store.tile(scene, level, col, row)
    with pytest.raises(InputError):
        store.thumbnail(0, 100_000)
    store.close()


def test_tiles_are_kept_on_disk(slide_path: Path, tmp_path: Path) -> None:
    store = store_of(slide_path, tmp_path)
    first = store.tile(1, 0, 0, 0)
    store.close()
    kept = tmp_path / "tiles1" / "0" / "0_0.jpg"
    assert kept.read_bytes() == first
    again = store_of(slide_path, tmp_path)
    assert again.tile(1, 0, 0, 0) == first
    assert again._reader is None
    again.close()
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_written_is_no_reason_to_show_nothing(
    slide_path: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"not a folder")
    store = store_of(slide_path, blocked / "cache")
    assert store.tile(0, 0, 0, 0).startswith(b"\xff\xd8")
    store.close()


def test_many_threads_make_a_tile_once() -> None:
    made = []
    gate = threading.Event()

    def make() -> bytes:
        made.append(1)
        gate.wait(10)
        return b"tile"

    memory = TileMemory(100)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(memory.get, "key", make) for _ in range(8)]
        gate.set()
        assert {a.result() for a in asked} == {b"tile"}
    assert len(made) == 1


def test_memory_stays_within_its_bytes() -> None:
    memory = TileMemory(100)
    for k in range(50):
        assert memory.get(k, lambda k=k: bytes([k]) * 30) == bytes([k]) * 30
        assert memory._held == sum(map(len, memory._tiles.values())) <= 100
    assert list(memory._tiles) == [47, 48, 49]


def test_a_failed_tile_is_made_anew() -> None:
    memory = TileMemory(100)
    with pytest.raises(InputError):
        memory.get("key", lambda: (_ for _ in ()).throw(InputError("no")))
    assert memory.get("key", lambda: b"tile") == b"tile"


def test_which_slides_need_preparing(
    large: tuple[Path, NDArray[np.uint8]], slide_path: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    info = probe(large[0])
    assert not needs_preparing(info, tmp_path)  # small enough as it is
    huge = replace(info, scenes=(replace(info.scenes[0], size=Size(40_000, 30_000)),))
    assert needs_preparing(huge, tmp_path)
    assert not needs_preparing(replace(huge, levels=6), tmp_path)
    assert needs_preparing(replace(huge, levels=6, compression="JPEG-XR"), tmp_path)
    scene_file(tmp_path, 0).write_bytes(b"done")
    assert not needs_preparing(huge, tmp_path)
