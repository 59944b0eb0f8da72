"""CZI: known pixels back, whatever the packing, the place or the pyramid; and against a second reader."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from czi_writer import PRIVATE_WORDS, CziWriter, drawn, slow_mean, write_private, write_slide
from numpy.typing import NDArray
from second_reader import bounds, read_canvas

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides import open_slide
from cmlcore.slides.base import SlideReader

RGB = NDArray[np.uint8]


def whole(reader: SlideReader, scene: int = 0, downsample: int = 1) -> RGB:
    size = reader.info.scenes[scene].size
    return reader.read(scene, Region(0, 0, size.w, size.h), downsample)


@pytest.mark.parametrize("compression", ["none", "zstd0", "zstd1", "jpegxr"])
@pytest.mark.parametrize("pyramid", [True, False])
def test_pixels_come_back_exactly(tmp_path: Path, picture: RGB, compression: str, pyramid: bool) -> None:
    path = tmp_path / "a.czi"
    write_slide(path, [((0, 0), picture)], tile=400, compression=compression, pyramid=pyramid)
    with open_slide(path, isolated=False) as reader:
        assert (whole(reader) == picture).all()
        assert reader.info.levels == (3 if pyramid else 1)
        patch = reader.read(0, Region(8, 8, 16, 16))
        assert (patch == (255, 0, 0)).all()


def test_facts(slide_path: Path) -> None:
    with open_slide(slide_path, isolated=False) as reader:
        info = reader.info
    assert info.format == "Zeiss CZI"
    assert [s.size for s in info.scenes] == [Size(1500, 1100), Size(700, 500)]
    assert [s.origin for s in info.scenes] == [(-700, -300), (250_000, 180_001)]
    assert [s.name for s in info.scenes] == ["Scene 1", "Scene 2"]
    assert info.mpp == Mpp(0.2, 0.21)
    assert (info.objective, info.acquired_at, info.kind) == (63, "2026-05-04", "brightfield")
    assert (info.channels, info.bits, info.compression, info.has_label) == (3, 8, "zstd", False)


def test_facts_that_are_absent_stay_unknown(tmp_path: Path) -> None:
    for xml in (None, "", "<ImageDocument><Metadata>", "<!DOCTYPE x><ImageDocument/>"):
        path = tmp_path / "a.czi"
        write_slide(path, [((0, 0), drawn(64, 64))], xml=xml)
        with open_slide(path, isolated=False) as reader:
            assert (reader.info.mpp, reader.info.objective, reader.info.acquired_at) == (None, None, None)
            assert bool(reader.info.warnings) == ("<" in (xml or ""))


def test_a_scale_of_zero_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    zero = '<Distance Id="X"><Value>0</Value></Distance><Distance Id="Y"><Value>0</Value></Distance>'
    xml = f"<ImageDocument><Metadata><Scaling><Items>{zero}</Items></Scaling></Metadata></ImageDocument>"
    write_slide(path, [((0, 0), drawn(64, 64))], xml=xml)
    with open_slide(path, isolated=False) as reader:
        assert reader.info.mpp is None


def test_scenes_do_not_paint_over_each_other(tmp_path: Path) -> None:
    path, a, b = tmp_path / "a.czi", drawn(200, 220, seed=2), drawn(200, 220, seed=3)
    write_slide(path, [((0, 0), a), ((50, 60), b)], pyramid=False)
    with open_slide(path, isolated=False) as reader:
        assert (whole(reader, 0) == a).all()
        assert (whole(reader, 1) == b).all()


@pytest.mark.parametrize("origin", [(0, 0), (-5000, -1), (118_583, 88_865), (900_000_000, -900_000_000)])
def test_any_origin(tmp_path: Path, origin: tuple[int, int]) -> None:
    path, image = tmp_path / "a.czi", drawn(300, 333, seed=4)
    write_slide(path, [(origin, image)], tile=128)
    with open_slide(path, isolated=False) as reader:
        assert reader.info.scenes[0].origin == origin
        assert (whole(reader) == image).all()
        assert np.abs(whole(reader, downsample=2) - slow_mean(image, 2)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("d", [2, 4, 8, 16])
@pytest.mark.parametrize("at", [(0, 0), (16, 32), (5, 3), (-40, -8)])
def test_downsample_is_the_area_mean_without_a_pyramid(tmp_path: Path, d: int, at: tuple[int, int]) -> None:
    path, image = tmp_path / "a.czi", drawn(260, 300, seed=5)
    write_slide(path, [((7, 9), image)], tile=100, pyramid=False)
    x, y, w, h = *at, 203, 150
    framed = np.full((h, w, 3), 255, np.uint8)
    inside = image[max(0, y) : y + h, max(0, x) : x + w]
    framed[max(0, -y) : max(0, -y) + inside.shape[0], max(0, -x) : max(0, -x) + inside.shape[1]] = inside
    with open_slide(path, isolated=False) as reader:
        got = reader.read(0, Region(x, y, w, h), d)
    assert np.abs(got - slow_mean(framed, d)).max() <= 0.5 + 1e-6


def test_a_pyramid_gives_stored_levels_and_means_between_them(tmp_path: Path, picture: RGB) -> None:
    """The writer's level k is the mean of level k - 1, so every answer is a mean within rounding."""
    path = tmp_path / "a.czi"
    write_slide(path, [((0, 0), picture)], tile=300)
    with open_slide(path, isolated=False) as reader:
        assert reader.info.levels == 4
        for d in (2, 4, 8, 16, 32):
            error = np.abs(whole(reader, downsample=d) - slow_mean(picture, d))
            assert error[:-1, :-1].max() <= 2.0  # a stored level's last row may stand for fewer pixels
            odd = reader.read(0, Region(3, 5, 400, 400), d)  # aligned to no level: read from the finest
            assert np.abs(odd - slow_mean(picture[5:405, 3:403], d)).max() <= 0.5 + 1e-6


def test_outside_and_gaps_are_white(tmp_path: Path) -> None:
    path, a, b = tmp_path / "a.czi", drawn(100, 100, seed=6), drawn(100, 100, seed=7)
    with CziWriter(path) as czi:
        czi.add(a, (10, 10), dims={"S": 0, "M": 0})
        czi.add(b, (310, 210), dims={"S": 0, "M": 1})
    with open_slide(path, isolated=False) as reader:
        assert reader.info.scenes[0].size == Size(400, 300)
        image = whole(reader)
        assert (image[:100, :100] == a).all()
        assert (image[200:, 300:] == b).all()
        assert (image[:100, 100:] == 255).all()
        assert (image[100:200] == 255).all()
        assert (reader.read(0, Region(-50, -50, 50, 400)) == 255).all()
        assert (reader.read(0, Region(5000, 5000, 8, 8), 4) == 255).all()
        assert sorted((r.x, r.y, r.w, r.h) for r in reader.covered(0)) == [
            (0, 0, 100, 100),
            (300, 200, 100, 100),
        ]


def test_covered_is_where_the_pixels_are(slide_path: Path) -> None:
    with open_slide(slide_path, isolated=False) as reader:
        for scene in reader.info.scenes:
            seen = np.zeros((scene.size.h, scene.size.w), bool)
            for r in reader.covered(scene.index):
                assert r == r.clipped(Region(0, 0, scene.size.w, scene.size.h))
                seen[r.y : r.y1, r.x : r.x1] = True
            assert seen.all()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_against_the_second_reader(slide_path: Path, factor: int) -> None:
    with open_slide(slide_path, isolated=False) as reader:
        for scene in reader.info.scenes:
            box = Region(*scene.origin, scene.size.w // factor * factor, scene.size.h // factor * factor)
            ours = reader.read(scene.index, Region(0, 0, box.w, box.h), factor)
            assert (ours == read_canvas(slide_path, box, factor)).all()
    left, right = min(s.origin[0] for s in reader.info.scenes), max(s.origin[0] for s in reader.info.scenes)
    assert bounds(slide_path).x == left
    assert bounds(slide_path).x1 == right + 700


@pytest.mark.parametrize("compression", ["none", "zstd0", "zstd1", "jpegxr"])
def test_sixteen_bit_colour(tmp_path: Path, compression: str) -> None:
    path, image = tmp_path / "a.czi", drawn(120, 130)
    deep = image.astype(np.uint16) * 257
    write_slide(path, [((0, 0), deep)], pyramid=False, compression=compression)
    with open_slide(path, isolated=False) as reader:
        assert (reader.info.kind, reader.info.bits) == ("brightfield", 16)
        assert (whole(reader) == image).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_shown_grey(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.czi"
    grey = (np.arange(256 * 256).reshape(256, 256) // 256).astype(dtype)
    write_slide(path, [((0, 0), grey)], pyramid=False)
    with open_slide(path, isolated=False) as reader:
        assert (reader.info.kind, reader.info.channels) == ("grey", 1)
        shown = whole(reader)
    assert (shown == shown[..., :1]).all()
    assert all((lower <= upper).all() for lower, upper in pairwise(shown[:, :, 0]))
    assert shown.min() <= 1
    assert shown.max() == 255


def test_channels_and_planes_are_shown_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    rng = np.random.default_rng(0)
    with CziWriter(path) as czi:
        for c in range(2):
            for z in range(3):
                czi.add(rng.integers(0, 4000, (60, 60)).astype(np.uint16), (0, 0), dims={"C": c, "Z": z})
    with open_slide(path, isolated=False) as reader:
        assert (reader.info.kind, reader.info.channels) == ("fluorescence", 2)
        assert reader.info.warnings == ("Only the middle of 3 focus planes is shown.",)
        assert whole(reader).std() > 10


def test_nothing_that_identifies_a_person_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "secret_name DOE.czi"
    image = write_private(path)
    with open_slide(path, isolated=False) as reader:
        said = repr(reader.info)
        assert reader.info.has_label
        assert reader.info.objective == 63
        assert (whole(reader) == image).all()
    assert not [word for word in PRIVATE_WORDS if word in said]


def test_wrong_questions(slide_path: Path) -> None:
    with open_slide(slide_path, isolated=False) as reader:
        for scene, region, d in [
            (2, Region(0, 0, 8, 8), 1),
            (-1, Region(0, 0, 8, 8), 1),
            (0, Region(0, 0, 8, 8), 3),
            (0, Region(0, 0, 8, 8), 0),
            (0, Region(0, 0, 0, 8), 1),
            (0, Region(0, 0, 100_000, 100_000), 1),
            (0, Region(1 << 40, 0, 8, 8), 1),
        ]:
            with pytest.raises(InputError):
                reader.read(scene, region, d)
