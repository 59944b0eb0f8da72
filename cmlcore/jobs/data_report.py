"""What labelled images hold, before anything is trained on them; a child process is asked."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.ground_truth import kind_of
from cmlcore.jobs.data_roots import checked_path, data_roots
from cmlcore.training.settings import TrainSettings

log = logging.getLogger(__name__)
TIMEOUT_S = 300.0


SEVERAL = ("public sets", "folder of sets", "QuPath")
"""Kinds of folders that may hold several sets."""


def found_sets() -> dict[str, str]:
    """Data roots and what lies directly in them, by path, that hold labelled images: what they are taken for.

    Asked anew each time, so that a folder shows as soon as it is there: a few milliseconds for usual sets.
    """
    found: dict[str, str] = {}
    for root in data_roots():
        kind = _kind(root)
        inside = sorted(p for p in root.iterdir() if not p.name.startswith("."))
        if kind is not None:
            found[str(root)] = kind
        if kind is None or kind in SEVERAL:
            found |= {str(p): k for p in inside if (k := _kind(p)) is not None}
    return found


def _kind(path: Path) -> str | None:
    """What a file or folder is taken for; None where it holds no labels, is a link, or may not be read."""
    if path.is_symlink() or (path.is_file() and path.suffix not in (".json", ".geojson")):
        return None
    try:
        return kind_of(path)
    except OSError:
        return None


def data_report(asked: TrainSettings) -> dict[str, Any]:
    """What ``cmlcore.training.data.describe`` says of the images that a training would take.

    Raises:
        InputError: a path may not be read, nothing fits there, a class has no cell, or it takes too long.

    """
    for path in asked.data:
        checked_path(path)
    call = [sys.executable, "-m", "cmlcore.jobs.data_child"]
    question = asked.model_dump_json()
    try:
        done = subprocess.run(
            call, input=question, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        told: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as e:
        raise InputError(
            "Counting these images takes too long; choose fewer sets, or start without it."
        ) from e
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        log.warning("Labelled images could not be counted: %s %s", e, getattr(e, "stderr", ""))
        raise InputError("These images could not be read; check that the set is complete.") from e
    if "error" in told:
        raise InputError(told["error"])
    return told
