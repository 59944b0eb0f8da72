"""Drawn smears with known truth."""

from __future__ import annotations

import cv2
import numpy as np

GROUND, RED, BLUE = (245, 235, 225), (200, 130, 140), (90, 40, 140)


def smear(h, w, cells):
    """A drawn smear: RGB, and the label image of the (x, y, radius, class) discs on it."""
    rng = np.random.default_rng(1)
    rgb = np.full((h, w, 3), GROUND, np.uint8)
    label = np.zeros((h, w), np.uint16)
    for i, (x, y, r, c) in enumerate(cells):
        cv2.circle(rgb, (x, y), r, BLUE if c else RED, -1, cv2.LINE_AA)
        if not c:  # the pale centre
            cv2.circle(rgb, (x, y), r // 3, (230, 205, 200), -1, cv2.LINE_AA)
        cv2.circle(label, (x, y), r, i + 1, -1)
    noisy = rgb + rng.normal(0, 3, rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), label


def boxes_of(label):
    """x0, y0, x1, y1 of every cell of a label image."""
    out = []
    for i in range(1, int(label.max()) + 1):
        ys, xs = np.nonzero(label == i)
        out.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    return np.array(out, np.float32)


CELLS = [
    (60, 60, 38, 0),
    (140, 70, 38, 0),
    (220, 200, 70, 1),
    (60, 250, 14, 2),
    (350, 150, 38, 0),
    (120, 330, 38, 0),
]
