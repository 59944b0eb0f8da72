"""``python -m cmlcore.jobs.bench_child FOLDER``: one bench, or the making of one classifier."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlcore.errors import InputError, ModelError, RunCancelledError
from cmlcore.files import write_json
from cmlcore.job_folder import read_status, stop_requested, write_status
from cmlcore.jobs.bench import BENCHES, BenchRequest
from cmlcore.jobs.child import CANCELLED
from cmlcore.jobs.child_work import Tell, teller, work
from cmlcore.single_cell.bench_table import RESULT
from cmlcore.single_cell.data import CellSet, load

if TYPE_CHECKING:
    from cmlcore.single_cell.tune import TuneSettings


def main() -> None:
    """Work; whatever goes wrong becomes one sentence in the folder's status."""
    work(Path(sys.argv[1]), bench_folder)


def bench_folder(folder: Path) -> None:
    """Do what the folder's request asks for; an earlier part of the work is gone on with.

    Raises:
        CmlError: of the kind that fits.

    """
    from models.device import set_threads

    asked, tell = BENCHES.asked(folder), teller(folder)
    set_threads(asked.threads)
    tell("Listing the images", 0, 0)
    cells = load(asked.data, asked.classes or None)
    mpp = _mpp(asked, cells, folder, tell)
    if asked.title:
        _classifier(asked, cells, mpp, folder, tell)
    else:
        _bench(asked, cells, mpp, folder, tell)


def _tuning(asked: BenchRequest) -> TuneSettings:
    from cmlcore.single_cell.tune import TuneSettings

    return TuneSettings(epochs=asked.epochs, seed=asked.seed)


def _bench(asked: BenchRequest, cells: CellSet, mpp: float | None, folder: Path, tell: Tell) -> None:
    from cmlcore.single_cell import bench

    plan = bench.Plan(
        starts={k: v if isinstance(v, Path) else "fetch" for k, v in asked.starts.items()},
        tunings=asked.tunings,
        spaces=asked.spaces,
        cut=asked.cut,
        k=asked.k,
        tune=_tuning(asked),
        seed=asked.seed,
        device=asked.device,
    )
    found = bench.run(cells, mpp, plan, folder, tell, lambda: stop_requested(folder))
    _measure(found, asked, folder, tell)


def _measure(found: dict[str, Any], asked: BenchRequest, folder: Path, tell: Tell) -> None:
    """Add seconds and memory to the costs; a backbone too large for this machine stays without."""
    from cmlcore.single_cell.cost import measure

    for n, line in enumerate(found["costs"]):
        tell("Measuring time and memory", n, len(found["costs"]))
        if stop_requested(folder):
            raise RunCancelledError(CANCELLED)
        with contextlib.suppress(ModelError):
            line |= asdict(measure(line["key"], asked.device, threads=asked.threads))
    write_json(folder / RESULT, found)


def _classifier(asked: BenchRequest, cells: CellSet, mpp: float | None, folder: Path, tell: Tell) -> None:
    from cmlcore.single_cell.fit import Recipe
    from cmlcore.single_cell.train import train_classifier

    (backbone, start), tuning, colours = next(iter(asked.starts.items())), asked.tunings[0], asked.spaces[0]
    recipe = Recipe(
        backbone,
        tuning,
        colours,
        start if isinstance(start, Path) else "fetch",
        tune=_tuning(asked),
        seed=asked.seed,
    )
    card = train_classifier(
        cells,
        mpp,
        recipe,
        asked.title,
        device=asked.device,
        tell=tell,
        cancelled=lambda: stop_requested(folder),
    )
    write_status(folder, classifier=card.key)


def _mpp(asked: BenchRequest, cells: CellSet, folder: Path, tell: Tell) -> float | None:
    """µm per pixel of the images; None: as their layout says. An estimate is made once a job."""
    if asked.scale == "known" and cells.mpp is None:
        raise InputError("Nothing says how many µm a pixel of these images has; enter it or estimate it.")
    if asked.scale != "estimate":
        return asked.mpp if asked.scale == "given" else None
    from cmlcore.single_cell.scale import estimate_set_mpp

    told = read_status(folder).get("mpp")
    if isinstance(told, float):
        return told
    tell("Measuring the erythrocytes around the cells", 0, 0)
    found = estimate_set_mpp(cells, asked.device)
    write_status(folder, mpp=found)
    return found


if __name__ == "__main__":
    main()
