"""From labelled images to a card whose scores are probabilities; and the same from the shell."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import record, square
from PIL import Image

from cmlcore import RESEARCH_USE, cli
from cmlcore.errors import InputError
from cmlcore.evaluation import recalibrate
from cmlcore.evaluation.recalibrate import fit_model, write_card
from cmlcore.ground_truth import Record
from models.base import Instances, TileGrid
from models.calibration import Calibration
from models.registry import card

CLASSES = ("erythrocyte", "leukocyte")
SIDE, STEP = 24, 40


class Boaster:
    """Finds every dark square; its score says how dark, which is right in a share score² of all cases."""

    key, classes, mpp, grid = "boaster", CLASSES, 0.2, TileGrid(1024, 128, 32)
    device, tail, card = "test", 0.0, {"min_score": 0.5, "title": "Boaster"}
    sha256 = hashlib.sha256(b"weights").hexdigest()  # of the file in own_card

    def __init__(self) -> None:
        self.calibration = Calibration.of(None, CLASSES)

    def predict(self, batch: np.ndarray, min_score: float = 0.0) -> list[Instances]:
        out = []
        for tile in batch:
            shapes, scores = [], []
            seen = (tile != 255).any(axis=0)  # white lies around the image
            top, left = int(seen.any(axis=1).argmax()), int(seen.any(axis=0).argmax())
            for y in range(top, tile.shape[1] - STEP + 1, STEP):
                for x in range(left, tile.shape[2] - STEP + 1, STEP):
                    value = int(tile[0, y + SIDE // 2, x + SIDE // 2])
                    if value < 200:
                        shapes.append(square((x, y, x + SIDE, y + SIDE)))
                        scores.append((200 - value) / 200)
            classes = np.zeros(len(shapes), np.int64)
            anchors = np.array([s.mean(0) for s in shapes], np.float32).reshape(-1, 2)
            own = self.calibration.apply(np.array(scores), classes).astype(np.float32)
            probs = np.tile(np.float32([1, 0]), (len(shapes), 1))
            out.append(Instances(shapes, classes, own, probs, anchors))
        return out


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Images of a hundred dark squares; the darker one is, the likelier it is labelled."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(8):
        image = np.full((10 * STEP, 10 * STEP, 3), 240, np.uint8)
        cells = []
        for i in range(100):
            y, x = STEP * (i // 10), STEP * (i % 10)
            value = int(rng.integers(0, 198))
            image[y : y + SIDE, x : x + SIDE] = value
            if rng.random() < ((200 - value) / 200) ** 2:
                cells.append(("erythrocyte", (x, y, x + SIDE, y + SIDE)))
        path = tmp_path / f"{k}.png"
        Image.fromarray(image).save(path)
        made.append(replace(record(cells, complete=CLASSES, mpp=0.2), image=path))
    return made


@pytest.fixture
def own_card(cml_home: Path) -> Path:
    folder = cml_home / "models"
    folder.mkdir()
    (folder / "boaster.safetensors").write_bytes(b"weights")
    told = {"key": "boaster", "title": "Boaster", "kind": "type1", "classes": list(CLASSES), "mpp": 0.2}
    told |= {"tile": 1024, "margin": 128, "align": 32, "min_score": 0.5, "note": "kept"}
    told["sha256"] = hashlib.sha256(b"weights").hexdigest()
    (folder / "boaster.json").write_text(json.dumps(told))
    return folder / "boaster.json"


def test_the_scores_become_probabilities(records: list[Record]) -> None:
    fitted = fit_model(Boaster(), records, data="squares")
    assert fitted.cells == {"erythrocyte": 800}
    assert set(fitted.calibration) == {"erythrocyte"}  # no leukocyte is labelled: nothing to fit
    assert fitted.error_before["erythrocyte"] > 0.12
    assert fitted.error_after["erythrocyte"] < 0.06
    made = fitted.calibration["erythrocyte"]
    x = np.linspace(0.1, 0.9, 9)
    assert np.abs(np.interp(x, made["x"], made["y"]) - x**2).max() < 0.12
    # the score of highest F1 is half of the best F1 (Lipton et al. 2014), here about 0.36; F1 is flat around
    # it, and of such scores the one nearest a half is taken
    assert 0.25 <= fitted.min_score <= 0.5
    assert fitted.unidentified_score == 0.2
    assert fitted.facts["images"] == 8


def test_it_is_fitted_to_the_networks_own_scores(records: list[Record]) -> None:
    model = Boaster()
    once = fit_model(model, records)
    model.calibration = Calibration.of(once.calibration, CLASSES)
    assert fit_model(model, records) == once
    assert model.calibration.maps[0] is not None  # and the model is left as it was


def test_a_wanted_precision_moves_the_threshold(records: list[Record]) -> None:
    assert fit_model(Boaster(), records, precision=0.95).min_score > fit_model(Boaster(), records).min_score
    with pytest.raises(InputError, match="ask for less"):
        fit_model(Boaster(), [replace(r, boxes=r.boxes + 15) for r in records], precision=0.5)


def test_the_card_takes_it(records: list[Record], own_card: Path) -> None:
    fitted = fit_model(Boaster(), records)
    assert write_card("boaster", fitted) == own_card
    made = card("boaster")
    assert made.min_score == fitted.min_score
    assert made.extra["calibration"] == fitted.calibration
    assert made.extra["note"] == "kept"
    assert made.extra["calibrated_on"]["cells"] == {"erythrocyte": 800}
    assert list(own_card.parent.glob("*.part")) == []


def test_a_shipped_card_is_written_in_a_checkout_only(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site" / "models"
    monkeypatch.setattr(recalibrate, "SHIPPED", installed)
    shipped = replace(card("type2"), weights=installed / "weights" / "type2.safetensors")
    monkeypatch.setattr(recalibrate, "card", lambda _: shipped)
    with pytest.raises(InputError, match="installed program"):
        write_card("type2", fit_model(Boaster(), records))


def test_from_the_shell(
    records: list[Record],
    own_card: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("models.registry.load_model", lambda *_: Boaster())
    monkeypatch.setattr("cmlcore.ground_truth.load", lambda *_, **__: records)
    before = own_card.read_text()

    def shell(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cmlscope", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().out

    call = ("calibrate", "--model", "boaster", "--data", str(tmp_path))
    code, text = shell(*call, "--dry-run")
    assert code == 0
    assert "erythrocyte" in text
    assert own_card.read_text() == before
    code, text = shell(*call)
    assert (code, text.splitlines()[-1]) == (0, str(own_card))
    assert own_card.read_text() != before

    out = tmp_path / "out"
    call = ("evaluate", "--model", "boaster", "--data", str(tmp_path))
    code, text = shell(*call, "--bootstrap", "10", "--out", str(out), "--json", str(tmp_path / "e.json"))
    assert code == 0
    assert RESEARCH_USE in text
    assert "AP50" in text
    assert json.loads((out / "evaluation.json").read_text()) == json.loads((tmp_path / "e.json").read_text())
    assert (out / "tables" / "confusion.csv").is_file()
    assert shell(*call, "--edges", "nope")[0] == 2
    assert shell(*call, "--split", "nope")[0] == 2
