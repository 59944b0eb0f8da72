"""The bench on drawn cells: every combination, the same folds, resumed without working twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_cells import MPP

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.single_cell import bench, bench_table
from cmlcore.single_cell.bench import Plan, run
from cmlcore.single_cell.data import load
from cmlcore.single_cell.tune import TuneSettings

PLAN = Plan({"efficientnet_lite0": "random"}, ("last",), ("rgb", "raw"), k=2, device="cpu")


@pytest.fixture(scope="module")
def finished(drawn_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    run(load(drawn_set), MPP, PLAN, folder)
    return folder


def test_every_combination_has_its_row(finished: Path) -> None:
    result = bench_table.read(finished)
    assert [(r["tuning"], r["colours"], len(r["folds"])) for r in result["rows"]] == [
        ("last", "rgb", 2),
        ("last", "raw", 2),
    ]
    for row in result["rows"]:
        assert np.sum(row["pooled"]["confusion"]) == 30  # every image judged once
        mean = np.mean([f["figures"]["accuracy"] for f in row["folds"]])
        assert row["summary"]["accuracy"][0] == pytest.approx(mean)
        assert row["pooled"]["figures"]["accuracy"]["value"] == pytest.approx(mean)  # equal folds
    assert result["research_use"] == RESEARCH_USE
    assert "no patient is known" in result["split"]["unit"]
    assert result["costs"][0]["conv2d"] == 49
    assert not list(finished.glob("fields-*"))
    assert str(finished.parent) not in json.dumps(result)


def test_a_second_call_reads_what_is_finished(
    finished: Path, drawn_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "bench.json").read_bytes()

    def never(*_args: object, **_more: object) -> None:
        raise AssertionError("worked twice")

    monkeypatch.setattr(bench, "Frozen", never)
    run(load(drawn_set), MPP, PLAN, finished)
    assert (finished / "bench.json").read_bytes() == before


def test_another_bench_needs_another_folder(finished: Path, drawn_set: Path) -> None:
    with pytest.raises(InputError, match="holds a bench of other images or settings"):
        run(load(drawn_set), MPP * 2, PLAN, finished)


def test_tables_hold_every_figure_and_the_notice(finished: Path) -> None:
    tables = {name: (header, rows) for name, header, rows in bench_table.tables(bench_table.read(finished))}
    assert set(tables) == {"results", "contrasts", "folds", "classes", "confusion", "costs"}
    for header, rows in tables.values():
        assert rows
        assert all(len(r) == len(header) for r in rows)
        assert len(set(header)) == len(header)
    assert len(tables["folds"][1]) == 4
    assert sum(r[-1] for r in tables["confusion"][1]) == 60
    text = "".join(bench_table.csv_text(("costs", *tables["costs"])))
    assert text.startswith(f"# {RESEARCH_USE}")
    assert "EfficientNet-Lite0,3.37," in text


def test_the_whole_model_may_see_fewer_and_smaller_images(drawn_set: Path, tmp_path: Path) -> None:
    tune = TuneSettings(epochs=1, batch=8)
    plan = Plan({"efficientnet_lite0": "random"}, ("last", "whole"), k=2, side=64, whole_side=32,
                whole_most=4, tune=tune, device="cpu")  # fmt: skip
    found = run(load(drawn_set), MPP, plan, tmp_path)
    assert [(r["tuning"], r["images"], r["side"]) for r in found["rows"]] == [
        ("last", 30, 64),
        ("whole", 12, 32),
    ]
    assert np.sum(found["rows"][1]["pooled"]["confusion"]) == 12
    assert "4 images a class are used, seen with 32 pixels a side" in found["set"]["notes"][-1]


def test_a_broken_off_bench_keeps_its_finished_folds(drawn_set: Path, tmp_path: Path) -> None:
    asked = iter([False] * 3 + [True])  # features and both folds of the first space; then the cancel
    with pytest.raises(RunCancelledError):
        run(load(drawn_set), MPP, PLAN, tmp_path, cancelled=lambda: next(asked))
    assert sorted(p.name for p in (tmp_path / "answers").glob("*.npz")) == [
        "efficientnet_lite0-last-rgb-0.npz",
        "efficientnet_lite0-last-rgb-1.npz",
    ]
    assert [r["colours"] for r in bench_table.read(tmp_path)["rows"]] == ["rgb"]
    assert not list(tmp_path.glob("fields-*"))


def test_impossible_benches_are_refused(drawn_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folders train and val"):
        run(load(drawn_set), MPP, Plan({"efficientnet_lite0": "random"}, cut="parts"), tmp_path)
    with pytest.raises(InputError, match="at least one backbone"):
        Plan({})
    with pytest.raises(InputError, match="not a backbone"):
        Plan({"resnet5000": "random"})
    with pytest.raises(InputError, match="not a colour space"):
        Plan({"resnet50": "random"}, spaces=("cmyk",))  # type: ignore[arg-type]
