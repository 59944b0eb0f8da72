"""Outlines and textures that the drawn cells are made of.

A cell is drawn as optical density (OD, natural logarithm, one value a colour channel): the light that
reaches the camera is ground × exp(-OD), so what lies on top of each other darkens as it does in glass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
HARMONICS = np.arange(2, 8)
OUTLINE_VERTICES = 40


def od(rgb: Sequence[float], ground: Sequence[float]) -> Floats:
    """Optical density ``(3,)`` that turns the colour ``ground`` into ``rgb`` (both 0..255)."""
    return np.asarray(-np.log(np.asarray(rgb, float) / np.asarray(ground, float)), np.float32)


def smoothstep(low: float, high: float, x: Floats) -> Floats:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


@dataclass(frozen=True, slots=True)
class Rim:
    """Closed outlines r(θ) = radius · (1 + Σ aₖ cos(kθ + φₖ)), k = 2…7, one row a cell."""

    radius_um: Floats  # (N,)
    waves: NDArray[np.complex64]  # (N, 6): aₖ exp(iφₖ)

    @classmethod
    def draw(cls, rng: np.random.Generator, radius_um: Floats, amplitudes: Sequence[float]) -> Rim:
        """Random rims; ``amplitudes`` is the typical size of each wave, relative to the radius."""
        size = (len(radius_um), len(HARMONICS))
        a = np.abs(rng.normal(0, 1, size)) * np.asarray(amplitudes, float)
        waves = a * np.exp(2j * np.pi * rng.random(size))
        return cls(np.asarray(radius_um, np.float32), waves.astype(np.complex64))

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Rim:
        return Rim(self.radius_um[rows], self.waves[rows])

    def at(self, unit: NDArray[np.complex64]) -> Floats:
        """Radius in µm, along the directions ``unit`` (N, …) given as complex numbers of length one."""
        shape = (len(self.radius_um),) + (1,) * (unit.ndim - 1)
        factor = np.ones(unit.shape, np.float32)
        power = unit.copy()
        for i in range(len(HARMONICS)):
            power = power * unit
            factor += (power * self.waves[:, i].reshape(shape)).real
        return self.radius_um.reshape(shape) * factor

    def polygons_um(self) -> Floats:
        """Outlines ``(N, V, 2)`` as x, y in µm around each cell's centre."""
        theta = np.linspace(0, 2 * np.pi, OUTLINE_VERTICES, endpoint=False)
        unit = np.broadcast_to(
            np.exp(1j * theta).astype(np.complex64), (len(self.radius_um), OUTLINE_VERTICES)
        )
        z = self.at(unit) * unit
        return np.stack([z.real, z.imag], -1).astype(np.float32)


class Texture:
    """Band-limited noise of one grain size, zero mean, unit variance, cut at random places."""

    def __init__(self, rng: np.random.Generator, grain_px: float, side: int = 768) -> None:
        white = np.fft.rfft2(rng.normal(size=(side, side)))
        fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
        f2 = (fx * fx + fy * fy) * (2 * np.pi * grain_px / 2) ** 2
        field = np.fft.irfft2(white * f2 * np.exp(-f2), s=(side, side))
        self._field = (field / field.std()).astype(np.float32)

    def cut(self, rng: np.random.Generator, height: int, width: int) -> Floats:
        """A piece ``(height, width)``, mirrored or turned at random."""
        side = self._field.shape[0]
        y, x = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
        piece = self._field[y : y + height, x : x + width]
        turned: Floats = piece[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        return turned


def slow_field(rng: np.random.Generator, height: int, width: int, grain_px: float) -> Floats:
    """Smooth noise of a large grain over a whole scene, roughly -1..1."""
    h, w = int(height / grain_px) + 4, int(width / grain_px) + 4
    coarse = rng.normal(0, 0.5, (h, w)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
