"""Single leukocytes: bench of backbones, their costs, training and use of a classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from cmlcore import RESEARCH_USE
from cmlcore.cli.classify_judge import abroad, judge
from cmlcore.cli.classify_show import number, parts, scale_of, show_table, teller
from cmlcore.cli.common import Device, Json, bar, write
from cmlcore.errors import InputError
from cmlcore.geometry import Mpp

if TYPE_CHECKING:
    from cmlcore.single_cell.data import CellSet

Data = Annotated[Path, typer.Argument(help="Folder with one sub-folder a class, or the Matek download.")]
Scale = Annotated[
    str, typer.Option("--mpp", help="µm per pixel of the images; known: as the layout says; auto: estimated.")
]
Classes = Annotated[str, typer.Option(help="Only these classes, by comma; empty: all that are there.")]
Weights = Annotated[
    list[str] | None,
    typer.Option(help="BACKBONE=FILE, its pretrained weights; may be given several times."),
]
Rate = Annotated[
    float,
    typer.Option(min=1e-6, help="Highest step of the last layer where the whole model is tuned; few, less."),
]
Side = Annotated[int, typer.Option(min=32, max=1024, help="Pixels a side of what a network sees.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes, where the whole model is tuned.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Classify single leukocytes.")
    group.command()(bench)
    group.command()(join)
    group.command()(costs)
    group.command()(train)
    group.command()(predict)
    group.command()(judge)
    group.command()(abroad)
    app.add_typer(group, name="classify")


def bench(
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for bench.json and the tables; a broken-off bench goes on.")
    ],
    backbones: Annotated[str, typer.Option(help="By comma.")] = "dinov2_vits14,efficientnet_lite0",
    tuning: Annotated[str, typer.Option(help="last, whole or both.")] = "last",
    colours: Annotated[str, typer.Option(help="rgb, rgb+aug, stain+aug, raw, raw-packed; by comma.")] = "rgb",
    cut: Annotated[str, typer.Option(help="folds, holdout (80/10/10) or parts (the set's own).")] = "folds",
    k: Annotated[int, typer.Option("--folds", min=2, help="Number of folds.")] = 5,
    weights: Weights = None,
    classes: Classes = "",
    mpp: Scale = "known",
    epochs: Epochs = 12,
    lr: Rate = 2.4e-3,
    side: Side = 224,
    whole_side: Annotated[
        int, typer.Option(min=0, help="Pixels a side where the whole model is tuned; 0: as --side.")
    ] = 0,
    whole_most: Annotated[
        int, typer.Option(min=0, help="Images a class where the whole model is tuned; 0: all.")
    ] = 0,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Compare backbones, ways of tuning and colour spaces on the same folds."""
    from cmlcore.single_cell import bench as road
    from cmlcore.single_cell.colours import space
    from cmlcore.single_cell.tune import TuneSettings

    if cut not in ("folds", "holdout", "parts"):
        raise InputError(f"“{cut}” is no way to cut a set; choose folds, holdout or parts.")
    plan = road.Plan(
        starts=_starts(parts(backbones), weights),
        tunings=_tunings(tuning),
        spaces=tuple(space(c) for c in parts(colours)),
        cut=cast(Literal["folds", "holdout", "parts"], cut),
        k=k,
        side=side,
        whole_side=whole_side,
        whole_most=whole_most,
        tune=TuneSettings(epochs=epochs, lr=lr, seed=seed),
        seed=seed,
        device=device,
    )
    cells = _set(data, classes)
    with bar() as bars:
        result = road.run(cells, scale_of(mpp, cells, device), plan, out, teller(bars))
    _give(result, out)


def join(
    benches: Annotated[list[Path], typer.Argument(help="Folders of benches of the same images and folds.")],
    out: Annotated[Path, typer.Option(help="Folder for the joined bench.json and the tables.")],
    costs_file: Annotated[
        Path | None, typer.Option("--costs", help="What costs --measure --json wrote: times and memory.")
    ] = None,
) -> None:
    """Put benches made apart, of other backbones or colours, into one table."""
    from cmlcore.single_cell.join import join as joined

    _give(joined(benches, out, costs_file), out)


def _give(result: dict[str, Any], out: Path) -> None:
    """Tables as CSV beside ``bench.json``, and the figures in the shell."""
    from cmlcore.single_cell.bench_table import contrasts, csv_text, tables

    for table in tables(result):
        write(out / f"{table[0]}.csv", (text.encode() for text in csv_text(table)))
    _show_results(result)
    _, header, lines = contrasts(result)
    if lines:
        show_table("What one change does, on the same images", header, lines)
    _show_refused(result["set"]["refused"])
    print(f"{result['split']['unit']}\n{out / 'bench.json'}\n{RESEARCH_USE}")


def costs(
    backbones: Annotated[str, typer.Option(help="By comma; empty: all.")] = "",
    classes: Annotated[int, typer.Option(min=2, help="Outputs of the last layer.")] = 15,
    measured: Annotated[
        bool, typer.Option("--measure", help="Also time each and take its memory; takes minutes.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time, where measured.")] = 8,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Parameters, FLOPs, activations and layers of each backbone; with --measure also time and memory."""
    from dataclasses import asdict

    from cmlcore.single_cell.bench_table import costs as table
    from cmlcore.single_cell.cost import cost, measure
    from models.classifiers import BACKBONES

    keys = parts(backbones) or tuple(BACKBONES)
    rows = []
    with bar() as bars:
        task = bars.add_task("Backbones", total=len(keys))
        for key in keys:
            own = cost(key, classes).row()
            rows.append(own | asdict(measure(key, device, batch)) if measured else own)
            bars.advance(task)
    _, header, lines = table({"costs": rows})
    show_table("Costs, one image of 224 × 224 pixels", header, lines)
    if json_file is not None:
        text = json.dumps({"research_use": RESEARCH_USE, "costs": rows}, indent=2)
        write(json_file, [text.encode()])


def train(
    data: Data,
    name: Annotated[str, typer.Option(help="Title of the classifier; its key is made of it.")],
    backbone: Annotated[str, typer.Option(help="See the costs command.")] = "dinov2_vits14",
    tuning: Annotated[str, typer.Option(help="last or whole.")] = "last",
    colours: Annotated[str, typer.Option(help="rgb, rgb+aug, stain+aug, raw or raw-packed.")] = "rgb+aug",
    weights: Weights = None,
    classes: Classes = "",
    mpp: Scale = "known",
    epochs: Epochs = 12,
    lr: Rate = 2.4e-3,
    side: Side = 224,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Make a classifier: train, judge on images it did not see, save with its card."""
    from cmlcore.single_cell.colours import space
    from cmlcore.single_cell.fit import Recipe
    from cmlcore.single_cell.train import train_classifier
    from cmlcore.single_cell.tune import TuneSettings

    tunings = _tunings(tuning)
    if len(tunings) != 1:
        raise InputError("One classifier is tuned one way; choose last or whole.")
    recipe = Recipe(
        backbone,
        tunings[0],
        space(colours),
        _starts((backbone,), weights)[backbone],
        side,
        tune=TuneSettings(epochs=epochs, lr=lr, seed=seed),
        seed=seed,
    )
    cells = _set(data, classes)
    with bar() as bars:
        card = train_classifier(
            cells, scale_of(mpp, cells, device), recipe, name, device=device, tell=teller(bars)
        )
    judged = card.extra["metrics"]
    for key in ("accuracy", "balanced_accuracy", "f1_macro", "auc_weighted"):
        value, low, high = (number(v) for v in judged[key])
        print(f"{key:<18} {value:>7}  ({low} to {high})")
    print(f"{judged['images']} images judged. {card.extra['data']['unit']}")
    print(f"Classifier “{card.key}”: {card.weights}\n{RESEARCH_USE}")


def predict(
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    model: Annotated[str, typer.Option("--model", help="Key of a classifier.")],
    images: Annotated[
        list[Path] | None, typer.Argument(help="Single-cell images, the cell in the middle.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="In place of images: the folder of a finished run …")
    ] = None,
    slide: Annotated[Path | None, typer.Option(help="… and its slide; its leukocytes are named.")] = None,
    scene: Annotated[int, typer.Option(min=1, help="Number of the scene, from 1.")] = 1,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel of the images.")] = None,
    device: Device = "auto",
) -> None:
    """Name single cells: of images, or the leukocytes of a run. Says “unidentified” where it should."""
    if (run is None) == (not images) or (run is None) != (slide is None):
        raise InputError("Give either single-cell images, or both --run and --slide.")
    from cmlcore.single_cell.classify import load

    if run is not None and slide is not None:
        from cmlcore.single_cell.named import counts, csv_stream, path_of

        classifier = load(model, device)
        path = path_of(run, classifier.card.key)
        _name_run(run, slide, scene - 1, classifier, path)
        write(out, csv_stream(path))
        for cls, n in counts(path):
            print(f"{cls:<24} {n:>7}")
    else:
        if mpp is None:
            raise InputError("Nothing says how many µm a pixel of these images has; give --mpp.")
        scale = Mpp(mpp, mpp).x
        from cmlcore.single_cell.pictures import name_pictures, pictures_csv

        classifier = load(model, device)
        with bar() as bars:
            tell = teller(bars)
            rows = name_pictures(images or [], scale, classifier, lambda d, t: tell("Images", d, t))
        write(out, pictures_csv(rows, classifier.card))
        bad = [r for r in rows if r.why]
        for r in bad:
            print(r.why)
        print(f"{len(rows) - len(bad)} of {len(rows)} images named")
    print(f"{out}\n{RESEARCH_USE}")


def _name_run(run: Path, slide: Path, scene: int, classifier: Any, path: Path) -> None:
    from cmlcore.cells import CellTable, Filters
    from cmlcore.single_cell.named import write_named
    from cmlcore.single_cell.stream import leukocyte_classes, name_cells
    from cmlcore.slides import open_slide

    table = CellTable(run)
    card = classifier.card
    facts = {"classifier": card.key, "sha256": card.sha256, "device": classifier.device}
    with bar() as bars, open_slide(slide) as reader:
        if not 0 <= scene < len(reader.info.scenes):
            raise InputError(f"The slide has no scene {scene + 1}; it has {len(reader.info.scenes)}.")
        total = table.count(Filters(classes=leukocyte_classes(table)))
        task = bars.add_task("Leukocytes", total=total)
        chunks = name_cells(
            reader, scene, table, classifier, progress=lambda n: bars.update(task, completed=n)
        )
        write_named(path, chunks, card.classes, facts)


# -- arguments ------------------------------------------------------------------------------------------


def _tunings(text: str) -> tuple[Literal["last", "whole"], ...]:
    found: dict[str, tuple[Literal["last", "whole"], ...]] = {
        "last": ("last",),
        "whole": ("whole",),
        "both": ("last", "whole"),
    }
    if text not in found:
        raise InputError(f"“{text}” is no way of tuning; choose last, whole or both.")
    return found[text]


def _starts(keys: tuple[str, ...], weights: list[str] | None) -> dict[str, Any]:
    from cmlcore.single_cell.train import backbone_start
    from models.classifiers import backbone

    given: dict[str, Path] = {}
    for text in weights or []:
        key, equals, path = text.partition("=")
        if not equals or not path:
            raise InputError(f"“{text}” is no weight file; write it as BACKBONE=FILE.")
        given[backbone(key).key] = Path(path)
    return {backbone(key).key: backbone_start(key, given.get(key)) for key in keys}


def _set(data: Path, classes: str) -> CellSet:
    from cmlcore.single_cell.data import load

    return load(data, parts(classes) or None)


# -- what is shown --------------------------------------------------------------------------------------


def _show_results(result: dict[str, Any]) -> None:
    from cmlcore.single_cell.bench_table import FIGURES, TUNINGS

    keys = ("accuracy", "balanced_accuracy", "f1_weighted", "auc_weighted")
    header = ["Backbone", "Tuned", "Colours", *(FIGURES[k] for k in keys)]
    lines = []
    for row in result["rows"]:
        line: list[Any] = [row["title"], TUNINGS[row["tuning"]], row["colours"]]
        for k in keys:
            mean, deviation = row["summary"].get(k, (None, None))
            figure = row["pooled"]["figures"][k]
            spread = f" ± {deviation:.3f}" if deviation else ""
            line.append(f"{number(mean)}{spread} ({number(figure['low'])}–{number(figure['high'])})")
        lines.append(line)
    show_table("Mean ± SD over folds (95 % interval over all test images)", header, lines)


def _show_refused(refused: list[dict[str, str]], most: int = 10) -> None:
    for r in refused[:most]:
        print(r["why"])
    if len(refused) > most:
        print(f"… and {len(refused) - most} more that were left out, all in bench.json.")
