from __future__ import annotations

import pytest
import torch

from cmlcore.training import __main__ as shell
from cmlcore.training.type2 import Type2Recipe
from models.windowed_vit import VitConfig, WindowedVit

TINY = VitConfig(backbone="vit_tiny_patch16_224", taps=(1, 2), width=32)


def test_the_shell_trains_and_leaves_weights_that_load(sets_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shell, "_recipe", lambda args: Type2Recipe(TINY, None, 10, args.lr))
    out = tmp_path / "out"
    words = ["--model", "type2", "--data", str(sets_root), "--out", str(out), "--steps", "2"]
    shell.main([*words, "--batch", "1", "--device", "cpu", "--threads", "1", "--workers", "0"])
    WindowedVit(TINY).load_state_dict(torch.load(out / "final.pt", weights_only=True))
    said = capsys.readouterr().out
    assert "3 images, 10 cells" in said
    assert "2 steps" in said


def test_an_unknown_model_is_refused(capsys):
    with pytest.raises(SystemExit):
        shell.main(["--model", "type3", "--data", ".", "--out", "."])
    assert "type3" in capsys.readouterr().err
