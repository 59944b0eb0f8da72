"""Parts of pages that hold logic of their own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cmlcore import store
from cmlcore.cells import Filters
from cmlcore.geometry import Mpp
from cmlcore.jobs import Progress
from cmlcore.ui import (
    cell_facts,
    data,
    intake,
    model_cards,
    pixel_size,
    progress,
    results,
    selection,
    slide_cards,
    viewer,
    widgets,
)


def discs(diameter: float, n: int = 10, side: int = 640) -> NDArray[np.uint8]:
    """A smear of ``n * n`` pink discs on white, with two leukocyte-sized purple ones."""
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side, 3), (245, 240, 238), np.uint8)
    step = side / n
    for i in range(n):
        for j in range(n):
            size = diameter * (1.9 if (i, j) in ((2, 2), (7, 5)) else 1)
            near = (x - (i + 0.5) * step) ** 2 + (y - (j + 0.5) * step) ** 2 < (size / 2) ** 2
            image[near] = (214, 150, 160) if size == diameter else (110, 70, 150)
    return image


@pytest.mark.parametrize("diameter", [16, 24, 32.5])
def test_erythrocyte_diameter_is_that_of_the_discs(diameter: float) -> None:
    found = pixel_size.erythrocyte_diameters_px(discs(diameter))
    assert np.median(found) == pytest.approx(diameter, rel=0.06)


def test_no_estimate_from_too_few_discs_or_from_nothing() -> None:
    assert not len(pixel_size.erythrocyte_diameters_px(discs(30, n=4)))
    assert not len(pixel_size.erythrocyte_diameters_px(np.full((300, 300, 3), 240, np.uint8)))


def test_the_estimated_pixel_size_says_between_what_it_lies() -> None:
    found = pixel_size.from_diameters(np.arange(51, 151, dtype=np.float64))  # the median's: 91 to 111 px
    assert found.mpp == pytest.approx(7.5 / 100.5)
    assert (found.low, found.high) == pytest.approx((6.7 / 111, 7.7 / 91))
    assert found.cells == 100
    assert pixel_size.likely_range(0.15) == pytest.approx((0.134, 0.154))
    assert "between 0.134 and 0.154\u202fµm" in pixel_size.likely_text(0.134, 0.154)


@pytest.mark.realdata
def test_discs_of_real_fields_agree_with_the_boxes_people_drew(real_data: Path) -> None:
    """CellaVision fields: the medians lie within 15 % (the boxes are a few pixels loose)."""
    root, boxes, found = real_data / "txl_pbc", [], []
    rows = csv.DictReader((root / "meta_val.csv").read_text(encoding="utf-8").splitlines())
    for row in [r for r in rows if r["source"] == "PBC"][:40]:
        rgb = np.asarray(Image.open(root / "val" / "images" / row["image"]).convert("RGB"))
        kinds = np.loadtxt(root / "val" / "labels" / f"{Path(row['image']).stem}.txt", ndmin=2)
        for _, cx, cy, w, h in kinds[kinds[:, 0] == 1]:
            if min(cx - w / 2, cy - h / 2) > 0.005 and max(cx + w / 2, cy + h / 2) < 0.995:
                boxes.append((w * rgb.shape[1] + h * rgb.shape[0]) / 2)
        found += pixel_size.disc_diameters_px(rgb).tolist()
    assert len(found) > 50
    assert np.median(found) == pytest.approx(np.median(boxes), rel=0.15)


def test_importable_lists_slides_only(tmp_path: Path) -> None:
    for name in ("b.czi", "a.SVS", "notes.txt", ".hidden.czi", ".dir/c.czi", "sub/d.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "link.czi").symlink_to(tmp_path / "b.czi")
    intake.importable.clear()
    assert [p.name for p in intake.importable([tmp_path, tmp_path / "missing"])] == [
        "a.SVS",
        "b.czi",
        "d.tif",
    ]


def test_labels_that_occur_twice_carry_their_id() -> None:
    assert selection.distinct({"1": "A", "2": "B", "3": "A"}) == {"1": "A · 1", "2": "B", "3": "A · 3"}


def test_marks_on_the_map_become_regions_in_level_0_pixels() -> None:
    box = {
        "selection": {
            "box": [{"x": [0.1, 0.3], "y": [0.2, 0.0]}],
            "lasso": [],
            "points": [{"x": 0.2, "y": 0.1}],
        }
    }
    (region,) = results.region_of(box, 0.5, 0.25)
    assert np.array(region) == pytest.approx(np.array([(200, 800), (600, 800), (600, 0), (200, 0)]))
    lasso = {"selection": {"box": [], "lasso": [{"x": [0, 1, 1], "y": [0, 0, 1]}], "points": []}}
    assert len(results.region_of(lasso, 1, 1)[0]) == 3
    assert results.region_of(None, 1, 1) is None
    assert results.clicked(box) is None
    assert results.clicked({"selection": {"points": [{"x": 0.2, "y": 0.1}]}}) == (0.2, 0.1)


def test_a_map_has_about_six_cells_a_bin() -> None:
    assert [data.bins_for(n) for n in (0, 100, 2400, 10**6)] == [8, 8, 20, 48]


def test_heat_holds_every_cell_once(add_slide, add_run) -> None:
    run = add_run(add_slide())
    heat = data.heat(data.ask(run), run)
    assert heat.per_mm2.shape == (6, 8)
    assert heat.per_mm2.sum() * 0.25**2 == pytest.approx(100)
    cells = data.table(data.ask(run)).arrow(("x_l0", "y_l0"))
    slow, _, _ = np.histogram2d(cells["y_l0"], cells["x_l0"], bins=(np.arange(7) * 1000, np.arange(9) * 1000))
    np.testing.assert_allclose(heat.per_mm2, slow / 0.25**2)
    assert heat.x_mm[-1] == pytest.approx(2.0)


def test_heat_of_a_region_covers_its_frame_and_divides_by_the_part_analysed(add_slide, add_run) -> None:
    slide = add_slide()
    run, whole = add_run(slide, rois=[[[0, 0], [8000, 0], [0, 6000]]]), add_run(slide)
    assert data.frame_of(run) == (0, 0, 8000, 6000)
    found, plain = data.heat(data.ask(run), run).per_mm2, data.heat(data.ask(whole), whole).per_mm2
    rows, cols = np.indices(found.shape)
    inside = (cols + 1) / 8 + (rows + 1) / 6 <= 1 + 1e-9
    outside = cols / 8 + rows / 6 >= 1 - 1e-9
    np.testing.assert_allclose(found[inside], plain[inside])
    assert np.isnan(found[outside]).all()
    seen = np.isfinite(found) & ~inside
    assert (found[seen] > plain[seen] * 1.01)[plain[seen] > 0].all()
    part = add_run(slide, rois=[[[1000, 2000], [3000, 2000], [3000, 3000], [1000, 3000]]])
    assert data.frame_of(part) == (1000, 2000, 3000, 3000)
    assert data.heat(data.ask(part), part).per_mm2.shape == (4, 8)
    assert data.frame_of(part, add_run(slide, rois=[[[500, 0], [700, 0], [700, 100]]])) == (
        500,
        0,
        3000,
        3000,
    )


def test_area_inside_a_marked_region_is_cut_to_what_was_analysed(add_slide, add_run) -> None:
    slide = add_slide()
    whole, part = add_run(slide), add_run(slide, rois=[[[0, 0], [4000, 0], [4000, 6000], [0, 6000]]])
    mark = (((3000.0, -500.0), (5000.0, -500.0), (5000.0, 2000.0), (3000.0, 2000.0)),)
    assert data.area_mm2(whole) == pytest.approx(3.0)
    assert data.area_mm2(whole, mark) == pytest.approx(2000 * 2000 * 0.0625 / 1e6)
    assert data.area_mm2(part, mark) == pytest.approx(1000 * 2000 * 0.0625 / 1e6)


def test_cells_come_by_falling_or_rising_confidence(add_slide, add_run) -> None:
    run = add_run(add_slide())
    found = data.by_confidence(data.ask(run), 10)
    scores = np.asarray(data.table(data.ask(run)).arrow(("score",))["score"])
    assert [c["score"] for c in found] == pytest.approx(np.sort(scores)[::-1][:10])
    doubtful = data.by_confidence(data.ask(run), 10, falling=False)
    assert [c["score"] for c in doubtful] == pytest.approx(np.sort(scores)[:10])
    limited = data.by_confidence(data.ask(run, classes=("leukocyte",)), 200)
    assert {c["cls"] for c in limited} == {"leukocyte"}
    assert len(limited) == data.table(data.ask(run)).count(Filters(("leukocyte",)))


def test_measures_of_a_cell_in_pixels_and_millimetres(add_slide, add_run) -> None:
    run = add_run(add_slide())
    cell = data.table(data.ask(run)).cell(0)
    found = cell_facts.measures({**cell, "x_l0": 4000.0, "y_l0": 2000.0}, Mpp(0.25, 0.5))
    assert found["Position"] == "4\u202f000, 2\u202f000\u202fpx"
    assert found[""] == "1.000, 1.000\u202fmm"
    assert found["Area"] == "100.0\u202fµm²"
    bars = cell_facts.bars([0.1, 0.7, 0.2], ("erythrocyte", "leukocyte", "thrombocyte"))
    assert bars.index("Leukocyte") < bars.index("Thrombocyte") < bars.index("Erythrocyte")


def test_a_run_of_a_region_is_looked_at_there_unless_the_url_knows_better(monkeypatch) -> None:
    region = [[[1000, 500], [3000, 500], [3000, 1500]]]
    monkeypatch.setattr(viewer, "url_position", lambda: None)
    assert viewer.around(region, 800, 600) == pytest.approx((2000, 1000, 0.9 * 800 / 2000))
    assert viewer.around([[[10, 10], [20, 10], [20, 20]]], 800, 600) == (15, 15, 1.0)
    assert viewer.around(None, 800, 600) is None
    monkeypatch.setattr(viewer, "url_position", lambda: (1.0, 2.0, 0.5))
    assert viewer.around(region, 800, 600) is None


def test_the_old_label_of_an_option_is_no_choice(monkeypatch) -> None:
    chosen = []
    monkeypatch.setattr(selection, "choose", lambda *choice: chosen.append(choice))
    monkeypatch.setattr(selection.st, "session_state", {"box": "Type 1 · waiting"})
    selection._follow("evaluation", "box", ["abc"])
    assert chosen == []
    selection.st.session_state["box"] = "abc"
    selection._follow("evaluation", "box", ["abc"])
    assert chosen == [("evaluation", "abc")]


def state(**changes) -> Progress:
    values = {
        "run_id": "r", "status": "running", "stage": "segmenting", "stage_label": "x",
        "done": 3, "total": 10, "empty": 0, "recut": 0, "cells": 1200, "fraction": 0.334,
        "eta_s": 65.0, "mm2_per_s": 0.25, "device": "CPU", "message": "",
    }  # fmt: skip
    return Progress(**{**values, **changes})


def test_progress_in_words() -> None:
    thin = "\u202f"
    assert progress.left_text("run", 0.33, 65.0, None) == f"33{thin}% · about 1{thin}min 05{thin}s left"
    assert progress.left_text("run", 0.33, None, None) == f"33{thin}%"
    assert progress.left_text("run", 0.0, None, 2) == "2 runs before this one"
    assert progress.left_text("training", 0.0, None, 0) == "Next in line"
    assert progress.left_text("training", 0.0, None, 1) == "1 training before this one"
    texts = progress.detail_texts(state(empty=7))
    assert texts == [
        "3 of 10 blocks",
        f"1{thin}200 cells",
        f"0.250{thin}mm²/s",
        "7 blocks skipped as empty",
        "CPU",
    ]


def test_card_metrics_and_texts_are_flattened() -> None:
    metrics = {"txl_pbc": {"box_mAP50": 0.8312, "by class": {"leukocyte": 0.9}}, "note": "no number"}
    assert list(model_cards.metric_rows(metrics)) == [
        ["TXL-PBC", "box mAP50\u00a0<b>0.831</b>"],
        ["TXL-PBC, by class", "leukocyte\u00a0<b>0.900</b>"],
    ]
    assert list(model_cards.text_lines({"a": ["x", "y"], "sha256": "f"})) == [":gray[a:] x, y"]
    own = {"part": "val", "images": 3, "box_mAP50_95": 0.65, "false per image": 0.0, "box_AP50": {"net": 1.0}}
    assert list(model_cards.metric_rows(own)) == [
        ["val", "images\u00a0<b>3</b> · box mAP50:95\u00a0<b>0.650</b> · false per image\u00a0<b>0</b>"],
        ["val, box AP50", "net\u00a0<b>1.000</b>"],
    ]
    assert list(model_cards.text_lines(["x", "y"])) == ["x", "y"]
    cells = {"cells": {"train": {"net": 1200, "leukocyte": 3}}}
    assert list(model_cards.text_lines(cells)) == [":gray[cells train:] NET 1\u202f200, Leukocyte 3"]
    assert list(model_cards.text_lines(None)) == []


def test_facts_of_a_slide_never_name_its_file(add_slide) -> None:
    slide = add_slide(info={"has_label": True})
    text = str(slide_cards.all_facts(store.get_slide(slide.id)))
    assert "none.czi" not in text
    assert "never shown" in text
    assert (
        slide_cards.pixel_size_text(Mpp(0.25, 0.5), is_estimate=True) == "0.2500 × 0.5000\u202fµm (estimate)"
    )


def test_html_of_facts_and_tables_is_escaped() -> None:
    assert "&lt;b&gt;" in widgets.chip("<b>")
    assert '<th scope="col">&lt;' in widgets.table_html(["<"], [])
