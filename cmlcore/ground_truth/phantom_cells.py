"""Drawn phantoms of megakaryocyte, pseudo-Gaucher cell and NET: stand-ins for cells no public set shows.

They prove that annotation, training, evaluation and comparison work for these classes. They are drawings
after textbook descriptions of May-Grünwald-Giemsa smears; no figure found on them says anything about
real cells. As in ``demo.shapes``, a cell is drawn as optical density on the light of its ground.

Megakaryocyte: large, irregular, with one lobulated nucleus of coarse chromatin in pink, finely granular
cytoplasm. Pseudo-Gaucher cell: a macrophage with a small eccentric nucleus in abundant, pale blue-grey
cytoplasm, fibrillar like crumpled tissue paper. NET: decondensed chromatin spread as a smudged cloud and
a web of strands without a cell border, dotted with granules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.demo.shapes import Floats, Rim, Texture, od, smoothstep

FINER = 2
"""Cells are drawn on a grid this many times finer than the image."""
DIAMETER_UM = {"megakaryocyte": (26.0, 58.0), "pseudo_gaucher_cell": (19.0, 42.0), "net": (15.0, 40.0)}
_WHITE = (255.0, 250.0, 245.0)


@dataclass(frozen=True, slots=True)
class Phantom:
    """One drawn cell on a square patch, its centre in the middle.

    Attributes:
        cover: float32 ``(S, S)`` in 0..1, how far the cell hides what lies below.
        density: float32 ``(S, S, 3)``, optical density where it is covered.
        mask: bool ``(S, S)``, the pixels of the cell.

    """

    cover: Floats
    density: Floats
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Paint:
    """Optical density ``(3,)`` of what is stained, as one smear's stain renders it."""

    chromatin: Floats
    pale_chromatin: Floats
    eosin: Floats
    azure: Floats
    granule: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Paint:
        """A random stain: more or less of it, more eosin or more azure, warmer or cooler."""
        strength = rng.uniform(0.8, 1.15)
        balance = rng.normal(0, 0.05, 3)

        def of(*rgb: float) -> Floats:
            jitter = 1 + balance + rng.normal(0, 0.025, 3)
            return np.asarray(od(rgb, _WHITE) * strength * jitter, np.float32)

        return cls(of(84, 44, 128), of(158, 108, 178), of(226, 178, 198), of(184, 186, 210), of(150, 66, 138))


class Grains:
    """The textures all cells of a data set are cut from, at the finer grid."""

    def __init__(self, rng: np.random.Generator, mpp: float) -> None:
        self.mpp = mpp / FINER
        self.fine, self.clumps, self.wavy, self.broad = (
            Texture(rng, um / self.mpp, side=1024) for um in (0.5, 1.6, 4.5, 11.0)
        )


@dataclass(frozen=True, slots=True)
class _Canvas:
    """The finer grid of one patch: coordinates in µm from its centre."""

    rng: np.random.Generator
    grains: Grains
    x: Floats
    y: Floats

    @property
    def n(self) -> int:
        return int(self.x.shape[0])

    def cut(self, texture: Texture) -> Floats:
        return texture.cut(self.rng, self.n, self.n)

    def disc(self, at: complex, rx: float, ry: float, turn: float) -> Floats:
        """About the distance in µm to the edge of an ellipse, positive inside."""
        c, s = np.cos(turn), np.sin(turn)
        dx, dy = self.x - np.float32(at.real), self.y - np.float32(at.imag)
        u, v = (dx * c + dy * s) / rx, (-dx * s + dy * c) / ry
        return np.asarray((1 - np.sqrt(u * u + v * v)) * min(rx, ry), np.float32)

    def dots(self, per_um2: float, radius_um: float, where: Floats) -> Floats:
        """Granules, 0..1: soft discs at random places, as dense as ``where`` (0..1) says."""
        n, mpp = self.n, self.grains.mpp
        field = np.zeros((n, n), np.float32)
        k = self.rng.poisson(per_um2 * (n * mpp) ** 2)
        ys, xs = self.rng.integers(0, n, k), self.rng.integers(0, n, k)
        keep = self.rng.random(k) < where[ys, xs]
        field[ys[keep], xs[keep]] = self.rng.uniform(0.5, 1.3, int(keep.sum()))
        sigma = radius_um / mpp * 0.75
        spread = cv2.GaussianBlur(field, (0, 0), sigma) * np.float32(2 * np.pi * sigma * sigma * 0.9)
        return np.asarray(np.clip(spread, 0, 1), np.float32)


def draw_phantom(
    rng: np.random.Generator, cls: str, diameter_um: float, paint: Paint, grains: Grains
) -> Phantom:
    """Draw one cell.

    Args:
        rng: where all chance comes from.
        cls: a key of ``DIAMETER_UM``.
        diameter_um: mean diameter.
        paint: the stain of its smear.
        grains: textures, drawn for the image's pixel size.

    """
    mpp = grains.mpp
    side = 2 * int(np.ceil(0.8 * diameter_um / (mpp * FINER))) + 4
    n = side * FINER
    axis = ((np.arange(n, dtype=np.float32) + 0.5) - n / 2) * np.float32(mpp)
    x, y = np.broadcast_to(axis[None], (n, n)), np.broadcast_to(axis[:, None], (n, n))
    cover, density, inside = _DRAWERS[cls](_Canvas(rng, grains, x, y), diameter_um / 2, paint)
    both = np.dstack([density * cover[..., None], cover, inside.astype(np.float32)])
    small = cv2.resize(np.asarray(both, np.float32), (side, side), interpolation=cv2.INTER_AREA)
    undone = small[..., :3] / np.maximum(small[..., 3:4], 1e-3)
    return Phantom(
        np.asarray(small[..., 3], np.float32), np.asarray(undone, np.float32), small[..., 4] >= 0.5
    )


def _rim_depth(c: _Canvas, radius: float, waves: tuple[float, ...]) -> Floats:
    """Distance in µm from a wavy rim, positive inside."""
    rim = Rim.draw(c.rng, np.array([radius], np.float32), waves)
    r = np.hypot(c.x, c.y)
    unit = ((c.x + 1j * c.y) / np.maximum(r, 1e-6)).astype(np.complex64)
    return np.asarray(rim.at(unit[None])[0] - r, np.float32)


def _nucleus_density(c: _Canvas, inside: Floats, coarse: float, paint: Paint) -> Floats:
    """Optical density of a nucleus: clumped chromatin, a darker membrane."""
    grain = 0.6 * c.cut(c.grains.clumps) + 0.5 * c.cut(c.grains.fine)
    dark = 0.78 + coarse * grain + 0.16 * np.exp(-((inside / 0.6) ** 2))
    shade = np.clip(dark, 0, 1.15)[..., None]
    return np.asarray(paint.pale_chromatin + (paint.chromatin - paint.pale_chromatin) * shade, np.float32)


def _megakaryocyte(c: _Canvas, radius: float, paint: Paint) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    rng = c.rng
    ragged = rng.uniform(0.4, 1.4)
    depth = _rim_depth(c, radius, tuple(ragged * a for a in (0.07, 0.05, 0.035, 0.03, 0.025, 0.02)))
    depth = depth + np.float32(0.55 * ragged) * c.cut(c.grains.wavy) + np.float32(0.15) * c.cut(c.grains.fine)
    for _ in range(rng.poisson(2.0 * ragged)):  # blebs: platelets about to be shed
        at = radius * rng.uniform(0.95, 1.08) * np.exp(2j * np.pi * rng.random())
        depth = np.maximum(depth, c.disc(complex(at), rng.uniform(0.9, 2.2), rng.uniform(0.9, 1.8), 0.0))
    nucleus = np.minimum(_lobulated(c, radius * rng.uniform(0.55, 0.85)), depth - 0.8)
    nucleus = nucleus + 0.25 * c.cut(c.grains.clumps)
    tone = 0.10 * c.cut(c.grains.wavy) + 0.16 * c.cut(c.grains.fine) + 0.08 * c.cut(c.grains.broad)
    around = np.exp(-((nucleus / (0.3 * radius)) ** 2)) * 0.2  # denser about the nucleus
    body = paint.eosin * np.clip(0.82 + tone + around, 0.2, None)[..., None]
    body = body + paint.azure * np.float32(rng.uniform(0.05, 0.4))
    grains = c.dots(rng.uniform(0.7, 1.6), 0.30, smoothstep(0.5, 2.5, depth))[..., None]
    body = body + 0.42 * grains * np.maximum(paint.granule - body, 0)
    stain = _nucleus_density(c, nucleus, 0.34, paint) * np.float32(rng.uniform(0.8, 1.0))
    density = body + smoothstep(-0.25, 0.25, nucleus)[..., None] * (stain - body)
    return smoothstep(-0.3, 0.3, depth), np.asarray(density, np.float32), _largest(depth > 0)


def _lobulated(c: _Canvas, reach: float) -> Floats:
    """A nucleus of many fused lobes, in a ring, a horseshoe or a heap."""
    rng = c.rng
    n = int(rng.integers(4, 10))
    field = np.full(c.x.shape, -99, np.float32)
    centre = complex(*(rng.normal(0, 0.12, 2) * reach))
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 2.0) * np.pi
    for i in range(n):
        turn = start + span * i / max(n - 1, 1)
        at = centre + reach * rng.uniform(0.35, 0.72) * np.exp(1j * turn)
        size = reach * rng.uniform(0.30, 0.48)
        lobe = c.disc(complex(at), size * rng.uniform(0.9, 1.25), size * rng.uniform(0.75, 1.05), turn)
        field = _fused(field, lobe, 0.10 * reach)
    if rng.random() < 0.7:
        field = _fused(field, c.disc(centre, 0.42 * reach, 0.36 * reach, start), 0.15 * reach)
    return field


def _fused(a: Floats, b: Floats, k: float) -> Floats:
    """The smooth maximum of two distances: lobes flow into one another over ``k`` µm."""
    h = np.clip(0.5 + 0.5 * (a - b) / np.float32(k), 0, 1)
    return np.asarray(b + h * (a - b) + np.float32(k) * h * (1 - h), np.float32)


def _pseudo_gaucher(c: _Canvas, radius: float, paint: Paint) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    rng = c.rng
    depth = _rim_depth(c, radius, (0.06, 0.03, 0.02, 0.012, 0.008, 0.006))
    depth = depth + np.float32(0.25) * c.cut(c.grains.wavy)
    r = rng.uniform(2.6, 4.2)
    at = complex((radius - r) * rng.uniform(0.55, 0.86) * np.exp(2j * np.pi * rng.random()))
    nucleus = c.disc(at, r * rng.uniform(1.0, 1.3), r * rng.uniform(0.85, 1.0), rng.uniform(0, np.pi))
    nucleus = np.minimum(nucleus + 0.12 * c.cut(c.grains.clumps), depth - 0.3)
    folds = _wrinkles(c, at)
    tint = paint.azure * np.float32(rng.uniform(0.75, 1.1)) + paint.eosin * np.float32(rng.uniform(0.0, 0.3))
    thick = 0.62 + 0.55 * folds + 0.10 * c.cut(c.grains.broad) + 0.30 * np.exp(-((depth / 0.9) ** 2))
    body = tint * np.clip(thick, 0.12, None)[..., None]
    stain = _nucleus_density(c, nucleus, 0.20, paint)
    density = body + smoothstep(-0.25, 0.25, nucleus)[..., None] * (stain - body)
    return smoothstep(-0.25, 0.25, depth), np.asarray(density, np.float32), _largest(depth > 0)


def _wrinkles(c: _Canvas, nucleus: complex) -> Floats:
    """Crumpled tissue paper, about 0..1: fine ridges that swirl, more or less around the nucleus."""
    rng, n = c.rng, c.n
    ys, xs = np.mgrid[0:n, 0:n].astype(np.float32)
    out = np.zeros((n, n), np.float32)
    bend = rng.uniform(5, 16) / c.grains.mpp / 10
    for share in (0.6, 0.4):
        turn = rng.uniform(0, np.pi)
        px, py = xs + bend * c.cut(c.grains.broad), ys + bend * c.cut(c.grains.broad)
        along = (px - n / 2) * np.cos(turn) + (py - n / 2) * np.sin(turn)
        across = -(px - n / 2) * np.sin(turn) + (py - n / 2) * np.cos(turn)
        if rng.random() < 0.5:  # around the nucleus like the skins of an onion
            dx = px - n / 2 - nucleus.real / c.grains.mpp
            dy = py - n / 2 - nucleus.imag / c.grains.mpp
            across, along = np.hypot(dx, dy), np.arctan2(dy, dx) * (n / 3)
        stretch = rng.uniform(3.5, 6)
        source = c.cut(c.grains.clumps)
        fibre = cv2.remap(
            source,
            np.asarray(along / stretch + n / 2, np.float32),
            np.asarray(across * 1.15 + n / 2, np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        ridge = np.exp(-((fibre / 0.45) ** 2))
        out += np.float32(share) * ridge.astype(np.float32)
    return out


def _net(c: _Canvas, radius: float, paint: Paint) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    rng, mpp = c.rng, c.grains.mpp
    cloud = np.zeros((c.n, c.n), np.float32)
    core = complex(*(rng.normal(0, 0.15, 2) * radius))
    pull = np.exp(2j * np.pi * rng.random())  # the way the smear was drawn
    for _ in range(int(rng.integers(3, 7))):  # smudged heaps of chromatin
        at = core + radius * rng.uniform(0, 0.45) * np.exp(2j * np.pi * rng.random())
        size = radius * rng.uniform(0.24, 0.5)
        heap = c.disc(complex(at), size * rng.uniform(1, 1.7), size, float(np.angle(pull)))
        edge = smoothstep(-0.4 * size, 0.55 * size, heap)
        cloud = np.maximum(cloud, np.float32(rng.uniform(0.35, 0.75)) * edge)
    web = _web(c, radius, core, complex(pull))
    torn = np.clip(0.72 + 0.30 * c.cut(c.grains.wavy) + 0.22 * c.cut(c.grains.clumps), 0.05, 1.3)
    amount = np.clip(cloud * torn + web, 0, 1.25)
    veil = cv2.GaussianBlur(amount, (0, 0), 1.3 / mpp)
    amount = np.maximum(amount * (0.9 + 0.12 * c.cut(c.grains.fine)), 0.35 * veil)
    inside = _largest(veil > 0.13)
    amount = amount * np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.5 / mpp), np.float32)
    mixed = (
        paint.pale_chromatin
        + (paint.chromatin - paint.pale_chromatin) * np.clip(0.9 * amount - 0.25, 0, 1)[..., None]
    )
    grains = c.dots(rng.uniform(0.25, 0.8), 0.33, np.clip(veil * 1.4, 0, 1))[..., None]
    density = mixed * np.float32(0.95) + grains * np.maximum(paint.granule - mixed * 0.6, 0) * 0.8
    cover = np.clip(np.maximum(amount, 0.85 * grains[..., 0] * inside), 0, 1)
    return np.asarray(cover, np.float32), np.asarray(density, np.float32), inside


def _web(c: _Canvas, radius: float, core: complex, pull: complex) -> Floats:
    """Strands that run out from the core, wander, fork and thin out, 0..1."""
    rng, mpp, n = c.rng, c.grains.mpp, c.n
    web = np.zeros((n, n), np.float32)
    for _ in range(int(rng.integers(14, 30))):
        at = core + radius * 0.35 * rng.random() * np.exp(2j * np.pi * rng.random())
        way = np.exp(2j * np.pi * rng.random()) + 0.5 * pull * rng.choice((-1, 1))
        way /= abs(way)
        steps = int(rng.integers(8, 22))
        stride = radius * rng.uniform(0.5, 1.15) / steps
        points = [at]
        for _ in range(steps):
            way *= np.exp(1j * rng.normal(0, 0.28))
            points.append(points[-1] + stride * way)
        line = np.array([[(p.real / mpp + n / 2) * 16, (p.imag / mpp + n / 2) * 16] for p in points])
        width = max(1, round(rng.uniform(0.4, 1.3) / mpp))
        strand = np.zeros((n, n), np.float32)
        cv2.polylines(strand, [line.astype(np.int32)], False, 1.0, width, cv2.LINE_AA, shift=4)
        soft = cv2.GaussianBlur(strand, (0, 0), rng.uniform(0.2, 0.6) / mpp).astype(np.float32)
        web = np.maximum(web, np.float32(rng.uniform(0.2, 0.7)) * soft)
    return web


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece, its holes filled."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(out, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return out > 0


_Drawer = Callable[[_Canvas, float, Paint], tuple[Floats, Floats, NDArray[np.bool_]]]
_DRAWERS: dict[str, _Drawer] = {
    "megakaryocyte": _megakaryocyte,
    "pseudo_gaucher_cell": _pseudo_gaucher,
    "net": _net,
}
