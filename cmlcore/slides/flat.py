"""PNG and JPEG pictures through Pillow, decoded whole, with a cap on their pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from typing_extensions import override

from cmlcore.errors import SlideError
from cmlcore.geometry import Region, Size
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.pixels import on_white, stretch
from cmlcore.slides.stored import StoredReader

MAX_PIXELS = 400_000_000  # 1.2 GB decoded, the most that fits a decoding process with room to work
DEEP_GREY = {"I;16", "I;16B", "I", "F"}


class FlatReader(StoredReader):
    """One picture held in memory: one scene, one level, no pixel size (what it may state is of print)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        Image.MAX_IMAGE_PIXELS = None  # our own cap comes before, and knows no second, softer limit
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise SlideError(
                        f"The picture has {image.width} × {image.height} pixels; at most "
                        f"{MAX_PIXELS // 10**6} megapixels can be opened. Save it as a tiled TIFF."
                    )
                name, mode = image.format or "", image.mode
                self._rgb = _rgb(image)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as e:
            raise SlideError("The picture is damaged or cut short.") from e
        except MemoryError as e:
            raise SlideError("The picture needs more memory than a slide may use.") from e
        h, w = self._rgb.shape[:2]
        self.info = SlideInfo(
            format=f"{name} picture",
            scenes=(Scene(0, Size(w, h), name="Scene 1"),),
            levels=1,
            mpp=None,
            objective=None,
            kind="brightfield",
            channels=3,
            bits=16 if mode in DEEP_GREY else 8,
            compression={"PNG": "deflate", "JPEG": "JPEG"}.get(name, name),
        )
        kind = "grey" if mode[0] in "1LIF" else self.kind_seen()
        self.info = replace(self.info, kind=kind, channels=1 if kind == "grey" else 3)

    @override
    def factors(self, scene: int) -> tuple[int, ...]:
        return (1,)

    @override
    def read_level(self, scene: int, factor: int, stored: Region) -> NDArray[np.uint8]:
        return self._rgb[stored.y : stored.y1, stored.x : stored.x1]

    @override
    def close(self) -> None:
        """Nothing is held open; the pixels go with the reader."""


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in DEEP_GREY:
        grey = np.asarray(image)
        low, high = np.percentile(grey, (0.1, 99.9))
        return np.repeat(stretch(grey, float(low), float(high))[..., None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        return on_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))
