"""The windowed transformer: windows on their own, a decoder of limited reach, one answer for one input."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from shapely.geometry import Polygon
from tiny_vit import TINY, noise, same, tiny_card, tiny_net

from cmlcore.errors import ModelError
from models import registry, type2
from models.windowed_vit import REACH, VitConfig, WindowedVit, fold_norms


@pytest.fixture(scope="module")
def net() -> WindowedVit:
    return tiny_net()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2"])
def test_any_plain_vit_can_be_built(name):
    made = WindowedVit(VitConfig(backbone=name, classes=4, window=64, taps=(1, 2), width=32)).eval()
    with torch.inference_mode():
        assert made(noise(64, 128)).shape == (1, 7, 32, 64)


def test_a_window_sees_itself_alone(net):
    image = noise(128, 128).float()
    other = image.clone()
    other[:, :, 64:, 64:] += 50
    with torch.inference_mode():
        a, b = net.tokens(image), net.tokens(other)
    assert torch.equal(a[:, :, :4], b[:, :, :4])
    assert torch.equal(a[:, :, :, :4], b[:, :, :, :4])
    assert not torch.allclose(a[:, :, 4:, 4:], b[:, :, 4:, 4:])


def test_maps_do_not_depend_on_the_tile_beyond_the_reach(net):
    image = noise(256, 384)
    with torch.inference_mode():
        whole = net(image)
        part = net(image[:, :, :, 64:])
    inner = (REACH + 16) // 2  # the token under a point may begin a patch away
    assert whole.shape[3] - 32 - inner > 40
    torch.testing.assert_close(whole[..., 32 + inner :], part[..., inner:], atol=1e-4, rtol=0)
    assert not torch.allclose(whole[..., 32], part[..., 0], atol=1e-3)


def test_folded_norms_change_nothing(net):
    folded = copy.deepcopy(net)
    fold_norms(folded)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(noise(64, 128)), net(noise(64, 128)), atol=1e-3, rtol=1e-3)


def test_predict_gives_the_same_bytes_alone_twice_and_in_a_batch(net, tmp_path):
    model = type2.load(tiny_card(tmp_path, net), "cpu", 1, "torch")
    batch = np.concatenate([noise(128, 128, s).numpy() for s in range(3)])
    once, twice = model.predict(batch), model.predict(batch)
    assert all(same(a, b) for a, b in zip(once, twice, strict=True))
    assert same(once[1], model.predict(batch[1:2])[0])
    assert model.device.startswith("CPU (1 thread,")


@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_wrong_batches_are_refused(net, tmp_path, shape):
    model = type2.load(tiny_card(tmp_path, net), "cpu", 1)
    with pytest.raises(ValueError, match=r"multiples|expected"):
        model.predict(np.zeros(shape, np.uint8))


def test_weights_that_do_not_fit_are_a_sentence(net, tmp_path):
    wider = {"architecture": {**TINY.as_dict(), "width": 128}}
    with pytest.raises(ModelError, match="do not fit"):
        type2.load(tiny_card(tmp_path, net, extra=wider), "cpu", 1)
    card = tiny_card(tmp_path, net)
    card.weights.write_bytes(b"no safetensors at all")
    with pytest.raises(ModelError, match="cannot be read"):
        type2.load(card, "cpu", 1)


def iou(a, b) -> float:
    p, q = Polygon(a), Polygon(b)
    return p.intersection(q).area / p.union(q).area


@pytest.mark.weights
@pytest.mark.realdata
@pytest.mark.parametrize(("x", "y"), [(256, 0), (0, 256), (256, 256)])
def test_a_tile_gives_the_cells_of_a_larger_tile(real_data, x, y):
    path = sorted((real_data / "bbbc041seg" / "val" / "images").iterdir())[0]
    image = cv2.resize(cv2.imread(str(path))[..., ::-1], (600, 450), interpolation=cv2.INTER_AREA)
    field = np.pad(image, ((0, 768), (0, 768), (0, 0)), mode="reflect")[:768, :768].transpose(2, 0, 1)
    model = registry.load_model("type2", "cpu", 1)
    side, margin = 512, model.grid.margin
    whole = model.predict(field[None], 0.3)[0]
    part = model.predict(field[None, :, y : y + side, x : x + side], 0.3)[0]

    def in_core(found, dx, dy):
        ax, ay = found.anchors[:, 0] - dx, found.anchors[:, 1] - dy
        low, high = margin, side - margin
        return np.flatnonzero((ax >= low) & (ax < high) & (ay >= low) & (ay < high))

    a, b = in_core(whole, x, y), in_core(part, 0, 0)
    assert len(a) == len(b) > 5
    order_a = np.lexsort(whole.anchors[a].T)
    order_b = np.lexsort(part.anchors[b].T)
    for i, j in zip(a[order_a], b[order_b], strict=True):
        assert whole.classes[i] == part.classes[j]
        assert iou(whole.outlines[i], part.outlines[j] + np.float32((x, y))) >= 0.99


@pytest.mark.weights
def test_the_card_describes_the_shipped_weights():
    card = registry.card("type2")
    registry.check_weights(card)
    assert card.weights.stat().st_size < 50e6
    assert card.grid.core % VitConfig.from_dict(card.extra["architecture"]).window == 0
    assert card.align == card.extra["architecture"]["window"]
    raw = json.loads((registry.SHIPPED / "cards" / "type2.json").read_text(encoding="utf-8"))
    assert raw["metrics"]["txl_pbc"]["box_mAP50"] >= 0.82
    assert (registry.SHIPPED / "cards" / "type2.md").is_file()
