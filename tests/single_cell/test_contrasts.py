"""Rows held against each other image by image, and benches joined into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_cells import MPP
from typer.testing import CliRunner

from cmlcore.cli import app
from cmlcore.errors import InputError
from cmlcore.single_cell import bench_table
from cmlcore.single_cell.bench import Plan, run
from cmlcore.single_cell.contrasts import contrasts, packed, unpacked
from cmlcore.single_cell.data import load
from cmlcore.single_cell.join import join

PLAN = {"k": 2, "side": 64, "device": "cpu"}


def row(
    hits: str, backbone: str = "a", tuning: str = "last", colours: str = "rgb", side: int = 64
) -> dict[str, Any]:
    right = np.array([c == "x" for c in hits])
    return {
        "backbone": backbone, "title": backbone.upper(), "tuning": tuning, "colours": colours, "side": side,
        "judged": len(hits), "hits": packed(right),
    }  # fmt: skip


@pytest.mark.parametrize("n", [1, 7, 8, 9, 3245])
def test_hits_survive_packing(n: int) -> None:
    hits = np.random.default_rng(n).random(n) < 0.8
    assert np.array_equal(unpacked(packed(hits), n), hits)


def test_a_difference_is_counted_on_the_same_images() -> None:
    found = contrasts([row("xx.x.x.x"), row("xxxxx.xx", tuning="whole")], [])
    assert len(found) == 1
    assert found[0]["changed"] == "tuning"
    assert (found[0]["before"]["tuning"], found[0]["after"]["tuning"]) == ("last", "whole")
    assert found[0]["difference"] == pytest.approx((3 - 1) / 8)  # three gained, one lost
    assert found[0]["images"] == 8


def test_the_interval_is_the_paired_bootstraps() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(400) < 0.7
    b = a | (rng.random(400) < 0.2)  # never worse: far from what two separate intervals would say
    texts = ["".join("x" if v else "." for v in h) for h in (a, b)]
    found = contrasts([row(texts[0]), row(texts[1], colours="raw")], [], times=4000)[0]
    p = float((b & ~a).mean())
    assert found["difference"] == pytest.approx(p)
    half = 1.96 * np.sqrt(p * (1 - p) / 400)
    assert found["low"] == pytest.approx(p - half, abs=0.005)
    assert found["high"] == pytest.approx(p + half, abs=0.005)


def test_images_of_a_patient_are_drawn_together() -> None:
    before, after = "." * 40, "x" * 20 + "." * 20
    alone = contrasts([row(before), row(after, tuning="whole")], [])[0]
    groups = ["p"] * 20 + ["q"] * 20
    grouped = contrasts([row(before), row(after, tuning="whole")], groups)[0]
    assert (grouped["low"], grouped["high"]) == (0.0, 1.0)  # two patients tell nothing
    assert 0.3 < alone["low"] < alone["high"] < 0.7


def test_only_rows_that_differ_in_one_thing_are_held_against_each_other() -> None:
    rows = [
        row("x.x."),
        row("xxx.", tuning="whole"),
        row("x.xx", colours="raw"),
        row("xxxx", colours="rgb+aug"),
        row("xx", tuning="whole", colours="raw"),  # other images
        row("xxxx", backbone="b", side=32),
        row("xxx.", backbone="b", tuning="whole", side=16),  # smaller than its last layer saw
    ]
    found = [(c["changed"], c["before"]["backbone"], c["after"]) for c in contrasts(rows, [])]
    told = [(kind, b, a["backbone"], a["tuning"], a["colours"]) for kind, b, a in found]
    assert told == [
        ("tuning", "a", "a", "whole", "rgb"),
        ("colours", "a", "a", "last", "raw"),
        ("colours", "a", "a", "last", "rgb+aug"),
        ("backbone", "a", "b", "last", "rgb"),
        ("backbone", "a", "b", "whole", "rgb"),
    ]


def test_the_same_change_of_different_rows_stands_together() -> None:
    spaces = ("rgb", "raw", "rgb+aug")
    rows = [row("x.", tuning=t, colours=s) for t in ("last", "whole") for s in spaces]
    told = [(c["changed"], c["after"]["colours"]) for c in contrasts(rows, [])]
    assert told == [("tuning", s) for s in spaces] + [("colours", "raw")] * 2 + [("colours", "rgb+aug")] * 2


# -- benches made apart ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(drawn_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The same bench in one, and its two colour spaces apart."""
    top = tmp_path_factory.mktemp("apart")
    start = {"efficientnet_lite0": "random"}
    for name, spaces in (("both", ("rgb", "raw")), ("rgb", ("rgb",)), ("raw", ("raw",))):
        run(load(drawn_set), MPP, Plan(start, ("last",), spaces, **PLAN), top / name)  # type: ignore[arg-type]
    return top / "both", top / "rgb", top / "raw"


def test_joined_benches_equal_the_one_made_at_once(apart: tuple[Path, Path, Path], tmp_path: Path) -> None:
    both, *parts = apart
    whole, joined = bench_table.read(both), join(parts, tmp_path / "joined")
    assert joined == bench_table.read(tmp_path / "joined")
    assert joined["contrasts"] == whole["contrasts"]
    assert [c["changed"] for c in joined["contrasts"]] == ["colours"]
    for a, b in zip(joined["rows"], whole["rows"], strict=True):
        assert {k: v for k, v in a.items() if k != "folds"} == {k: v for k, v in b.items() if k != "folds"}
    assert [c["key"] for c in joined["costs"]] == ["efficientnet_lite0"]
    assert joined["set"]["notes"] == ["EfficientNet-Lite0: 64 pixels a side."]
    assert [p["spaces"] for p in joined["plan"]] == [["rgb"], ["raw"]]


def test_benches_join_in_the_shell(apart: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, *parts = apart
    done = CliRunner().invoke(app, ["classify", "join", *map(str, parts), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "What one change does" in done.output
    text = (tmp_path / "contrasts.csv").read_text()
    assert 'Colours,RGB,"Raw, linear","EfficientNet-Lite0, last layer only",30,' in text


def test_measured_costs_come_from_their_file(apart: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, *parts = apart
    own = bench_table.read(parts[0])["costs"][0]
    measured = tmp_path / "costs.json"
    measured.write_text(json.dumps({"costs": [own | {"seconds_per_image": 0.5}]}))
    joined = join(parts, tmp_path / "o", measured)
    assert [c["seconds_per_image"] for c in joined["costs"]] == [0.5]
    measured.write_text("[]")
    with pytest.raises(InputError, match=r"costs\.json holds no costs"):
        join(parts, tmp_path / "p", measured)


def test_benches_that_do_not_fit_are_refused(
    apart: tuple[Path, Path, Path], drawn_set: Path, tmp_path: Path
) -> None:
    both, rgb, raw = apart
    with pytest.raises(InputError, match="takes two benches"):
        join([rgb], tmp_path / "o")
    with pytest.raises(InputError, match="The row EfficientNet-Lite0, last, raw is in two"):
        join([both, raw], tmp_path / "o")
    other = Plan({"efficientnet_lite0": "random"}, ("last",), ("raw",), **{**PLAN, "k": 3})  # type: ignore[arg-type]
    run(load(drawn_set), MPP, other, tmp_path / "other")
    with pytest.raises(InputError, match="of other images or cut another way"):
        join([rgb, tmp_path / "other"], tmp_path / "o")
    old = bench_table.read(raw)
    del old["set"]["fingerprint"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "bench.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match="of an older version"):
        join([rgb, tmp_path / "old"], tmp_path / "o")
    assert not (tmp_path / "o").exists()
