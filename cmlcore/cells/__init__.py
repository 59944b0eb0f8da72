"""The cell table: schema, Parquet parts, and the questions pages and reports ask of it."""

from cmlcore.cells.parts import (
    cell_files,
    finished_blocks,
    merge_parts,
    part_path,
    read_batches,
    with_run_facts,
    write_part,
)
from cmlcore.cells.rois import analysed_area_px, in_rois, roi_shape
from cmlcore.cells.schema import CELL_SCHEMA, CELLS_PER_BLOCK, OUTLINE_STEP
from cmlcore.cells.table import CellTable, ClassCount, Filters, Histogram

__all__ = [
    "CELLS_PER_BLOCK",
    "CELL_SCHEMA",
    "OUTLINE_STEP",
    "CellTable",
    "ClassCount",
    "Filters",
    "Histogram",
    "analysed_area_px",
    "cell_files",
    "finished_blocks",
    "in_rois",
    "merge_parts",
    "part_path",
    "read_batches",
    "roi_shape",
    "with_run_facts",
    "write_part",
]
