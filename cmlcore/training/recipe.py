"""What the training needs to know of a network; type 1 and type 2 each say it in their own module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

Sample = dict[str, Any]
"""A tile of ``tiles.CellTiles``, or what ``Recipe.prepare`` made of one."""


@dataclass(frozen=True, slots=True)
class Found:
    """Cells found in one tile while validating.

    Attributes:
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1 in tile pixels.
        scores: float32 ``(N,)``.
        labels: int64 ``(N,)``, index into the classes that are trained.

    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Recipe(Protocol):
    """One network and how it is taught."""

    kind: str  # "type1" or "type2", as on the model's card
    net: nn.Module
    align: int  # sides of a tile are multiples of it

    @property
    def prepare(self) -> Callable[[Sample], Sample]:
        """What a loader process makes of a tile; it holds no network, so that it is cheap to send."""
        ...

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups, each with its peak learning rate."""
        ...

    def loss(self, samples: list[Sample]) -> dict[str, Tensor]:
        """The parts of the loss by name, in whatever mode the network is; their sum is minimised."""
        ...

    def find(self, samples: list[Sample]) -> list[Found]:
        """The cells of each tile; the network is in evaluation mode."""
        ...

    def architecture(self) -> dict[str, Any]:
        """What is needed to build the network again, as the model's card holds it."""
        ...

    def grid(self, largest: float) -> dict[str, int]:
        """``tile``, ``margin`` and ``align`` for the card; ``largest`` is a large cell's side in pixels."""
        ...
