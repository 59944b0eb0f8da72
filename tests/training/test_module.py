"""Steps, averaged weights, broken batches and the end of a training, on a network of one weight."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import pytest
import torch
from fitted import Line, Numbers
from lightning.pytorch.callbacks import Timer

from cmlcore import job_folder
from cmlcore.errors import ModelError, RunCancelledError
from cmlcore.training import run_dir
from cmlcore.training.callbacks import (
    Averaged,
    Keeper,
    Reporter,
    averaged_weights,
    best_checkpoint,
    early_stop,
)
from cmlcore.training.data_module import CellData, Stream
from cmlcore.training.module import BROKEN_LIMIT, CellModule
from cmlcore.training.schedule import Budget, averaging, rate


def run(
    folder,
    line,
    steps=40,
    every=20,
    cancelled=lambda: False,
    batch=4,
    ema=0.9,
    extra=(),
    val=True,
    numbers=None,
):
    """A training of ``line``; goes on where the folder says."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    budget = Budget(steps, None, every, every)
    clock = Timer()
    module = CellModule(line, ("erythrocyte",), budget, 0.1, 7, clock.time_elapsed)
    keeper = Keeper(folder, budget, clock, cancelled, 1e9)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        gradient_clip_val=5.0,
        callbacks=[clock, Averaged(ema), Reporter(folder, budget, clock, "CPU"), *extra, keeper],
        default_root_dir=str(folder),
    )
    data = CellData(numbers or Numbers(), Numbers(3) if val else None, line.prepare, batch, every, 0)
    last = folder / run_dir.LAST
    trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    return trainer, module


def weight(line):
    return float(line.net[0].weight.detach())


def test_it_learns_and_says_how_it_goes(tmp_path):
    line = Line()
    _, module = run(tmp_path, line, steps=120, every=40, extra=[best_checkpoint(tmp_path)])
    assert weight(line) == pytest.approx(2, abs=0.1)
    curves = run_dir.read_curves(tmp_path)
    train = [e for e in curves if e["split"] == "train"]
    assert [e["step"] for e in train] == [20, 40, 60, 80, 100, 120]
    assert train[-1]["miss"] == train[-1]["loss"] < train[0]["loss"]
    val = [e for e in curves if e["split"] == "val"]
    assert [e["step"] for e in val] == [40, 80, 120]
    assert [e["epoch"] for e in val] == [1, 2, 3]
    assert val[0]["map50"] < val[-1]["map50"] == pytest.approx(1, abs=1e-4)
    assert val[-1]["ap50"] == {"erythrocyte": val[-1]["map50"]}
    assert module.figures.last.images == 3
    status = job_folder.read_status(tmp_path)
    assert (status["step"], status["steps"], status["epochs"], status["state"]) == (120, 120, 3, "running")


@pytest.mark.parametrize("stop_after", [1, 7, 19, 20, 21, 33])
def test_a_training_taken_up_again_ends_bit_for_bit_where_one_that_ran_through_ends(tmp_path, stop_after):
    whole, part, again = Line(), Line(), Line()
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    run(tmp_path / "whole", whole)
    with pytest.raises(RunCancelledError):
        run(tmp_path / "parts", part, cancelled=lambda: part.step >= stop_after)
    saved = torch.load(tmp_path / "parts" / run_dir.LAST, weights_only=True)
    assert saved["global_step"] == stop_after
    numbers = Numbers()
    run(tmp_path / "parts", again, numbers=numbers)
    assert numbers.asked[0] == 4 * stop_after  # the stream goes on where it stood
    assert weight(again) == weight(whole)
    states = [torch.load(tmp_path / p / run_dir.LAST, weights_only=True) for p in ("whole", "parts")]
    for key in ("state_dict", "current_model_state"):
        assert torch.equal(states[0][key]["net.0.weight"], states[1][key]["net.0.weight"])
    assert [s["global_step"] for s in states] == [40, 40]
    lines = [run_dir.read_curves(tmp_path / p) for p in ("whole", "parts")]
    figures = [[(e["step"], e["map50"], e["loss"]) for e in c if e["split"] == "val"] for c in lines]
    assert figures[0] == figures[1]  # also where it was left just before a validation
    assert [s for s, *_ in figures[0]] == [20, 40]


def test_the_averaged_weights_are_what_is_validated_and_kept(tmp_path):
    line = Line()
    trainer, _ = run(tmp_path, line, steps=12, every=6, ema=0.9, extra=[best_checkpoint(tmp_path)])
    # by hand: the same steps, averaged by the rule in the docstring
    by_hand, now = Line(), None
    opt = torch.optim.AdamW(by_hand.groups())
    for step in range(12):
        opt.param_groups[0]["lr"] = 0.05 * rate(step / 12, 0.1)
        x = torch.tensor([[float((4 * step + k) % 7)] for k in range(4)])
        loss = (by_hand.net(x) - 2 * x).abs().mean()
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(by_hand.net.parameters(), 5.0)
        opt.step()
        w = by_hand.net[0].weight.detach().clone()
        if now is None:
            now = w  # the first step is taken over
        else:
            averaging(0.9)([now], [w], torch.tensor(step))
    kept = averaged_weights(tmp_path / run_dir.LAST)
    assert list(kept) == ["0.weight"]
    torch.testing.assert_close(kept["0.weight"], now)
    torch.testing.assert_close(line.net[0].weight.detach(), now)  # and at the end it is the network's
    current = torch.load(tmp_path / run_dir.LAST, weights_only=True)["current_model_state"]["net.0.weight"]
    torch.testing.assert_close(current, by_hand.net[0].weight.detach())
    assert trainer.global_step == 12


def test_one_broken_batch_does_not_spoil_the_training(tmp_path):
    line = Line(bad=(5, 6))
    _, module = run(tmp_path, line, steps=120)
    assert weight(line) == pytest.approx(2, abs=0.1)
    assert module.broken == 0


def test_a_loss_that_stays_nan_ends_with_a_sentence_and_the_last_good_checkpoint(tmp_path):
    first = Line()
    with pytest.raises(RunCancelledError):
        run(tmp_path, first, cancelled=lambda: first.step >= 8)
    good = torch.load(tmp_path / run_dir.LAST, weights_only=True)
    line = Line(bad=tuple(range(1, 100)))
    with pytest.raises(ModelError, match=r"not a number any more.*checkpoint is kept"):
        run(tmp_path, line)
    assert line.step == BROKEN_LIMIT
    after = torch.load(tmp_path / run_dir.LAST, weights_only=True)
    assert after["global_step"] == good["global_step"] == 8
    assert all(math.isfinite(float(v)) for v in after["current_model_state"].values())


def test_the_best_before_the_break_is_still_the_best_after_it(tmp_path):
    """best.ckpt of a validation that was better than all that come later is not written over."""
    first = Line()
    with pytest.raises(RunCancelledError):
        run(tmp_path, first, every=10, cancelled=lambda: first.step >= 31, extra=[best_checkpoint(tmp_path)])
    best = torch.load(tmp_path / run_dir.BEST, weights_only=True)["global_step"]
    last = torch.load(tmp_path / run_dir.LAST, weights_only=True)
    (state,) = [v for k, v in last["callbacks"].items() if k.startswith("ModelCheckpoint")]
    figures = {e["step"]: e["map50"] for e in run_dir.read_curves(tmp_path) if e["split"] == "val"}
    assert float(state["best_model_score"]) == pytest.approx(max(figures.values()), abs=1e-4)
    assert figures[best] == max(figures.values())


def test_early_stop_ends_when_nothing_gets_better(tmp_path):
    line = Line()
    trainer, _ = run(tmp_path, line, steps=2000, every=20, extra=[early_stop(2)])
    assert trainer.global_step < 2000
    figures = [e["map50"] for e in run_dir.read_curves(tmp_path) if e["split"] == "val"]
    assert max(figures) == figures[-3] >= max(figures[-2:])


def test_without_val_images_it_trains_all_the_same(tmp_path):
    line = Line()
    run(tmp_path, line, steps=20, val=False)
    assert {e["split"] for e in run_dir.read_curves(tmp_path)} == {"train"}
    assert (tmp_path / run_dir.LAST).is_file()


def test_ranks_share_the_stream_without_a_gap_or_a_double():
    taken = 3
    batches = [list(Stream(2, 4, lambda: taken, rank, 2)) for rank in (0, 1)]
    assert len(batches[0]) == len(Stream(2, 4, lambda: taken)) == 4
    every = sorted(i for rank in batches for b in rank for i in b)
    assert every == list(range(taken * 4, (taken + 4) * 4))
    assert batches[0][0] == [12, 13]
    assert batches[1][0] == [14, 15]


def test_the_rate_rises_then_falls():
    assert rate(0.0, 0.1) == 0
    assert rate(0.05, 0.1) == pytest.approx(0.5)
    assert rate(0.1, 0.1) == pytest.approx(1)
    assert rate(0.55, 0.1) == pytest.approx(0.505)
    assert rate(1.0, 0.1) == rate(2.0, 0.1) == pytest.approx(0.01)
    assert rate(0.0, 0.0) == 1


def test_a_budget_of_steps_and_time_follows_whichever_is_further_on():
    both = Budget(100, 60.0, 10, 10)
    assert both.progress(50, 6.0) == 0.5
    assert both.progress(50, 45.0) == 0.75
    assert both.left(50, 45.0, 0.1) == 5.0
    assert both.left(50, 45.0, 1.0) == 15.0
    assert Budget(None, None, 1, 1).left(1, 1, 1) is None
