"""Training tiles: mosaics of labelled scenes at the model's scale, varied anew at every draw.

Most labelled images are smaller than a tile at 0.2 µm per pixel, so a tile is laid out in rows of several
images. All images of one tile share one ``complete``, so that what may be learned is one statement a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cmlcore.training.augment import Look, looks, vary_look
from cmlcore.training.balance import class_counts, rare_classes, rarity
from cmlcore.training.scenes import STORE_MPP, Scene
from cmlcore.training.settings import MODEL_MPP, Augmentation
from cmlcore.training.transplant import Donor, donors, transplanted

MIN_VISIBLE = 0.12  # a cell of which less is in view is neither taught nor punished
MIN_SIDE = 4.0  # nor is one narrower than this in view, in pixels
GAPS, WIDEST_GAP = 0.5, 48  # share of an image's sides that end in a strip, and its width in pixels
WHITE = 0.75  # share of the tiles in which it is white, as what lies beyond an image is when cells are found
SCALE_SIGMA = 0.2  # spread of the log of the scale jitter at strength 1, clipped to:
SCALE_RANGE = (0.65, 1.5)

SOURCE_WEIGHTS = {"PBC": 0.25, "Raabin": 0.25, "BCCD+BCD": 0.24, "bbbc041seg": 0.10, "leukocytes": 0.16}
"""Chance of the public microscopes."""
OWN_WEIGHT = 0.25  # of a person's own images; where they come from several sources see ``_weights``
_GROUP = {"BCCD": "BCCD+BCD", "BCD": "BCCD+BCD", "krd_wbc": "leukocytes", "zxaoyou_ds2": "leukocytes"}


@dataclass(frozen=True)
class TileSettings:
    """How tiles are drawn.

    Attributes:
        sizes: (height, width) in pixels to choose from.
        size_weights: chance of each.
        mpp: µm per pixel of the tiles.
        store_mpp: µm per pixel of the scenes.
        source_weights: chance of a tile to come from each group of sources; groups without scenes drop out.
        balance: a scene whose rarest class has n times fewer cells than the commonest is drawn
            ``n ** balance`` times as often.
        augmentation: strengths of the variations.
        same_size: this many tiles in a row have one size, so that they make a batch.
        fixed: no variation at all but the layout (for tests and for looking at the data).

    """

    sizes: Sequence[tuple[int, int]] = ((256, 512), (512, 256), (512, 512))
    size_weights: Sequence[float] = (0.45, 0.45, 0.10)
    mpp: float = MODEL_MPP
    store_mpp: float = STORE_MPP
    source_weights: dict[str, float] = field(default_factory=lambda: dict(SOURCE_WEIGHTS))
    balance: float = 0.27
    augmentation: Augmentation = field(default_factory=Augmentation)
    same_size: int = 1
    fixed: bool = False

    @property
    def mean_area(self) -> float:
        """Mean area of a tile in pixels."""
        shares = np.array(self.size_weights, float) / sum(self.size_weights)
        return float(sum(p * h * w for p, (h, w) in zip(shares, self.sizes, strict=True)))


class CellTiles(Dataset[dict[str, Any]]):
    """Tile ``i`` of an endless, reproducible stream cut to ``length``: a function of ``(seed, i)`` alone.

    A sample is a dict of tensors:

    ========= ================== =====================================================================
    image     uint8 (3, H, W)    RGB at the model's scale
    boxes     float32 (N, 4)     x0, y0, x1, y1 in tile pixels, clipped to the tile
    labels    int64 (N,)         index into the classes
    owner     int32 (H, W)       0 no labelled cell, ``i + 1`` cell ``i``; ``masks_of`` expands it
    has_mask  bool (N,)          the cell's pixels in ``owner`` are an outline, not a stand-in ellipse
    ignore    bool (H, W)        nothing may be learned here
    complete  bool (C,)          per class: all its cells are labelled, other detections are false
    ========= ================== =====================================================================
    """

    def __init__(
        self, scenes: Sequence[Scene], length: int, seed: int = 0, settings: TileSettings | None = None
    ) -> None:
        self.settings = settings or TileSettings()
        self.length = length
        self.seed = seed
        counts = class_counts(scenes)
        groups: dict[tuple[str, tuple[bool, ...]], list[Scene]] = {}
        for s in scenes:
            groups.setdefault((_GROUP.get(s.source, s.source), s.complete), []).append(s)
        self._groups = [groups[k] for k in sorted(groups)]
        self._weights = _weights(groups, self.settings.source_weights)
        self._pool = [] if self.settings.fixed else donors(scenes, rare_classes(counts))
        often = rarity(counts, self.settings.balance)
        self._chances = [_chances(g, often) for g in self._groups]
        self._looks = looks(self.settings.augmentation)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        cv2.setNumThreads(0)  # loader processes must not fight the training for cores
        rng = np.random.default_rng((self.seed, index))
        cfg = self.settings
        p = np.array(cfg.size_weights, float)
        shared = np.random.default_rng((self.seed, index // cfg.same_size, 1))
        h, w = cfg.sizes[int(shared.choice(len(cfg.sizes), p=p / p.sum()))]
        which = int(rng.choice(len(self._groups), p=self._weights))
        group = self._groups[which]
        canvas = _Canvas(h, w, rng, cfg, self._pool, self._looks)
        canvas.fill(group, self._chances[which])
        return canvas.sample(group[0].complete)


def _weights(
    groups: dict[tuple[str, tuple[bool, ...]], list[Scene]], known: dict[str, float]
) -> NDArray[np.float64]:
    """Chance of each group, by sorted key; unknown sources share one weight by the root of their number."""
    own = sum(len(g) for (source, _), g in groups.items() if source not in known)
    weights = [
        known.get(source, OWN_WEIGHT * (len(groups[source, complete]) / max(1, own)) ** 0.5)
        for source, complete in sorted(groups)
    ]
    return np.asarray(np.array(weights) / sum(weights), np.float64)


def _chances(group: Sequence[Scene], often: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running total of the chance of each scene, ending at 1; its rarest class counts."""
    total = np.cumsum([often[s.labels].max(initial=1.0) for s in group])
    out: NDArray[np.float64] = total / total[-1]
    return out


def masks_of(owner: torch.Tensor, n: int) -> torch.Tensor:
    """Bool ``(n, H, W)``: the pixels of each cell of an owner map ``(H, W)``."""
    ids = torch.arange(1, n + 1, device=owner.device, dtype=owner.dtype)
    return owner[None] == ids[:, None, None]


class _Canvas:
    """One tile while images are laid onto it."""

    def __init__(
        self,
        h: int,
        w: int,
        rng: np.random.Generator,
        cfg: TileSettings,
        pool: Sequence[Donor],
        all_looks: Sequence[Look],
    ) -> None:
        self.rng, self.cfg, self.pool, self.looks = rng, cfg, pool, all_looks
        fill = np.array((255, 255, 255)) if rng.random() < WHITE else rng.integers(0, 256, 3)
        self.image = np.empty((h, w, 3), np.uint8)
        self.image[:] = fill.astype(np.uint8)
        self.owner = np.zeros((h, w), np.int32)
        self.ignore = np.zeros((h, w), np.bool_)
        self.boxes: list[NDArray[np.float32]] = []
        self.labels: list[NDArray[np.int64]] = []
        self.has_mask: list[NDArray[np.bool_]] = []
        self.taken = 0
        self.scale = self._jitter(cfg.augmentation)

    def _jitter(self, strength: Augmentation) -> float:
        if self.cfg.fixed:
            return 1.0
        if self.rng.random() < strength.close:
            return float(strength.closest ** self.rng.random())
        return float(np.clip(np.exp(self.rng.normal(0, SCALE_SIGMA * strength.scale)), *SCALE_RANGE))

    def fill(self, group: Sequence[Scene], chances: NDArray[np.float64]) -> None:
        """Lay images out in rows until the tile is full; rows and columns start at a random offset."""
        h, w = self.owner.shape
        y = self._start()
        while y < h:
            x, height = self._start(), 0
            while x < w:
                scene = group[int(np.searchsorted(chances, self.rng.random(), side="right"))]
                piece = self._varied(scene, max_h=h - y, max_w=w - x)
                height = height or piece.image.shape[0]
                self._place(piece, x, y, min(height, piece.image.shape[0]))
                x += piece.image.shape[1] + self._gap()
            y += height + self._gap()

    def _start(self) -> int:
        """Where the first image of a row or column begins: behind a strip of white, or cut by the tile."""
        return 0 if self.cfg.fixed else self._gap() or -int(self.rng.integers(0, 100))

    def _gap(self) -> int:
        return int(self.rng.integers(1, WIDEST_GAP)) if not self.cfg.fixed and self.rng.random() < GAPS else 0

    def _varied(self, scene: Scene, max_h: int, max_w: int) -> Scene:
        """The scene at model scale, turned, mirrored and recoloured; large ones cut to a random window."""
        rng, cfg = self.rng, self.cfg
        factor = cfg.store_mpp / cfg.mpp * self.scale
        uneven = 0.0 if cfg.fixed else 0.05 * cfg.augmentation.scale
        sx, sy = (factor * float(np.exp(rng.normal(0, uneven))) for _ in range(2))
        turned = cfg.augmentation.turn and not cfg.fixed
        turn, mirror = (int(rng.integers(4)), bool(rng.random() < 0.5)) if turned else (0, False)
        if turn % 2:
            max_h, max_w = max_w, max_h
        scene = _window(scene, int(max_w / sx) + 2, int(max_h / sy) + 2, rng)
        if self.pool and rng.random() < cfg.augmentation.paste:
            scene = transplanted(scene, self.pool, rng)
        scene = _turned(_resized(scene, sx, sy), turn, mirror)
        if cfg.fixed:
            return scene
        if rng.random() < cfg.augmentation.blank:
            scene = _blank(scene)
        return replace(scene, image=vary_look(scene.image, rng, self.looks))

    def _place(self, piece: Scene, x: int, y: int, height: int) -> None:
        h, w = self.owner.shape
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + piece.image.shape[1], w), min(y + height, h)
        if x1 <= x0 or y1 <= y0:
            return
        cut = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        there = np.s_[y0:y1, x0:x1]
        self.image[there] = piece.image[cut]
        self.ignore[there] = piece.ignore[cut]
        shifted = piece.boxes + np.array([x, y, x, y], np.float32)
        clipped = np.clip(shifted, [x0, y0, x0, y0], [x1, y1, x1, y1]).astype(np.float32)
        side = clipped[:, 2:] - clipped[:, :2]
        whole = (shifted[:, 2:] - shifted[:, :2]).prod(axis=1)
        visible = side.prod(axis=1) / np.maximum(whole, 1e-6)
        keep = (visible >= MIN_VISIBLE) & (side.min(axis=1) >= MIN_SIDE)
        new_id = np.zeros(len(keep) + 1, np.int32)
        new_id[1:][keep] = self.taken + 1 + np.arange(int(keep.sum()))
        owner = piece.owner[cut]
        self.owner[there] = new_id[owner]
        self.ignore[there] |= (owner > 0) & (new_id[owner] == 0)
        self.taken += int(keep.sum())
        self.boxes.append(clipped[keep])
        self.labels.append(piece.labels[keep])
        self.has_mask.append(piece.has_mask[keep])

    def sample(self, complete: tuple[bool, ...]) -> dict[str, Any]:
        """The finished tile as tensors."""
        n = np.concatenate
        return {
            "image": torch.from_numpy(self.image).permute(2, 0, 1).contiguous(),
            "boxes": torch.from_numpy(n([np.zeros((0, 4), np.float32), *self.boxes])),
            "labels": torch.from_numpy(n([np.zeros(0, np.int64), *self.labels])),
            "owner": torch.from_numpy(self.owner),
            "has_mask": torch.from_numpy(n([np.zeros(0, np.bool_), *self.has_mask])),
            "ignore": torch.from_numpy(self.ignore),
            "complete": torch.tensor(complete),
        }


def _blank(scene: Scene) -> Scene:
    """Bare ground in the colour of the scene's own."""
    ground = scene.image[(scene.owner == 0) & ~scene.ignore]
    image = scene.image.copy()
    image[:] = np.median(ground, axis=0).astype(np.uint8) if len(ground) else 235
    return replace(
        scene,
        image=image,
        owner=np.zeros_like(scene.owner),
        boxes=scene.boxes[:0],
        labels=scene.labels[:0],
        has_mask=scene.has_mask[:0],
        ignore=np.zeros_like(scene.ignore),
    )


def _window(scene: Scene, w: int, h: int, rng: np.random.Generator) -> Scene:
    """A random window of at most ``w`` × ``h``, so that large images cost no more than small ones."""
    ih, iw = scene.owner.shape
    if iw <= w and ih <= h:
        return scene
    x = int(rng.integers(0, max(1, iw - w + 1)))
    y = int(rng.integers(0, max(1, ih - h + 1)))
    cut = np.s_[y : y + h, x : x + w]
    # boxes may now reach outside: ``_place`` clips them to where their image lies
    boxes = scene.boxes - np.array([x, y, x, y], np.float32)
    return replace(
        scene, image=scene.image[cut], owner=scene.owner[cut], boxes=boxes, ignore=scene.ignore[cut]
    )


def _resized(scene: Scene, sx: float, sy: float) -> Scene:
    h, w = scene.owner.shape
    size = (max(8, round(w * sx)), max(8, round(h * sy)))
    scale = np.array([size[0] / w, size[1] / h] * 2, np.float32)
    smooth = cv2.INTER_AREA if max(sx, sy) < 1 else cv2.INTER_LINEAR
    return replace(
        scene,
        image=np.asarray(cv2.resize(scene.image, size, interpolation=smooth), np.uint8),
        owner=np.asarray(cv2.resize(scene.owner, size, interpolation=cv2.INTER_NEAREST), np.uint16),
        boxes=scene.boxes * scale,
        ignore=cv2.resize(scene.ignore.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
    )


def _turned(scene: Scene, turn: int, mirror: bool) -> Scene:
    """Turned by ``turn`` quarter turns against the clock, then mirrored left to right."""
    boxes = scene.boxes
    h, w = scene.owner.shape
    for _ in range(turn):
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([y0, w - x1, y1, w - x0], axis=1)
        h, w = w, h
    if mirror:
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([w - x1, y0, w - x0, y1], axis=1)

    def move(a: NDArray[Any]) -> NDArray[Any]:
        a = np.rot90(a, turn)
        return np.ascontiguousarray(a[:, ::-1] if mirror else a)

    return replace(
        scene, image=move(scene.image), owner=move(scene.owner), boxes=boxes, ignore=move(scene.ignore)
    )
