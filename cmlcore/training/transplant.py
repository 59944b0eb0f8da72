"""Cells of rare classes shown more often: cut out of one labelled image and laid into another.

A stained cell takes a share of the light (Beer and Lambert), so what is carried over is its transmission:
the cell's pixels over the colour of the ground around it. Multiplied into another image it fits any ground
and lies over other cells as thrombocytes do, without the seam a copied patch would have.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.training.scenes import Scene

RIM = 4  # pixels of a scene around the cell that come along, fading out
MIN_GROUND = 0.08  # share of the patch that must be bare ground, for its colour to be known
TRIES = 8
ON_TOP = 0.2  # share of the places that may lie on another cell
MOST = 3  # cells laid into one image


@dataclass(frozen=True, slots=True)
class Donor:
    """A cell that can be laid into any scene.

    Attributes:
        transmission: float32 ``(h, w, 3)``, 1 where nothing is taken from the light.
        mask: bool ``(h, w)``, the cell.
        label: index of its class.

    """

    transmission: NDArray[np.float32]
    mask: NDArray[np.bool_]
    label: int


def donors(scenes: Sequence[Scene], rare: Collection[int]) -> list[Donor]:
    """Every cell of the classes ``rare`` that is outlined, whole, and has ground around it."""
    found = []
    for scene in scenes:
        for i in np.flatnonzero(np.isin(scene.labels, list(rare)) & scene.has_mask):
            donor = _donor(scene, int(i))
            if donor is not None:
                found.append(donor)
    return found


def _donor(scene: Scene, i: int) -> Donor | None:
    h, w = scene.owner.shape
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(scene.boxes[i][:2]), *np.ceil(scene.boxes[i][2:])))
    if x0 < 1 or y0 < 1 or x1 >= w or y1 >= h:
        return None  # cut by the edge
    there = np.s_[max(0, y0 - 2 * RIM) : y1 + 2 * RIM, max(0, x0 - 2 * RIM) : x1 + 2 * RIM]
    mask = scene.owner[there] == i + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    ground = (scene.owner[there] == 0) & ~scene.ignore[there] & ~near
    if not mask.any() or ground.mean() < MIN_GROUND:
        return None
    patch = scene.image[there].astype(np.float32) + 1
    share = np.minimum(patch / np.median(patch[ground], axis=0), 1.15)
    soft = cv2.GaussianBlur(near.astype(np.float32), (0, 0), RIM / 2)[..., None]
    soft = np.maximum(soft, mask[..., None])
    return Donor((1 + soft * (share - 1)).astype(np.float32), mask, int(scene.labels[i]))


def transplanted(scene: Scene, pool: Sequence[Donor], rng: np.random.Generator) -> Scene:
    """A copy of ``scene`` with up to ``MOST`` cells of ``pool`` in free places; itself if there is none.

    Only cells of classes that are labelled completely here are laid: where a class has no negatives, its
    positives alone would teach that anything in such an image is one.
    """
    pool = [d for d in pool if scene.complete[d.label]]
    if not pool:
        return scene
    image, owner = scene.image.copy(), scene.owner.copy()
    boxes, labels = [], []
    for _ in range(int(rng.integers(1, MOST + 1))):
        donor = pool[int(rng.integers(len(pool)))]
        turn = int(rng.integers(4))
        light, mask = np.rot90(donor.transmission, turn), np.rot90(donor.mask, turn)
        at = _free_place(scene, owner, mask, rng)
        if at is None:
            continue
        y, x = at
        there = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
        image[there] = np.clip(image[there] * light + 0.5, 0, 255).astype(np.uint8)
        boxes.append(_box(mask, x, y))
        labels.append(donor.label)
        owner[there][mask] = len(scene.labels) + len(labels)
    if not labels:
        return scene
    return replace(
        scene,
        image=image,
        owner=owner,
        boxes=np.concatenate([scene.boxes, np.array(boxes, np.float32)]),
        labels=np.concatenate([scene.labels, np.array(labels, np.int64)]),
        has_mask=np.concatenate([scene.has_mask, np.ones(len(labels), np.bool_)]),
    )


def _free_place(
    scene: Scene, owner: NDArray[np.uint16], mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Top left (y, x) of a place for ``mask``; None where a few tries find none."""
    h, w = owner.shape[0] - mask.shape[0], owner.shape[1] - mask.shape[1]
    if h <= 0 or w <= 0:
        return None
    on_top = rng.random() < ON_TOP
    for _ in range(TRIES):
        y, x = int(rng.integers(h)), int(rng.integers(w))
        there = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
        below = owner[there][mask]
        if scene.ignore[there].any():
            continue
        # on another cell only if that one stays in view, and never on one laid here before
        if not below.any() or (on_top and below.min() > 0 and below.max() <= len(scene.labels)):
            return y, x
    return None


def _box(mask: NDArray[np.bool_], x: int, y: int) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return (x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1)
