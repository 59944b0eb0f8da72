"""The bench: backbones × ways of tuning × colour spaces on the same folds, in one table that resumes.

A bench folder holds ``bench.json`` (what the page and the shell show, rewritten after every fit) and
``answers/`` (the probabilities of each fit, from which everything is computed anew on a resume).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.files import whole_file, write_json
from cmlcore.single_cell import metrics
from cmlcore.single_cell.bench_table import FORMAT, RESULT
from cmlcore.single_cell.colours import SPACES, Space, side_of
from cmlcore.single_cell.contrasts import contrasts, packed
from cmlcore.single_cell.cost import cost
from cmlcore.single_cell.data import CellImage, CellSet, Refused
from cmlcore.single_cell.fit import Frozen, Recipe, Start, fit_whole, whole_probabilities
from cmlcore.single_cell.images import FIELD_UM, SIDE, read_fields, sizes_note
from cmlcore.single_cell.probe import check, never
from cmlcore.single_cell.splits import Split, by_parts, cross_validation, holdout, said
from cmlcore.single_cell.tune import TuneSettings
from cmlcore.versions import versions
from models.classifiers import Tuning, backbone

Cut = Literal["folds", "holdout", "parts"]
Tell = Callable[[str, int, int], None]
"""Progress: what is done, how much of it, of how much."""

_LEAST = 3  # images a class needs to be benched


@dataclass(frozen=True, slots=True)
class Plan:
    """What is benched.

    Attributes:
        starts: where each backbone's weights come from, by its key; the keys are the backbones benched.
        tunings: ways of tuning.
        spaces: colour spaces.
        cut: "folds" (cross-validation), "holdout" (80/10/10), or "parts" (the set's own train, val, test).
        k: folds of the cross-validation.
        side: of the fields in pixels.
        whole_side: of those the whole model is tuned on; 0 is ``side``. Tuning costs hours without a GPU.
        whole_most: images a class that the whole model is tuned and judged on; 0 is all.

    """

    starts: dict[str, Start]
    tunings: tuple[Tuning, ...] = ("last",)
    spaces: tuple[Space, ...] = ("rgb",)
    cut: Cut = "folds"
    k: int = 5
    side: int = SIDE
    whole_side: int = 0
    whole_most: int = 0
    tune: TuneSettings = field(default_factory=TuneSettings)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.starts or not self.tunings or not self.spaces:
            raise InputError("A bench needs at least one backbone, one way of tuning and one colour space.")
        for key in self.starts:
            backbone(key)
        unknown = set(self.spaces) - set(SPACES)
        if unknown:
            raise InputError(f"“{unknown.pop()}” is not a colour space; choose one of {', '.join(SPACES)}.")

    def passes(self) -> list[Pass]:
        """What is done on the same images: both tunings in one, or each on images of its own."""
        own = self.whole_side or self.side, self.whole_most
        if own == (self.side, 0) or self.tunings == ("last",):
            return [Pass(self.tunings, self.side, 0)]
        last = [Pass(("last",), self.side, 0)] if "last" in self.tunings else []
        return [*last, Pass(("whole",), *own)]


@dataclass(frozen=True, slots=True)
class Pass:
    """Ways of tuning that share their images: so many a class (0: all), so many pixels a side."""

    tunings: tuple[Tuning, ...]
    side: int
    most: int


def run(
    cells: CellSet,
    mpp: float | None,
    plan: Plan,
    folder: Path,
    tell: Tell | None = None,
    cancelled: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Work a plan off; a folder of the same plan and images goes on where it stopped.

    Returns:
        What ``bench.json`` holds.

    Raises:
        InputError: the folder holds another bench, or a class has too few images.
        RunCancelledError: ``cancelled`` said so; what is finished stays.

    """
    few = [c for c, n in cells.counts().items() if n < _LEAST]
    if few:
        raise InputError(f"Of {', '.join(few)} there are fewer than {_LEAST} images; leave such classes out.")
    tell = tell or _silent
    answers = folder / "answers"
    answers.mkdir(parents=True, exist_ok=True)
    _same_or_new(folder, cells, mpp, plan)
    head: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = []
    for name in plan.spaces:
        for one in plan.passes():
            side = side_of(name, one.side)
            store = folder / f"fields-{side}.npy"
            try:
                tell("Reading images", 0, len(cells.images))
                shown = _some(cells, one.most, plan.seed)
                fields, kept, refused = read_fields(
                    shown, mpp, side, lambda done, total: tell("Reading images", done, total), store
                )
                labels = np.array([cells.classes.index(i.cls) for i in kept], np.int64)
                splits = _cut(plan, kept, labels)
                head = head or _head(cells, kept, splits, refused, mpp, plan)
                for key in plan.starts:
                    done = _backbone(key, one, name, plan, fields, labels, splits, answers, tell, cancelled)
                    rows += [
                        _row(key, tuning, name, one.side, per_fold, labels, kept, cells.classes)
                        for tuning, per_fold in done.items()
                    ]
                    _write(folder, head, rows)
            finally:
                store.unlink(missing_ok=True)
    return _write(folder, head or {}, rows)


def _some(cells: CellSet, most: int, seed: int) -> CellSet:
    """At most so many images of each class, drawn by seed; 0 takes all."""
    if not most:
        return cells
    rng = np.random.default_rng(seed)
    chosen: list[CellImage] = []
    for cls in cells.classes:
        own = [i for i in cells.images if i.cls == cls]
        chosen += [own[n] for n in sorted(rng.permutation(len(own))[:most])]
    return replace(cells, images=tuple(chosen))


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody listens."""


def _cut(plan: Plan, images: Sequence[CellImage], labels: NDArray[np.int64]) -> list[Split]:
    groups = [i.group for i in images]
    if plan.cut == "folds":
        return cross_validation(labels, groups, plan.k, plan.seed)
    if plan.cut == "holdout":
        return [holdout(labels, groups, plan.seed)]
    own = by_parts(images, labels, plan.seed)
    if own is None:
        raise InputError("The set has no folders train and val; choose folds or holdout.")
    return [own]


Answer = dict[str, Any]
"""Of one fit: test (row numbers), probs, seconds, penalty, epochs."""


def _backbone(
    key: str,
    one: Pass,
    name: Space,
    plan: Plan,
    fields: NDArray[np.uint8],
    labels: NDArray[np.int64],
    splits: list[Split],
    answers: Path,
    tell: Tell,
    cancelled: Callable[[], bool],
) -> dict[Tuning, list[Answer]]:
    """Every way of tuning and fold of one backbone in one colour space; finished ones are read back."""
    paths = {
        (tuning, n): answers / f"{key}-{tuning}-{name}-{n}.npz"
        for tuning in one.tunings
        for n in range(len(splits))
    }
    classes = int(labels.max()) + 1
    what = f"{backbone(key).title}, {name}"
    if not all(p.is_file() for p in paths.values()):
        recipe = Recipe(key, "last", name, plan.starts[key], one.side, tune=plan.tune, seed=plan.seed)
        frozen = Frozen(
            recipe, fields, plan.device, lambda d, t: tell(f"{what}: features", d, t), cancelled=cancelled
        )
        for (tuning, n), path in paths.items():
            if path.is_file():
                continue
            check(cancelled)
            step = f"{what}: {'whole model' if tuning == 'whole' else 'last layer'}, {n + 1} of {len(splits)}"
            tell(step, 0, 1)
            if tuning == "last":
                fitted = frozen.fit(labels, splits[n], classes)
                probs = frozen.probabilities(splits[n].test)
            else:
                fitted = fit_whole(
                    frozen,
                    fields,
                    labels,
                    splits[n],
                    classes,
                    lambda d, t, step=step: tell(step, d, t),  # type: ignore[misc]
                    cancelled,
                )
                probs = whole_probabilities(fitted, fields[splits[n].test], name, frozen.device)
            epochs = np.array([(e.train_loss, e.val_loss, e.val_accuracy) for e in fitted.epochs])
            with whole_file(path, durable=False) as part, part.open("wb") as f:
                np.savez(f, probs=probs, seconds=fitted.seconds, penalty=fitted.penalty, epochs=epochs)
    return {
        tuning: [_read(paths[tuning, n], splits[n].test) for n in range(len(splits))]
        for tuning in one.tunings
    }


def _read(path: Path, test: NDArray[np.int64]) -> Answer:
    with np.load(path, allow_pickle=False) as kept:
        return {
            "test": test,
            "probs": kept["probs"],
            "seconds": float(kept["seconds"]),
            "penalty": float(kept["penalty"]),
            "epochs": kept["epochs"].tolist(),
        }


# -- what is written ------------------------------------------------------------------------------------


def _row(
    key: str,
    tuning: Tuning,
    name: Space,
    side: int,
    per_fold: list[Answer],
    labels: NDArray[np.int64],
    images: Sequence[CellImage],
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """A line of the table: figures a fold, their mean and deviation, and one judgement of all test images."""
    folds = [metrics.figures(labels[a["test"]], a["probs"].astype(np.float64)) for a in per_fold]
    test = np.concatenate([a["test"] for a in per_fold])
    probs = np.concatenate([a["probs"] for a in per_fold])
    pooled = metrics.judge(labels[test], probs, classes, groups=[images[i].group for i in test])
    hits = (probs.argmax(axis=1) == labels[test])[np.argsort(test)]
    return {
        "backbone": key,
        "title": backbone(key).title,
        "tuning": tuning,
        "colours": name,
        "images": len(images),
        "side": side,
        "folds": [
            {"figures": _plain(f), **{k: a[k] for k in ("seconds", "penalty", "epochs")}}
            for f, a in zip(folds, per_fold, strict=True)
        ],
        "summary": {k: list(v) for k, v in metrics.summary(folds).items()},
        "pooled": pooled.to_json(),
        "judged": len(test),
        "hits": packed(hits),
    }


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {k: None if np.isnan(v) else v for k, v in values.items()}


def _head(
    cells: CellSet,
    kept: Sequence[CellImage],
    splits: Sequence[Split],
    refused: Sequence[Refused],
    mpp: float | None,
    plan: Plan,
) -> dict[str, Any]:
    judged = np.sort(np.concatenate([s.test for s in splits]))
    notes = [note] if (note := sizes_note([i.path for i in kept])) else []
    if plan.whole_most:
        notes.append(
            f"Where the whole model is tuned, {plan.whole_most} images a class are used, seen with "
            f"{plan.whole_side or plan.side} pixels a side for {plan.tune.epochs} passes; "
            "more of each would do better."
        )
    return {
        "format": FORMAT,
        "research_use": RESEARCH_USE,
        "set": {
            "images": len(kept),
            "classes": {c: sum(i.cls == c for i in kept) for c in cells.classes},
            "mpp": mpp if mpp is not None else cells.mpp,
            "field_um": FIELD_UM,
            "side": plan.side,
            "refused": [asdict(r) for r in (*cells.refused, *refused)],
            "notes": notes,
            "groups": _numbered([kept[i].group for i in judged]),
            "fingerprint": _digest([mpp, plan.cut, plan.k, plan.seed, _names(cells)]),
        },
        "split": {"cut": plan.cut, "folds": plan.k if plan.cut == "folds" else 1, "unit": said(cells.unit)},
        "plan": _plan_json(plan),
        "costs": [cost(key, len(cells.classes)).row() for key in plan.starts],
        "versions": versions("torch", "torchvision", "timm", "numpy"),
    }


def _plan_json(plan: Plan) -> dict[str, Any]:
    # the name of a weight file alone: no path of a machine leaves it
    starts = {k: v.name if isinstance(v, Path) else v for k, v in plan.starts.items()}
    return {**asdict(plan), "starts": starts}


def _write(folder: Path, head: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {**head, "rows": rows, "contrasts": contrasts(rows, head.get("set", {}).get("groups"))}
    write_json(folder / RESULT, whole, durable=False, compact=True)
    return whole


def _same_or_new(folder: Path, cells: CellSet, mpp: float | None, plan: Plan) -> None:
    """Keep answers of other images or settings from being taken for this bench's."""
    fixed = {k: v for k, v in _plan_json(plan).items() if k not in ("starts", "tunings", "spaces", "device")}
    digest = _digest([fixed, mpp, _names(cells)])
    mark = folder / "answers" / "of"
    if mark.is_file() and mark.read_text() != digest:
        raise InputError(
            f"The folder {folder.name} holds a bench of other images or settings; choose another folder."
        )
    mark.write_text(digest)


def _names(cells: CellSet) -> list[tuple[str | None, ...]]:
    return [(i.path.name, i.cls, i.part, i.group) for i in cells.images]


def _numbered(groups: Sequence[str | None]) -> list[int] | None:
    """Groups as numbers, for no name of a patient is to leave the machine; None where none is known."""
    if all(g is None for g in groups):
        return None
    numbers: dict[object, int] = {}
    return [numbers.setdefault(("image", i) if g is None else g, len(numbers)) for i, g in enumerate(groups)]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
