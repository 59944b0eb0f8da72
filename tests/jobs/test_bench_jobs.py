"""Benches as jobs: a small one on drawn cells that resumes, and a classifier made by its recipe."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cmlcore.errors import InputError, StorageError
from cmlcore.job_folder import request_stop
from cmlcore.jobs import bench_child
from cmlcore.jobs.bench import BENCHES, BenchRequest, bench_result, shipped_benches, submit_bench
from cmlcore.single_cell import shelf
from cmlcore.single_cell.cost import Measured
from models.classifiers import build

HUES = {"monocyte": (90, 60, 160), "eosinophil": (210, 90, 60), "lymphocyte": (40, 30, 110)}


@pytest.fixture
def data(cml_home: Path) -> Path:
    """Three classes of eight squares in their own colours."""
    rng = np.random.default_rng(0)
    folder = cml_home / "data" / "drawn"
    for cls, hue in HUES.items():
        (folder / cls).mkdir(parents=True)
        for i in range(8):
            image = np.full((64, 64, 3), (240, 225, 220), np.uint8)
            image[16:48, 16:48] = np.clip(np.array(hue) + rng.normal(0, 8, (32, 32, 3)), 0, 255)
            Image.fromarray(image).save(folder / cls / f"{cls}{i}.png")
    return folder


@pytest.fixture
def asked(data: Path, cml_home: Path, monkeypatch: pytest.MonkeyPatch) -> BenchRequest:
    """One small network with random weights; nothing is timed."""
    torch.manual_seed(0)
    weights = cml_home / "backbones" / "efficientnet_lite0.safetensors"
    weights.parent.mkdir()
    save_file(build("efficientnet_lite0", 2).body.net.state_dict(), weights)
    monkeypatch.setattr(
        "cmlcore.single_cell.cost.measure", lambda key, device, **_: Measured(key, "CPU", 8, 0.02, 300.0)
    )
    return BenchRequest(data=data, starts={"efficientnet_lite0": weights}, cut="holdout", scale="given",
                        mpp=0.3)  # fmt: skip


def work(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the child does, in this process."""
    monkeypatch.setattr(sys, "argv", ["child", str(BENCHES.folder(key))])
    bench_child.main()


def test_a_bench_is_worked_off_and_then_a_classifier_made(asked, monkeypatch) -> None:
    key = submit_bench(asked)
    request_stop(BENCHES.folder(key))
    work(key, monkeypatch)
    assert BENCHES.get(key).state == "cancelled"
    BENCHES.restart(key)
    work(key, monkeypatch)
    job = BENCHES.get(key)
    assert (job.state, job.message) == ("done", "")
    found = bench_result(key)
    (row,) = found["rows"]
    assert (row["backbone"], row["tuning"], row["colours"]) == ("efficientnet_lite0", "last", "rgb")
    assert row["pooled"]["figures"]["accuracy"]["value"] > 0.6  # three plain colours
    assert found["costs"][0]["seconds_per_image"] == 0.02
    assert found["costs"][0]["conv2d"] > 40
    assert str(asked.data) not in (job.folder / "bench.json").read_text()

    made = submit_bench(asked.model_copy(update={"title": "Of three colours"}))
    work(made, monkeypatch)
    assert BENCHES.get(made).told["classifier"] == "of-three-colours"
    assert shelf.card("of-three-colours").weights.is_file()


def test_what_cannot_be_asked_for(asked, data, tmp_path) -> None:
    with pytest.raises(InputError, match="not below a folder"):
        submit_bench(asked.model_copy(update={"data": tmp_path}))
    with pytest.raises(InputError, match="not below a folder"):
        submit_bench(asked.model_copy(update={"starts": {"resnet50": tmp_path / "x.pth"}}))
    with pytest.raises(ValueError, match="one classifier has one"):
        BenchRequest(**asked.model_dump() | {"title": "x", "tunings": ("last", "whole")})
    assert BENCHES.all() == []


def test_an_unknown_pixel_size_is_said(asked, monkeypatch) -> None:
    key = submit_bench(asked.model_copy(update={"scale": "known", "mpp": None}))
    work(key, monkeypatch)
    assert "how many µm" in BENCHES.get(key).message


def test_shipped_benches_have_ids_no_job_has() -> None:
    for key in shipped_benches():
        assert bench_result(key)["rows"]
        with pytest.raises(InputError):
            BENCHES.get(key)


def test_what_cannot_be_stored_is_said_plainly(
    asked: BenchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "benches"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setattr(BENCHES, "root", lambda: blocked)
    with pytest.raises(StorageError, match="This bench cannot be stored: the data folder cannot be written"):
        BENCHES.submit(asked)
