"""The shipped networks on real images: cut into tiles or whole, the cells are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from label_oracle import PictureReader
from PIL import Image

from cmlcore.geometry import Mpp
from cmlcore.segmentation import SegmentSettings, plan_run, segment_blocks
from models.base import CellModel
from models.registry import card, load_model

MPP = 7.5 / 100  # of the images: a mean erythrocyte is 100 pixels wide


def _model(key: str) -> CellModel:
    if not card(key).weights.is_file():
        pytest.skip(f"the weights of {key} are not in models/weights")
    return load_model(key, "cpu")


def _cells(reader: PictureReader, model: CellModel, tile: int) -> pa.Table:
    wish = SegmentSettings(min_score=0.5, tile_px=tile, skip_empty=False)
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
    return pa.concat_tables(r.table for r in segment_blocks(reader, plan, plan.blocks, model, wish))


@pytest.mark.weights
@pytest.mark.realdata
@pytest.mark.parametrize("key", ["type1", "type2"])
def test_tiled_equals_untiled(key: str, real_data: Path) -> None:
    image = sorted((real_data / "bbbc041seg" / "val" / "images").iterdir())[0]
    pixels = np.asarray(Image.open(image).convert("RGB"))[:800, :1067]  # 400 × 300 model pixels
    reader = PictureReader(pixels, Mpp(MPP, MPP))
    model = _model(key)
    tiled, whole = (_cells(reader, model, core + 2 * model.grid.margin) for core in (256, 512))
    assert len(set(whole["block"].to_pylist())) == 1
    assert len(set(tiled["block"].to_pylist())) >= 3
    a, b = (
        [shapely.Polygon(np.reshape(o, (-1, 2))) for o in t["outline_l0"].to_pylist()] for t in (tiled, whole)
    )
    assert len(a) == len(b) > 20
    tree = shapely.STRtree(b)
    partners = []
    for i, shape in enumerate(a):
        near = tree.query(shape, predicate="intersects")
        overlap = [shape.intersection(b[j]).area / shape.union(b[j]).area for j in near]
        assert max(overlap, default=0) >= 0.99
        j = int(near[int(np.argmax(overlap))])
        partners.append(j)
        assert tiled["cls"][i] == whole["cls"][j]
        assert tiled["score"][i].as_py() == pytest.approx(whole["score"][j].as_py(), abs=0.02)
    assert len(set(partners)) == len(b)
