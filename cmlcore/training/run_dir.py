"""The folder of one training: what it was told, how it stands, what came of it. Reading it needs no torch.

::

    settings.json     ``TrainSettings``
    environment.json  versions, device, threads
    data.json         the sets: images and cells a class, all and used; a hash over the files
    curves.jsonl      a line an event, ``split`` "train" or "val"; see ``callbacks``
    status.json       state, message, step, steps, epoch, epochs, seconds, left_s, device, pid
    checkpoints/      last.ckpt, best.ckpt
    stop              an empty file that somebody puts there to end the training
    model/            the card and the weights, once done
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.settings import settings as cml_settings
from cmlcore.store.ids import new_id
from cmlcore.training.settings import TrainSettings, checked

SETTINGS, ENVIRONMENT, DATA, CURVES = "settings.json", "environment.json", "data.json", "curves.jsonl"
STATUS, STOP, CHECKPOINTS, MODEL = "status.json", "stop", "checkpoints", "model"
LAST, BEST = f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt"

OVER = ("done", "cancelled", "failed")
"""States in which nobody is at work."""


def new_run_dir(settings: TrainSettings, folder: Path | None = None) -> Path:
    """Make the folder of a new training, in state "waiting"; by default a fresh one in CML_HOME/trainings.

    Raises:
        InputError: there is a training in the folder already.

    """
    made = folder or cml_settings().home / "trainings" / new_id()
    if (made / SETTINGS).exists():
        raise InputError(f"{made} holds a training already; resume it or give another folder.")
    (made / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_settings(made, settings)
    write_status(made, state="waiting", message="", step=0, seconds=0.0)
    return made


def write_settings(folder: Path, settings: TrainSettings) -> None:
    """Write what the training is told."""
    write_json(folder / SETTINGS, settings.model_dump(mode="json"))


def read_settings(folder: Path) -> TrainSettings:
    """What the training was told.

    Raises:
        InputError: the folder holds no training, or its settings are damaged.

    """
    try:
        raw = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder} holds no training; give the folder of one.") from None
    except ValueError:
        raise InputError(f"The settings in {folder} are damaged; start a new training.") from None
    return checked(raw)


def write_status(folder: Path, **values: Any) -> None:
    """Change some of the values in status.json; the others stay. Replaced whole, so never seen half."""
    write_json(folder / STATUS, read_status(folder) | values)


def read_status(folder: Path) -> dict[str, Any]:
    """How the training stands; ``{}`` where nobody has said so yet."""
    return read_json(folder / STATUS)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ``{}`` where there is none or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; the last of two writers wins."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def append_curve(folder: Path, event: dict[str, Any]) -> None:
    """Add one line to curves.jsonl."""
    with (folder / CURVES).open("a", encoding="utf-8") as f:
        f.write(json.dumps(event) + "\n")


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """The events of curves.jsonl in order; a last line that is only half written is left out."""
    try:
        lines = (folder / CURVES).read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def forget_curve_after(folder: Path, step: int, validated: bool = True) -> None:
    """Drop events beyond ``step``: a training that goes on from a checkpoint draws them anew.

    ``validated`` is whether the checkpoint knows the validation at ``step``; else that goes, too.
    """
    last = {"train": step, "val": step if validated else step - 1}
    kept = [e for e in read_curves(folder) if e["step"] <= last[e["split"]]]
    part = folder / f"{CURVES}.part"
    part.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")
    part.replace(folder / CURVES)


def request_stop(folder: Path) -> None:
    """Ask a training to end; it keeps its last step and can be resumed."""
    (folder / STOP).touch()


def stop_requested(folder: Path) -> bool:
    """Whether somebody asked for the end."""
    return (folder / STOP).exists()


def clear_stop(folder: Path) -> None:
    """Take the request back, as whoever resumes a training must."""
    (folder / STOP).unlink(missing_ok=True)


def can_resume(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return (folder / LAST).is_file()


def pid_alive(status: dict[str, Any]) -> bool:
    """Whether the process that wrote the status is still there."""
    pid = status.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
