"""A smear: where the cells lie, and what the camera sees of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.demo import leukocytes as wbc
from cmlcore.demo.erythrocytes import erythrocyte_rims, erythrocytes, thrombocyte_rims, thrombocytes
from cmlcore.demo.shapes import Floats, Rim, Texture, od, slow_field, smoothstep
from cmlcore.geometry import Size

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Stain:
    """Colours of one stain and lamp, 0..255."""

    ground: tuple[int, int, int]
    erythrocyte: tuple[int, int, int]  # at the rim of a cell of usual thickness
    thrombocyte: tuple[int, int, int] = (206, 172, 196)
    granulomere: tuple[int, int, int] = (112, 58, 140)


WARM = Stain((250, 232, 212), (194, 156, 161))
COOL = Stain((229, 226, 224), (188, 150, 165))


@dataclass(frozen=True, slots=True)
class Smear:
    """What one scene holds. ``shares`` are relative numbers of the kinds of leukocytes."""

    size: Size
    stain: Stain
    shares: dict[str, float]
    erythrocytes_per_mm2: float = 9500
    leukocytes_per_mm2: float = 150
    thrombocytes_per_mm2: float = 900
    mean_diameter_um: float = 7.4
    margin: float = 0.10  # share of the width left empty before the feathered edge
    mpp: float = 0.22


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """The truth of one drawn cell: its outline in level-0 pixels of the scene, first vertex not repeated."""

    cls: str
    kind: str
    outline_l0: Floats = field(repr=False)


class _Ground:
    """Where cells already lie: a grid of buckets that answers who is near."""

    def __init__(self, cell_um: float = 12.0) -> None:
        self._side = cell_um
        self._buckets: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def free(self, x: float, y: float, r: float, touch: float, reach: float = 12.0) -> bool:
        """Whether a disc fits, its centre at least ``touch`` × the sum of radii from every other."""
        n = 1 + int(max(0.0, r + reach - self._side) // self._side)
        i, j = int(x // self._side), int(y // self._side)
        for a in range(i - n, i + n + 1):
            for b in range(j - n, j + n + 1):
                for ox, oy, o in self._buckets.get((a, b), ()):
                    if (ox - x) ** 2 + (oy - y) ** 2 < (touch * (o + r)) ** 2:
                        return False
        return True

    def add(self, x: float, y: float, r: float) -> None:
        """Take the place of a disc."""
        self._buckets.setdefault((int(x // self._side), int(y // self._side)), []).append((x, y, r))


def _density(rng: np.random.Generator, smear: Smear) -> Floats:
    """How crowded each 16 × 16 px patch is, 0 (empty glass) to about 1.3 (the thick end)."""
    h, w = -(-smear.size.h // 16), -(-smear.size.w // 16)
    frayed = 0.04 * slow_field(rng, h, w, h / 5) + 0.012 * slow_field(rng, h, w, 8)
    along = np.linspace(0, 1, w, dtype=np.float32)[None] + frayed
    feather = smoothstep(smear.margin * 0.8, smear.margin * 1.25, along)
    crowd = 0.48 + 0.80 * along + 0.20 * slow_field(rng, h, w, 24)
    return np.asarray(feather * np.clip(crowd, 0.15, 1.3), np.float32)


def _spread(
    rng: np.random.Generator, ground: _Ground, smear: Smear, density: Floats, radii: Floats, touch: Floats
) -> tuple[NDArray[np.intp], Floats]:
    """Throw discs until each lies where it fits and where the smear is dense enough.

    Returns:
        the rows that found a place and their centres ``(M, 2)`` in µm.

    """
    w, h = smear.size.w * smear.mpp, smear.size.h * smear.mpp
    rows: list[int] = []
    places: list[tuple[float, float]] = []
    for i, (r, t) in enumerate(zip(radii.tolist(), touch.tolist(), strict=True)):
        for x, y, u in rng.random((24, 3)).tolist():
            px, py = int(x * density.shape[1]), int(y * density.shape[0])
            if u * 1.3 < density[py, px] and ground.free(x * w, y * h, r, t):
                ground.add(x * w, y * h, r)
                rows.append(i)
                places.append((x * w, y * h))
                break
    return np.asarray(rows, np.intp), np.asarray(places, np.float32).reshape(-1, 2)


def _patch(canvas: Floats, x0: int, y0: int, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch meets the canvas: slices of the canvas and of the patch."""
    h, w = canvas.shape[:2]
    ya, yb, xa, xb = max(y0, 0), min(y0 + side, h), max(x0, 0), min(x0 + side, w)
    return (slice(ya, yb), slice(xa, xb)), (slice(ya - y0, yb - y0), slice(xa - x0, xb - x0))


def _corner(centre_um: Floats, side: int, mpp: float) -> tuple[NDArray[np.int64], Floats]:
    """Whole-pixel top left of patches around centres ``(N, 2)``, and the rest of a pixel as offset."""
    centre = centre_um / mpp
    corner = np.floor(centre - side / 2).astype(np.int64)
    return corner, (centre - corner - side / 2).astype(np.float32)


def _truth(smear: Smear, cls: str, kinds: list[str], rims: Floats, centres_um: Floats) -> list[DrawnCell]:
    """Cells whose larger part is in the picture, outlines clipped to it."""
    cells = []
    limit = np.array([smear.size.w, smear.size.h], np.float32)
    for kind, rim, centre in zip(kinds, rims, centres_um, strict=True):
        outline = (rim + centre) / smear.mpp
        inside = np.clip(outline, 0, limit).astype(np.float32)
        if cv2.contourArea(inside) > 0.5 * cv2.contourArea(outline.astype(np.float32)):
            cells.append(DrawnCell(cls, kind, inside))
    return cells


class _Painter:
    """Draws one smear; kept apart from ``Smear`` so that the plan stays a plain value."""

    def __init__(self, smear: Smear, rng: np.random.Generator) -> None:
        self.smear, self.rng = smear, rng
        self.od = np.zeros((smear.size.h, smear.size.w, 3), np.float32)
        self.ground = _Ground()
        self.density = _density(rng, smear)
        self.mm2 = smear.size.w * smear.size.h * smear.mpp**2 * 1e-6
        self.cells: list[DrawnCell] = []

    def _share(self, per_mm2: float) -> int:
        return round(per_mm2 * self.mm2 * float((self.density > 0.1).mean()))

    def place_leukocytes(self) -> tuple[list[wbc.Kind], list[Rim], Floats]:
        """First, since they push the others aside."""
        rng, s = self.rng, self.smear
        p = np.array(list(s.shares.values()), float)
        n = self._share(s.leukocytes_per_mm2)
        kinds = [wbc.KINDS[str(k)] for k in rng.choice(list(s.shares), n, p=p / p.sum())]
        rims = [wbc.leukocyte_rim(rng, k) for k in kinds]
        radii = np.array([r.radius_um[0] for r in rims], np.float32)
        rows, at = _spread(rng, self.ground, s, self.density, radii, np.full(n, 1.25, np.float32))
        return [kinds[i] for i in rows], [rims[i] for i in rows], at

    def paint_erythrocytes(self) -> None:
        """The many: single, touching, and here and there overlapping, more so where it is thick."""
        rng, s = self.rng, self.smear
        rims = erythrocyte_rims(rng, self._share(s.erythrocytes_per_mm2), s.mean_diameter_um)
        n = len(rims.radius_um)
        touch = np.where(rng.random(n) < 0.16, rng.uniform(0.70, 0.95, n), rng.uniform(0.99, 1.06, n))
        rows, at = _spread(rng, self.ground, s, self.density, rims.radius_um, touch.astype(np.float32))
        rims = rims[rows]
        px = np.minimum((at / s.mpp / 16).astype(int), np.array(self.density.shape[::-1]) - 1)
        crowd = self.density[px[:, 1], px[:, 0]]
        flat = smoothstep(1.05, 1.3, crowd) + 0.8 * (1 - smoothstep(0.25, 0.5, crowd))
        colour = od(s.stain.erythrocyte, s.stain.ground)
        hue = rng.normal(0, 0.014, (len(rows), 3)).astype(np.float32)
        hue[rng.random(len(rows)) < 0.008] += np.array([0.22, 0.08, -0.05], np.float32)  # polychromatic
        side = 2 * int(np.ceil(1.3 * float(rims.radius_um.max(initial=4)) / s.mpp)) + 4
        corner, offset = _corner(at, side, s.mpp)
        for batch, bodies in erythrocytes(rng, rims, offset, flat, s.mpp):
            for body, (x0, y0), tint in zip(bodies, corner[batch], hue[batch], strict=True):
                there, here = _patch(self.od, x0, y0, side)
                self.od[there] += body[here][..., None] * (colour * (1 + tint))
        self.cells += _truth(s, "erythrocyte", ["erythrocyte"] * len(rows), rims.polygons_um(), at)

    def paint_thrombocytes(self) -> None:
        """Between the others; one in eight brings companions."""
        rng, s = self.rng, self.smear
        rims = thrombocyte_rims(rng, self._share(s.thrombocytes_per_mm2))
        touch = np.full(len(rims.radius_um), 1.06, np.float32)
        rows, at = _spread(rng, self.ground, s, self.density, rims.radius_um * 1.15, touch)
        kept, places = list(rows), list(at)
        spare = [i for i in range(len(rims.radius_um)) if i not in set(rows.tolist())]
        for centre, i in zip(at, rows, strict=True):
            if spare and rng.random() < 0.12:
                j = spare.pop()
                gap = (rims.radius_um[i] + rims.radius_um[j]) * rng.uniform(1.1, 1.3)
                turn = rng.uniform(0, 2 * np.pi)
                xy = centre + gap * np.array([np.cos(turn), np.sin(turn)])
                if self.ground.free(float(xy[0]), float(xy[1]), float(rims.radius_um[j]), 0.98):
                    self.ground.add(float(xy[0]), float(xy[1]), float(rims.radius_um[j]))
                    kept.append(j)
                    places.append(xy.astype(np.float32))
        rims, at = rims[np.asarray(kept, np.intp)], np.asarray(places, np.float32).reshape(-1, 2)
        pale, purple = od(s.stain.thrombocyte, s.stain.ground), od(s.stain.granulomere, s.stain.ground)
        side = 2 * int(np.ceil(1.5 * float(rims.radius_um.max(initial=2)) / s.mpp)) + 6
        corner, offset = _corner(at, side, s.mpp)
        grain = Texture(rng, 0.7 / s.mpp)
        for batch, covers, granules in thrombocytes(rng, rims, offset, grain, s.mpp):
            for cover, grains, (x0, y0) in zip(covers, granules, corner[batch], strict=True):
                there, here = _patch(self.od, x0, y0, side)
                body = pale + grains[here][..., None] * (purple - pale)
                self.od[there] += cover[here][..., None] * body
        self.cells += _truth(s, "thrombocyte", ["thrombocyte"] * len(kept), rims.polygons_um(), at)

    def paint_leukocytes(self, kinds: list[wbc.Kind], rims: list[Rim], at: Floats) -> None:
        """On top of all, opaque where they lie."""
        textures = wbc.Textures.draw(self.rng, self.smear.mpp / wbc.SUPERSAMPLING)
        for kind, rim, centre in zip(kinds, rims, at, strict=True):
            side = 2 * int(np.ceil(1.3 * float(rim.radius_um[0]) / self.smear.mpp)) + 4
            corner, offset = _corner(centre[None], side, self.smear.mpp)
            cover, density = wbc.leukocyte(self.rng, kind, rim, offset[0].tolist(), textures, self.smear.mpp)
            there, here = _patch(self.od, int(corner[0, 0]), int(corner[0, 1]), side)
            a = cover[here][..., None]
            self.od[there] = self.od[there] * (1 - a) + density[here] * a
            self.cells += _truth(self.smear, "leukocyte", [kind.name], rim.polygons_um(), centre[None])

    def expose(self) -> NDArray[np.uint8]:
        """Light through the smear, the blur of the lens, uneven light, the noise of the camera."""
        rng, s = self.rng, self.smear
        h, w = s.size.h, s.size.w
        plasma = 0.012 + 0.008 * slow_field(rng, h, w, 180)
        yy, xx = np.mgrid[0:h, 0:w].astype(np.float32) / max(h, w)
        light = 1 - 0.05 * ((xx - 0.45) ** 2 + (yy - 0.55) ** 2)
        out = np.empty((h, w, 3), np.uint8)
        for c, ground in enumerate(s.stain.ground):
            seen = ground * light * np.exp(-self.od[..., c] - plasma * (0.6, 1.0, 0.9)[c])
            seen = cv2.GaussianBlur(seen, (0, 0), 0.19 / s.mpp)
            noise = rng.standard_normal((h, w), np.float32)
            seen += noise * np.sqrt(0.5 + 0.006 * seen)
            out[..., c] = np.clip(seen + 0.5, 0, 255)
        return out


def draw_smear(
    smear: Smear, seed: int, progress: Progress | None = None
) -> tuple[NDArray[np.uint8], list[DrawnCell]]:
    """Draw one scene; the same smear and seed give the same pixels.

    Returns:
        uint8 RGB ``(h, w, 3)`` and the truth, leukocytes last.

    """
    tell = progress or (lambda _: None)
    painter = _Painter(smear, np.random.default_rng(seed))
    leukocytes = painter.place_leukocytes()
    tell(0.05)
    painter.paint_erythrocytes()
    tell(0.5)
    painter.paint_thrombocytes()
    tell(0.6)
    painter.paint_leukocytes(*leukocytes)
    tell(0.8)
    rgb = painter.expose()
    tell(1.0)
    return rgb, painter.cells
