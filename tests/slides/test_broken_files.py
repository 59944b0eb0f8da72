"""Every broken or hostile file is refused in one plain sentence, and whoever asked lives on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import tifffile
from broken import CASES, Case, good_czi, jpeg_file
from czi_writer import PRIVATE_WORDS, drawn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmlcore.errors import SlideError
from cmlcore.geometry import Region
from cmlcore.slides import czi_file, open_slide, tiff_file


def show(path: Path) -> None:
    """What the viewer would do first: open, then a picture of everything."""
    with open_slide(path) as reader:
        size = reader.info.scenes[0].size
        reader.read(0, Region(0, 0, size.w, size.h), 4096 if max(size.w, size.h) > 4096 else 1)


def plain(message: str, path: Path) -> bool:
    """One sentence or two for a person: no path, no file name, no line of code."""
    return message.endswith(".") and len(message) < 230 and "\n" not in message and path.stem not in message


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refused_in_a_sentence(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "secret_name.czi"
    case(path)
    with pytest.raises(SlideError) as refused:
        show(path)
    assert plain(str(refused.value), path), refused.value


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    czi, jpg = tmp_path / "a.svs", tmp_path / "b.czi"
    czi.write_bytes(good_czi())
    jpg.write_bytes(jpeg_file())
    with open_slide(czi) as a, open_slide(jpg) as b:
        assert (a.info.format, b.info.format) == ("Zeiss CZI", "JPEG picture")
        assert (a.read(0, Region(0, 0, 128, 128)) == drawn(128, 128)).all()


def test_an_mrxs_without_its_folder_is_no_picture(tmp_path: Path) -> None:
    """The .mrxs file alone is a JPEG that shows the slide's label."""
    path = tmp_path / "a.mrxs"
    path.write_bytes(jpeg_file())
    with pytest.raises(SlideError, match="folder of the same name"):
        open_slide(path)


def test_only_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, tmp_path / "absent.czi", Path("/dev/zero")):
        with pytest.raises(SlideError):
            open_slide(path)


def test_garbage_inside_a_tile_does_not_hurt(tmp_path: Path) -> None:
    """No library notices damaged pixels as long as they decode; the process must survive it either way."""
    data = good_czi("none")
    data[800:1000] = bytes(range(200))
    path = tmp_path / "a.czi"
    path.write_bytes(data)
    with open_slide(path) as reader:
        assert reader.read(0, Region(0, 0, 128, 128)).shape == (128, 128, 3)


def test_no_message_holds_a_private_word(tmp_path: Path) -> None:
    path = tmp_path / "DOE JOHN H26-01234.czi"
    for case in (
        CASES["text"],
        CASES["czi: end missing"],
        CASES["tiff: end missing"],
        CASES["jpeg: first half"],
    ):
        case(path)
        with pytest.raises(SlideError) as refused:
            show(path)
        assert not [word for word in PRIVATE_WORDS if word in str(refused.value)]


GOOD_CZI = {c: bytes(good_czi(c)) for c in ("none", "zstd1", "jpegxr")}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(sorted(GOOD_CZI)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4),
    cut=st.floats(0.2, 1),
)
def test_the_czi_check_knows_only_one_way_to_fail(
    tmp_path: Path, which: str, edits: list[tuple[float, bytes]], cut: float
) -> None:
    data = bytearray(GOOD_CZI[which])
    for place, new in edits:
        at = int(place * (len(data) - len(new)))
        data[at : at + len(new)] = new
    path = tmp_path / "fuzz.czi"
    path.write_bytes(data[: max(1, int(cut * len(data)))])
    with contextlib.suppress(SlideError):
        assert len(czi_file.parse(path).blocks) > 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4),
    big=st.booleans(),
)
def test_the_tiff_check_knows_only_one_way_to_fail(
    tmp_path: Path, edits: list[tuple[int, bytes]], big: bool
) -> None:
    path = tmp_path / "fuzz.tif"
    tifffile.imwrite(path, drawn(64, 64), tile=(16, 16), compression="zlib", photometric="rgb", bigtiff=big)
    data = bytearray(path.read_bytes())
    for at, new in edits:
        data[at + 4 : at + 4 + len(new)] = new
    path.write_bytes(data)
    with contextlib.suppress(SlideError):
        assert tiff_file.parse(path).ifds
