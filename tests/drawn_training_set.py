"""A mask folder of drawn smears, small enough to train on in a test; no torch here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE = 320
MPP = 0.2


def draw_set(folder: Path, train: int = 4, val: int = 2) -> Path:
    """Pink discs (erythrocytes) and violet ones (leukocytes): ``part/images`` and ``part/masks/class``."""
    rng = np.random.default_rng(5)
    for part, n in (("train", train), ("val", val)):
        for i in range(n):
            image = np.full((SIDE, SIDE, 3), (245, 235, 225), np.uint8)
            masks = {c: np.zeros((SIDE, SIDE), np.uint16) for c in ("erythrocyte", "leukocyte")}
            for k, (x, y) in enumerate((x, y) for x in (60, 160, 260) for y in (60, 160, 260)):
                white = (k + i) % 4 == 0
                name, radius = ("leukocyte", 34) if white else ("erythrocyte", 18)
                ink = (90, 40, 140) if white else (200, 130, 140)
                at = (int(x + rng.integers(-8, 9)), int(y + rng.integers(-8, 9)))
                cv2.circle(image, at, radius, ink, -1, cv2.LINE_AA)
                cv2.circle(masks[name], at, radius, k + 1, -1)
            image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
            _write(folder / part / "images" / f"{part}{i}.png", image[..., ::-1])
            for name, mask in masks.items():
                _write(folder / part / "masks" / name / f"{part}{i}.png", mask)
    return folder


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
