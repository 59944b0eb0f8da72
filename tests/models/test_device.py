"""Which device, in which words, with how many threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cmlcore.errors import ModelError
from cmlcore.settings import settings
from models import device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_those_asked_for_else_those_set_else_every_core_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert device.set_threads(0) == cores == torch.get_num_threads()
    monkeypatch.setenv("CML_THREADS", "3")
    settings.cache_clear()
    assert device.set_threads(0) == 3 == torch.get_num_threads()
    assert device.set_threads(1) == 1 == torch.get_num_threads()


def test_the_device_is_said_with_threads_precision_and_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "half_type", lambda _: torch.bfloat16)
    device.set_threads(1)
    assert device.describe(CPU) == "CPU (1 thread, bf16)"
    assert device.describe(CPU, half=False) == "CPU (1 thread, fp32)"
    device.set_threads(2)
    assert device.describe(CPU, engine="OpenVINO") == "CPU, OpenVINO (2 threads, bf16)"


@pytest.mark.parametrize("wanted", ["nonsense", "cuda:97", "meta"])
def test_a_device_that_is_not_there_is_a_sentence(wanted: str) -> None:
    with pytest.raises(ModelError, match="device"):
        device.choose_device(wanted)


@pytest.mark.parametrize(("given", "got"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given: str | None, got: str) -> None:
    code = "import sys, os, cmlcore; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": given} if given else {}
    root = Path(device.__file__).parents[1]
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root, env=env
    )
    assert said.stdout.strip() == got
