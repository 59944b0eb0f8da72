from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cmlcore.training.export import export
from cmlcore.training.loop import Budget, Loop, rate


class Line:
    """Fits y = 2 x; the loop knows no more of a network than this."""

    name = "line"

    def __init__(self):
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1, bias=False)

    def groups(self):
        return [{"params": list(self.net.parameters()), "lr": 0.05, "weight_decay": 0.0}]

    def prepare(self, sample):
        return sample

    def loss(self, samples):
        x = torch.stack([s["x"] for s in samples])
        return {"miss": (self.net(x) - 2 * x).abs().mean()}

    def card(self):
        return {}


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 10_000

    def __getitem__(self, i):
        return {"x": torch.tensor([float(i % 7)])}


def test_it_learns_and_keeps_its_state(tmp_path):
    budget = Budget(minutes=10, steps=120, batch=4, workers=0, ema=0.9)
    loop = Loop(Line(), budget, tmp_path, torch.device("cpu"))
    weights = loop.run(Numbers())
    assert loop.step == 120
    assert float(weights["weight"].detach()) == pytest.approx(2, abs=0.1)
    lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [20, 40, 60, 80, 100, 120]
    assert lines[-1]["miss"] < lines[0]["miss"]


def test_a_training_is_taken_up_where_it_stood(tmp_path):
    short = Budget(minutes=10, steps=30, batch=4, workers=0)
    first = Loop(Line(), short, tmp_path, torch.device("cpu"))
    first.run(Numbers())
    again = Loop(Line(), Budget(minutes=10, steps=50, batch=4, workers=0), tmp_path, torch.device("cpu"))
    assert again.step == 30
    assert torch.equal(again.net.weight, first.net.weight)
    again.run(Numbers())
    assert again.step == 50


def test_the_rate_rises_then_falls():
    assert rate(0.0, 0.1) == 0
    assert rate(0.05, 0.1) == pytest.approx(0.5)
    assert rate(0.1, 0.1) == pytest.approx(1)
    assert rate(1.0, 0.1) == pytest.approx(0.01)


def test_export_writes_half_precision_and_a_card_that_fits(tmp_path):
    state = {"a": torch.tensor([1.0, 2.5]), "n": torch.tensor(3)}
    path = export(state, {"key": "mine", "kind": "type2"}, tmp_path)
    kept = load_file(path)
    assert kept["a"].dtype == torch.float16
    assert kept["n"].dtype == torch.int64
    card = json.loads((tmp_path / "cards" / "mine.json").read_text())
    assert card["weights"] == "mine.safetensors"
    assert len(card["sha256"]) == 64
    with pytest.raises(ValueError, match="not finite"):
        export({"a": torch.tensor([1e6])}, {"key": "big"}, tmp_path)
