"""Erythrocytes and thrombocytes, drawn many at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cmlcore.demo.shapes import Floats, Rim, Texture, smoothstep

BATCH = 256
ERYTHROCYTE_WAVES = (0.035, 0.014, 0.009, 0.006, 0.004, 0.003)
THROMBOCYTE_WAVES = (0.12, 0.08, 0.06, 0.05, 0.04, 0.03)


def _polar(n: int, side: int, offset_px: Floats, mpp: float) -> tuple[Floats, NDArray[np.complex64]]:
    """Distance in µm and direction from each cell's centre, for ``n`` square patches."""
    centre = (side / 2 + offset_px) * mpp
    axis = (np.arange(side, dtype=np.float32) + 0.5) * mpp
    z = np.empty((n, side, side), np.complex64)
    z.real = axis[None, None, :] - centre[:, 0, None, None]
    z.imag = axis[None, :, None] - centre[:, 1, None, None]
    r = np.abs(z)
    return r, (z / np.maximum(r, 1e-6)).astype(np.complex64)


def erythrocyte_rims(rng: np.random.Generator, n: int, mean_diameter_um: float) -> Rim:
    """Rims of ``n`` erythrocytes: slight anisocytosis, a few ovalocytes and echinocytes."""
    radius = np.clip(rng.normal(mean_diameter_um / 2, 0.22, n), 2.9, 4.6).astype(np.float32)
    rim = Rim.draw(rng, radius, ERYTHROCYTE_WAVES)
    oval, crenated = rng.random(n) < 0.05, rng.random(n) < 0.01
    rim.waves[oval, 0] *= 3.0
    rim.waves[crenated, -1] = 0.05
    return rim


def erythrocytes(
    rng: np.random.Generator, rim: Rim, offset_px: Floats, flat: Floats, mpp: float
) -> Iterator[tuple[slice, Floats]]:
    """Thickness of haemoglobin of each cell, about 1 at the rim.

    A biconcave disc dried on glass: full at the rim, a third of its width paler, a thin bright line of
    refraction outside. ``flat`` (N,) is 0 where cells lie well spread and 1 where pallor is lost (the
    feathered and the thick end).

    Yields:
        the rows of a batch and their patches ``(n, side, side)``.

    """
    n = len(rim.radius_um)
    pallor = np.clip(rng.normal(0.62, 0.13, n), 0.1, 0.9) * (1 - 0.8 * flat)
    width = np.clip(rng.normal(0.47, 0.07, n), 0.3, 0.64)
    strength = np.clip(rng.normal(1.0, 0.08, n), 0.75, 1.35)
    shift = rng.normal(0, 0.07, (n, 2)) * rim.radius_um[:, None]
    slope = rng.normal(0, 0.05, n) * np.exp(2j * np.pi * rng.random(n))
    side = 2 * int(np.ceil(1.3 * float(rim.radius_um.max(initial=4)) / mpp)) + 4

    def column(values: NDArray[np.generic]) -> Floats:
        return np.asarray(values, np.float32).reshape(-1, 1, 1)

    for start in range(0, n, BATCH):
        rows = slice(start, min(n, start + BATCH))
        r, unit = _polar(rows.stop - start, side, offset_px[rows], mpp)
        edge = rim[rows].at(unit)
        rho = r / edge
        inner, _ = _polar(
            rows.stop - start, side, offset_px[rows] + (shift[rows] / mpp).astype(np.float32), mpp
        )
        inner = inner / column(rim.radius_um[rows] * width[rows])
        body = 1 - column(pallor[rows]) * np.exp(-(inner**3))
        body += 0.13 * np.exp(-(((rho - 0.80) / 0.13) ** 2))
        body *= 1 + rho * (unit * slope[rows].astype(np.complex64).reshape(-1, 1, 1)).real
        inside = 1 - smoothstep(-0.22, 0.22, r - edge)
        halo = 0.045 * np.exp(-(((r - edge - 0.42) / 0.22) ** 2))
        yield rows, np.asarray(column(strength[rows]) * inside * body - halo, np.float32)


def thrombocyte_rims(rng: np.random.Generator, n: int) -> Rim:
    """Rims of ``n`` thrombocytes, 1.9 to 4 µm across, ragged; one in fifty is a giant form."""
    radius = np.clip(rng.lognormal(np.log(1.40), 0.15, n), 0.95, 2.0)
    radius[rng.random(n) < 0.02] *= 1.5
    return Rim.draw(rng, radius.astype(np.float32), THROMBOCYTE_WAVES)


def thrombocytes(
    rng: np.random.Generator, rim: Rim, offset_px: Floats, grain: Texture, mpp: float
) -> Iterator[tuple[slice, Floats, Floats]]:
    """Pale ground substance and purple granules of each thrombocyte.

    Yields:
        the rows of a batch, the cover ``(n, side, side)`` in 0..1, and the density of granules.

    """
    n = len(rim.radius_um)
    side = 2 * int(np.ceil(1.5 * float(rim.radius_um.max(initial=2)) / mpp)) + 6
    core = np.clip(rng.normal(0.72, 0.12, n), 0.4, 1.0)
    strength = np.clip(rng.normal(1.0, 0.22, n), 0.5, 1.5)
    for start in range(0, n, BATCH):
        rows = slice(start, min(n, start + BATCH))
        r, unit = _polar(rows.stop - start, side, offset_px[rows], mpp)
        edge = rim[rows].at(unit)
        cover = 1 - smoothstep(-0.22, 0.22, r - edge)
        middle = np.exp(-((r / (edge * core[rows].reshape(-1, 1, 1))) ** 4))
        speckle = np.stack([grain.cut(rng, side, side) for _ in range(rows.stop - start)])
        granules = middle * np.clip(0.75 + 0.4 * speckle, 0.1, None) * strength[rows].reshape(-1, 1, 1)
        yield rows, cover, np.asarray(granules, np.float32)
