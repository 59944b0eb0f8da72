"""Cells too unsure to name: kept by the engine, a class of their own in the table and in every export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from label_oracle import LabelOracle, label_slide, random_labels
from numpy.typing import NDArray

from cmlcore.cells import CellTable, Filters, merge_parts, write_part
from cmlcore.classes import UNIDENTIFIED
from cmlcore.report import csv_stream, geojson_stream, overlay_index, summary
from cmlcore.segmentation import SegmentSettings, plan_run, segment_blocks
from models.base import Instances, TileGrid

FLOOR, LEAST = 0.52, 0.6  # the oracle's scores run from 0.504 to 0.604
NAMED = SegmentSettings(min_score=FLOOR, skip_empty=False)
UNSURE = SegmentSettings(min_score=LEAST, unidentified_score=FLOOR, skip_empty=False)


class Strict(LabelOracle):
    """Leaves out what lies below the score asked for, and remembers it."""

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:
        self.asked = min_score
        out = []
        for f in super().predict(batch, min_score):
            at = np.flatnonzero(f.scores >= np.float32(min_score))
            outlines = [f.outlines[i] for i in at]
            out.append(Instances(outlines, f.classes[at], f.scores[at], f.probs[at], f.anchors[at]))
        return out


def segmented(folder: Path, wish: SegmentSettings) -> tuple[CellTable, Strict]:
    reader = label_slide(random_labels(np.random.default_rng(1), 160, 160, 25, 8))
    model = Strict(TileGrid(64, 16, 16))
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
    for result in segment_blocks(reader, plan, plan.blocks, model, wish):
        write_part(folder, result.index, result.table)
    merge_parts(folder)
    return CellTable(folder), model


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> CellTable:
    table, model = segmented(tmp_path_factory.mktemp("unsure"), UNSURE)
    assert model.asked == FLOOR
    return table


def rows(table: CellTable, *columns: str) -> list[dict[str, object]]:
    return table.arrow(columns).to_pylist()


def test_only_the_name_differs_from_a_run_that_names_all(unsure: CellTable, tmp_path: Path) -> None:
    named, _ = segmented(tmp_path, NAMED)
    assert named.classes == named.prob_classes == unsure.prob_classes
    assert unsure.classes == (*named.classes, UNIDENTIFIED)
    columns = ("cell_id", "score", "probs", "outline_l0")
    assert rows(unsure, *columns) == rows(named, *columns)
    assert len(rows(named, "cls")) > 12
    for a, b in zip(rows(unsure, "cls", "score"), rows(named, "cls"), strict=True):
        assert a["cls"] == (b["cls"] if a["score"] >= np.float32(LEAST) else UNIDENTIFIED)


def test_named_classes_share_among_themselves_unless_asked(unsure: CellTable) -> None:
    *named, unknown = unsure.counts(area_mm2=2.0)
    assert unknown.cls == UNIDENTIFIED
    assert unknown.count > 3
    assert unknown.percent is None
    assert unknown.density_mm2 == unknown.count / 2
    together = sum(c.count for c in named)
    assert together > 0
    assert [c.percent for c in named] == [100 * c.count / together for c in named]
    asked = unsure.counts(Filters(classes=unsure.classes))
    whole = together + unknown.count
    assert [c.percent for c in asked] == [100 * c.count / whole for c in asked]
    alone = unsure.counts(Filters(classes=(UNIDENTIFIED,)))
    assert [(c.cls, c.count, c.percent) for c in alone] == [(UNIDENTIFIED, unknown.count, 100.0)]


def test_reports_hold_them_with_their_probabilities(unsure: CellTable) -> None:
    unknown = unsure.counts()[-1].count
    told = summary(unsure, 1.0)
    assert (told["cells"], told["unidentified"]) == (unsure.count(), unknown)
    assert told["classes"][UNIDENTIFIED]["percent"] is None

    lines = b"".join(csv_stream({}, unsure)).decode().splitlines()
    head = next(line for line in lines if line.startswith("cell_id"))
    assert f"prob_{unsure.prob_classes[-1]}" in head
    assert f"prob_{UNIDENTIFIED}" not in head
    found = [line for line in lines if f",{UNIDENTIFIED}," in line]
    assert len(found) == unknown
    assert all(line.split('"')[0].count(",") == head.count(",") for line in found)

    features = json.loads(b"".join(geojson_stream({}, unsure)))["features"]
    names = [f["properties"]["classification"]["name"] for f in features]
    assert names.count("Unidentified") == unknown
    assert "Probability Unidentified" not in features[0]["properties"]["measurements"]

    shown = {c["key"]: c["hidden"] for c in overlay_index(unsure)["classes"]}
    assert shown == {**dict.fromkeys(unsure.prob_classes, False), UNIDENTIFIED: True}


@pytest.mark.parametrize(
    ("least", "floor", "below", "kept"),
    [(0.5, None, None, 0.5), (0.5, 0.2, 0.5, 0.2), (0.2, 0.2, None, 0.2), (0.1, 0.2, None, 0.1)],
)
def test_a_least_score_below_the_floor_names_every_cell(
    least: float, floor: float | None, below: float | None, kept: float
) -> None:
    wish = SegmentSettings(min_score=least, unidentified_score=floor)
    assert (wish.unnamed_below, wish.least_score) == (below, kept)
