"""A classifier saved and loaded: the same answers, unknown where it should be, sentences for bad files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_cells import MPP
from PIL import Image
from safetensors.torch import load_file, save_file

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError, ModelError
from cmlcore.single_cell import shelf
from cmlcore.single_cell.classify import UNKNOWN, Answers, CellClassifier, load, save
from cmlcore.single_cell.data import load as load_set
from cmlcore.single_cell.explain import attention, explain, grad_cam
from cmlcore.single_cell.fit import Recipe
from cmlcore.single_cell.pictures import name_pictures, pictures_csv
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.train import backbone_start, train_classifier
from cmlcore.single_cell.unlike import Unlike
from models.classifiers import build

CLASSES = ("lymphocyte", "monocyte", "basophil")


def card(**changes: object) -> ClassifierCard:
    values = {
        "key": "small",
        "title": "Small",
        "backbone": "efficientnet_lite0",
        "tuning": "last",
        "colours": "rgb",
        "classes": CLASSES,
        "field_um": 22.0,
        "side": 64,
        "weights": Path("small.safetensors"),
        "sha256": "",
        "extra": {"data": "drawn"},
    }
    return ClassifierCard(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def model() -> CellClassifier:
    torch.manual_seed(0)
    net = build("efficientnet_lite0", 3)
    unlike = Unlike(torch.zeros(3, 1280), torch.eye(1280), 4.0, (10.0, 1.0), (0.0, 1.0))
    saved = save(card(), net, unlike)
    assert saved.weights.is_file()
    return load("small", "cpu", threads=1)


def fields(n: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (n, side, side, 3), dtype=np.uint8)


def test_saved_and_loaded_it_answers_the_same(model: CellClassifier) -> None:
    answers = model.classify(fields(5))
    assert np.allclose(answers.probs.sum(axis=1), 1, atol=1e-5)
    model.batch = 2
    again = model.classify(fields(5))
    assert np.allclose(answers.probs, again.probs, atol=2e-2)  # bf16 where the processor has it
    made = shelf.card("small")
    assert made.classes == CLASSES
    assert made.extra == {"data": "drawn"}
    assert made.to_json()["weights"] == "small.safetensors"


def test_a_cards_turns_do_not_matter_to_what_is_turned(model: CellClassifier) -> None:
    whole = CellClassifier(replace(model.card, turns=8), model.net, model._unlike, torch.device("cpu"))
    field = fields(1)
    turned = np.stack([np.rot90(field[0], k)[:, ::m] for k in range(4) for m in (1, -1)])
    probs = whole.classify(turned).probs
    assert np.abs(probs - probs[0]).max() < 1e-3
    assert np.abs(model.classify(turned).probs - probs[0]).max() > 1e-3
    old = {k: v for k, v in model.card.to_json().items() if k != "turns"}
    path = shelf.user_folder() / "small.json"
    path.write_text(json.dumps(old))
    assert shelf.card("small").turns == 1


def test_wrong_fields_are_refused(model: CellClassifier) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        model.classify(fields(2, 32))
    with pytest.raises(ValueError, match="expected uint8"):
        model.classify(fields(2).astype(np.float32))


def test_no_fields_no_answers(model: CellClassifier) -> None:
    assert len(model.classify(fields(0))) == 0


def test_beyond_the_limit_the_answer_is_unknown() -> None:
    answers = Answers(
        ("a", "b"), np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([1.2, 0.9], np.float32)
    )
    assert answers.named == [UNKNOWN, "b"]
    assert answers.best == ["a", "b"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "small.safetensors").unlink(), "are missing"),
        (lambda f: (f / "small.safetensors").write_bytes(b"x"), "are not the file its card describes"),
        (lambda f: edit(f, classes=["a", "b"]), "do not fit the network"),
        (lambda f: edit(f, turns=3), "There is no classifier “small”"),
        (lambda f: drop(f, "unlike.scale"), "was made by an earlier version; train it again"),
        (lambda f: edit(f, key="A b"), "There is no classifier “small”"),
        (lambda f: edit(f, classes=["a", "a"]), "There is no classifier “small”"),
        (lambda f: (f / "small.json").write_text("{"), "There is no classifier “small”"),
    ],
)
def test_spoilt_files_are_refused(model: CellClassifier, spoil: object, sentence: str) -> None:
    spoil(shelf.user_folder())  # type: ignore[operator]
    with pytest.raises(ModelError, match=sentence):
        load("small", "cpu")


def drop(folder: Path, name: str) -> None:
    path = folder / "small.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != name}, path)
    edit(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def edit(folder: Path, **changes: object) -> None:
    path = folder / "small.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_keys_are_made_of_names_and_never_taken_twice(model: CellClassifier) -> None:
    assert shelf.free_key("Small") == "small-2"
    assert shelf.free_key("AML, 15 Klassen!") == "aml-15-klassen"
    with pytest.raises(ModelError, match="cannot be a classifier's key"):
        shelf.free_key("…")


def test_reading_cards_imports_no_torch() -> None:
    modules = "shelf, data, splits, bench_table, named, images, metrics, stream, pictures"
    code = f"import sys; from cmlcore.single_cell import {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(shelf.__file__).parents[2])


# -- explanation ----------------------------------------------------------------------------------------


def test_grad_cam_equals_the_gradient_taken_by_torch(model: CellClassifier) -> None:
    field = fields(1)[0]
    found = grad_cam(model, field, "monocyte")
    x = torch.tensor(field).permute(2, 0, 1)[None].float() / 255
    maps = model.net.maps(x).detach().requires_grad_()
    model.net.head(maps.mean(dim=(2, 3)))[0, 1].backward()
    weights = maps.grad[0].mean(dim=(1, 2))  # type: ignore[index]
    cam = torch.einsum("d,dhw->hw", weights, maps[0].detach()).relu()
    slow = torch.nn.functional.interpolate(cam[None, None], (64, 64), mode="bilinear")[0, 0]
    np.testing.assert_allclose(found, (slow / slow.max()).numpy(), atol=1e-3)
    assert explain(model, field)[0] == "Grad-CAM"


def test_an_unknown_class_cannot_be_explained(model: CellClassifier) -> None:
    with pytest.raises(InputError, match="does not know “net”"):
        grad_cam(model, fields(1)[0], "net")


def test_attention_equals_the_softmax_written_out() -> None:
    torch.manual_seed(0)
    net = build("dinov2_vits14", 3).eval()
    unlike = Unlike(torch.zeros(3, 1920), torch.eye(1920), 1.0, (0.0, 1.0), (0.0, 1.0))
    model = CellClassifier(card(backbone="dinov2_vits14", side=224), net, unlike, torch.device("cpu"))
    field = fields(1, 224)[0]
    found = attention(model, field)
    vit = net.body.net
    with torch.no_grad():
        x = (torch.tensor(field).permute(2, 0, 1)[None].float() / 255 - net.mean) / net.std
        tokens = vit.forward_intermediates(x, indices=[10], norm=False, intermediates_only=True,
                                           output_fmt="NLC", return_prefix_tokens=True)[0]  # fmt: skip
        t = vit.blocks[11].norm1(torch.cat([tokens[1], tokens[0]], dim=1))[0]
        qkv = vit.blocks[11].attn.qkv(t).reshape(257, 3, 6, 64)
        rows = [
            torch.softmax(torch.stack([qkv[0, 0, h] @ qkv[j, 1, h] / 8 for j in range(257)]), dim=0)[1:]
            for h in range(6)
        ]
    slow = torch.stack(rows).mean(dim=0).reshape(1, 1, 16, 16)
    slow = torch.nn.functional.interpolate(slow, (224, 224), mode="bilinear")[0, 0]
    np.testing.assert_allclose(found, (slow / slow.max()).numpy(), atol=1e-3)
    assert explain(model, field)[0] == "attention"


# -- pictures -------------------------------------------------------------------------------------------


def test_pictures_are_named_or_refused_one_by_one(model: CellClassifier, tmp_path: Path) -> None:
    good = Image.fromarray(fields(1, 100)[0])
    good.save(tmp_path / "=SUM(1).png")
    good.convert("L").save(tmp_path / "grey.png")
    good.save(tmp_path / "last.png")
    paths = [tmp_path / n for n in ("=SUM(1).png", "grey.png", "absent.png", "last.png")]
    seen: list[tuple[int, int]] = []
    rows = name_pictures(paths, MPP, model, lambda d, t: seen.append((d, t)))
    assert [bool(r.why) for r in rows] == [False, True, True, False]
    assert rows[0].probs == rows[3].probs
    assert seen == [(4, 4)]
    lines = b"".join(pictures_csv(rows, model.card)).decode().splitlines()
    assert lines[0] == f"# {RESEARCH_USE}"
    table = list(csv.DictReader(io.StringIO("\n".join(ln for ln in lines if not ln.startswith("#")))))
    assert table[0]["image"] == "'=SUM(1).png"
    assert table[1]["class"] == ""
    assert table[1]["note"].startswith("grey.png is grey")
    assert float(table[3]["prob_monocyte"]) == pytest.approx(rows[3].probs[1], abs=1e-4)


# -- training one ---------------------------------------------------------------------------------------


def test_training_makes_a_classifier_with_an_honest_card(drawn_set: Path) -> None:
    recipe = Recipe("efficientnet_lite0", "last", "rgb+aug", "random", copies=1)
    made = train_classifier(load_set(drawn_set), MPP, recipe, "Drawn cells", device="cpu")
    assert made.key == "drawn-cells"
    assert made.classes == ("eosinophil", "monocyte", "lymphocyte")
    data = made.extra["data"]
    assert (data["train"], data["val"], data["test"]) == (24, 3, 3)
    assert "no patient is known" in data["unit"]
    assert made.extra["metrics"]["images"] == 3
    assert made.extra["research_use"] == RESEARCH_USE
    assert str(drawn_set) not in json.dumps(made.to_json())
    assert load("drawn-cells", "cpu").card.classes == made.classes


def test_backbone_files_are_found_in_the_data_folder(cml_home: Path) -> None:
    assert backbone_start("resnet50") == "fetch"
    with pytest.raises(InputError, match="--weights kimianet=FILE"):
        backbone_start("kimianet")
    path = cml_home / "backbones" / "kimianet.pth"
    path.parent.mkdir()
    path.write_bytes(b"")
    assert backbone_start("kimianet") == path
    assert backbone_start("kimianet", Path("mine.pth")) == Path("mine.pth")
