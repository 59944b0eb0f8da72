"""The Arrow schema of the cell table and what a cell's row means."""

from __future__ import annotations

import pyarrow as pa

CELLS_PER_BLOCK = 100_000
"""A cell's id is ``owner_block * CELLS_PER_BLOCK + place in the block``: unique in a run, known to
the worker alone, and the same on every repetition."""

OUTLINE_STEP = 0.125
"""Outline vertices lie on multiples of this, in level-0 pixels; exact in float32 up to 2**21 pixels."""

CELL_SCHEMA = pa.schema(
    [
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),  # the owner
        pa.field("cls", pa.string(), nullable=False),  # key of cmlcore.classes
        pa.field("score", pa.float32(), nullable=False),
        pa.field("probs", pa.list_(pa.float32()), nullable=False),  # in the order of the run's classes
        pa.field("x_l0", pa.float32(), nullable=False),  # centroid of the outline
        pa.field("y_l0", pa.float32(), nullable=False),
        pa.field("x0_l0", pa.float32(), nullable=False),  # bounding box
        pa.field("y0_l0", pa.float32(), nullable=False),
        pa.field("x1_l0", pa.float32(), nullable=False),
        pa.field("y1_l0", pa.float32(), nullable=False),
        pa.field("area_um2", pa.float32(), nullable=False),
        pa.field("perimeter_um", pa.float32(), nullable=False),
        pa.field("circularity", pa.float32(), nullable=False),  # 4 pi area / perimeter^2
        pa.field("mean_r", pa.float32(), nullable=False),  # mean colour inside the outline, 0..255
        pa.field("mean_g", pa.float32(), nullable=False),
        pa.field("mean_b", pa.float32(), nullable=False),
        # x0, y0, x1, y1, … level 0, rounded to 1/8 pixel; first vertex not repeated
        pa.field("outline_l0", pa.list_(pa.float32()), nullable=False),
    ]
)
