"""The second stage of type 1: sampling under partial labels, losses, and one detection a cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou, clip_boxes_to_image, nms, roi_align

Target = dict[str, Any]
"""One image's labels: ``boxes`` float32 (G, 4) x0 y0 x1 y1; ``labels`` int64 (G,), 1 is the first class;
``owner`` int32 (H, W), 0 no labelled cell, ``i + 1`` cell ``i``; ``has_mask`` bool (G,), whether those
pixels are an outline; ``ignore`` bool (H, W), where nothing is asked; ``complete`` bool (C,), whether
every cell of a class has its box."""

MASKS_PER_IMAGE = 32
"""Cells a training image gives to the mask loss; more cost time and teach little."""

VOTE_SQUARE = 96.0
"""Pixels; boxes of so large a square are voted on together."""


def over_ignored(boxes: Tensor, ignore: Tensor, share: float = 0.3) -> Tensor:
    """Boxes (N, 4) of whose area at least ``share`` lies on ignored pixels (H, W); bool (N,)."""
    h, w = ignore.shape
    summed = F.pad(ignore.float().cumsum(0).cumsum(1), (1, 0, 1, 0))  # integral image, (H + 1, W + 1)
    x0, y0, x1, y1 = boxes.round().long().unbind(1)
    x0, x1 = x0.clamp(0, w), x1.clamp(0, w)
    y0, y1 = y0.clamp(0, h), y1.clamp(0, h)
    inside = summed[y1, x1] - summed[y0, x1] - summed[y1, x0] + summed[y0, x0]
    area = ((x1 - x0) * (y1 - y0)).clamp(min=1)
    return inside / area >= share


def partial_cross_entropy(logits: Tensor, allowed: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of −log of the probability that the class is among the allowed ones.

    With one allowed class it is cross-entropy; with all allowed it is 0 and teaches nothing.

    Args:
        logits: (N, K).
        allowed: bool (N, K), at least one true a row.
        weight: (N,), how much each row counts; None for all alike.

    """
    among = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    cost = logits.logsumexp(1) - among
    if weight is None:
        return cost.sum() / max(1, len(logits))
    return (cost * weight).sum() / weight.sum().clamp(min=1)


def _rare_first(cells: Tensor, label: Tensor) -> Tensor:
    """The proposals ``cells`` in random order, but those of rare classes likelier to come early.

    Each class has its own mask; drawn evenly, that of the thrombocyte, one cell in thirty, would learn last.
    """
    count = torch.bincount(label[cells]) if len(cells) else cells
    # Efraimidis and Spirakis 2006: the largest of u^(1/w) are a weighted sample without repetition
    key = torch.rand(len(cells), device=cells.device) ** count[label[cells]].float().clamp(min=1)
    return cells[key.argsort(descending=True)]


def voted_boxes(
    kept: Tensor, boxes: Tensor, scores: Tensor, rounds: int = 2, square: float | None = VOTE_SQUARE
) -> Tensor:
    """Each kept box as the weighted mean of all boxes that lie on it (after Gidaris and Komodakis 2015).

    Which of many nearly equal boxes scores best hangs on rounding; their mean does not, so a cell has the
    same outline in every tile that sees it. A vote weighs by score and fades in from IoU 0.65 to 0.85, so
    that no box enters or leaves with a jump.

    Args:
        kept: (K, 4).
        boxes: (N, 4), the kept ones among them.
        scores: (N,).
        rounds: how often the vote is held, each time around the mean before.
        square: boxes of one square of this side are held against those that meet them, not against all;
            None: all against all. It changes the time, not the votes.

    """
    if not len(kept):
        return kept
    voted = torch.empty_like(kept)
    for group in _squares(kept, square):
        middle = kept[group]
        for _ in range(rounds):
            (x0, y0), (x1, y1) = middle[:, :2].amin(0), middle[:, 2:].amax(0)
            near = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
            middle = _vote(middle, boxes[near], scores[near])
        voted[group] = middle
    return voted


def _squares(kept: Tensor, square: float | None) -> list[Tensor]:
    """Indices of the boxes (K, 4) by the square that holds their first corner."""
    if square is None or kept.device.type != "cpu":  # a GPU is through with all before it has sorted them
        return [torch.arange(len(kept), device=kept.device)]
    column, row = (kept[:, :2].clamp(min=0) / square).floor().long().unbind(1)
    key = row * (column.max() + 1) + column
    sizes = torch.bincount(key)
    return list(torch.split(key.argsort(stable=True), sizes[sizes > 0].tolist()))


def _vote(middle: Tensor, boxes: Tensor, scores: Tensor) -> Tensor:
    overlap = box_iou(middle, boxes)
    weight = ((overlap - 0.65) / 0.2).clamp(0, 1) * scores
    weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, overlap)
    with torch.autocast(boxes.device.type, enabled=False):  # a product in bf16 would be pixels off
        return weight @ boxes / weight.sum(1, keepdim=True)


class PartialRoIHeads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """Box and mask heads that learn from partial labels and give one detection a cell.

    Attributes:
        min_score: detections below are not given, and cost no mask.
        class_weights: how much each class counts in training, the ground first; () for all alike.

    """

    min_score: float = 0.0
    class_weights: tuple[float, ...] = ()

    def check_targets(self, targets: list[Target] | None) -> None:
        """Masks come from the owner map, which torchvision does not know."""
        if targets is None:
            raise ValueError("training needs targets")

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As torchvision's; unmatched proposals over ignored places become -1 and are never sampled."""
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for label, boxes, ignore in zip(labels, proposals, self._ignore, strict=True):
            label[(label == 0) & over_ignored(boxes, ignore)] = -1
        return matched, labels

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Losses in training; in evaluation one dict an image: boxes (N, 4), probs (N, C), scores (N,),
        labels (N,) from 0, masks (N, 28, 28) as probabilities inside the box.
        """
        if self.training:
            self.check_targets(targets)
            return [], self._losses(features, proposals, image_shapes, targets or [])
        return self._detect(features, proposals, image_shapes), {}

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        shapes: list[tuple[int, int]],
        targets: list[Target],
    ) -> dict[str, Tensor]:
        self._ignore = [t["ignore"] for t in targets]
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        logits, deltas = self._boxes(features, proposals, shapes)
        label = torch.cat(labels)
        allowed = F.one_hot(label, logits.shape[1]).bool()
        open_classes = torch.cat(
            [(~t["complete"]).expand(len(n), -1) for t, n in zip(targets, labels, strict=True)]
        )
        allowed[:, 1:] |= open_classes & (label == 0)[:, None]
        positive = torch.nonzero(label > 0).squeeze(1)
        chosen = deltas.view(*logits.shape, 4)[positive, label[positive]]
        box_loss = F.smooth_l1_loss(chosen, torch.cat(regression)[positive], beta=1 / 9, reduction="sum")
        weight = logits.new_tensor(self.class_weights)[label] if self.class_weights else None
        return {
            "loss_classifier": partial_cross_entropy(logits, allowed, weight),
            "loss_box_reg": box_loss / max(1, len(label)),
            "loss_mask": self._mask_loss(features, proposals, matched, labels, shapes, targets),
        }

    def _boxes(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        pooled = self.box_head(self.box_roi_pool(features, proposals, shapes))
        logits, deltas = self.box_predictor(pooled)
        return logits.float(), deltas.float()

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        shapes: list[tuple[int, int]],
        targets: list[Target],
    ) -> Tensor:
        rois, truths, classes = [], [], []
        for boxes, match, label, target in zip(proposals, matched, labels, targets, strict=True):
            use = torch.nonzero(
                (label > 0) & target["has_mask"][match] if len(target["boxes"]) else label > 0
            )
            use = _rare_first(use.squeeze(1), label)[:MASKS_PER_IMAGE]
            masks = (target["owner"] == match[use, None, None] + 1).to(boxes)  # (U, H, W)
            at = torch.cat([torch.arange(len(use), device=boxes.device)[:, None].to(boxes), boxes[use]], 1)
            truth = roi_align(masks[:, None], at, 28, 1.0, aligned=True)[:, 0]
            rois.append(boxes[use])
            truths.append(truth)
            classes.append(label[use])
        cls = torch.cat(classes)
        if not len(cls):
            return next(iter(features.values())).sum() * 0
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, rois, shapes))).float()
        logits = logits[torch.arange(len(cls), device=cls.device), cls]
        return F.binary_cross_entropy_with_logits(logits, torch.cat(truths))

    @torch.no_grad()
    def _detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]
    ) -> list[Target]:
        logits, deltas = self._boxes(features, proposals, shapes)
        every = self.box_coder.decode(deltas, proposals).view(*logits.shape, 4)  # (sum N, K, 4)
        counts = [len(p) for p in proposals]
        found = []
        for probs, boxes, shape in zip(
            torch.split(logits.softmax(1), counts), torch.split(every, counts), shapes, strict=True
        ):
            found.append(self._one_a_cell(probs, boxes, shape))
        at = [f["boxes"] for f in found]
        total = sum(map(len, at))
        if total:
            masks = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, at, shapes))).float()
            cls = torch.cat([f["labels"] for f in found])
            masks = masks[torch.arange(total, device=cls.device), cls + 1].sigmoid()
        else:
            masks = logits.new_zeros(0, 28, 28)
        for f, m in zip(found, torch.split(masks, [len(b) for b in at]), strict=True):
            f["masks"] = m
        return found

    def _one_a_cell(self, probs: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Target:
        """Keep each proposal's best cell class, then the best proposal of each cell, whatever its class."""
        scores, labels = probs[:, 1:].max(1)
        boxes = boxes[torch.arange(len(labels), device=labels.device), labels + 1]
        boxes = clip_boxes_to_image(boxes, shape)
        side = (boxes[:, 2:] - boxes[:, :2]).amin(1)
        keep = torch.nonzero((scores >= self.score_thresh) & (side >= 2)).squeeze(1)
        boxes, scores, labels, probs = boxes[keep], scores[keep], labels[keep], probs[keep, 1:]
        best = nms(boxes, scores, self.nms_thresh)
        voted = voted_boxes(boxes[best], boxes, scores)
        # Two boxes of one cell may have been voted onto each other.
        last = nms(voted, scores[best], self.nms_thresh)
        order, voted = best[last], voted[last]
        limit = max(100, round(self.detections_per_img * shape[0] * shape[1] / (512 * 512)))
        # Only now: a vote must not depend on what the caller wants to see.
        shown = torch.nonzero(scores[order] >= self.min_score).squeeze(1)[:limit]
        order, voted = order[shown], voted[shown]
        return {
            "boxes": voted,
            "scores": scores[order],
            "labels": labels[order],
            "probs": probs[order] / probs[order].sum(1, keepdim=True).clamp(min=1e-9),
        }
