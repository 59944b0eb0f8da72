"""Area means, display mapping and JPEG against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from czi_writer import drawn, slow_mean

from cmlcore.slides.pixels import jpeg, mean_down, on_white, stretch, tint


@pytest.mark.parametrize("d", [1, 2, 4, 8, 16, 64])
@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (130, 7), (1, 200), (3, 3)])
def test_mean_is_the_mean(shape: tuple[int, int], d: int) -> None:
    rgb = np.random.default_rng(d).integers(0, 256, (*shape, 3)).astype(np.uint8)
    fast, exact = mean_down(rgb, d), slow_mean(rgb, d)
    assert fast.shape == exact.shape
    assert np.abs(fast - exact).max() <= 0.5 + 1e-6  # any rounding to nearest, and nothing else


def test_alpha_is_laid_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert on_white(rgba).tolist() == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]


def test_stretch_clips_and_scales() -> None:
    assert stretch(np.array([0, 100, 200, 300], np.uint16), 100, 300).tolist() == [0, 0, 128, 255]
    assert stretch(np.array([5], np.uint16), 5, 5).tolist() == [0]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_tints_keep_white_white_and_black_black(n: int) -> None:
    full, none = np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8)
    assert (tint([full] * n) == 255).all()
    assert (tint([none] * n) == 0).all()
    lit = [tint([full if k == c else none for k in range(n)])[0, 0].tolist() for c in range(n)]
    assert len({tuple(colour) for colour in lit}) == n


def test_jpeg_keeps_the_picture() -> None:
    rgb = drawn(128, 160)
    back = simplejpeg.decode_jpeg(jpeg(rgb, 95))
    assert back.shape == rgb.shape
    assert np.abs(back.astype(int) - rgb).mean() < 4
    assert back[12:20, 12:20].reshape(-1, 3).mean(axis=0) == pytest.approx((254, 0, 0), abs=6)
