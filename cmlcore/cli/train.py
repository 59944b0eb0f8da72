"""Networks of one's own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmlcore.cli.common import Device
from cmlcore.errors import InputError, RunError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from cmlcore.training.settings import TrainSettings

POLL_S = 0.5
LOG = "child.log"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)


def train(
    model: Annotated[
        str | None, typer.Option(help="type1 (Mask R-CNN) or type2 (Vision Transformer).")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder or file of labelled images; may be given several times.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="three-class, erythrocyte-leukocyte or three-cells.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Keys of the class tree, with commas between them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the training; by default a new one in CML_HOME/trainings.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time, all sittings together.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimiser.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="By name: resnet50-fpn-v2 or one of timm's that fits.")
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="A safetensors file the backbone starts from.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Fetch the backbone's weights; needs a network.")
    ] = False,
    start_from: Annotated[str | None, typer.Option(help="Key of an installed model to go on from.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles a step, on each device.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of a tile in model pixels.")] = None,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel at which the network sees cells.")] = None,
    image_mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of images that do not say it.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A source of which no image is used, to judge the network on it later."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many images of each part.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and data take the same steps.")] = None,
    device: Device = "auto",
    devices: Annotated[int | None, typer.Option(help="How many of them train together.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that draw tiles; 0 for none.")] = None,
    threads: Annotated[int | None, typer.Option(help="torch threads on the CPU; 0 for all cores.")] = None,
    early_stop: Annotated[
        int | None, typer.Option(help="Stop after so many validations without a better mAP50.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Key of the resulting model.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the resulting model.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, as name=value, such as augmentation.stain=0.5."),
    ] = None,
) -> None:
    """Train a network on labelled images, validate it, and install it as a model.

    Ctrl-C ends it at the next step; --resume goes on from there.
    """
    from cmlcore.training import run_dir

    given = {
        "classes": _words(classes),
        "data": data or None,
        "epochs": epochs,
        "minutes": minutes,
        "steps": steps,
        "backbone": backbone,
        "backbone_weights": backbone_weights,
        "pretrained": pretrained or None,
        "start_from": start_from,
        "lr": lr,
        "batch": batch,
        "tile": tile,
        "mpp": mpp,
        "image_mpp": image_mpp,
        "leave_out": leave_out or None,
        "limit": limit,
        "seed": seed,
        "device": None if device == "auto" else device,
        "devices": devices,
        "workers": workers,
        "threads": threads,
        "early_stop": early_stop,
        "key": key,
        "title": title,
    }
    changes = {k: v for k, v in given.items() if v is not None} | _more(more or [])
    if resume:
        folder = _resumed(out, model, preset, changes)
    else:
        folder = run_dir.new_run_dir(_settings(model, preset, changes), out)
    print(f"Training in {folder}", file=sys.stderr)
    print(followed(folder))


def _settings(model: str | None, preset: str | None, changes: dict[str, Any]) -> TrainSettings:
    from cmlcore.training.presets import from_preset

    if model not in ("type1", "type2"):
        raise InputError("Say which network to train: --model type1 or --model type2.")
    if "data" not in changes:
        raise InputError(
            "There is no ground truth to train on; give a folder of labelled images with --data."
        )
    made = from_preset(preset, model, **changes)  # type: ignore[arg-type]  # just checked
    if made.epochs is None and made.steps is None and made.minutes is None:
        raise InputError("Say how long to train: --epochs, --minutes or --steps.")
    return made


def _resumed(out: Path | None, model: str | None, preset: str | None, changes: dict[str, Any]) -> Path:
    """The folder of a training to go on with; its length may be changed, and what it runs on."""
    from cmlcore import job_folder
    from cmlcore.settings import settings
    from cmlcore.training import run_dir
    from cmlcore.training.settings import checked

    if out is None:
        raise InputError("Say which training to resume: --out with its folder or its id.")
    folder = out if out.is_dir() else settings().home / "trainings" / out.name
    before = run_dir.read_settings(folder)
    free = {"epochs", "minutes", "steps", "device", "devices", "workers", "threads", "early_stop"}
    fixed = sorted(changes.keys() - free) + [n for n, v in (("model", model), ("preset", preset)) if v]
    if fixed:
        raise InputError(
            f"A training that is resumed keeps its {fixed[0].replace('_', ' ')}; leave that option out."
        )
    if job_folder.pid_alive(status := job_folder.read_status(folder)) and status.get("state") == "running":
        raise InputError("This training is still at work; wait for it or stop it first.")
    run_dir.write_settings(folder, checked({**before.model_dump(), **changes}))
    job_folder.clear_stop(folder)
    return folder


def _words(text: str | None) -> tuple[str, ...] | None:
    """Class keys; names and aliases of the tree are understood."""
    if text is None:
        return None
    from cmlcore.classes import cell_class

    found = []
    for word in (w.strip() for w in text.split(",")):
        try:
            found.append(cell_class(word).key)
        except InputError:  # a class of the user's own
            found.append(word.casefold().replace(" ", "_"))
    return tuple(found)


def _more(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` and ``group.name=value`` as settings."""
    out: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found or not name:
            raise InputError(f"“{pair}” is no setting; write name=value.")
        group, inner, leaf = name.partition(".")
        if inner:
            out.setdefault(group, {})[leaf] = value
        else:
            out[name] = None if value == "none" else value
    return out


def followed(folder: Path) -> str:
    """Run the training in a child process and show how it goes; returns its last sentence.

    Raises:
        RunError: it failed.

    """
    from cmlcore import job_folder
    from cmlcore.training.run_dir import BROKE_OFF, why_it_ended

    job_folder.write_status(folder, state="waiting", message="Starting.", pid=None)
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "cmlcore.training.child", str(folder)],
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
    try:
        with _bar() as bars:
            task = bars.add_task("Starting", total=None, loss="", figure="", left="")
            asked = 0
            while child.poll() is None:
                try:
                    _show(bars, task, folder)
                    time.sleep(POLL_S)
                except KeyboardInterrupt:
                    asked += 1
                    if asked > 1:
                        raise
                    job_folder.request_stop(folder)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    status = job_folder.read_status(folder)
    if status.get("state") in ("done", "cancelled"):
        return str(status.get("message", ""))
    if status.get("state") != "failed":
        message = why_it_ended(child.returncode)
        job_folder.write_status(folder, state="failed", message=message)
        raise RunError(message)
    error = RunError(str(status.get("message", BROKE_OFF)))
    error.exit_code = child.returncode or RunError.exit_code
    raise error


def _show(bars: Bars, task: Any, folder: Path) -> None:
    from cmlcore import job_folder
    from cmlcore.training import run_dir

    status, curves = job_folder.read_status(folder), run_dir.read_curves(folder)
    loss = next((e["loss"] for e in reversed(curves) if e["split"] == "train"), None)
    figure = next((e["map50"] for e in reversed(curves) if e["split"] == "val"), None)
    left = status.get("left_s")
    bars.update(
        task,
        description=str(status.get("message", "")),
        total=status.get("steps"),
        completed=status.get("step", 0),
        loss="" if loss is None else f"loss {loss:.3f}",
        figure="" if figure is None else f"mAP50 {figure:.3f}",
        left="" if left is None else f"{_clock(left)} left",
    )


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{max(1, minutes)} min"


@contextmanager
def _bar() -> Iterator[Bars]:
    """A bar with loss, mAP50 and time left on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn("{task.fields[" + name + "]}") for name in ("loss", "figure", "left")),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars
