"""A cell as a disc of its class's own colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MPP = 0.2
COLOURS = {"monocyte": (90, 60, 160), "eosinophil": (210, 90, 60), "lymphocyte": (40, 30, 110)}


def drawn_cell(cls: str, rng: np.random.Generator, side: int = 120) -> NDArray[np.uint8]:
    """A disc 8 to 12 µm wide in the middle of uint8 (side, side, 3)."""
    image = np.full((side, side, 3), (240, 225, 220), np.uint8)
    radius = round(rng.uniform(4, 6) / MPP)
    cv2.circle(image, (side // 2, side // 2), radius, COLOURS[cls], -1)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
