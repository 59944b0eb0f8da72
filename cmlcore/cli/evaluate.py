"""How good a model is, and how sure it may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cmlcore import RESEARCH_USE
from cmlcore.cli.common import Device, Json, Model, bar, write
from cmlcore.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from cmlcore.evaluation.result import Estimate, Evaluation
    from cmlcore.ground_truth.records import Record

Data = Annotated[Path, typer.Option(help="Labelled images: public sets, COCO, QuPath, YOLO or mask folders.")]
Split = Annotated[str, typer.Option(help="val or train.")]

_FIGURES = {
    "AP50": "ap50",
    "AP50:95": "ap",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "IoU": "iou",
    "Dice": "dice",
    "PQ": "pq",
    "SQ": "sq",
    "DQ": "dq",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)
    app.command()(calibrate)


def evaluate(
    data: Data,
    model: Model = "type2",
    sets: Annotated[list[str] | None, typer.Option(help="A public set; may be given several times.")] = None,
    split: Split = "val",
    mpp: Annotated[str, typer.Option(help="known, or auto: estimated from the cells.")] = "known",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images a set.")] = None,
    device: Device = "auto",
    full: Annotated[
        bool, typer.Option("--full", help="Every figure, with intervals; so for all but public sets.")
    ] = False,
    classes: Annotated[
        list[str] | None, typer.Option(help="Judge this class; may be given several times.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Count cells from here on; the model card's otherwise.")
    ] = None,
    edges: Annotated[str, typer.Option(help="Cells cut by the edge: judge, ignore, or auto.")] = "auto",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the images; 0: no intervals.")] = 1000,
    run: Annotated[
        Path | None, typer.Option(help="Judge the cells of this run's folder; --data is its ground truth.")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Run directory of the model's training, for the loss.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json and its tables as CSV; implies --full.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Judge a model on labelled images, or the cells of a run against ground truth.

    On the public sets it prints the few figures that the model cards cite; --full gives all there are.
    """
    if mpp not in ("known", "auto"):
        raise InputError(f"“{mpp}” is no pixel size for labelled sets; choose known or auto.")
    if edges not in ("auto", "judge", "ignore"):
        raise InputError(f"“{edges}” says nothing about cut cells; choose judge, ignore or auto.")
    scale: Literal["known", "auto"] = "auto" if mpp == "auto" else "known"
    from models.registry import card

    if run is None:
        card(model)  # an unknown name is said before any image is read
    if not (full or run or out or classes) and _public(data):
        _cited(model, data, sets, split, device, limit, scale, json_file)
        return
    options: dict[str, Any] = {"min_score": min_score, "bootstrap": bootstrap}
    if run is not None:
        made = _of_run(run, data, classes, options)
    else:
        options |= {"edges": edges, "mpp": scale}
        made = _of_images(model, _records(data, split, sets, limit), classes, device, options)
    _tell(made, training, out, json_file)


def _cited(
    model: str,
    data: Path,
    sets: list[str] | None,
    split: str,
    device: str,
    limit: int | None,
    scale: Literal["known", "auto"],
    json_file: Path | None,
) -> None:
    """The few figures of the public sets that the model cards cite."""
    from rich import print as show

    from cmlcore.evaluation import evaluate as judge

    with bar() as bars:
        task = bars.add_task("Images", total=None)
        report = judge(
            model,
            data,
            sets,
            split,
            device,
            limit,
            scale,
            lambda done, total: bars.update(task, completed=done, total=total),
        )
    show(report.table())
    if json_file is not None:
        write(json_file, [json.dumps(report.to_json(), indent=2).encode()])


def _of_images(
    model: str,
    records: list[Record],
    classes: list[str] | None,
    device: str,
    options: dict[str, Any],
) -> Evaluation:
    from cmlcore.evaluation import evaluate_records
    from models.registry import load_model

    network = load_model(model, device)
    with bar() as bars:
        task = bars.add_task("Images", total=len(records))
        return evaluate_records(
            network,
            records,
            classes,
            data=", ".join(dict.fromkeys(r.source for r in records)),
            progress=lambda done, _: bars.update(task, completed=done),
            **options,
        )


def _of_run(run: Path, truth: Path, classes: list[str] | None, options: dict[str, Any]) -> Evaluation:
    """A run against the GeoJSON of its scene: every cell is labelled in its base ROIs, or in all of it."""
    from cmlcore.cells import CellTable
    from cmlcore.evaluation import evaluate_run
    from cmlcore.evaluation.stored_run import read_manifest
    from cmlcore.ground_truth import slide_labels

    table = CellTable(run)
    width, height = read_manifest(run)["size_l0"]
    mpp = 1.0 if table.mpp is None else table.mpp.mean
    return evaluate_run(table, slide_labels(truth, (width, height), mpp, "slide"), classes, **options)


def _records(data: Path, split: str, sets: list[str] | None, limit: int | None) -> list[Record]:
    from rich import print as show

    from cmlcore.ground_truth import load, spread
    from cmlcore.ground_truth.sets import records as public

    if split not in ("train", "val", "test", "all"):
        raise InputError(f"“{split}” is not a part of the sets; choose val, train, test or all.")
    found = public(data, split, tuple(sets)) if sets else load(data, split, tell=show)
    if not found:
        raise InputError(f"{data} has no image in its part “{split}”; choose another with --split.")
    return spread(found, limit)


def _public(data: Path) -> bool:
    from cmlcore.ground_truth.sets import set_names

    return bool(set_names(data))


def _tell(made: Evaluation, training: Path | None, out: Path | None, json_file: Path | None) -> None:
    from rich import print as show

    from cmlcore.evaluation.loss import with_loss
    from cmlcore.evaluation.stored import save

    made = with_loss(made, training)
    for table in _summary(made):
        show(table)
    for note in (*made.notes, *([made.loss_note] if made.loss is None else []), RESEARCH_USE):
        print(note)
    if out is not None:
        print(save(made, out))
    if json_file is not None:
        write(json_file, [json.dumps(made.to_json(), indent=1, ensure_ascii=False).encode()])


def _summary(e: Evaluation) -> list[Table]:
    """Figures by class, by source, and who is taken for whom."""
    from rich.box import SIMPLE
    from rich.table import Table

    tables = []
    for kind, shape in e.shapes.items():
        images = f"{shape.images} image{'' if shape.images == 1 else 's'}"
        title = f"{e.manifest.model}: {kind}, {images}, score {e.manifest.settings['min_score']:g}"
        table = Table("", *shape.classes, title=title, box=SIMPLE)
        for name in ("true", "found"):
            table.add_row(name, *(str(getattr(f, name)) for f in shape.classes.values()))
        for name, key in _FIGURES.items():
            table.add_row(name, *(_figure(getattr(f, key)) for f in shape.classes.values()))
        tables.append(table)
    by_source = Table("AP50, boxes", "images", "mean", *e.classes, title="By source", box=SIMPLE)
    for source, s in e.sources.items():
        by_source.add_row(source, str(s.images), _figure(s.map50), *(_figure(s.ap50[c]) for c in e.classes))
    confused = Table("true / found", *e.confusion.columns, title="Taken for", box=SIMPLE)
    for name, counts in zip(e.confusion.rows, e.confusion.counts, strict=True):
        confused.add_row(name, *map(str, counts))
    return [*tables, by_source, confused]


def _figure(e: Estimate) -> str:
    """A figure and, dim, its interval, which keeps two digits so that a row fits a terminal."""
    if e.value is None:
        return "–"
    bounds = (
        "" if e.low is None or e.high is None else f" [dim]{e.low:.2f}–{e.high:.2f}[/]".replace("0.", ".")
    )
    return f"{e.value:.3f}{bounds}"


def calibrate(
    data: Data,
    model: Model = "type2",
    split: Split = "val",
    precision: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Lowest threshold at which each class has it; best F1 otherwise."),
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the model's card.")] = False,
) -> None:
    """Make a model's scores probabilities, choose its threshold, and write both into its card.

    The images must not be those it was trained on.
    """
    from cmlcore.evaluation.recalibrate import fit_model, write_card
    from models.registry import load_model

    records = _records(data, split, None, None)
    network = load_model(model, device)
    with bar() as bars:
        task = bars.add_task("Images", total=len(records))
        fitted = fit_model(
            network,
            records,
            precision=precision,
            data=", ".join(dict.fromkeys(r.source for r in records)),
            progress=lambda done, _: bars.update(task, completed=done),
        )
    for cls, cells in fitted.cells.items():
        change = f"{fitted.error_before[cls]:.3f} → {fitted.error_after[cls]:.3f}"
        how = "fitted" if cls in fitted.calibration else "left as it is"
        print(f"{cls:<20} {cells:>6} cells  calibration error {change}  {how}")
    print(f"threshold {fitted.min_score:g} ({fitted.facts['rule']})")
    if fitted.unidentified_score is not None:
        print(f"unidentified from {fitted.unidentified_score:g} to {fitted.min_score:g}")
    if not dry_run:
        print(write_card(model, fitted))
