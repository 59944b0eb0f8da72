"""Which device works here and how fast it was last; a child process is asked, torch stays out of this one."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cmlcore.files import write_json
from cmlcore.settings import settings

log = logging.getLogger(__name__)
ASK_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What the sidebar says.

    Attributes:
        name: "CPU (2 threads, fp32)", "NVIDIA H100 80GB HBM3", …; "unknown" until asked.
        kind: "cpu", "cuda", "mps" or "unknown".
        threads: torch threads of a worker on the CPU.
        mm2_per_s: speed of the last finished run on this device; None before the first.
        model: the model of that run.
        asked_for: the value of ``CML_DEVICE`` that this answers.

    """

    name: str
    kind: str
    threads: int
    mm2_per_s: float | None = None
    model: str = ""
    asked_for: str = "auto"


def worker_threads() -> int:
    """Torch threads of one worker on the CPU: as set, or the cores shared out evenly."""
    wanted = settings()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted.threads or max(1, cores // wanted.workers)


def device_report(*, wait: bool = False) -> DeviceReport:
    """The device of this installation, from ``CML_HOME/device.json``.

    Args:
        wait: ask now if nobody has asked yet (some seconds); else an unknown device is reported.

    """
    wanted = settings()
    try:
        known = DeviceReport(**json.loads(_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = None
    if known and known.asked_for == wanted.device and known.threads == worker_threads():
        return known
    if not wait:
        return DeviceReport("unknown", "unknown", worker_threads(), asked_for=wanted.device)
    found = _ask()
    if found.kind != "unknown":
        _write(found)
    return found


def note_speed(device: str, mm2_per_s: float | None, model: str) -> None:
    """Remember what a finished run measured."""
    known = device_report()
    if mm2_per_s is None or (known.kind == "unknown" and not device):
        return
    _write(replace(known, name=device or known.name, mm2_per_s=mm2_per_s, model=model))


def _file() -> Path:
    return settings().home / "device.json"


def _write(report: DeviceReport) -> None:
    try:
        write_json(_file(), asdict(report), durable=False)
    except OSError as e:  # a full disk must not fail a run over a remark in the sidebar
        log.warning("The device report is not kept: %s", e)


def _ask() -> DeviceReport:
    wanted = settings()
    unknown = DeviceReport("unknown", "unknown", worker_threads(), asked_for=wanted.device)
    call = [sys.executable, "-m", "cmlcore.jobs.device_probe", wanted.device, str(worker_threads())]
    try:
        answer = subprocess.run(call, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True)
        return replace(DeviceReport(**json.loads(answer.stdout)), asked_for=wanted.device)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError) as e:
        log.warning("The device could not be asked: %s", e)
        return unknown
