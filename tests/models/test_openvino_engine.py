"""OpenVINO in torch's place: the same answer, kept exports, and torch wherever it cannot."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_vit import TINY, noise, same, tiny_card, tiny_net

from cmlcore.errors import ModelError
from cmlcore.settings import settings
from models import openvino_engine, type2
from models.registry import ModelCard
from models.windowed_vit import OFFSET_UNIT, STRIDE, WindowedVit

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed here")


@pytest.fixture(scope="module")
def net() -> WindowedVit:
    return tiny_net()


@pytest.fixture
def card(net: WindowedVit, tmp_path: Path) -> ModelCard:
    return tiny_card(tmp_path, net)


def exports() -> list[Path]:
    return sorted(settings().networks_dir.glob("*"))


def with_engine(card: ModelCard, engine: str) -> type2.Type2:
    return type2.load(card, "cpu", 1, engine)  # type: ignore[arg-type]


def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.device.half_type", lambda _: None)
    monkeypatch.setattr("models.openvino_engine.half_type", lambda _: None)


@pytest.mark.parametrize(("h", "w"), [(64, 64), (128, 192)])
def test_its_maps_are_those_of_torch_at_any_size(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, h: int, w: int
) -> None:
    in_float32(monkeypatch)
    ours, theirs = with_engine(card, "torch"), with_engine(card, "openvino")
    assert ours.device == "CPU (1 thread, fp32)"
    assert theirs.device == "CPU, OpenVINO (1 thread, fp32)"
    tile = noise(h, w, h + w)[0].numpy()
    assert theirs.maps(tile).dtype == np.float32
    np.testing.assert_allclose(theirs.maps(tile), ours.maps(tile), atol=2e-3)


def test_the_same_tile_gives_the_same_bytes_whatever_came_before(card: ModelCard) -> None:
    model = with_engine(card, "openvino")
    batch = np.concatenate([noise(128, 128, s).numpy() for s in range(3)])
    once = model.predict(batch)
    model.predict(noise(64, 192).numpy())
    assert all(same(a, b) for a, b in zip(once, model.predict(batch), strict=True))
    assert same(once[1], with_engine(card, "openvino").predict(batch[1:2])[0])


def test_an_answer_is_not_overwritten_by_the_next(card: ModelCard) -> None:
    maps = with_engine(card, "openvino").maps
    first = maps(noise(64, 64, 1)[0].numpy())
    kept = first.copy()
    maps(noise(64, 64, 2)[0].numpy())
    assert np.array_equal(first, kept)


def test_the_export_is_made_once_and_read_without_the_network(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = with_engine(card, "openvino")
    (folder,) = exports()
    assert {p.name for p in folder.iterdir()} == {"net.xml", "net.bin"}
    monkeypatch.setattr(type2, "_built", lambda _: pytest.fail("the network was built again"))
    tile = noise(64, 128)[0].numpy()
    assert np.array_equal(with_engine(card, "openvino").maps(tile), first.maps(tile))


def test_other_weights_or_another_precision_are_another_export(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine(card, "openvino")
    with_engine(replace(card, sha256="0" * 64), "openvino")
    assert len(exports()) == 2
    names = {openvino_engine._name(card, half) for half in (True, False)}
    monkeypatch.setattr(openvino_engine, "versions", lambda *p: dict.fromkeys(p, "0"))
    names |= {openvino_engine._name(card, half) for half in (True, False)}
    assert len(names) == 4


@pytest.mark.parametrize("file", ["net.xml", "net.bin"])
def test_a_damaged_export_is_made_anew(card: ModelCard, file: str) -> None:
    tile = noise(64, 64)[0].numpy()
    before = with_engine(card, "openvino").maps(tile)
    (folder,) = exports()
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    again = with_engine(card, "openvino")
    assert "OpenVINO" in again.device
    assert np.array_equal(again.maps(tile), before)
    assert exports() == [folder]


def test_who_comes_second_takes_the_export_of_who_came_first(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = openvino_engine._check

    def meanwhile(*args: Any) -> None:
        check(*args)
        monkeypatch.setattr(openvino_engine, "_check", check)
        with_engine(card, "openvino")
        monkeypatch.setattr(openvino_engine.shutil, "rmtree", lambda *_a, **_k: None)  # it cleared up before

    monkeypatch.setattr(openvino_engine, "_check", meanwhile)
    assert "OpenVINO" in with_engine(card, "openvino").device


def test_the_least_used_exports_go(tmp_path: Path) -> None:
    root = tmp_path / "networks"
    for i in range(openvino_engine.KEPT + 3):
        (root / f"e{i:02}").mkdir(parents=True)
        os.utime(root / f"e{i:02}", (1000 + i, 1000 + i))
    openvino_engine._prune(root)
    assert sorted(p.name for p in root.iterdir()) == [f"e{i:02}" for i in range(3, 11)]


@pytest.mark.parametrize(
    ("machine", "engine", "device", "said"),
    [
        ("x86_64", "auto", "cpu", True),
        ("AMD64", "auto", "cpu", True),
        ("aarch64", "auto", "cpu", False),
        ("aarch64", "openvino", "cpu", True),
        ("x86_64", "torch", "cpu", False),
        ("x86_64", "openvino", "cuda", False),
    ],
)
def test_where_it_is_tried(
    monkeypatch: pytest.MonkeyPatch, machine: str, engine: Any, device: str, said: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert openvino_engine.wanted(torch.device(device), engine) is said


def test_the_setting_turns_it_off(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CML_CPU_ENGINE", "torch")
    settings.cache_clear()
    assert isinstance(type2.load(card, "cpu", 1).maps, type2.TorchNetwork)
    assert not settings().networks_dir.exists()


def no_package() -> Any:
    raise ImportError("No module named 'openvino'")


def test_without_the_package_torch_does_it(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_engine, "load_openvino", no_package)
    with caplog.at_level(logging.INFO):
        model = with_engine(card, "openvino")
    assert isinstance(model.maps, type2.TorchNetwork)
    assert [r.getMessage() for r in caplog.records] == [
        "OpenVINO is not used (No module named 'openvino'); torch runs “tiny”."
    ]


@pytest.mark.parametrize("part", ["converted", "compiled", "_check"])
def test_where_it_fails_torch_does_it_with_one_line_in_the_log(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(openvino_engine, part, fails)
    model = with_engine(card, "openvino")
    assert isinstance(model.maps, type2.TorchNetwork)
    assert len(caplog.records) == 1
    assert "torch does: could not create a primitive" in caplog.text
    assert exports() == []


def test_an_export_that_answers_otherwise_is_not_used(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        type2.WithProbabilities, "forward", lambda self, x: self.net(x)
    )  # logits: too far off
    convert = openvino_engine.converted
    monkeypatch.setattr(
        openvino_engine, "converted", lambda o, net, x: convert(o, torch.nn.Sequential(net, Twice()), x)
    )
    assert isinstance(with_engine(card, "openvino").maps, type2.TorchNetwork)
    assert "differs from torch" in caplog.text
    assert exports() == []


class Twice(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_a_home_that_cannot_be_written_is_no_error(card: ModelCard, cml_home: Path) -> None:
    (cml_home / "networks").write_text("a file in the folder's place", encoding="utf-8")
    assert isinstance(with_engine(card, "openvino").maps, type2.TorchNetwork)


def test_broken_weights_are_a_sentence_as_ever(card: ModelCard) -> None:
    wider = replace(card, extra={"architecture": {**TINY.as_dict(), "width": 128}})
    with pytest.raises(ModelError, match="do not fit"):
        with_engine(wider, "openvino")


def test_nothing_is_reported_and_the_log_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import logging, sys, torch\n"
        "from models.openvino_engine import compiled, converted, load_openvino\n"
        "openvino = load_openvino()\n"
        "graph = converted(openvino, torch.nn.Conv2d(3, 1, 1), torch.zeros(1, 3, 8, 8))\n"
        "compiled(openvino, graph, 1, False)\n"
        "assert not any(m.startswith('openvino_telemetry.') for m in sys.modules)\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert logging.getLogger().level == logging.WARNING and not logging.getLogger().handlers\n"
    )
    root = Path(openvino_engine.__file__).parents[1]
    home = tmp_path / "user"
    home.mkdir()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env={**os.environ, "HOME": str(home)})
    assert list(home.iterdir()) == []


def test_the_maps_lie_as_grouping_takes_them(card: ModelCard) -> None:
    found = with_engine(card, "torch").grouping
    assert (found.stride, found.unit) == (STRIDE, OFFSET_UNIT)
