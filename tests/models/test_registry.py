"""Cards and weight files: what is found, what is refused, and with which sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmlcore.classes import CLASSES
from cmlcore.errors import ModelError
from models import registry

GOOD: dict[str, Any] = {
    "key": "mine",
    "title": "My network",
    "kind": "type1",
    "classes": ["erythrocyte", "leukocyte"],
    "mpp": 0.2,
    "tile": 512,
    "margin": 64,
    "align": 32,
    "sha256": hashlib.sha256(b"weights").hexdigest(),
    "min_score": 0.5,
    "trained_on": "phantoms",
}


@pytest.fixture
def user_models(cml_home: Path) -> Path:
    folder = cml_home / "models"
    folder.mkdir()
    return folder


def put(folder: Path, **changes: Any) -> Path:
    raw = {**GOOD, **changes}
    path = folder / f"{raw.get('key', 'x')}.json"
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}), encoding="utf-8")
    return path


def test_reading_cards_imports_no_torch() -> None:
    code = "import sys, models.registry as r; r.cards(); assert not {'torch', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(registry.__file__).parents[1])


def test_shipped_cards_are_sound_and_match_their_weights() -> None:
    shipped = {c.key: c for c in registry.cards()}
    assert {"type1", "type2"} <= set(shipped)
    for key in ("type1", "type2"):
        card = shipped[key]
        assert card.kind == key
        assert set(card.classes) <= set(CLASSES)
        assert card.grid.core % card.align == 0
        registry.check_weights(card)
        assert (registry.SHIPPED / "cards" / f"{key}.md").is_file()


def test_user_card_is_found_with_its_extra_facts(user_models: Path) -> None:
    put(user_models)
    card = registry.card("mine")
    assert card.classes == ("erythrocyte", "leukocyte")
    assert card.weights == user_models / "mine.safetensors"
    assert card.extra == {"trained_on": "phantoms"}
    assert (card.grid.tile, card.grid.margin, card.grid.align) == (512, 64, 32)
    assert card.to_json() == {**GOOD, "weights": "mine.safetensors"}


def test_shipped_card_wins_over_a_user_card_of_its_name(user_models: Path) -> None:
    put(user_models, key="type1", title="An impostor")
    assert registry.card("type1").title != "An impostor"


def test_weights_may_not_lie_outside_the_folder(user_models: Path) -> None:
    put(user_models, weights="../../secret.safetensors")
    assert registry.card("mine").weights == user_models / "secret.safetensors"


def test_a_calibration_fitted_to_other_weights_is_not_used(
    user_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maps = {"leukocyte": {"x": [0.0, 1.0], "y": [0.2, 0.9]}}
    own = {"calibration": maps, "calibrated_on": {"weights_sha256": GOOD["sha256"], "images": 3}}
    put(user_models, **own, unidentified_score=0.2)
    assert registry.card("mine").extra["calibration"] == maps
    other = {**own, "calibrated_on": {"weights_sha256": "0" * 64}}
    put(user_models, **other)
    for _ in range(2):
        made = registry.card("mine")
        assert not {"calibration", "calibrated_on"} & set(made.to_json())
        assert made.min_score == GOOD["min_score"]
    assert caplog.text.count("fitted to other weights") == 1  # said once, though the card is read often


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mpp": None}, "lacks mpp"),
        ({"mpp": float("nan")}, "mpp must lie"),
        ({"mpp": "big"}, "cannot be used"),
        ({"kind": "type3"}, "type1 or type2"),
        ({"classes": []}, "classes"),
        ({"classes": ["a", "a"]}, "classes"),
        ({"min_score": 1.5}, "min_score"),
        ({"tile": 500}, "multiple of align"),
        ({"margin": 256}, "positive multiple"),
        ({"margin": -32}, "not negative"),
        ({"align": 0}, "cannot be used"),
        ({"key": "../x", "title": "t"}, "key may hold"),
        ({"weights": "x.pt"}, "safetensors"),
    ],
)
def test_broken_card_is_refused_in_one_sentence_and_harms_no_other(
    user_models: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(
        json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not None}), encoding="utf-8"
    )
    with pytest.raises(ModelError, match=said):
        registry.read_card(bad, user_models)
    before = [c.key for c in registry.cards()]
    (user_models / "bad.json").write_bytes(bad.read_bytes())
    (user_models / "worse.json").write_text("{", encoding="utf-8")
    assert [c.key for c in registry.cards()] == before


def test_unknown_model_names_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"no model “nope”; available: .*type1"):
        registry.load_model("nope")


def test_missing_weights_are_said(user_models: Path) -> None:
    put(user_models)
    with pytest.raises(ModelError, match="missing"):
        registry.load_model("mine", "cpu")


def test_other_weights_than_the_cards_are_refused(user_models: Path) -> None:
    put(user_models)
    (user_models / "mine.safetensors").write_bytes(b"weights")
    registry.check_weights(registry.card("mine"))
    (user_models / "mine.safetensors").write_bytes(b"Weights")
    with pytest.raises(ModelError, match="not the file its card describes"):
        registry.load_model("mine", "cpu")
