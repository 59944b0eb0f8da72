"""What type 2 is taught: its targets and its loss, for images whose labels may be partial.

Each class has a presence map of its own, so a class that is not labelled in an image has no loss there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from cmlcore.training.recipe import Found, Sample
from models.grouping import GroupingSettings, group
from models.type2 import as_probabilities
from models.windowed_vit import OFFSET_UNIT, REACH, STRIDE, WindowedVit

WEIGHTS = {"presence": 4.0, "dice": 1.0, "centre": 1.0, "offset": 1.0}
REFERENCE_AREA = 1100.0 / STRIDE**2  # of an erythrocyte, in map points
SMALL_LIMIT = 12.0  # a small cell's points weigh more, up to this, so that each cell weighs alike
RIM = 3  # map points
LAYER_DECAY = 0.8  # learning rate of a block, relative to the block above it
BODY_RATE = 0.2  # learning rate of the transformer's top block, relative to the decoder's
LOWEST_SCORE = 0.02  # cells below are not looked at while validating


@dataclass(frozen=True)
class Targets:
    """For one tile, on the stride-2 grid.

    Attributes:
        presence: float ``(C, h, w)``, 1 where a cell of the class is.
        known: bool ``(C, h, w)``, where ``presence`` may be learned.
        weight: float ``(h, w)``, larger in small cells.
        centre: float ``(h, w)``, one Gaussian bump of height 1 a cell.
        centre_known: bool ``(h, w)``.
        offset: float ``(2, h, w)``, way to the centroid of the cell's visible part, x, y, in ``OFFSET_UNIT``.
        share: float ``(h, w)``, weights of the offset loss; each cell's points sum to one, 0 outside cells.
        cells: number of cells.

    """

    presence: Tensor
    known: Tensor
    weight: Tensor
    centre: Tensor
    centre_known: Tensor
    offset: Tensor
    share: Tensor
    cells: int


def targets(sample: Sample, weights: tuple[float, ...] = ()) -> Targets:
    """Targets of a sample of ``CellTiles``; ``weights``: how much cells of each class count, () alike."""
    owner = sample["owner"][::STRIDE, ::STRIDE].long()
    ignore = sample["ignore"][::STRIDE, ::STRIDE]
    labels, complete = sample["labels"], sample["complete"]
    n, (h, w) = len(labels), owner.shape
    ys, xs = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    flat = owner.flatten()
    area = torch.bincount(flat, minlength=n + 1).float()
    cx = torch.bincount(flat, xs.flatten(), minlength=n + 1) / area.clamp(min=1)
    cy = torch.bincount(flat, ys.flatten(), minlength=n + 1) / area.clamp(min=1)
    inside = owner > 0
    of_class = torch.cat([torch.tensor([-1]), labels])[owner]
    presence = torch.stack([of_class == c for c in range(len(complete))]).float()
    known = (complete[:, None, None] | inside) & ~ignore
    small = (REFERENCE_AREA / area.clamp(min=1)).clamp(1.0, SMALL_LIMIT)
    small[0] = 1.0
    if weights:
        small[1:] *= torch.tensor(weights)[labels]
    # the ground next to a small cell weighs as much as the cell, or the cell would grow
    weight = nnf.max_pool2d(small[owner][None], 2 * RIM + 1, 1, RIM)[0]
    offset = torch.stack([cx[owner] - xs, cy[owner] - ys]) * (STRIDE / OFFSET_UNIT) * inside
    share = inside / area[owner].clamp(min=1)
    return Targets(
        presence, known, weight, _bumps(cx, cy, area, h, w), (complete.all() | inside) & ~ignore,
        offset, share, int((area[1:] > 0).sum()),
    )  # fmt: skip


def _bumps(cx: Tensor, cy: Tensor, area: Tensor, h: int, w: int) -> Tensor:
    out = torch.zeros(h, w)
    for i in range(1, len(area)):
        if area[i] == 0:
            continue
        sigma = float((0.11 * area[i].sqrt()).clamp(1.0, 2.5))
        reach = int(3 * sigma + 1)
        x, y = round(float(cx[i])), round(float(cy[i]))
        x0, x1, y0, y1 = max(0, x - reach), min(w, x + reach + 1), max(0, y - reach), min(h, y + reach + 1)
        gx = torch.exp(-((torch.arange(x0, x1) - x) ** 2) / (2 * sigma**2))
        gy = torch.exp(-((torch.arange(y0, y1) - y) ** 2) / (2 * sigma**2))
        out[y0:y1, x0:x1] = torch.maximum(out[y0:y1, x0:x1], gy[:, None] * gx[None])
    return out


def loss(maps: Tensor, batch: Sequence[Targets]) -> dict[str, Tensor]:
    """The loss's parts, each weighted; their sum is what is minimised.

    Args:
        maps: ``(B, C + 3, h, w)`` of ``WindowedVit``.
        batch: the tiles' targets.

    """
    maps = maps.float()
    c = maps.shape[1] - 3
    presence = torch.stack([t.presence for t in batch])
    known = torch.stack([t.known for t in batch]).float()
    weight = torch.stack([t.weight for t in batch])[:, None] * known
    bce = nnf.binary_cross_entropy_with_logits(maps[:, :c], presence, reduction="none")
    pixel = (bce * weight).sum() / weight.sum().clamp(min=1)
    p = maps[:, :c].sigmoid()
    overlap = (p * presence * weight).sum(dim=(0, 2, 3))
    total = ((p + presence) * weight).sum(dim=(0, 2, 3))
    there = (presence * known).sum(dim=(0, 2, 3)) > 0  # no dice for a class that is not in view
    dice = ((1 - 2 * overlap / total.clamp(min=1)) * there).sum() / there.sum().clamp(min=1)
    cells = max(1, sum(t.cells for t in batch))
    centre = _focal(maps[:, c], torch.stack([t.centre for t in batch]))
    centre = (centre * torch.stack([t.centre_known for t in batch])).sum() / cells
    miss = (maps[:, c + 1 :] - torch.stack([t.offset for t in batch])).abs().sum(dim=1)
    offset = (miss * torch.stack([t.share for t in batch])).sum() / cells
    parts = {"presence": pixel, "dice": dice, "centre": centre, "offset": offset}
    return {k: WEIGHTS[k] * v for k, v in parts.items()}


def _focal(logits: Tensor, bump: Tensor) -> Tensor:
    """Penalty-reduced focal loss of every point (CornerNet, Law and Deng 2018, eq. 1)."""
    p = logits.sigmoid()
    hit = -((1 - p) ** 2) * nnf.logsigmoid(logits)
    miss = -((1 - bump) ** 4) * p**2 * nnf.logsigmoid(-logits)
    return torch.where(bump >= 0.999, hit, miss)


@dataclass(frozen=True)
class Preparer:
    """Makes targets of tiles in the loader's processes; nothing is sent that is not needed."""

    weights: tuple[float, ...] = ()

    def __call__(self, sample: Sample) -> Sample:
        """The image and its ``Targets``."""
        return {"image": sample["image"], "targets": targets(sample, self.weights)}


class Type2Recipe:
    """Type 2 as the training sees it; see ``recipe.Recipe``."""

    kind = "type2"

    def __init__(
        self,
        net: WindowedVit,
        lr: float,
        frozen: int = 0,
        weights: tuple[float, ...] = (),
        weight_decay: float = 0.05,
    ) -> None:
        """``frozen`` lower blocks stay as they are, and all that lies below them."""
        self._net = net
        self.net: nn.Module = net
        self.align = net.config.window
        self.lr, self.weight_decay = lr, weight_decay
        self.prepare = Preparer(weights)
        self._grouping = GroupingSettings(stride=STRIDE, unit=OFFSET_UNIT)
        vit = net.vit
        for part in (vit.patch_embed, *list(vit.blocks)[:frozen]) if frozen else ():
            part.requires_grad_(False)
        for name in ("pos_embed", "cls_token", "reg_token") if frozen else ():
            if getattr(vit, name, None) is not None:
                getattr(vit, name).requires_grad_(False)

    def groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: the decoder at full rate, the transformer at a fifth, less in lower blocks."""
        depth = len(self._net.vit.blocks)
        out: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, p in self._net.named_parameters():
            if not p.requires_grad:
                continue
            rate = self.lr
            if name.startswith("vit."):
                block = int(name.split(".")[2]) if name.startswith("vit.blocks.") else depth - 1
                if name.startswith(("vit.patch_embed", "vit.pos_embed", "vit.cls_token", "vit.reg_token")):
                    block = 0
                rate = BODY_RATE * self.lr * LAYER_DECAY ** (depth - 1 - block)
            out.setdefault((rate, p.ndim > 1), []).append(p)
        decay = self.weight_decay
        return [{"params": ps, "lr": r, "weight_decay": decay if d else 0.0} for (r, d), ps in out.items()]

    def loss(self, samples: list[Sample]) -> dict[str, Tensor]:
        """The parts of the loss on a batch of equal-sized samples."""
        return loss(self._maps(samples), [to_device(s["targets"], self._device) for s in samples])

    def find(self, samples: list[Sample]) -> list[Found]:
        """The boxes of the outlines of the cells."""
        return [self._boxes(maps) for maps in self._maps(samples).float()]

    def _boxes(self, maps: Tensor) -> Found:
        cells = group(as_probabilities(maps).cpu().numpy(), self._grouping, LOWEST_SCORE)
        boxes = [[*o.min(axis=0).tolist(), *o.max(axis=0).tolist()] for o in cells.outlines]
        return Found(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            torch.from_numpy(cells.scores),
            torch.from_numpy(cells.classes),
        )

    def _maps(self, samples: list[Sample]) -> Tensor:
        maps: Tensor = self._net(torch.stack([s["image"] for s in samples]).to(self._device))
        return maps

    @property
    def _device(self) -> torch.device:
        return next(self._net.parameters()).device

    def architecture(self) -> dict[str, Any]:
        """What is needed to build the network again."""
        return self._net.config.as_dict()

    def grid(self, largest: float) -> dict[str, int]:
        """A core that is a multiple of the window, and a margin for the decoder's reach and half a cell."""
        side = self.align
        margin = side // 2
        while margin < REACH + largest / 2:
            margin += side // 2
        core = max(side, (1280 - 2 * margin) // side * side)
        return {"tile": core + 2 * margin, "margin": margin, "align": side}


def to_device(t: Targets, device: torch.device) -> Targets:
    """The same targets on another device."""
    moved = {k: v.to(device) for k, v in vars(t).items() if isinstance(v, Tensor)}
    return Targets(**moved, cells=t.cells)
