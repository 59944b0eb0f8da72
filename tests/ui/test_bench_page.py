"""The bench page: its form and what it asks for, a stored bench, one beside another, a classifier made."""

from __future__ import annotations

import csv
import io
import re
import zipfile

import pytest
from named_cells import a_bench
from test_pages import words

from cmlcore import RESEARCH_USE
from cmlcore.files import whole_file
from cmlcore.job_folder import write_status
from cmlcore.jobs.bench import BENCHES, BenchRequest, bench_result
from cmlcore.jobs.cell_sets import found_cell_sets, kind_of_set, likely_file
from cmlcore.jobs.folder_jobs import REQUEST
from cmlcore.ui import bench_charts, bench_tables
from cmlcore.ui.bench_view import View
from cmlcore.ui.theme import DARK, LIGHT

ROWS = (
    ("dinov2_vits14", "last", "rgb"),
    ("dinov2_vits14", "last", "raw"),
    ("efficientnet_lite0", "whole", "rgb+aug"),
)


@pytest.fixture(autouse=True)
def nothing_ships(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("cmlcore.jobs.bench.SHIPPED", tmp_path / "none")


@pytest.fixture
def a_set(cml_home):
    """Two classes of cells where the page may look."""
    folder = cml_home / "data" / "cells"
    for cls in ("monocyte", "lymphocyte"):
        (folder / cls).mkdir(parents=True)
        for i in range(4):
            (folder / cls / f"{i}.png").write_bytes(b"not looked at")
    return folder


@pytest.fixture
def stored(cml_home, a_set) -> str:
    """A bench that is done, with its request."""
    folder = BENCHES.root() / "abcdefghjk"
    a_bench(folder, ROWS)
    asked = BenchRequest(data=a_set, starts={"dinov2_vits14": "fetch", "efficientnet_lite0": "fetch"},
                         tunings=("last", "whole"), spaces=("rgb", "raw", "rgb+aug"), scale="given",
                         mpp=0.16)  # fmt: skip
    with whole_file(folder / REQUEST) as part:
        part.write_text(asked.model_dump_json())
    write_status(folder, state="done", created="2026-01-01T10:00:00+00:00")
    return folder.name


# -- pure parts -----------------------------------------------------------------------------------------


def test_sets_are_told_by_their_folders(cml_home, a_set) -> None:
    data = cml_home / "data"
    for name in ("images", "masks"):  # a set of fields, not of cells
        (data / "fields" / name).mkdir(parents=True)
        (data / "fields" / name / "a.png").write_bytes(b"")
    (data / "parts" / "train" / "monocyte").mkdir(parents=True)
    (data / "matek" / "AML").mkdir(parents=True)
    (data / "matek" / "AML" / "annotations.dat").write_text("")
    assert kind_of_set(data / "fields") is None
    assert kind_of_set(data / "parts") is None  # one class alone, and empty
    assert found_cell_sets() == {
        str(a_set): "a folder a class, no parts", str(data / "matek"): "Matek download",
    }  # fmt: skip


def test_weight_files_are_known_by_name(tmp_path) -> None:
    files = [tmp_path / "vit_small_patch14_dinov2_fp16.safetensors", tmp_path / "kimianet.pth"]
    assert likely_file("dinov2_vits14", "vit_small_patch14_dinov2.lvd142m", files) == files[0]
    assert likely_file("kimianet", None, files) == files[1]
    assert likely_file("resnet50", "IMAGENET1K_V2", files) is None


def test_the_table_marks_the_best_and_says_every_interval(tmp_path) -> None:
    bench = a_bench(tmp_path, ROWS)
    html = bench_tables.results_html(bench["rows"])
    assert html.count("<tr") == 1 + len(ROWS)
    best = bench_tables.best_row(bench["rows"])
    mean, deviation = best["summary"]["accuracy"]
    assert f"<b>{mean:.3f}</b> ± {deviation:.3f}" in html
    accuracy = best["pooled"]["figures"]["accuracy"]
    assert f"{accuracy['low']:.3f} to {accuracy['high']:.3f}" in html
    assert len(re.findall("DINOv2", html)) == 1  # a backbone is named once
    assert "412" in bench_tables.costs_html(bench)


def test_rows_stand_backbone_by_backbone(tmp_path) -> None:
    mixed = (
        ("efficientnet_lite0", "last", "rgb"), ("dinov2_vits14", "last", "raw"),
        ("efficientnet_lite0", "whole", "rgb"), ("dinov2_vits14", "last", "rgb"),
        ("efficientnet_lite0", "last", "raw"),
    )  # fmt: skip
    rows = bench_tables.in_order(a_bench(tmp_path, mixed)["rows"])
    assert [(r["backbone"][:5], r["tuning"], r["colours"]) for r in rows] == [
        ("effic", "last", "rgb"), ("effic", "last", "raw"), ("effic", "whole", "rgb"),
        ("dinov", "last", "rgb"), ("dinov", "last", "raw"),
    ]  # fmt: skip


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_charts_show_the_numbers_given(tmp_path, colors) -> None:
    bench = a_bench(tmp_path, ROWS)
    row = bench["rows"][0]
    seen = bench_charts.comparison(bench["rows"], "accuracy", "Accuracy", colors)
    assert sorted(x for trace in seen.data for x in trace.x) == sorted(
        r["pooled"]["figures"]["accuracy"]["value"] for r in bench["rows"]
    )
    table = bench_charts.confusion(row, colors).data[0]
    assert [sum(int(t or 0) for t in line) for line in table.text] == [20, 20, 20]
    curves = bench_charts.roc(row, colors).data
    assert [c.name for c in curves[:-1]] == ["Lymphocyte", "Monocyte", "Basophil"]
    assert tuple(curves[0].y) == tuple(row["pooled"]["roc"][0]["y"])
    assert len(bench_charts.precision_recall(row, colors).data) == 3


@pytest.mark.parametrize("colors", [LIGHT, DARK])
def test_differences_stand_under_what_was_changed(tmp_path, colors) -> None:
    found = a_bench(tmp_path, ROWS)["contrasts"]
    chart = bench_charts.contrasts(found, colors)
    marks = chart.data[-1]
    assert list(marks.x) == [c["difference"] for c in found]
    assert list(chart.layout.yaxis.ticktext) == [
        "<b>Raw, linear</b> instead of RGB",
        "DINOv2 ViT-S/14, last layer only",
    ]
    assert [a.text for a in chart.layout.annotations] == [bench_charts.gain(c) for c in found]
    for c, symbol in zip(found, marks.marker.symbol, strict=True):
        assert (symbol == "circle") == (c["low"] > 0 or c["high"] < 0)


def test_a_gain_is_told_with_its_sign() -> None:
    told = {"difference": -0.0123, "low": -0.03, "high": 0.005}
    assert bench_charts.gain(told) == "−0.012 (−0.030 to +0.005)"


def test_the_archive_holds_every_table(tmp_path) -> None:
    bench = a_bench(tmp_path, ROWS)
    with zipfile.ZipFile(io.BytesIO(View("x", bench, None)._archive())) as z:
        assert set(z.namelist()) == {
            "README.txt", "results.csv", "contrasts.csv", "folds.csv", "classes.csv", "confusion.csv",
            "costs.csv",
        }  # fmt: skip
        for name in z.namelist():
            assert RESEARCH_USE in z.read(name).decode()
        lines = list(csv.reader(io.StringIO(z.read("results.csv").decode())))
    assert len(lines) == 2 + len(ROWS)


# -- the page -------------------------------------------------------------------------------------------


def test_an_empty_page_opens_its_form(open_page) -> None:
    test = open_page("bench")
    assert "stands here once" in words(test)
    test.button(key="bench-start").click().run()
    assert "Choose a set of images" in test.error[0].value
    assert BENCHES.all() == []


def test_a_bench_is_asked_for(open_page, a_set, cml_home) -> None:
    weights = cml_home / "backbones" / "dinov2_vits14.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"not looked at")
    test = open_page("bench")
    assert "no patient is known" in words(test)
    test.button(key="bench-start").click().run()
    assert "how many µm" in test.error[0].value
    test.number_input(key="bench-mpp").set_value(0.16)
    test.button_group(key="bench-tunings").set_value(["last", "whole"]).run()
    test.number_input(key="bench-epochs").set_value(3)
    test.button_group(key="bench-cut").set_value("holdout").run()
    assert "6 fits" in words(test)
    test.button(key="bench-start").click().run()
    assert not test.exception
    (job,) = BENCHES.all()
    asked = job.request
    assert asked.starts == {"dinov2_vits14": weights}
    assert (asked.data, asked.cut, asked.epochs, asked.mpp) == (a_set, "holdout", 3, 0.16)
    assert asked.tunings == ("last", "whole")
    assert asked.spaces == ("rgb", "rgb+aug", "raw")
    assert test.query_params["bench"] == job.id
    assert "Waiting for its turn" in words(test)


def test_a_backbone_without_weights_says_so(open_page, a_set) -> None:
    test = open_page("bench")
    test.multiselect(key="bench-backbones").set_value(["kimianet"]).run()
    assert "its weights are not here" in words(test)
    test.number_input(key="bench-mpp").set_value(0.16)
    test.button(key="bench-start").click().run()
    assert "leave out those without weights" in test.error[0].value


def test_a_stored_bench_stands_on_the_page(open_page, stored) -> None:
    test = open_page("bench", bench=stored)
    text = words(test)
    for said in ("60 images of 3 classes", "Split by image", "Sizes differ", "x.txt is no image", "± ",
                 "EfficientNet-Lite0", "What they cost", "whole model",
                 "What makes a difference"):  # fmt: skip
        assert said in text
    assert len(test.get("plotly_chart")) == 5  # all rows, differences; confusion, ROC, PR of the best
    rows = list(View("x", bench_result(stored), None).rows)
    assert test.query_params["row"] == rows[2]
    test.selectbox(key="select-beside").set_value(rows[0]).run()
    assert not test.exception
    assert len(test.get("plotly_chart")) == 8


def test_a_row_becomes_a_classifier(open_page, stored) -> None:
    test = open_page("bench", bench=stored, row="efficientnet_lite0.whole.rgb+aug")
    test.text_input(key=f"make-title-{stored}").set_value("Ours").run()
    test.button(key="make").click().run()
    assert not test.exception
    (made,) = [j for j in BENCHES.all() if j.request.title]
    assert made.request.starts == {"efficientnet_lite0": "fetch"}
    assert (made.request.tunings, made.request.spaces) == (("whole",), ("rgb+aug",))
    assert "Classifier “Ours”" in words(test)
    write_status(made.folder, state="done")
    test = open_page("bench", bench=stored)
    assert "Classifier “Ours”" in words(test)
    test.button(key=f"dismiss-{made.id}").click().run()
    assert [j.id for j in BENCHES.all()] == [stored]


def test_a_bench_broken_off_goes_on(open_page, stored) -> None:
    write_status(BENCHES.folder(stored), state="failed", message="The disk is full.")
    test = open_page("bench", bench=stored)
    assert "The disk is full" in words(test)
    assert "All rows" in words(test)  # what is finished is shown
    test.button(key=f"again-{stored}").click().run()
    assert BENCHES.get(stored).state == "waiting"
