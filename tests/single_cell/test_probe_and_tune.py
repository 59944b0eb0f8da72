"""Fitting: the last layer against scikit-like conditions of optimality, the whole model on drawn cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmlcore.errors import RunCancelledError
from cmlcore.single_cell.averaged import Averaged
from cmlcore.single_cell.colours import adapt, side_of, space, to_input, varied
from cmlcore.single_cell.probe import PENALTIES, embed, fit_last_layer, set_last_layer
from cmlcore.single_cell.raw import unprocess
from cmlcore.single_cell.tune import PLAIN_LR, TuneSettings, _optimiser, predict_logits, tune
from models.classifiers import build

CPU = torch.device("cpu")


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    x = np.zeros((n, 1280), np.float32)
    x[:, :4] = rng.normal(size=(n, 4)) * [1, 5, 0.1, 1] + 10
    x[np.arange(n), y] += [3, 15, 0.3, 0][:3] @ np.eye(3)[y].T
    return x, y


def test_the_last_layer_is_the_optimum_of_its_penalised_loss() -> None:
    x, y = blobs(200, 0)
    val, val_y = blobs(100, 1)
    net = build("efficientnet_lite0", 3)
    penalty = fit_last_layer(net, x, y, val, val_y)
    assert penalty in PENALTIES
    mean = x.mean(axis=0, dtype=float)
    std = np.maximum(x.std(axis=0, ddof=1, dtype=float), 1e-6)  # most features are constant: no other floor
    z = torch.tensor((x - mean) / std, dtype=torch.float64)
    w = (net.head.weight.detach().double() * torch.tensor(std)).requires_grad_()
    b = (
        net.head.bias.detach().double() + net.head.weight.detach().double() @ torch.tensor(mean)
    ).requires_grad_()
    count = np.bincount(y, minlength=3)
    weight = torch.tensor(len(y) / (3 * count))
    loss = torch.nn.functional.cross_entropy(z @ w.T + b, torch.tensor(y), weight)
    (loss + penalty / 2 * w.square().sum()).backward()
    assert float(w.grad.abs().max()) < 2e-3  # type: ignore[union-attr]
    assert float(b.grad.abs().max()) < 2e-3  # type: ignore[union-attr]
    hit = (net.head(torch.tensor(val)).argmax(dim=1).numpy() == val_y).mean()
    assert hit > 0.9


def test_a_layer_fitted_again_with_its_penalty_is_the_same() -> None:
    x, y = blobs(200, 0)
    val, val_y = blobs(100, 1)
    a, b = build("efficientnet_lite0", 3), build("efficientnet_lite0", 3)
    set_last_layer(b, x, y, fit_last_layer(a, x, y, val, val_y))
    assert torch.equal(a.head.weight, b.head.weight)
    assert torch.equal(a.head.bias, b.head.bias)


def test_rare_classes_weigh_as_much_as_common_ones() -> None:
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1], [380, 20])
    x = np.zeros((400, 1280), np.float32)
    x[:, 0] = rng.normal(size=400) + 1.5 * y
    net = build("efficientnet_lite0", 2)
    fit_last_layer(net, x, y, x, y)
    called = net.head(torch.tensor(x)).argmax(dim=1).numpy()
    assert (called[y == 1] == 1).mean() > 0.6  # unweighted, nearly none would be called 1


def discs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    fields = rng.integers(200, 255, (n, 64, 64, 3), dtype=np.uint8)
    for i, cls in enumerate(y):
        fields[i, 16:48, 16:48] = (200, 40, 60) if cls else (60, 40, 200)
    return fields, y


def test_tuning_the_whole_model_learns_and_keeps_its_best_epoch() -> None:
    torch.manual_seed(0)
    net = build("efficientnet_lite0", 2)
    fields, y = discs(32, 0)
    val, val_y = discs(8, 1)
    start = {k: v.clone() for k, v in net.body.state_dict().items()}
    s = TuneSettings(epochs=4, lr=3e-3, body_lr=1.0, batch=8)
    history = tune(net, fields, y, val, val_y, "rgb", CPU, s)
    assert [e.epoch for e in history] == list(range(1, len(history) + 1))
    assert history[-1].train_loss < history[0].train_loss
    assert any(not torch.equal(v, start[k]) for k, v in net.body.state_dict().items())
    logits = predict_logits(net, val, "rgb", CPU)
    loss = float(torch.nn.functional.cross_entropy(logits, torch.tensor(val_y)))
    assert loss == pytest.approx(min(e.val_loss for e in history), rel=0.05)  # bf16 may differ by batch


def test_averaged_weights_follow_the_network() -> None:
    torch.manual_seed(0)
    net = build("efficientnet_lite0", 2)
    averaged = Averaged(net, 0.5)
    expected = net.head.weight.detach().clone()
    for n in (1, 2, 3):
        with torch.no_grad():
            net.head.weight.add_(1.0)
        averaged.update(net)
        keep = min(0.5, n / (9 + n))
        expected = keep * expected + (1 - keep) * net.head.weight.detach()
    assert torch.allclose(averaged.net.head.weight, expected, atol=1e-6)
    assert not averaged.net.head.weight.requires_grad


def test_earlier_blocks_of_a_transformer_take_smaller_steps() -> None:
    net = build("dinov2_vits14", 2, side=56)
    groups = _optimiser(net, TuneSettings(), 10)[0].param_groups
    lr = {n: g["initial_lr"] for (n, _), g in zip(net.named_parameters(), groups, strict=True)}
    body = TuneSettings().lr * PLAIN_LR
    assert lr["head.weight"] == TuneSettings().lr
    assert lr["body.net.blocks.11.attn.qkv.weight"] == pytest.approx(body)
    assert lr["body.net.blocks.9.attn.qkv.weight"] == pytest.approx(body * 0.75**2)
    assert lr["body.net.patch_embed.proj.weight"] == pytest.approx(body * 0.75**12)
    assert lr["body.net.norm.weight"] == pytest.approx(body)


def test_a_cancel_is_heeded() -> None:
    net = build("efficientnet_lite0", 2)
    fields, y = discs(8, 0)
    with pytest.raises(RunCancelledError):
        tune(net, fields, y, fields, y, "rgb", CPU, TuneSettings(epochs=1), cancelled=lambda: True)
    with pytest.raises(RunCancelledError):
        embed(net, fields, "rgb", CPU, cancelled=lambda: True)


def test_features_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    net = build("efficientnet_lite0", 2)
    fields, _ = discs(7, 0)
    a, b = (embed(net, fields, "rgb", CPU, batch=n) for n in (7, 3))
    assert np.abs(a - b).max() <= 0.02 * np.abs(a).max()  # bf16 where the processor has it


# -- colour spaces --------------------------------------------------------------------------------------


def test_pixels_become_the_input_of_each_space() -> None:
    fields = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    plain = torch.tensor(fields).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(to_input(fields, "rgb"), plain)
    assert torch.equal(to_input(fields, "rgb+aug"), plain)
    assert torch.equal(to_input(fields, "raw"), unprocess(plain))
    assert torch.equal(to_input(fields, "raw-packed"), unprocess(plain, "packed"))
    assert [side_of(space(s), 224) for s in ("rgb", "raw", "raw-packed")] == [224, 224, 448]


def test_raw_light_reaches_the_network_centred() -> None:
    fields, _ = discs(16, 0)
    net = build("efficientnet_lite0", 2)
    adapt(net, "raw", fields)
    x = (to_input(fields, "raw") - net.mean) / net.std
    assert torch.allclose(x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(x.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3)
    packed = build("efficientnet_lite0", 2)
    adapt(packed, "raw-packed", fields)
    assert packed.features(to_input(fields[:2], "raw-packed")).shape == (2, 1280)


def test_augmentation_varies_looks_only_where_it_is_asked_to() -> None:
    field = discs(1, 0)[0][0]
    seen = {varied(field, np.random.default_rng(i), "rgb").tobytes() for i in range(40)}
    turned = {np.ascontiguousarray(np.rot90(field, k)[:, ::m]).tobytes() for k in range(4) for m in (1, -1)}
    assert seen == turned
    looks = [varied(field, np.random.default_rng(i), "rgb+aug") for i in range(20)]
    assert len({v.mean().round(3) for v in looks}) == 20
    assert np.array_equal(looks[0], varied(field, np.random.default_rng(0), "rgb+aug"))
