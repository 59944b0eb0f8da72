"""Pictures: bad ones get one sentence each, good ones are cut to the same field whatever their scale."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cmlcore.errors import InputError
from cmlcore.single_cell import images
from cmlcore.single_cell.data import load
from cmlcore.single_cell.images import cut_field, read_fields, read_image, sizes_note


def colour(h: int, w: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (h, w, 3), dtype=np.uint8)


def save(path: Path, kind: str) -> None:
    rgb = Image.fromarray(colour(40, 40))
    made = {
        "good": lambda: rgb.save(path),
        "grey": lambda: rgb.convert("L").save(path),
        "grey as rgb": lambda: rgb.convert("L").convert("RGB").save(path),
        "tiny": lambda: rgb.resize((12, 40)).save(path),
        "huge": lambda: Image.new("RGB", (5000, 40), "red").save(path),
        "cmyk": lambda: rgb.convert("CMYK").save(path, format="JPEG"),
        "deep": lambda: Image.fromarray(np.zeros((40, 40), np.uint16)).save(path),
        "corrupt": lambda: path.write_bytes(path_bytes(rgb, path)[:400]),
        "text": lambda: path.write_text("no picture at all"),
    }
    made[kind]()


def path_bytes(picture: Image.Image, path: Path) -> bytes:
    picture.save(path)
    return path.read_bytes()


SENTENCES = {
    "grey": "is grey; stained cells are told apart by colour",
    "grey as rgb": "is grey; stained cells are told apart by colour",
    "tiny": "is only 12 × 40 pixels; a cell needs at least 24",
    "huge": "is 5000 × 40 pixels, too large for one cell",
    "cmyk": "is a CMYK picture made for print; save it as RGB",
    "deep": "is no 8-bit colour picture",
    "corrupt": "is damaged or no picture; copy it again",
    "text": "is damaged or no picture; copy it again",
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_bad_pictures_get_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cell.png"
    save(path, kind)
    with pytest.raises(InputError, match=SENTENCES[kind]) as e:
        read_image(path)
    assert str(e.value).startswith("cell.png ")
    assert str(tmp_path) not in str(e.value)
    assert str(e.value).count(".") - str(e.value).count("cell.png") == 1


def test_the_rest_of_a_set_goes_through(tmp_path: Path) -> None:
    (tmp_path / "monocyte").mkdir()
    for n, kind in enumerate(["good", *SENTENCES, "good"]):
        save(tmp_path / "monocyte" / f"{n}.png", kind)
    fields, kept, refused = read_fields(load(tmp_path), mpp=0.2)
    assert fields.shape == (2, 224, 224, 3)
    assert [i.path.name for i in kept] == ["0.png", "9.png"]
    assert len(refused) == len(SENTENCES)


def test_a_set_without_a_good_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "monocyte").mkdir()
    save(tmp_path / "monocyte" / "1.png", "grey")
    with pytest.raises(InputError, match=r"None of the 1 images can be used; the first: 1\.png is grey"):
        read_fields(load(tmp_path), mpp=0.2)
    with pytest.raises(InputError, match="give --mpp"):
        read_fields(load(tmp_path))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([colour(40, 40), np.full((40, 40), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba, "RGBA").save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:10] == 255).all()
    assert np.array_equal(read[10:], rgba[10:, :, :3])


def test_a_field_at_its_own_scale_is_the_middle_of_the_image() -> None:
    rgb = colour(100, 120)
    field = cut_field(rgb, images.FIELD_UM / 64, side=64)
    assert np.array_equal(field, rgb[18:82, 28:92])


def test_a_field_around_a_cell_is_cut_there_and_continued_beyond_the_edge() -> None:
    rgb = colour(100, 120)
    field = cut_field(rgb, images.FIELD_UM / 64, centre=(20.0, 50.0), side=64)
    assert np.array_equal(field[:, 12:], rgb[18:82, 0:52])
    assert (field[:, :12] == rgb[18:82, :1]).all()


@pytest.mark.parametrize("zoom", [0.5, 1.7, 3.0])
def test_fields_do_not_depend_on_the_pixel_size(zoom: float) -> None:
    smooth = cv2.GaussianBlur(colour(300, 300), (0, 0), 9)
    smooth = np.clip((smooth.astype(np.float32) - 127) * 6 + 127, 0, 255).astype(np.uint8)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    other = cv2.resize(smooth, None, fx=zoom, fy=zoom, interpolation=how)
    mpp = images.FIELD_UM / 150
    a, b = cut_field(smooth, mpp, side=112), cut_field(np.ascontiguousarray(other), mpp / zoom, side=112)
    assert np.abs(a.astype(int) - b.astype(int)).mean() < 2.0  # a shift by one pixel makes 6


def test_large_sets_may_lie_on_disk(tmp_path: Path, drawn_set: Path) -> None:
    cells = load(drawn_set)
    in_memory, _, _ = read_fields(cells, 0.2, side=64)
    on_disk, _, _ = read_fields(cells, 0.2, side=64, store=tmp_path / "fields.npy")
    assert isinstance(on_disk, np.memmap)
    assert np.array_equal(in_memory, on_disk)


def test_mixed_sizes_are_said(tmp_path: Path) -> None:
    paths = []
    for n, side in enumerate((100, 105, 200)):
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(colour(side, side)).save(paths[-1])
    note = sizes_note(paths)
    assert note is not None
    assert note.startswith("The images are 100 to 200 pixels wide")
    assert sizes_note(paths[:2]) is None
