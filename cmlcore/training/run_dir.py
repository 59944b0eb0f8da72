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
import signal
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.files import whole_file, write_json
from cmlcore.job_folder import write_status
from cmlcore.settings import settings as cml_settings
from cmlcore.store.ids import new_id
from cmlcore.training.settings import TrainSettings, checked

SETTINGS, ENVIRONMENT, DATA, CURVES = "settings.json", "environment.json", "data.json", "curves.jsonl"
CHECKPOINTS, MODEL = "checkpoints", "model"
LAST, BEST = f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt"

OVER = ("done", "cancelled", "failed")
"""States in which nobody is at work."""

KILLED = (
    "The training process was killed, most likely for lack of memory; free memory and resume it from its "
    "last checkpoint, or start a new training with a smaller batch or tile."
)
BROKE_OFF = (
    "The training process ended without a word; its log in the training's folder says more. "
    "It can be resumed from its last checkpoint."
)


def why_it_ended(code: int | None) -> str:
    """A sentence for a training process that left with exit code ``code`` and said nothing itself."""
    return KILLED if code == -signal.SIGKILL else BROKE_OFF


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
    with whole_file(folder / CURVES) as part:
        part.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")


def can_resume(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return (folder / LAST).is_file()
