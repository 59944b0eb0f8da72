"""Segmentation of a scene: cut into blocks, predict, own, measure. Imports no torch."""

from cmlcore.segmentation.engine import BlockResult, default_batch, segment_blocks
from cmlcore.segmentation.frame import Frame, read_m
from cmlcore.segmentation.plan import Plan, SegmentSettings, plan_run

__all__ = [
    "BlockResult",
    "Frame",
    "Plan",
    "SegmentSettings",
    "default_batch",
    "plan_run",
    "read_m",
    "segment_blocks",
]
