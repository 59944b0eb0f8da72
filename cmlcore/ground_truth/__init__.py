"""Ground truth: labelled images, read from what people and public sets have."""

from cmlcore.ground_truth.coco_write import write_coco
from cmlcore.ground_truth.door import kind_of, load, speaks_of
from cmlcore.ground_truth.qupath import slide_labels
from cmlcore.ground_truth.raster import filled, painted, traced, unlabelled
from cmlcore.ground_truth.records import Record, class_index, completeness, spread
from cmlcore.ground_truth.sets import MPP, instances_in_mask, records
from cmlcore.ground_truth.statistics import ClassRow, names_of, statistics

__all__ = [
    "MPP",
    "ClassRow",
    "Record",
    "class_index",
    "completeness",
    "filled",
    "instances_in_mask",
    "kind_of",
    "load",
    "names_of",
    "painted",
    "records",
    "slide_labels",
    "speaks_of",
    "spread",
    "statistics",
    "traced",
    "unlabelled",
    "write_coco",
]
