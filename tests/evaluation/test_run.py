"""The whole evaluation with an oracle that knows the labels: it must get full marks, a worse one less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.evaluation import evaluate_sets, run
from cmlcore.evaluation.judges import BoxJudge, ErythrocyteMaskJudge, LeukocyteJudge
from cmlcore.ground_truth import Record
from cmlcore.ground_truth.records import no_boxes
from cmlcore.ground_truth.sets import CLASSES, MPP
from models.base import Instances, TileGrid

ERYTHROCYTE, LEUKOCYTE = 0, 1


def circle(x: float, y: float, r: float) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + r * np.cos(t), y + r * np.sin(t)], 1).astype(np.float32)


def found(*cells: tuple[int, float, np.ndarray]) -> Instances:
    n = len(cells)
    return Instances(
        [c[2] for c in cells],
        np.array([c[0] for c in cells], np.int64),
        np.array([c[1] for c in cells], np.float32),
        np.full((n, 3), 1 / 3, np.float32),
        np.zeros((n, 2), np.float32),
    )


def record(source: str, boxes: np.ndarray, names: tuple[str, ...]) -> Record:
    return Record(Path("x"), source, MPP[source], frozenset(CLASSES), boxes, names, (), None, no_boxes())


def mask_record(
    tmp_path: Path, source: str, cls: str, discs: list[tuple[int, int, int]], clusters: Any
) -> Record:
    mask = np.zeros((300, 400), np.uint8)
    for x, y, r in discs:
        cv2.circle(mask, (x, y), r, 255, -1)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    clusters = np.array(clusters, np.float32).reshape(-1, 4)
    complete = frozenset({cls})
    mask_file = tmp_path / "mask.png"
    return Record(tmp_path / "x.png", source, MPP[source], complete, no_boxes(), (), (), mask_file, clusters)


def test_leukocyte_judge_takes_the_best_match_and_counts_the_false(tmp_path: Path) -> None:
    record = mask_record(tmp_path, "krd_wbc", "leukocyte", [(200, 150, 50)], [])
    judge = LeukocyteJudge(0.5)
    good, half = circle(200.5, 150.5, 50), circle(230, 150, 50)
    other = circle(60, 60, 30)
    judge.see(
        record, found((LEUKOCYTE, 0.9, half), (LEUKOCYTE, 0.6, good), (LEUKOCYTE, 0.8, other)), (300, 400)
    )
    figures = judge.figures()
    assert figures["leukocyte Dice (best match)"] > 0.97
    assert figures["false leukocytes per image"] == 1
    judge.see(
        record, found((LEUKOCYTE, 0.4, good), (ERYTHROCYTE, 0.9, good)), (300, 400)
    )  # unsure; wrong class
    assert judge.figures()["leukocyte Dice (best match)"] == pytest.approx(
        figures["leukocyte Dice (best match)"] / 2
    )
    assert judge.figures()["leukocytes missed (Dice < 0.5, share)"] == 0.5


def test_mask_judge_leaves_clusters_and_cut_cells_out(tmp_path: Path) -> None:
    discs = [(80, 80, 30), (200, 80, 30), (0, 200, 30), (300, 220, 30), (340, 220, 30)]
    record = mask_record(tmp_path, "bbbc041seg", "erythrocyte", discs, [270, 190, 371, 251])
    judge = ErythrocyteMaskJudge(0.5)
    cells = [(ERYTHROCYTE, 0.9, circle(x + 0.5, y + 0.5, 30)) for x, y, _ in discs]
    cells[2] = (ERYTHROCYTE, 0.9, np.clip(cells[2][2], 0, None))  # cut by the edge
    judge.see(record, found(*cells), (300, 400))
    figures = judge.figures()
    assert figures["mask AP50 erythrocyte"] == pytest.approx(1)
    assert figures["recognition quality"] == 1
    assert figures["panoptic quality"] > 0.93
    judge.see(record, found(cells[0], (ERYTHROCYTE, 0.8, circle(150, 200, 20))), (300, 400))
    assert judge.figures()["recognition quality"] == pytest.approx(3 / (3 + 0.5 + 0.5))


def test_a_find_that_reaches_the_edge_still_counts_for_a_true_cell_that_does_not(tmp_path: Path) -> None:
    record = mask_record(tmp_path, "bbbc041seg", "erythrocyte", [(34, 150, 30)], [0, 0, 0, 0])
    judge = ErythrocyteMaskJudge(0.5)
    reaching = np.clip(circle(32, 150, 32), 0, None)
    empty = circle(399, 20, 20).clip(None, 400)  # at the edge too, where no cell has a mask
    judge.see(record, found((ERYTHROCYTE, 0.9, reaching), (ERYTHROCYTE, 0.95, empty)), (300, 400))
    figures = judge.figures()
    assert figures["mask AP50 erythrocyte"] == pytest.approx(1)
    assert figures["recognition quality"] == 1


def test_box_judge_scores_by_class_and_source() -> None:
    judge = BoxJudge()
    boxes = np.array([[10, 10, 50, 50], [100, 100, 180, 180]], np.float32)
    right = [(ERYTHROCYTE, 0.9, circle(30, 30, 20)), (LEUKOCYTE, 0.9, circle(140, 140, 40))]
    for source, cells in (("PBC", right), ("Raabin", right[:1])):
        judge.see(record(source, boxes, CLASSES[:2]), found(*cells), (200, 200))
    figures = judge.figures()
    assert figures["box mAP50 PBC"] == pytest.approx(1)
    assert figures["box mAP50 Raabin"] == pytest.approx(0.5)
    assert figures["box AP50 erythrocyte"] == pytest.approx(1)
    assert figures["box AP50 leukocyte"] == pytest.approx(51 / 101)
    assert "box AP50 thrombocyte" not in figures


class Oracle:
    """Finds dark discs by threshold; stands for a network in a test of the road around it."""

    key, classes, mpp, grid = "oracle", CLASSES, 0.2, TileGrid(256, 64, 32)
    device, tail, sha256, card = "test", 0.0, "0" * 64, {"min_score": 0.5}

    def predict(self, batch: np.ndarray, min_score: float = 0.0) -> list[Instances]:
        out = []
        for tile in batch:
            contours, _ = cv2.findContours(
                (tile[1] < 200).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            shapes = [c[:, 0].astype(np.float32) + 0.5 for c in contours if len(c) > 8]
            out.append(found(*[(ERYTHROCYTE, 0.9, s) for s in shapes]))
            out[-1].anchors[:] = np.array([s.mean(0) for s in shapes], np.float32).reshape(-1, 2)
        return out


@pytest.fixture
def drawn_set(tmp_path: Path) -> Path:
    """A txl_pbc-like set of one drawn image: PBC scale, erythrocytes 79 px wide."""
    root = tmp_path / "data"
    for d in ("images", "labels"):
        (root / "txl_pbc" / "val" / d).mkdir(parents=True)
    image = np.full((363, 360, 3), 240, np.uint8)
    lines = []
    for x, y in ((60, 60), (200, 90), (110, 220), (270, 270)):
        cv2.circle(image, (x, y), 39, (200, 120, 130), -1)
        lines.append(f"1 {x / 360} {y / 363} {79 / 360} {79 / 363}")
    Image.fromarray(image).save(root / "txl_pbc" / "val" / "images" / "a.png")
    (root / "txl_pbc" / "val" / "labels" / "a.txt").write_text("\n".join(lines))
    (root / "txl_pbc" / "meta_val.csv").write_text("image,width,height,source\na.png,360,363,PBC\n")
    return root


@pytest.mark.parametrize("mpp", ["known", "auto"])
def test_an_oracle_gets_full_marks(drawn_set: Path, mpp: Any) -> None:
    seen = []
    report = evaluate_sets(
        Oracle(), drawn_set, ["txl_pbc"], mpp=mpp, progress=lambda i, n: seen.append((i, n))
    )
    assert report.figures["txl_pbc"]["box mAP50"] == pytest.approx(1)
    assert seen == [(1, 1)]
    if mpp == "auto":
        assert report.figures["txl_pbc"]["pixel size off by (median, relative)"] < 0.05
    assert json.loads(json.dumps(report.to_json()))["note"] == RESEARCH_USE
    assert report.table().row_count == len(report.figures["txl_pbc"])


def test_unknown_sets_and_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a set"):
        evaluate_sets(Oracle(), tmp_path, ["nope"])
    with pytest.raises(InputError, match="not a part"):
        evaluate_sets(Oracle(), tmp_path, ["txl_pbc"], "test")
    with pytest.raises(InputError, match="No labelled images"):
        evaluate_sets(Oracle(), tmp_path, ["txl_pbc"])


def test_a_limit_spreads_over_the_set() -> None:
    some = [replace(record("PBC", no_boxes(), ()), image=Path(str(i))) for i in range(10)]
    assert [r.image.name for r in run.spread(some, 3)] == ["0", "4", "9"]
    assert run.spread(some, 99) == some


@pytest.mark.realdata
@pytest.mark.weights
@pytest.mark.parametrize("key", ["type1", "type2"])
def test_shipped_weights_hold_the_bar_on_a_sample(real_data: Path, key: str) -> None:
    report = run.evaluate(key, real_data, ["txl_pbc", "krd_wbc"], limit=16, device="cpu")
    assert report.figures["txl_pbc"]["box mAP50"] >= 0.80
    assert report.figures["krd_wbc"]["leukocyte Dice (best match)"] >= 0.85
