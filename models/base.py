"""The one interface both network types speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Instances:
    """Cells found in one tile.

    Attributes:
        outlines: one closed polygon a cell, float32 ``(V, 2)`` as x, y in tile pixels, continuous
            coordinates with pixel centres at ``+0.5`` (the polygon runs along pixel edges), at least
            three vertices, first vertex not repeated, non-self-intersecting.
        classes: int64 ``(N,)``, index into the model card's ``classes``.
        scores: float32 ``(N,)`` in 0..1, descending is not required.
        probs: float32 ``(N, C)``, class probabilities that sum to one.
        anchors: float32 ``(N, 2)`` as x, y in tile pixels; the point that decides which block owns
            the cell. It must depend on the pixels around the cell alone, not on the tile's place.

    """

    outlines: list[NDArray[np.float32]]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    probs: NDArray[np.float32]
    anchors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.outlines)


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How a model wants its tiles cut, all in model pixels (``m``).

    A tile of ``tile`` pixels is predicted; its core is the tile less ``margin`` on every side. Tile
    origins lie at multiples of ``tile - 2 * margin``, less ``margin``; that step is a multiple of
    ``align``, so any pixel meets the same strides and attention windows whatever the tiling.
    """

    tile: int
    margin: int
    align: int

    @property
    def core(self) -> int:
        """Side of the core, in model pixels."""
        return self.tile - 2 * self.margin

    def __post_init__(self) -> None:
        if self.core <= 0 or self.core % self.align:
            raise ValueError(f"core {self.core} must be a positive multiple of align {self.align}")


def check_batch(batch: NDArray[np.uint8], grid: TileGrid) -> None:
    """Hold a batch of tiles against what ``CellModel.predict`` asks for.

    Raises:
        ValueError: it is not uint8 (N, 3, H, W) with sides that are multiples of ``grid.align``.

    """
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1] != 3:
        raise ValueError(f"expected uint8 (N, 3, H, W), got {batch.dtype} {batch.shape}")
    if batch.shape[2] % grid.align or batch.shape[3] % grid.align:
        raise ValueError(f"tile sides {batch.shape[2:]} must be multiples of {grid.align}")


class CellModel(Protocol):
    """A loaded network, on its device, in evaluation mode."""

    key: str  # "type1" or "type2", or the name of a trained one
    classes: tuple[str, ...]  # keys of cmlcore.classes, in the order of the network's outputs
    mpp: float  # µm per pixel the network was trained at
    grid: TileGrid  # its default tiling; ``with_margin`` style changes are the engine's business
    device: str  # as said on the page: "CPU (2 threads, bf16)", "NVIDIA H100"
    tail: float  # px; thinner parts of a cell cut by the image's edge are missing, see ``models.cut_cells``
    sha256: str  # of the weight file
    card: dict[str, Any]  # the model card's machine-readable part

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        """Find cells in tiles.

        Args:
            batch: uint8 ``(N, 3, H, W)``, RGB, at ``mpp`` µm per pixel; H and W multiples of ``grid.align``.
            min_score: cells below this score may be left out.

        Returns:
            One ``Instances`` a tile, cells cut by the tile's edge included.

        Raises:
            ValueError: the batch is not what ``check_batch`` allows.

        """
        ...
