"""The pictures of many cells in one file: JPEGs one behind the other, and where each begins.

``crops.bin`` holds the pictures, ``crops.npy`` their N + 1 limits in it; a picture is one read.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.files import whole_file

BIN, LIMITS = "crops.bin", "crops.npy"
QUALITY = 92
_HOW = (
    cv2.IMWRITE_JPEG_QUALITY, QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,  # nuclei differ by colour
)  # fmt: skip


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A picture uint8 ``(H, W, 3)`` as JPEG."""
    _, body = cv2.imencode(".jpg", rgb[..., ::-1], _HOW)
    return body.tobytes()


def rgb_of(body: bytes) -> NDArray[np.uint8]:
    """The pixels of a JPEG, uint8 ``(H, W, 3)``.

    Raises:
        InputError: it is damaged.

    """
    found = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise InputError("The picture of this cell is damaged; name the cells again.")
    return np.ascontiguousarray(found[..., ::-1], np.uint8)


class CropWriter:
    """Writes pictures as they come; without ``crops.npy``, which comes last, there are none."""

    def __init__(self, folder: Path) -> None:
        """Begin anew in a folder."""
        self._folder = folder
        self._limits = [0]
        (folder / LIMITS).unlink(missing_ok=True)
        self._file = (folder / BIN).open("wb")

    def add(self, fields: NDArray[np.uint8]) -> None:
        """Append pictures uint8 ``(N, H, W, 3)``."""
        for field in fields:
            self._limits.append(self._limits[-1] + self._file.write(jpeg(field)))

    def __enter__(self) -> CropWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            with whole_file(self._folder / LIMITS, durable=False) as part, part.open("wb") as f:
                np.save(f, np.array(self._limits, np.int64))


def crop(folder: Path, row: int) -> bytes:
    """The JPEG of one row.

    Raises:
        InputError: there is none.

    """
    try:
        limits = np.load(folder / LIMITS, mmap_mode="r", allow_pickle=False)
        if not 0 <= row < len(limits) - 1:
            raise InputError("There is no such cell; reload the page.")
        start, end = int(limits[row]), int(limits[row + 1])
        with (folder / BIN).open("rb") as f:
            return os.pread(f.fileno(), end - start, start)
    except (OSError, ValueError) as e:
        raise InputError("The pictures of these cells are gone; name the cells again.") from e
