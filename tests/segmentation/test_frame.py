"""A pixel of the m frame has one value, whichever tile asks for it, and it is the right one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from label_oracle import PictureReader
from numpy.typing import NDArray

from cmlcore.geometry import Mpp, Region, Size
from cmlcore.segmentation import Frame, read_m

RNG = np.random.default_rng(3)
CASES = [
    (Mpp(0.22, 0.22), 0.22),
    (Mpp(0.22, 0.22), 0.1),
    (Mpp(0.1, 0.1), 0.22),
    (Mpp(0.0727, 0.0731), 0.2),
    (Mpp(0.25, 0.2), 0.3),
    (Mpp(0.05, 0.05), 0.4),
    (Mpp(0.12, 0.12), 0.2399999),
]


def picture(w: int, h: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)


def slow(reader: PictureReader, frame: Frame, region: Region) -> NDArray[np.float64]:
    """The bilinear value of each pixel at its centre, one after the other, in double precision."""
    d = frame.downsample
    wide = reader.read(0, Region(0, 0, reader.rgb.shape[1], reader.rgb.shape[0]), d).astype(np.float64)

    def at(row: int, column: int) -> NDArray[np.float64]:
        inside = 0 <= row < wide.shape[0] and 0 <= column < wide.shape[1]
        return wide[row, column] if inside else np.full(3, 255.0)

    def bilinear(x_m: float, y_m: float) -> NDArray[np.float64]:
        u, v = x_m * frame.l0_from_m[0] / d - 0.5, y_m * frame.l0_from_m[1] / d - 0.5
        c, r = math.floor(u), math.floor(v)
        a, b = u - c, v - r
        top = (1 - a) * at(r, c) + a * at(r, c + 1)
        low = (1 - a) * at(r + 1, c) + a * at(r + 1, c + 1)
        return (1 - b) * top + b * low

    spots = (0.25, 0.75) if max(frame.l0_from_m) / d > 1.2 else (0.5,)
    out = np.empty((region.h, region.w, 3))
    for j in range(region.h):
        for i in range(region.w):
            out[j, i] = np.mean(
                [bilinear(region.x + i + p, region.y + j + q) for p in spots for q in spots], axis=0
            )
    return out


@pytest.mark.parametrize(("mpp", "model_mpp"), CASES)
def test_any_tile_is_a_crop_of_the_whole(mpp: Mpp, model_mpp: float) -> None:
    reader = PictureReader(picture(301, 217), mpp)
    frame = Frame(Size(301, 217), mpp, model_mpp)
    size = frame.size_m
    pad = 40
    whole = read_m(reader, 0, frame, Region(-pad, -pad, size.w + 2 * pad, size.h + 2 * pad))
    for x, y, w, h in [
        (-40, -40, 64, 64),
        (0, 0, 33, 17),
        (7, 13, 48, 48),
        (size.w - 20, size.h - 25, 60, 65),
    ]:
        tile = read_m(reader, 0, frame, Region(x, y, w, h))
        assert tile.flags.c_contiguous
        np.testing.assert_array_equal(tile, whole[y + pad : y + pad + h, x + pad : x + pad + w])


@pytest.mark.parametrize(("mpp", "model_mpp"), CASES)
def test_values_are_those_of_the_slow_reference(mpp: Mpp, model_mpp: float) -> None:
    smooth = np.linspace(0, 220, 90)[None, :, None] + np.linspace(0, 30, 70)[:, None, None] + np.arange(3)
    frame = Frame(Size(90, 70), mpp, model_mpp)
    size = frame.size_m
    inner = Region(2, 2, min(30, size.w - 5), min(20, size.h - 5))
    # Places are rounded to 1/32 pixel, by 1/64 at most along each axis, and values to whole grey levels.
    for rgb, most in ((smooth.astype(np.uint8), 1.0), (picture(90, 70), 2 * 255 / 64 + 1.5)):
        reader = PictureReader(rgb, mpp)
        fast = read_m(reader, 0, frame, inner).astype(np.float64)
        assert np.abs(fast - slow(reader, frame, inner)).max() <= most


def test_a_slide_at_the_model_s_scale_passes_through_untouched() -> None:
    rgb = picture(120, 90)
    frame = Frame(Size(120, 90), Mpp(0.2, 0.2), 0.2)
    assert (frame.downsample, frame.size_m) == (1, Size(120, 90))
    np.testing.assert_array_equal(
        read_m(PictureReader(rgb, frame.mpp), 0, frame, Region(11, 5, 64, 48)), rgb[5:53, 11:75]
    )


@pytest.mark.parametrize(
    ("mpp", "model_mpp", "expected"),
    [
        (0.2, 0.1, 1),
        (0.2, 0.2, 1),
        (0.2, 0.39, 1),
        (0.2, 0.4, 2),
        (0.1, 0.8, 8),
        (0.1, 0.79, 4),
        (0.3, 0.9, 2),
    ],
)
def test_the_reduction_read_is_never_coarser_than_the_frame(
    mpp: float, model_mpp: float, expected: int
) -> None:
    assert Frame(Size(9, 9), Mpp(mpp, mpp), model_mpp).downsample == expected


def test_beyond_the_scene_it_is_white() -> None:
    reader = PictureReader(np.zeros((30, 30, 3), np.uint8), Mpp(0.3, 0.3))
    frame = Frame(Size(30, 30), Mpp(0.3, 0.3), 0.2)
    tile = read_m(reader, 0, frame, Region(-32, -32, 32 + 10, 32 + 10))
    assert (tile[:31] == 255).all()
    assert (tile[:, :31] == 255).all()
    assert (tile[34:, 34:] == 0).all()
