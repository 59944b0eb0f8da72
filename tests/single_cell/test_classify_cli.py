"""``cmlscope classify``: what it writes, and the sentence each mistake gets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from drawn_cells import MPP
from typer.testing import CliRunner

from cmlcore import RESEARCH_USE
from cmlcore.cli import app
from cmlcore.errors import CmlError
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


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["bench", "{set}", "--out", "o", "--cut", "thirds"], "“thirds” is no way to cut a set"),
        (["bench", "{set}", "--out", "o", "--tuning", "half"], "“half” is no way of tuning"),
        (["bench", "{set}", "--out", "o", "--colours", "cmyk"], "“cmyk” is not a colour space"),
        (["bench", "{set}", "--out", "o", "--backbones", "kimianet"], "needs the file its authors publish"),
        (["bench", "{set}", "--out", "o", "--weights", "resnet50"], "write it as BACKBONE=FILE"),
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
