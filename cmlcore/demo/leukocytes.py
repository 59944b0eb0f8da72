"""Leukocytes, one at a time: nucleus, chromatin, cytoplasm and granules by kind.

Sizes and looks after textbook descriptions of May-Grünwald-Giemsa smears (µm, dried on glass).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from cmlcore.demo.shapes import Floats, Rim, Texture, od, smoothstep

_GROUND = (255, 228, 203)  # the white the colours below were chosen on
NUCLEUS = od((62, 20, 112), _GROUND)
PARACHROMATIN = od((150, 92, 172), _GROUND)
SUPERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of leukocyte is drawn."""

    name: str
    diameter_um: tuple[float, float]  # mean, standard deviation
    cytoplasm: tuple[int, int, int]  # colour on the ground above
    nucleus: str  # segmented, bilobed, band, kidney, round, folded
    fill: float  # nucleus diameter / cell diameter, of round nuclei
    coarse: float  # contrast of the chromatin
    granules: tuple[float, float, tuple[int, int, int]] | None = None  # per µm², radius µm, colour
    over_nucleus: bool = False  # whether granules lie upon the nucleus too
    rough: float = 1.0  # of the outline
    nucleoli: int = 0


_FINE = (2.4, 0.22, (174, 109, 158))
KINDS = {
    k.name: k
    for k in (
        Kind("neutrophil", (13.2, 0.8), (226, 190, 190), "segmented", 0.0, 0.30, _FINE),
        Kind("band", (13.4, 0.8), (224, 188, 190), "band", 0.0, 0.30, _FINE),
        Kind("metamyelocyte", (14.2, 0.9), (212, 176, 192), "kidney", 0.66, 0.30, _FINE),
        Kind("myelocyte", (15.2, 1.0), (190, 158, 190), "round", 0.64, 0.32, (2.6, 0.25, (136, 78, 150))),
        Kind(
            "promyelocyte",
            (17.2, 1.1),
            (150, 134, 190),
            "round",
            0.72,
            0.26,
            (1.6, 0.32, (116, 40, 130)),
            over_nucleus=True,
            nucleoli=1,
        ),
        Kind("blast", (15.2, 1.2), (128, 116, 190), "round", 0.82, 0.16, nucleoli=2),
        Kind("lymphocyte", (9.8, 0.7), (150, 146, 192), "round", 0.86, 0.26),
        Kind("large_lymphocyte", (13.0, 1.0), (178, 174, 200), "round", 0.70, 0.26),
        Kind(
            "monocyte",
            (16.4, 1.1),
            (172, 158, 186),
            "folded",
            0.66,
            0.34,
            (2.5, 0.18, (150, 110, 165)),
            rough=2.6,
        ),
        Kind("eosinophil", (13.8, 0.8), (224, 168, 162), "bilobed", 0.0, 0.28, (2.2, 0.42, (196, 104, 98))),
        Kind(
            "basophil",
            (12.2, 0.8),
            (200, 164, 190),
            "bilobed",
            0.0,
            0.2,
            (0.95, 0.48, (62, 22, 110)),
            over_nucleus=True,
        ),
    )
}


def _lobe(x: Floats, y: Floats, centre: complex, rx: float, ry: float, angle: float) -> Floats:
    """About the distance in µm to the edge of an ellipse, positive inside."""
    dx, dy = x - centre.real, y - centre.imag
    c, s = np.cos(angle), np.sin(angle)
    u, v = (dx * c + dy * s) / rx, (-dx * s + dy * c) / ry
    return np.asarray((1 - np.sqrt(u * u + v * v)) * min(rx, ry), np.float32)


def _strand(x: Floats, y: Floats, a: complex, b: complex, half_width: float) -> Floats:
    """About the distance in µm to the edge of a bridge between two lobes, positive inside."""
    ab = b - a
    t = np.clip(((x - a.real) * ab.real + (y - a.imag) * ab.imag) / max(abs(ab) ** 2, 1e-6), 0, 1)
    return np.asarray(half_width - np.hypot(x - a.real - t * ab.real, y - a.imag - t * ab.imag), np.float32)


def _chain(
    rng: np.random.Generator, x: Floats, y: Floats, radius: float, lobes: int, size: tuple[float, float]
) -> Floats:
    """Lobes on an arc, joined by thin strands: the segmented nucleus."""
    turn = rng.uniform(0.9, 1.25) * 2 * np.pi / max(lobes, 3)
    start = rng.uniform(0, 2 * np.pi)
    reach = radius * (0.40 if lobes > 2 else 0.36)
    at = [reach * rng.uniform(0.85, 1.15) * np.exp(1j * (start + i * turn)) for i in range(lobes)]
    if lobes == 2:
        at = [at[0], -at[0] * rng.uniform(0.8, 1.0)]
    field = np.full(x.shape, -9, np.float32)
    for i, c in enumerate(at):
        rx, ry = size[0] * rng.uniform(0.85, 1.15), size[1] * rng.uniform(0.85, 1.15)
        field = np.maximum(field, _lobe(x, y, c, rx, ry, np.angle(c) + np.pi / 2 + rng.normal(0, 0.5)))
        if i:
            field = np.maximum(field, _strand(x, y, at[i - 1], c, rng.uniform(0.25, 0.7)))
    return field


def _band(rng: np.random.Generator, x: Floats, y: Floats, radius: float) -> Floats:
    """A bent sausage: the band nucleus."""
    reach, half = radius * rng.uniform(0.46, 0.54), rng.uniform(1.25, 1.6)
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.35) * np.pi
    points = [reach * np.exp(1j * (start + t * span)) for t in np.linspace(0, 1, 7)]
    field = np.full(x.shape, -9, np.float32)
    for a, b in pairwise(points):
        field = np.maximum(field, _strand(x, y, a, b, half))
    return field


def _dented(rng: np.random.Generator, x: Floats, y: Floats, r: float, depth: float, off: complex) -> Floats:
    """An oval with a dent: kidney-shaped and folded nuclei."""
    angle = rng.uniform(0, 2 * np.pi)
    oval = _lobe(x, y, off, r * 1.08, r * 0.92, angle)
    dent = _lobe(x, y, off + r * (1.35 - depth) * np.exp(1j * (angle + np.pi / 2)), r * 0.62, r * 0.5, angle)
    return np.minimum(oval, -dent)


def _nucleus(rng: np.random.Generator, kind: Kind, x: Floats, y: Floats, radius: float) -> Floats:
    """About the distance in µm to the nucleus' edge, positive inside."""
    r = radius * kind.fill
    free = radius - r
    off = complex(free * rng.uniform(0.2, 0.85) * np.exp(2j * np.pi * rng.random()))
    if kind.nucleus == "segmented":
        return _chain(rng, x, y, radius, int(rng.choice((3, 3, 4, 4, 5))), (radius * 0.31, radius * 0.235))
    if kind.nucleus == "bilobed":
        return _chain(rng, x, y, radius, int(rng.choice((2, 2, 3))), (radius * 0.42, radius * 0.31))
    if kind.nucleus == "band":
        return _band(rng, x, y, radius)
    if kind.nucleus == "kidney":
        return _dented(rng, x, y, r, rng.uniform(0.35, 0.55), off * 0.6)
    if kind.nucleus == "folded":
        return _dented(rng, x, y, r, rng.uniform(0.2, 0.65), off * 0.5)
    return _lobe(x, y, off, r * rng.uniform(0.96, 1.06), r * rng.uniform(0.94, 1.02), rng.uniform(0, np.pi))


def _dots(
    rng: np.random.Generator, shape: tuple[int, ...], per_um2: float, radius_um: float, mpp: float
) -> Floats:
    """Granules: soft discs at random places, 0..1."""
    field = np.zeros(shape, np.float32)
    n = rng.poisson(per_um2 * shape[0] * shape[1] * mpp * mpp)
    field[rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)] = rng.uniform(0.6, 1.2, n)
    sigma = radius_um / mpp * 0.75
    return np.asarray(
        np.clip(cv2.GaussianBlur(field, (0, 0), sigma) * (2 * np.pi * sigma * sigma) * 0.9, 0, 1)
    )


@dataclass(frozen=True, slots=True)
class Textures:
    """The grains that nuclei and cytoplasm are cut from, at the supersampled resolution."""

    fine: Texture
    chromatin: Texture
    wavy: Texture

    @classmethod
    def draw(cls, rng: np.random.Generator, mpp: float) -> Textures:
        """Textures with grains of 0.45, 1.1 and 3.5 µm."""
        return cls(*(Texture(rng, um / mpp) for um in (0.45, 1.1, 3.5)))


def leukocyte_rim(rng: np.random.Generator, kind: Kind) -> Rim:
    """The outline of one leukocyte."""
    mean, sd = kind.diameter_um
    radius = np.array([np.clip(rng.normal(mean, sd), mean - 2 * sd, mean + 2 * sd) / 2], np.float32)
    return Rim.draw(rng, radius, tuple(kind.rough * a for a in (0.022, 0.014, 0.010, 0.006, 0.004, 0.003)))


def _chromatin(
    rng: np.random.Generator, kind: Kind, x: Floats, y: Floats, radius: float, inside: Floats, grain: Floats
) -> Floats:
    """Optical density of the nucleus ``(n, n, 3)``: clumps, a darker membrane, paler nucleoli."""
    dark = 0.80 + kind.coarse * grain + 0.18 * np.exp(-((inside / 0.35) ** 2))
    for _ in range(kind.nucleoli):
        at = 0.4 * radius * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())
        dark = dark - 0.28 * smoothstep(-0.3, 0.3, _lobe(x, y, complex(at), 0.9, 0.8, 0.0))
    shade = np.clip(dark, 0.0, 1.15)[..., None]
    return np.asarray(PARACHROMATIN + (NUCLEUS - PARACHROMATIN) * shade, np.float32)


def _cytoplasm(rng: np.random.Generator, kind: Kind, depth: Floats, tone: Floats, mpp: float) -> Floats:
    """Optical density of the cytoplasm ``(n, n, 3)``, without granules."""
    edge = 1 + tone + 0.30 * np.exp(-((depth / 0.35) ** 2))
    density = od(kind.cytoplasm, _GROUND) * np.clip(edge, 0.3, None)[..., None]
    if kind.nucleus == "folded":  # the vacuoles of monocytes
        density = density * (1 - 0.55 * _dots(rng, depth.shape, 0.05, 0.5, mpp))[..., None]
    return np.asarray(density, np.float32)


def leukocyte(
    rng: np.random.Generator,
    kind: Kind,
    rim: Rim,
    offset_px: Sequence[float],
    textures: Textures,
    mpp: float,
) -> tuple[Floats, Floats]:
    """Draw one leukocyte on a square patch.

    Returns:
        cover ``(side, side)`` in 0..1 and optical density ``(side, side, 3)``.

    """
    radius = float(rim.radius_um[0])
    side = 2 * int(np.ceil(1.3 * radius / mpp)) + 4
    fine_mpp, n = mpp / SUPERSAMPLING, side * SUPERSAMPLING
    axis = (np.arange(n, dtype=np.float32) + 0.5) * fine_mpp
    x = np.broadcast_to(axis[None] - np.float32((side / 2 + offset_px[0]) * mpp), (n, n))
    y = np.broadcast_to(axis[:, None] - np.float32((side / 2 + offset_px[1]) * mpp), (n, n))
    r = np.hypot(x, y)
    unit = ((x + 1j * y) / np.maximum(r, 1e-6)).astype(np.complex64)
    depth = rim.at(unit[None])[0] - r
    cover = smoothstep(-0.12, 0.12, depth)
    fine, chromatin, wavy = (t.cut(rng, n, n) for t in (textures.fine, textures.chromatin, textures.wavy))

    inside = np.minimum(_nucleus(rng, kind, x, y, radius) + 0.22 * wavy + 0.07 * chromatin, depth - 0.15)
    nucleus = smoothstep(-0.16, 0.16, inside)[..., None]
    density = _cytoplasm(rng, kind, depth, 0.10 * wavy + 0.07 * fine, fine_mpp)
    stained = _chromatin(rng, kind, x, y, radius, inside, 0.85 * chromatin + 0.65 * fine)
    if kind.granules is not None:
        per_um2, granule_um, colour = kind.granules
        grains = (_dots(rng, (n, n), per_um2, granule_um, fine_mpp) * smoothstep(0.1, 0.7, depth))[..., None]
        granule = od(colour, _GROUND)
        density = density + grains * np.maximum(granule - density, 0)
        if kind.over_nucleus:
            stained = stained + 0.9 * grains * np.maximum(granule - stained, 0)
    density = density + nucleus * (stained - density)
    both = np.dstack([density * cover[..., None], cover]).astype(np.float32)
    small = np.asarray(cv2.resize(both, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    cover = small[..., 3]
    return cover, np.asarray(small[..., :3] / np.maximum(cover, 1e-3)[..., None], np.float32)
