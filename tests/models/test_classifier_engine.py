"""A classifier by OpenVINO: torch's features for batches of any size, or none where it is not asked for."""

from __future__ import annotations

import pytest
import torch

from cmlcore.settings import settings
from models import classifier_engine
from models.classifier_engine import compile_body
from models.classifiers import build

CPU = torch.device("cpu")


def test_features_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    monkeypatch.setenv("CML_CPU_ENGINE", "openvino")
    settings.cache_clear()
    torch.manual_seed(0)
    net = build("efficientnet_lite0", 3).eval()
    body = compile_body(net, 3, 64, CPU)
    assert body is not None
    for n in (1, 5):
        images = torch.rand(n, 3, 64, 64)
        with torch.inference_mode():
            ours = net.features(images)
        assert torch.allclose(body(images), ours, atol=1e-3 * float(ours.abs().max()))


def test_torch_does_the_work_where_it_is_asked_to_or_must(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    net = build("efficientnet_lite0", 3).eval()
    monkeypatch.setenv("CML_CPU_ENGINE", "torch")
    settings.cache_clear()
    assert compile_body(net, 3, 64, CPU) is None
    monkeypatch.setenv("CML_CPU_ENGINE", "openvino")
    settings.cache_clear()

    def absent() -> object:
        raise ImportError("no such package")

    monkeypatch.setattr(classifier_engine, "load_openvino", absent)
    with caplog.at_level("INFO"):
        assert compile_body(net, 3, 64, CPU) is None
    assert "OpenVINO is not used" in caplog.text
    assert compile_body(net, 3, 64, torch.device("meta")) is None
