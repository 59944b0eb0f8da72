"""Labelled images: the public sets, what lies in a folder, phantoms."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmlcore.cli.common import bar, write
from cmlcore.errors import InputError

if TYPE_CHECKING:
    from cmlcore.ground_truth import ClassRow

data = typer.Typer(no_args_is_help=True, help="Labelled images: list, get, stats, convert, phantoms.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(data, name="data")


@data.command("list")
def list_sets() -> None:
    """List the public sets: what their labels cover, licence, size, source."""
    from cmlcore.ground_truth.public import PUBLIC

    for s in PUBLIC.values():
        print(f"{s.key}\n  {s.title}\n  labels   {s.covers}\n  licence  {s.licence}")
        print(f"  size     {s.size}\n  source   {s.page}\n")
    print("cmlscope data get NAME --to DIR fetches one of them.")


@data.command()
def get(
    name: Annotated[str, typer.Argument(help="A set, as “data list” names it.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder of data sets; by default the one of CML_DATA.")
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option("--from", help="The file or folder fetched by hand, where this machine has no network."),
    ] = None,
) -> None:
    """Fetch a public set and lay it out so that training and evaluation read it."""
    from cmlcore.ground_truth.public import get_public
    from cmlcore.settings import settings

    root = to if to is not None else settings().data or settings().home / "data"
    with bar() as bars:
        task = bars.add_task("Fetching", total=None)
        folder = get_public(
            name,
            root,
            given,
            lambda stage, done, total: bars.update(task, description=stage, completed=done, total=total),
        )
    use = "classify" if _holds_single_cells(folder) else "train"
    print(f"{folder}\nWhat to do with it: cmlscope {use} --help")


@data.command()
def stats(
    paths: Annotated[list[Path], typer.Argument(help="Labelled sets, as training takes them.")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Count cells as the nearest of these classes.")
    ] = None,
    part: Annotated[str, typer.Option(help="The part that is used: train, val, test or all.")] = "train",
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file too.")] = None,
) -> None:
    """Count the cells of each class, in all images and in those that are used."""
    from rich import print as show

    from cmlcore.ground_truth import load, statistics
    from cmlcore.ground_truth.reading import class_key

    keys = tuple(class_key(c) for c in classes) if classes else None
    said: dict[str, None] = {}  # one sentence once, though each part is read
    if all(_holds_single_cells(p) for p in paths):
        rows = _single_cells(paths, part, said)
    else:
        every = [r for p in paths for r in load(p, "all", tell=lambda s: said.setdefault(s))]
        rows = statistics(every, [r for p in paths for r in load(p, part, keys)], keys)
    for sentence in said:
        print(sentence)
    show(_table(rows, part))
    if csv_file is not None:
        write(csv_file, [_csv(rows)])


def _holds_single_cells(path: Path) -> bool:
    """Whether a folder holds images in class folders, for classifiers, and no fields of cells."""
    from cmlcore.ground_truth import kind_of
    from cmlcore.single_cell.data import load as load_cells

    if not path.is_dir() or kind_of(path) is not None:
        return False
    try:
        return bool(load_cells(path).images)
    except InputError:
        return False


def _single_cells(paths: Sequence[Path], part: str, said: dict[str, None]) -> list[ClassRow]:
    """The table of single cells: each image is one."""
    from cmlcore.ground_truth import Record, statistics
    from cmlcore.ground_truth.records import no_boxes
    from cmlcore.single_cell.data import load as load_cells

    every, used = [], []
    for path in paths:
        cells = load_cells(path)
        said.update((f"{r.name}: {r.why}", None) for r in cells.refused)
        for c in cells.images:
            record = Record(
                c.path, path.name, cells.mpp, frozenset(), no_boxes(), (c.cls,), (), None, no_boxes()
            )
            every.append(record)
            if part == "all" or c.part in ("", part):
                used.append(record)
    return statistics(every, used)


def _table(rows: Sequence[ClassRow], part: str) -> object:
    from rich.table import Table

    table = Table(title=f"Cells by class; used: {part}", title_justify="left")
    table.add_column("Class")
    for name in ("All", "%", "Used", "%", "Images", "Used"):
        table.add_column(name, justify="right")
    table.add_column("Sources")
    for r in rows:
        shares = [f"{r.cells:,}", f"{r.percent:.1f}", f"{r.used:,}", f"{r.used_percent:.1f}"]
        table.add_row(r.label, *shares, f"{r.images:,}", f"{r.used_images:,}", ", ".join(r.sources))
    return table


def _csv(rows: Sequence[ClassRow]) -> bytes:
    from cmlcore import RESEARCH_USE
    from cmlcore.ground_truth.statistics import HEADER

    text = io.StringIO(newline="")
    text.write(f"# {RESEARCH_USE}\r\n")
    out = csv.writer(text)
    out.writerow(HEADER)
    out.writerows(r.values() for r in rows)
    return text.getvalue().encode()


@data.command()
def convert(
    path: Annotated[Path, typer.Argument(help="A labelled set, as training takes it.")],
    out: Annotated[Path, typer.Option(help="The COCO file to write; images stay where they are.")],
    part: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
) -> None:
    """Write any labelled set as COCO: outlines, boxes, ignored places, pixel sizes, base ROIs."""
    from cmlcore.ground_truth import load, names_of, write_coco

    records = load(path, part, tell=print)
    classes = sorted({n for r in records for n in (*names_of(r), *r.complete)})
    write_coco(out, records, classes, f"Labelled cells, {part}")
    print(f"{out}: {len(records)} images, {len(classes)} classes")


@data.command()
def phantoms(
    out: Annotated[Path, typer.Option(help="Folder for the set; it should not hold another.")],
    ground: Annotated[
        Path | None,
        typer.Option(help="Labelled sets of known pixel size as ground; without it, a drawn smear."),
    ] = None,
    images: Annotated[int, typer.Option(min=2, help="How many images; a fifth of them to judge by.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same set.")] = 0,
) -> None:
    """Draw phantoms of NET, pseudo-Gaucher cell and megakaryocyte: no real cells, for proving the road."""
    from cmlcore.ground_truth.phantoms import DESCRIPTION, draw_phantoms

    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; give a new folder for the phantoms.")
    with bar() as bars:
        task = bars.add_task("Drawing phantoms", total=images)
        draw_phantoms(out, ground, images, seed, progress=lambda done, _: bars.update(task, completed=done))
    print(f"{out}: {images} images. {DESCRIPTION}")
