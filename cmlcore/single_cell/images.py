"""Single-cell images as the networks get them: read, judged, and cut to one field of view.

Between microscopes scale is everything: a network that learnt cells on whole tiles of one camera fails on
crops of another until both show the cell at the same size. So every image is cut to a square of
``FIELD_UM`` micrometres around its cell and resampled to ``SIDE`` pixels, whatever it was taken with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp
from cmlcore.single_cell.data import CellImage, CellSet, Refused

FIELD_UM = 22.0
"""Side of the square that a network sees: a monocyte or promyelocyte of 20 µm fits."""
SIDE = 224
SMALLEST, LARGEST = 24, 4096  # pixels a side of an image that may show one cell
_GREY = 3.0  # mean difference between the channels, in grey levels, of a picture without colour

Rgb = NDArray[np.uint8]


def read_image(path: Path) -> Rgb:
    """Read a single-cell image, uint8 ``(H, W, 3)``; transparency is laid on white.

    Raises:
        InputError: it is damaged, tiny, huge, grey, CMYK or deeper than 8 bits; the sentence says which.

    """
    name = path.name
    try:
        with Image.open(path) as opened:
            _check_size(name, *opened.size)
            if opened.mode == "CMYK":
                raise InputError(f"{name} is a CMYK picture made for print; save it as RGB.")
            if opened.mode not in ("RGB", "RGBA", "P", "L", "LA", "1"):
                raise InputError(f"{name} is no 8-bit colour picture ({opened.mode}); save it as 8-bit RGB.")
            rgba = np.asarray(opened.convert("RGBA"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise InputError(f"{name} is damaged or no picture; copy it again.") from e
    alpha = rgba[..., 3:].astype(np.float32) / 255
    whole = bool((rgba[..., 3] == 255).all())
    rgb = rgba[..., :3] if whole else np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    if spread.mean() < _GREY:
        raise InputError(f"{name} is grey; stained cells are told apart by colour, give the colour picture.")
    return np.ascontiguousarray(rgb)


def _check_size(name: str, w: int, h: int) -> None:
    if min(w, h) < SMALLEST:
        raise InputError(f"{name} is only {w} × {h} pixels; a cell needs at least {SMALLEST}.")
    if max(w, h) > LARGEST:
        raise InputError(f"{name} is {w} × {h} pixels, too large for one cell; cut the cells out first.")


def cut_field(
    rgb: Rgb,
    mpp: float,
    centre: tuple[float, float] | None = None,
    side: int = SIDE,
    field_um: float = FIELD_UM,
) -> Rgb:
    """The square of ``field_um`` around a cell, as uint8 ``(side, side, 3)``.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        mpp: µm per pixel of it.
        centre: x, y of the cell in its pixels, continuous; None is the middle.
        side: of the result in pixels.
        field_um: what it shows.

    """
    h, w = rgb.shape[:2]
    x, y = centre if centre is not None else (w / 2, h / 2)
    scale = field_um / mpp / side  # source pixels per pixel of the result
    fine = max(1, math.ceil(scale - 1e-6))  # values averaged along an axis, lest fine detail turns into noise
    step = scale / fine
    # a pixel's centre lies at + 0.5 here, at + 0 in OpenCV
    start = x - scale * side / 2 + step / 2 - 0.5, y - scale * side / 2 + step / 2 - 0.5
    matrix = np.array([[step, 0, start[0]], [0, step, start[1]]], np.float64)
    how = (cv2.INTER_CUBIC if step < 1 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    large = (side * fine, side * fine)
    out = cv2.warpAffine(rgb, matrix, large, flags=how, borderMode=cv2.BORDER_REPLICATE)
    if fine > 1:
        out = cv2.resize(out, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(out, np.uint8)


def read_fields(
    cells: CellSet,
    mpp: float | None = None,
    side: int = SIDE,
    progress: Callable[[int, int], None] | None = None,
    store: Path | None = None,
    field_um: float = FIELD_UM,
) -> tuple[Rgb, list[CellImage], list[Refused]]:
    """Every image of a set, cut to its field.

    Args:
        cells: the set.
        mpp: µm per pixel; None takes what the set's layout says.
        side: of the fields in pixels.
        progress: told (done, all).
        field_um: side of the field in µm.
        store: a file that holds the fields in place of the memory (a large set has gigabytes).

    Returns:
        uint8 ``(N, side, side, 3)``, the N images they are of, and those that could not be used.

    Raises:
        InputError: the pixel size is unknown, or no image can be used.

    """
    scale = _scale(cells, mpp)
    shape = (len(cells.images), side, side, 3)
    if store is None:
        fields: Rgb = np.empty(shape, np.uint8)
    else:
        fields = np.lib.format.open_memmap(store, "w+", np.uint8, shape)
    kept: list[CellImage] = []
    refused: list[Refused] = []
    for n, cell in enumerate(cells.images, 1):
        try:
            fields[len(kept)] = cut_field(read_image(cell.path), scale, None, side, field_um)
            kept.append(cell)
        except InputError as e:
            refused.append(Refused(cell.path.name, str(e)))
        if progress is not None:
            progress(n, len(cells.images))
    if not kept:
        raise InputError(f"None of the {len(refused)} images can be used; the first: {refused[0].why}")
    return fields[: len(kept)], kept, refused


def _scale(cells: CellSet, mpp: float | None) -> float:
    known = mpp if mpp is not None else cells.mpp
    if known is None:
        raise InputError("Nothing says how many µm a pixel of these images has; give --mpp, or --mpp auto.")
    return Mpp(known, known).x


def sizes_note(paths: Sequence[Path]) -> str | None:
    """A sentence where images of one set differ in size by more than a tenth: they may differ in scale."""
    sizes = set()
    for path in paths:
        try:
            with Image.open(path) as opened:
                sizes.add(opened.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # read_image says what is wrong with it
    widths = [w for w, _ in sizes]
    if not widths or max(widths) <= 1.1 * min(widths):
        return None
    return (
        f"The images are {min(widths)} to {max(widths)} pixels wide; if they were resized, they do not have "
        "one pixel size: sort them by size and give each its own."
    )
