"""What every slide reader gives: facts and pixels, in level-0 pixels of one scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cmlcore.geometry import Mpp, Region, Size


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene of a slide; formats without scenes have exactly one.

    ``origin`` is the scene's top left in the file's own canvas (CZI stage pixels; may be negative),
    kept for reference only: all coordinates elsewhere are relative to it.
    """

    index: int
    size: Size
    origin: tuple[int, int] = (0, 0)
    name: str = ""  # "Scene 1", never a title from the file


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Facts of a slide that may be shown, logged and exported: nothing here identifies a person.

    ``mpp`` and ``objective`` are None where the file does not say; nothing is guessed.
    ``kind`` is "brightfield" (8-bit RGB), "grey" or "fluorescence"; only brightfield can be segmented.
    ``levels`` is the number of stored resolution levels (1: no pyramid).
    """

    format: str  # "Zeiss CZI", "Aperio SVS", …
    scenes: tuple[Scene, ...]
    levels: int
    mpp: Mpp | None
    objective: float | None
    kind: str
    channels: int
    bits: int
    compression: str
    acquired_at: str | None = None  # date only, ISO 8601
    has_label: bool = False
    warnings: tuple[str, ...] = field(default=())


class SlideReader(ABC):
    """Reads pixels of one open slide. Safe to call from several threads."""

    info: SlideInfo

    @abstractmethod
    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:
        """Read a region as RGB.

        Args:
            scene: index of the scene.
            region_l0: in level-0 pixels of the scene; may reach beyond it.
            downsample: a power of two, d. The result is ``(ceil(h / d), ceil(w / d), 3)``, each pixel
                the mean of the d × d level-0 pixels below it, or the stored pyramid level where one exists.

        Returns:
            uint8 RGB, C-contiguous. Pixels outside the scene or in gaps of a mosaic are white (255).
            Grey and fluorescence images are mapped to RGB for display.

        Raises:
            SlideError: the pixels cannot be decoded.

        """

    @abstractmethod
    def covered(self, scene: int) -> list[Region]:
        """Rectangles (level 0 of the scene) that hold image data, for skipping empty blocks."""

    @abstractmethod
    def close(self) -> None:
        """Free the file and any process behind it. Closing twice is harmless."""

    def __enter__(self) -> SlideReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
