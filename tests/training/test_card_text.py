"""The card of a trained model as people read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cmlcore import RESEARCH_USE
from cmlcore.settings import settings as cml_settings
from cmlcore.training.card_text import card_markdown
from cmlcore.training.package import card_of, export, install, limits
from cmlcore.training.presets import from_preset
from cmlcore.training.validation import Figures

FACTS = {
    "images": {"all": 12, "train": 1002, "val": 1},
    "cells": {"train": {"erythrocyte": 16332}, "val": {"erythrocyte": 27, "leukocyte": 3}},
    "sources": ["Raabin", "ward 7"],
    "sha256": "0" * 64,
}


class Recipe:
    """What of a recipe a card asks for."""

    kind = "type2"

    def grid(self, largest: float) -> dict[str, int]:
        return {"tile": 512, "margin": int(largest), "align": 16}

    def architecture(self) -> dict[str, object]:
        return {"backbone": "vit_tiny"}


def made(figures: Figures | None, **changes: object):
    told = from_preset("erythrocyte-leukocyte", "type2", **changes)
    training = {
        "steps": 1, "kept_step": 1, "epochs": 0.5, "seconds": 90.0, "batch": 1, "lr": 1e-4, "device": "CPU",
    }  # fmt: skip
    return card_of(told, Recipe(), "mine", figures, FACTS, training, 40.0), told


def test_it_tells_data_figures_settings_limits_and_use() -> None:
    figures = Figures(map50=0.9251, map=0.6, ap50={"erythrocyte": 0.95, "leukocyte": 0.9002}, images=1)
    card, told = made(figures, steps=1, lr=3e-4, augmentation={"jpeg": 0.0})
    text = card_markdown(card, told)
    assert text.startswith(f"# {card['title']}\n")
    assert "| Erythrocyte | 16,332 | 27 |\n| Leukocyte | 0 | 3 |" in text
    assert "1,002 images to learn from and 1 to judge by, from Raabin and ward 7." in text
    assert "Raabin-WBC is free for research only" in text
    assert "1 step of 1 tile (0.5 epochs) in 2 minutes on CPU" in text
    assert "Other than there: steps 1, lr 0.0003, augmentation jpeg 0." in text
    assert "on 1 image of the `val` part" in text
    assert "| all classes, mean | 0.925 |\n| Erythrocyte | 0.950 |\n| Leukocyte | 0.900 |" in text
    assert "mAP50–95 is 0.600" in text
    assert "stains like those of the training images" in text
    assert text.count(RESEARCH_USE) == 1


def test_without_val_images_it_says_so() -> None:
    assert "no images to judge by" in card_markdown(*made(None))


def test_no_path_of_the_machine_is_told() -> None:
    text = card_markdown(*made(None, data=("/ward/Erika",), backbone_weights="/ward/Erika/b.safetensors"))
    assert "Erika" not in text
    assert "weights learned elsewhere" in text


@pytest.mark.parametrize(("source", "said"), [("phantom on PBC", True), ("PBC", False)])
def test_phantoms_are_a_limit(source, said) -> None:
    assert any("phantoms" in x for x in limits([source])) == said


def test_it_lies_beside_the_card_and_goes_where_models_are(tmp_path: Path, cml_home) -> None:
    card, told = made(None)
    path = export({"w": torch.ones(2)}, card, tmp_path, text=card_markdown(card, told))
    install(path)
    for folder in (tmp_path, cml_settings().home / "models"):
        assert sorted(p.name for p in folder.iterdir() if p.is_file()) == [
            "mine.json", "mine.md", "mine.safetensors",
        ]  # fmt: skip
        assert json.loads((folder / "mine.json").read_text())["key"] == "mine"
        assert (folder / "mine.md").read_text().startswith("# Type 2")
