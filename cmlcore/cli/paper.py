"""The comparison of the paper: both types on both tasks, from stored trainings or trained now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmlcore.cli.common import Device, bar, write
from cmlcore.errors import InputError

if TYPE_CHECKING:
    from cmlcore.report.paper import Axis, Slot, Training
    from cmlcore.training.settings import Model

paper = typer.Typer(
    help="Compare both types on both tasks: (A) loss and (B) mAP. The three-class task is on phantoms."
)
PHANTOMS = "phantoms"
Over = Annotated[str, typer.Option("--over", help="Axis of the curves: epoch, step or minutes.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(paper, name="paper")


@paper.callback(invoke_without_command=True)
def compare(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder for figures and tables.")] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a training, up to four; by default the newest stored, else what ships."),
    ] = None,
    over: Over = "epoch",
) -> None:
    """Draw the figures from stored trainings, the very bytes that the page downloads."""
    if context.invoked_subcommand is not None:
        return
    from cmlcore.report.paper import chosen_from, known_trainings
    from cmlcore.settings import settings

    if out is None:
        raise InputError("Say where the figures shall go: --out DIR.")
    if run:
        chosen = chosen_from(run)
    else:
        known = known_trainings(settings().trainings_dir)
        chosen = {slot: found[0] for slot, found in known.items() if found}
    _figures(chosen, out, over)


@paper.command()
def train(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for trainings and figures; by default trainings go where the pages look."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled photographs of erythrocytes and leukocytes; by default --ground."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Wall time of each training; by default as published, in epochs.")
    ] = None,
    ground: Annotated[
        Path | None,
        typer.Option(help="Labelled smears that the phantoms are drawn on; by default --data."),
    ] = None,
    drawn: Annotated[
        Path | None, typer.Option(help="A phantom set of cmlscope data phantoms, in place of a new one.")
    ] = None,
    phantoms: Annotated[int, typer.Option(min=10, help="Images of phantoms to draw.")] = 200,
    image_mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of images that do not say it.")
    ] = None,
    weights1: Annotated[
        Path | None, typer.Option(help="A safetensors file that type 1's backbone starts from.")
    ] = None,
    weights2: Annotated[
        Path | None, typer.Option(help="A safetensors file that type 2's backbone starts from.")
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Go on from the installed models type1 and type2.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the phantoms and the trainings.")] = 0,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="torch threads on the CPU; 0 for all cores.")] = 0,
    over: Over = "epoch",
) -> None:
    """Draw the phantoms, run the four trainings with their presets one after another, draw the figures.

    A training that lies in the folder already is gone on with, or left as it is when it is done.
    """
    from cmlcore.report.paper import SLOTS, read_training
    from cmlcore.settings import settings

    places = _places(out)
    out = out or settings().home / "paper"
    photographs = data or ground or settings().data
    if photographs is None:
        raise InputError("Say where the labelled photographs are: --data DIR, or set CML_DATA.")
    common: dict[str, Any] = {"seed": seed, "device": device, "threads": threads, "image_mpp": image_mpp}
    if minutes is not None:
        common["minutes"] = minutes
    if installed and (weights1 or weights2):
        raise InputError("Give one start only: --installed, or files of weights.")
    starts = {"type1": weights1, "type2": weights2}
    chosen = {}
    for task, kind in SLOTS:
        seen = photographs
        if task == "three-class":
            seen = drawn or _phantoms(out / PHANTOMS, ground or photographs, phantoms, seed)
        folder = places[task, kind]
        print(f"{task}, {kind}" + (" (phantoms)" if task == "three-class" else ""), file=sys.stderr)
        start = {"start_from": kind} if installed else {"backbone_weights": starts[kind]}
        if not _train(folder, task, kind, data=(seen,), **start, **common):
            where = f"Trainings are in {folder.parent}."
            print(f"Stopped; the same command goes on from here. {where}", file=sys.stderr)
            raise typer.Exit(1)
        chosen[task, kind] = read_training(folder)
    _figures(chosen, out, over)


def _phantoms(folder: Path, ground: Path, images: int, seed: int) -> Path:
    """The drawn set; it is drawn once, its annotations come last."""
    from cmlcore.ground_truth.phantoms import draw_phantoms

    if not (folder / "annotations" / "phantoms_val.json").is_file():
        with bar() as bars:
            task = bars.add_task("Drawing phantoms", total=images)
            draw_phantoms(
                folder,
                ground,
                images,
                seed,
                progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
    return folder


def _places(out: Path | None) -> dict[Slot, Path]:
    """Folders of the trainings: in ``out``, or among all trainings, where earlier ones are gone on with."""
    from cmlcore.report.paper import SLOTS, stored_trainings
    from cmlcore.settings import settings
    from cmlcore.store.ids import new_id

    if out is not None:
        return {(task, kind): out / f"{task}-{kind}" for task, kind in SLOTS}
    root = settings().trainings_dir
    newest = {t.settings.key: t.folder for t in reversed(stored_trainings(root))}
    return {slot: newest.get(_key(*slot), root / new_id()) for slot in SLOTS}


def _key(task: str, kind: str) -> str:
    return f"paper-{task}-{kind}"


def _train(folder: Path, task: str, kind: str, **changes: Any) -> bool:
    """Run one training to its end, unless that was done before; False if it was stopped."""
    from cmlcore import job_folder
    from cmlcore.cli.train import followed
    from cmlcore.report.paper import TASKS, short_type
    from cmlcore.training import run_dir
    from cmlcore.training.presets import from_preset

    if not (folder / run_dir.SETTINGS).is_file():
        model: Model = "type1" if kind == "type1" else "type2"
        title = f"Paper comparison: {TASKS[task].title}, {short_type(kind).lower()}"
        run_dir.new_run_dir(from_preset(task, model, key=_key(task, kind), title=title, **changes), folder)
    if job_folder.read_status(folder).get("state") != "done":
        job_folder.clear_stop(folder)
        print(followed(folder), file=sys.stderr)
    return job_folder.read_status(folder).get("state") == "done"


def _figures(chosen: dict[Slot, Training], out: Path, over: str) -> None:
    from cmlcore.report.paper import SLOTS
    from cmlcore.report.paper_figures import files

    if not chosen:
        raise InputError(
            "There is no stored training of the paper's tasks; run cmlscope paper train, or name trainings "
            "with --run."
        )
    axes: dict[str, Axis] = {"epoch": "epoch", "step": "step", "minutes": "minutes"}
    if over not in axes:
        raise InputError(f"“{over}” is no axis of the curves; choose epoch, step or minutes.")
    ordered = {slot: chosen[slot] for slot in SLOTS if slot in chosen}
    for name, content in files(ordered, axes[over]):
        write(out / name, [content])
    _table(ordered)
    missing = [", ".join(slot) for slot in SLOTS if slot not in ordered]
    if missing:
        print(f"No training for: {'; '.join(missing)}.", file=sys.stderr)
    unfinished = [", ".join(slot) for slot, t in ordered.items() if not t.finished]
    if unfinished:
        print(f"Not finished: {'; '.join(unfinished)}.", file=sys.stderr)
    print(out / "paper.html")


def _table(chosen: dict[Slot, Training]) -> None:
    """The final figures in short."""
    from rich import print as show
    from rich.table import Table

    from cmlcore.report.paper import FIGURES_HEADER, figure_row

    columns = {
        "task": "Task", "images": "Images", "type": "Type", "best_map50": "mAP50", "map_at_best": "mAP50:95",
        "last_val_loss": "Val loss", "epochs": "Epochs", "minutes": "Minutes",
    }  # fmt: skip
    table = Table(*columns.values())
    for slot, training in chosen.items():
        figures = dict(zip(FIGURES_HEADER, figure_row(slot, training), strict=True))
        table.add_row(*(_short(figures[c]) for c in columns))
    show(table)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
