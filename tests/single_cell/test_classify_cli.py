"""``cmlscope classify``: what it writes, and the sentence each mistake gets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from drawn_cells import COLOURS, MPP, drawn_cell, run
from PIL import Image
from typer.testing import CliRunner

from cmlcore import RESEARCH_USE
from cmlcore.cli import app
from cmlcore.errors import CmlError
from cmlcore.geometry import Mpp
from cmlcore.single_cell import shelf
from cmlcore.single_cell.data import load
from cmlcore.single_cell.fit import Recipe
from cmlcore.single_cell.train import train_classifier


def call(*args: object) -> str:
    done = CliRunner().invoke(app, ["classify", *map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_costs_say_what_the_library_counts(tmp_path: Path) -> None:
    out = tmp_path / "costs.json"
    text = call("costs", "--backbones", "resnet50,kimianet", "--json", out)
    assert "ResNet50" in text
    rows = json.loads(out.read_text())
    assert rows["research_use"] == RESEARCH_USE
    assert [(c["key"], c["conv2d"]) for c in rows["costs"]] == [("resnet50", 53), ("kimianet", 120)]


def test_pictures_are_named_from_the_shell(drawn_set: Path, tmp_path: Path) -> None:
    recipe = Recipe("efficientnet_lite0", "last", "rgb", "random")
    card = train_classifier(load(drawn_set), MPP, recipe, "Drawn", device="cpu")
    assert shelf.card("drawn").sha256 == card.sha256
    judged = tmp_path / "judged.json"
    text = call("judge", drawn_set, "--model", "drawn", "--mpp", MPP, "--device", "cpu", "--json", judged)
    found = json.loads(judged.read_text())
    assert (found["images"], found["left_out"], found["sha256"]) == (30, 0, card.sha256)
    assert f"{found['figures']['accuracy']['value']:.3f}" in text
    pictures = sorted((drawn_set / "monocyte").glob("*.png"))[:2]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"x")
    out = tmp_path / "named.csv"
    text = call(
        "predict", *pictures, broken, "--model", "drawn", "--mpp", MPP, "--out", out, "--device", "cpu"
    )
    assert "2 of 3 images named" in text
    assert "broken.png is damaged or no picture; copy it again." in text
    lines = out.read_text().splitlines()
    assert lines[:3] == [f"# {RESEARCH_USE}", "# classifier: drawn", f"# sha256: {card.sha256}"]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[3:]))))
    assert [r["image"] for r in rows] == [*(p.name for p in pictures), "broken.png"]


def test_the_leukocytes_of_a_run_are_named_from_the_shell(drawn_set: Path, tmp_path: Path) -> None:
    recipe = Recipe("efficientnet_lite0", "last", "rgb", "random")
    train_classifier(load(drawn_set), MPP, recipe, "Drawn", device="cpu")
    rng = np.random.default_rng(5)
    smear = np.concatenate([drawn_cell(c, rng) for c in COLOURS], axis=1)
    Image.fromarray(smear).save(tmp_path / "smear.png")
    places = np.array([[60.0, 60.0], [180.0, 60.0], [300.0, 60.0]])
    folder = tmp_path / "run"
    table = run(folder, places, Mpp(MPP, MPP), ["leukocyte", "erythrocyte", "leukocyte"])
    out = tmp_path / "named.csv"
    call("predict", "--run", folder, "--slide", tmp_path / "smear.png", "--model", "drawn", "--out", out,
         "--device", "cpu")  # fmt: skip
    rows = list(csv.DictReader(ln for ln in out.read_text().splitlines() if not ln.startswith("#")))
    ids = [r["cell_id"] for r in table.arrow(("cell_id", "cls")).to_pylist() if r["cls"] == "leukocyte"]
    assert [int(r["cell_id"]) for r in rows] == ids
    assert {r["likeliest"] for r in rows} <= set(COLOURS)
    assert (folder / "leukocytes" / "drawn.parquet").is_file()
    with pytest.raises(CmlError, match="has no scene 7"):
        call("predict", "--run", folder, "--slide", tmp_path / "smear.png", "--model", "drawn", "--out", out,
             "--scene", 7, "--device", "cpu")  # fmt: skip


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["bench", "{set}", "--out", "o", "--cut", "thirds"], "“thirds” is no way to cut a set"),
        (["bench", "{set}", "--out", "o", "--tuning", "half"], "“half” is no way of tuning"),
        (["bench", "{set}", "--out", "o", "--colours", "cmyk"], "“cmyk” is not a colour space"),
        (["bench", "{set}", "--out", "o", "--backbones", "kimianet"], "needs the file its authors publish"),
        (["bench", "{set}", "--out", "o", "--weights", "resnet50"], "write it as BACKBONE=FILE"),
        (["judge", "{set}", "--model", "x"], "There is no classifier “x”"),
        (["judge", "{set}", "--model", "x", "--part", "dev"], "The set has no part called dev"),
        (
            [
                "train",
                "{set}",
                "--name",
                "x",
                "--side",
                "100",
                "--weights",
                "dinov2_vits14=f",
                "--mpp",
                "0.2",
            ],
            "takes images whose side is a multiple of 14, not 100",
        ),
        (["train", "{set}", "--name", "x", "--tuning", "both"], "choose last or whole"),
        (["train", "{set}", "--name", "x", "--mpp", "wide"], "“wide” is no pixel size"),
        (["train", "{set}/nowhere", "--name", "x"], "The folder nowhere is not there"),
        (
            ["predict", "--model", "x", "--out", "o"],
            "Give either single-cell images, or both --run and --slide",
        ),
        (["predict", "a.png", "--model", "x", "--out", "o"], "give --mpp"),
        (["predict", "a.png", "--model", "x", "--out", "o", "--mpp", "0.1"], "There is no classifier “x”"),
    ],
)
def test_mistakes_get_a_sentence(drawn_set: Path, args: list[str], sentence: str) -> None:
    with pytest.raises(CmlError, match=sentence):
        call(*(a.replace("{set}", str(drawn_set)) for a in args))
