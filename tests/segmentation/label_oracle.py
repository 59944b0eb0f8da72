"""Slides and networks whose truth is known: pictures in memory, and models that read it from the pixels."""

from __future__ import annotations

import threading

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides.base import Scene, SlideInfo, SlideReader
from models.base import Instances, TileGrid

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")


class PictureReader(SlideReader):
    """A slide of one scene held in memory; reduces by the mean, as a reader must."""

    def __init__(self, rgb: NDArray[np.uint8], mpp: Mpp | None, covered: list[Region] | None = None) -> None:
        self.rgb, self.reads, self.lock = rgb, 0, threading.Lock()
        h, w = rgb.shape[:2]
        self._covered = [Region(0, 0, w, h)] if covered is None else covered
        self.info = SlideInfo("test", (Scene(0, Size(w, h)),), 1, mpp, None, "brightfield", 3, 8, "none")

    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:
        with self.lock:
            self.reads += 1
        d, r = downsample, region_l0
        h, w = -(-r.h // d) * d, -(-r.w // d) * d
        out = np.full((h, w, 3), 255, np.uint8)
        seen = Region(r.x, r.y, w, h).clipped(Region(0, 0, self.rgb.shape[1], self.rgb.shape[0]))
        if seen.w and seen.h:
            out[seen.y - r.y : seen.y1 - r.y, seen.x - r.x : seen.x1 - r.x] = self.rgb[
                seen.y : seen.y1, seen.x : seen.x1
            ]
        if d == 1:
            return out
        blocks = out.reshape(h // d, d, w // d, d, 3).astype(np.float64)
        return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)

    def covered(self, scene: int) -> list[Region]:
        return self._covered

    def close(self) -> None:
        pass


def label_slide(labels: NDArray[np.int64], mpp: float = 0.2) -> PictureReader:
    """A slide that shows each cell in a colour that spells its number; 0 is white."""
    code = np.where(labels == 0, 0xFFFFFF, labels)
    rgb = np.stack([code >> 16 & 255, code >> 8 & 255, code & 255], axis=-1).astype(np.uint8)
    return PictureReader(rgb, Mpp(mpp, mpp))


def outline_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The outer edge of a connected mask along pixel edges; the same mask gives the same vertices."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    rows, starts = np.nonzero(np.diff(padded, axis=1) == 1)
    _, stops = np.nonzero(np.diff(padded, axis=1) == -1)
    runs = shapely.union_all(shapely.box(starts, rows, stops, rows + 1))
    ring = shapely.normalize(shapely.Polygon(runs.exterior).simplify(0)).exterior
    return np.asarray(ring.coords, np.float32)[:-1]


def anchor_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Centre of the mask's pixel that is nearest its centroid, so a point of the cell itself."""
    y, x = np.nonzero(mask)
    nearest = np.argmin((x - x.mean()) ** 2 + (y - y.mean()) ** 2)
    return np.array([x[nearest] + 0.5, y[nearest] + 0.5], np.float32)


class _Oracle:
    key, classes, sha256, device, tail = "oracle", CLASSES, "0" * 64, "CPU", 0.0
    card: dict[str, object] = {}

    def __init__(self, grid: TileGrid, mpp: float = 0.2) -> None:
        self.grid, self.mpp, self.sides = grid, mpp, []

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
        raise NotImplementedError

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        assert batch.shape[2] % self.grid.align == 0
        assert batch.shape[3] % self.grid.align == 0
        self.sides.append(batch.shape[2])
        return [self.find(image.transpose(1, 2, 0)) for image in batch]

    def find(self, rgb: NDArray[np.uint8]) -> Instances:
        labels = self.labels(rgb)
        outlines, anchors, numbers = [], [], []
        for box, number in zip(
            ndimage.find_objects(labels), range(1, labels.max(initial=0) + 1), strict=True
        ):
            if box is None:
                continue
            corner = np.array([box[1].start, box[0].start], np.float32)
            parts, count = ndimage.label(labels[box] == number)  # a cut cell may show in several parts
            for part in range(1, count + 1):
                outlines.append(outline_of(parts == part) + corner)
                anchors.append(anchor_of(parts == part) + corner)
                numbers.append(number)
        n = np.array(numbers, np.int64)
        probs = np.full((len(n), len(CLASSES)), 0.1, np.float32)
        probs[np.arange(len(n)), n % len(CLASSES)] = 0.8
        scores = (0.5 + (n % 100) / 250).astype(np.float32)
        return Instances(
            outlines, n % len(CLASSES), scores, probs, np.array(anchors, np.float32).reshape(-1, 2)
        )


class LabelOracle(_Oracle):
    """Reads each cell's number from its colour; sees a tile and nothing else."""

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
        code = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        return np.where(code == 0xFFFFFF, 0, code)


class ThresholdOracle(_Oracle):
    """Calls each connected dark spot a cell, whatever the resampling left of it."""

    def labels(self, rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
        return ndimage.label(rgb[..., 1] < 128)[0].astype(np.int64)

    def find(self, rgb: NDArray[np.uint8]) -> Instances:
        found = super().find(rgb)  # its numbers depend on the tile; class and score must not
        n = len(found)
        return Instances(
            found.outlines,
            np.zeros(n, np.int64),
            np.full(n, 0.75, np.float32),
            np.tile(np.array([[0.75, 0.125, 0.125]], np.float32), (n, 1)),
            found.anchors,
        )


def random_labels(rng: np.random.Generator, w: int, h: int, cells: int, radius: float) -> NDArray[np.int64]:
    """Ellipses of many sizes painted over each other: touching, nested, cut by the border. One part each."""
    y, x = np.mgrid[0:h, 0:w]
    painted = np.zeros((h, w), np.int64)
    for number in range(1, cells + 1):
        cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        a, b = rng.uniform(1, radius, 2)
        t = rng.uniform(0, np.pi)
        u, v = (x + 0.5 - cx) * np.cos(t) + (y + 0.5 - cy) * np.sin(t), 0.0
        v = -(x + 0.5 - cx) * np.sin(t) + (y + 0.5 - cy) * np.cos(t)
        painted[(u / a) ** 2 + (v / b) ** 2 <= 1] = number
    out = np.zeros_like(painted)
    last = 0
    for number in np.unique(painted[painted > 0]):
        parts, count = ndimage.label(painted == number)
        out[parts > 0] = parts[parts > 0] + last
        last += count
    return out
