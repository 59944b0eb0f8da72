"""Cells in plain images: resample to the model's scale, predict in owned tiles, give COCO results back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.scale import estimate_mpp, settle
from models.base import CellModel, Instances, TileGrid
from models.cut_cells import continued
from models.registry import load_model

MAX_PIXELS = 200_000_000
"""Larger images are slides; they go through ``segment``, which never holds them whole."""
GREY_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"})
_WHITE = 255  # what lies beyond an image, as beyond a slide
RIM = 8  # pixels of white at least on every side of an image that fits into one tile
STEP = 16  # it begins at a multiple of this: on whole strides and patches, as in every tile of a slide


def predict_images(
    images: list[Path],
    model_key: str,
    mpp: float | Literal["auto"] = "auto",
    min_score: float = 0.0,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    loaded: Callable[[CellModel], None] | None = None,
) -> list[dict[str, Any]]:
    """Find cells in image files.

    Args:
        images: PNG, JPEG, TIFF or BMP files in colour.
        model_key: of a model card.
        mpp: µm per pixel of the images, or "auto" to estimate it from the cells of each image.
        min_score: cells below are left out.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        progress: called with (images done, images in all).
        loaded: called once, with the network that will do the work.

    Returns:
        COCO results in the order of ``images``, within an image by falling score: ``file_name``,
        ``category_name``, ``score``, ``bbox`` [x, y, w, h] of the outline, ``segmentation``
        [[x, y, …]], all in image pixels. The same call gives the same list.

    Raises:
        InputError: an image cannot be read or is not in colour, or a pixel size is out of range.
        ModelError: the model cannot be loaded.

    """
    model = load_model(model_key, device)
    if loaded is not None:
        loaded(model)
    scales = estimated_mpp(model, images) if mpp == "auto" else [mpp] * len(images)
    results: list[dict[str, Any]] = []
    for i, (path, scale) in enumerate(zip(images, scales, strict=True)):
        found = predict_rgb(model, read_rgb(path), scale, min_score)
        results += coco_results(found, model.classes, path.name)
        if progress is not None:
            progress(i + 1, len(images))
    return results


def estimated_mpp(model: CellModel, images: list[Path]) -> list[float]:
    """The pixel size of each image, estimated from its erythrocytes or from those of images like it.

    Raises:
        InputError: an image cannot be read, or no image holds an erythrocyte.

    """
    estimates, sizes = [], []
    for path in images:
        rgb = read_rgb(path)
        estimates.append(estimate_mpp(model, rgb))
        sizes.append((rgb.shape[0], rgb.shape[1]))
    return settle(estimates, sizes) if images else []


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a colour image as uint8 ``(H, W, 3)``; transparent parts become white.

    Raises:
        InputError: it is missing, damaged, too large, or grey.

    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path.name} is too large for a plain image; “segment” takes it as a slide."
                )
            if image.mode in GREY_MODES:
                raise InputError(f"{path.name} is a grey image; the networks need a stained smear in colour.")
            if "A" in image.mode or "transparency" in image.info:
                ground = Image.new("RGBA", image.size, "white")
                return np.array(Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB"))
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{path.name} does not exist; check the path.") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as e:
        raise InputError(f"{path.name} cannot be read as an image; check that it opens elsewhere.") from e


def predict_rgb(model: CellModel, rgb: NDArray[np.uint8], mpp: float, min_score: float = 0.0) -> Instances:
    """Find cells in one image.

    Args:
        model: a loaded network.
        rgb: uint8 ``(H, W, 3)``.
        mpp: µm per pixel of the image.
        min_score: cells below are left out.

    Returns:
        The cells by falling score; outlines and anchors in image pixels, outlines clipped to the image.

    Raises:
        InputError: the pixel size is out of range.

    """
    h, w = rgb.shape[:2]
    shrink = Mpp(mpp, mpp).mean / model.mpp  # model pixels per image pixel
    w_m, h_m = max(1, round(w * shrink)), max(1, round(h * shrink))
    small = resized(rgb, w_m, h_m)
    to_image = np.array([w / w_m, h / h_m], np.float32)
    limit = np.array([w, h], np.float32)
    tiles = tiles_over(model.grid, h_m, w_m)
    parts = [_owned_cells(model, small, tile, min_score, alone=len(tiles) == 1) for tile in tiles]
    parts = [_scaled(p, to_image, limit) for p in parts]
    return _by_score(parts, len(model.classes))


def resized(rgb: NDArray[np.uint8], w: int, h: int) -> NDArray[np.uint8]:
    """Resample to ``(h, w, 3)``: the mean over pixels when shrinking, bicubic when growing."""
    if (h, w) == rgb.shape[:2]:
        return rgb
    how = cv2.INTER_AREA if w < rgb.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (w, h), interpolation=how), np.uint8)


def tiles_over(grid: TileGrid, h_m: int, w_m: int) -> list[Region]:
    """The tiles of an image of ``(h_m, w_m)`` model pixels.

    Where it fits into one, a single one with the image about its middle, no larger than the network's
    strides ask for. Every tile at an edge of the image reaches beyond it, as those of a slide do.
    """
    h, w = (-(-(side + STEP + RIM) // grid.align) * grid.align for side in (h_m, w_m))
    if max(h, w) <= grid.tile:
        top, left = (max(1, free // (2 * STEP)) * STEP for free in (h - h_m, w - w_m))
        return [Region(-left, -top, w, h)]
    return [
        Region(x - grid.margin, y - grid.margin, grid.tile, grid.tile)
        for y in range(0, h_m, grid.core)
        for x in range(0, w_m, grid.core)
    ]


def _owned_cells(
    model: CellModel, small: NDArray[np.uint8], at: Region, min_score: float, alone: bool
) -> Instances:
    """Cells of a tile whose anchor lies in its core, or of the only one, in model pixels of the image."""
    grid = model.grid
    h_m, w_m = small.shape[:2]
    tile = np.full((at.h, at.w, 3), _WHITE, np.uint8)
    ys, xs = slice(max(0, at.y), min(h_m, at.y1)), slice(max(0, at.x), min(w_m, at.x1))
    tile[ys.start - at.y : ys.stop - at.y, xs.start - at.x : xs.stop - at.x] = small[ys, xs]
    found = model.predict(np.ascontiguousarray(tile.transpose(2, 0, 1))[None], min_score)[0]
    found = continued(found, at, Size(w_m, h_m), model.tail)
    keep = found.scores >= min_score
    if not alone:
        keep &= ((found.anchors >= grid.margin) & (found.anchors < grid.margin + grid.core)).all(1)
    kept = np.flatnonzero(keep)
    shift = np.array([at.x, at.y], np.float32)
    return Instances(
        [found.outlines[i] + shift for i in kept],
        found.classes[kept],
        found.scores[kept],
        found.probs[kept],
        found.anchors[kept] + shift,
    )


def _scaled(cells: Instances, factor: NDArray[np.float32], limit: NDArray[np.float32]) -> Instances:
    outlines = [np.clip(o * factor, 0, limit).astype(np.float32) for o in cells.outlines]
    # Cells seen only in the padding have nothing left inside the image.
    at = [i for i, o in enumerate(outlines) if len(o) >= 3 and cv2.contourArea(o) > 0]
    return Instances(
        [outlines[i] for i in at],
        cells.classes[at],
        cells.scores[at],
        cells.probs[at],
        (cells.anchors[at] * factor).astype(np.float32),
    )


def _by_score(parts: list[Instances], n_classes: int) -> Instances:
    outlines = [o for p in parts for o in p.outlines]
    scores = np.concatenate([p.scores for p in parts])
    order = np.argsort(-scores, kind="stable")
    return Instances(
        [outlines[i] for i in order],
        np.concatenate([p.classes for p in parts])[order],
        scores[order],
        np.concatenate([p.probs.reshape(-1, n_classes) for p in parts])[order],
        np.concatenate([p.anchors.reshape(-1, 2) for p in parts])[order],
    )


def coco_results(cells: Instances, classes: tuple[str, ...], file_name: str) -> list[dict[str, Any]]:
    """Cells as COCO results with names in place of numbers; coordinates rounded to 1/100 pixel."""
    results = []
    for outline, cls, score in zip(cells.outlines, cells.classes, cells.scores, strict=True):
        x0, y0, x1, y1 = outline_box(outline)
        results.append(
            {
                "file_name": file_name,
                "category_name": classes[int(cls)],
                "score": round(float(score), 5),
                "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
                "segmentation": [[round(float(v), 2) for v in outline.reshape(-1)]],
            }
        )
    return results


def outline_box(outline: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Smallest upright box x0, y0, x1, y1 around an outline."""
    x0, y0 = outline.min(0)
    x1, y1 = outline.max(0)
    return float(x0), float(y0), float(x1), float(y1)
