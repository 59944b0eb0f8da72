"""Evaluations and trainings to draw: made-up numbers that fit together."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from cmlcore.evaluation.result import (
    ALL,
    IOUS,
    Calibration,
    CalibrationBin,
    ClassFigures,
    Confusion,
    CountError,
    Estimate,
    Evaluation,
    ImageRow,
    Manifest,
    PrCurve,
    ShapeFigures,
    SourceFigures,
    Subset,
    ThresholdCurve,
)
from cmlcore.files import write_json
from cmlcore.job_folder import write_status
from cmlcore.training.presets import from_preset
from cmlcore.training.run_dir import CURVES, append_curve, new_run_dir

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")
QUALITY = {"erythrocyte": 0.94, "leukocyte": 0.98, "thrombocyte": 0.82, ALL: 0.91}
SOURCES = ("PBC", "Raabin")


def about(x: float, width: float = 0.03) -> Estimate:
    return Estimate(round(x, 4), round(max(0.0, x - width), 4), round(min(1.0, x + width / 2), 4))


def _class(q: float, true: int) -> ClassFigures:
    return ClassFigures(
        true,
        true + 3,
        about(q),
        about(q - 0.1),
        about(q - 0.2),
        about(q - 0.02),
        about(q - 0.01),
        about(q - 0.015),
        about(q - 0.05),
        about(q - 0.03),
        about(q - 0.1),
        about(q - 0.06),
        about(q - 0.04),
        tuple(max(0.0, q - 0.9 * (t - 0.5) ** 2 * 2) for t in IOUS),
    )


def _curve(q: float) -> PrCurve:
    recall = tuple(round(i / 100, 2) for i in range(101))
    precision = tuple(float(max(0.0, 1 - (1 - q) * r - (r > q) * 1.0)) for r in recall)
    return PrCurve(recall, precision, tuple(None if r > q else round(1 - 0.9 * r, 3) for r in recall))


def _thresholds(q: float) -> ThresholdCurve:
    score = tuple(round(i / 50, 2) for i in range(51))
    recall = tuple(q * (1 - s**4) for s in score)
    precision = tuple(0.6 + 0.38 * s**0.5 for s in score)
    f1 = tuple(2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True))
    best = int(np.argmax(f1))
    return ThresholdCurve(score, precision, recall, f1, score[best], f1[best])


def _calibration(shift: float) -> Calibration:
    edges = np.linspace(0.02, 1, 11)
    bins = tuple(
        CalibrationBin(float(a), float(b), 60 - 3 * i, float(a + b) / 2, float(min(1, (a + b) / 2 + shift)))
        for i, (a, b) in enumerate(itertools.pairwise(edges))
    )
    return Calibration(sum(b.cells for b in bins), bins, about(abs(shift), 0.01), about(abs(shift) / 2, 0.01))


def _counts(true: list[int], found: list[int]) -> CountError:
    gaps = np.array(found) - np.array(true)
    bias, sd = float(gaps.mean()), float(gaps.std(ddof=1))
    low, high = bias - 1.96 * sd, bias + 1.96 * sd
    return CountError(
        len(true),
        Estimate(bias, bias - 0.4, bias + 0.4),
        sd,
        Estimate(low, low - 0.7, low + 0.7),
        Estimate(high, high - 0.7, high + 0.7),
        Estimate(float(np.abs(gaps).mean())),
        tuple((i + 1, t, f) for i, (t, f) in enumerate(zip(true, found, strict=True))),
    )


def evaluation(model: str = "type2", worse: float = 0.0, *, masks: bool = True) -> Evaluation:
    """Figures of 12 images of two sources; ``worse`` is taken off everything."""
    rng = np.random.default_rng(5)
    means = {"erythrocyte": 40, "leukocyte": 2, "thrombocyte": 8}
    true = {k: rng.poisson(m, 12).tolist() for k, m in means.items()}
    found = {
        k: [max(0, n + int(d)) for n, d in zip(v, rng.integers(-2, 3, 12), strict=True)]
        for k, v in true.items()
    }
    q = {k: v - worse for k, v in QUALITY.items()}
    shape = ShapeFigures(
        12,
        about(np.mean([q[c] for c in CLASSES])),
        about(np.mean([q[c] for c in CLASSES]) - 0.2),
        {k: _class(q[k], sum(sum(v) for c, v in true.items() if k in (c, ALL))) for k in (*CLASSES, ALL)},
        {k: _curve(q[k]) for k in CLASSES},
        {k: _thresholds(q[k]) for k in (*CLASSES, ALL)},
    )
    sizes = (
        ("small", 0, 20.0),
        ("medium", 20.0, 44.0),
        ("large", 44.0, None),
        ("touching", None, None),
        ("cut", None, None),
    )
    return Evaluation(
        manifest=Manifest(
            "model",
            model,
            f"{model.capitalize()}: an example",
            "0" * 64,
            "txl_pbc",
            "1" * 64,
            {"min_score": 0.45, "iou": 0.5, "bootstrap": 1000, "seed": 0},
            {"cmlscope": "0.1.0"},
            "CPU (2 threads)",
            "2026-11-22T01:00:00+00:00",
            75.0,
        ),
        classes=CLASSES,
        mapping={"model": {c: c for c in CLASSES}, "truth": {c: c for c in CLASSES}},
        notes=("Cells cut by the image's edge are judged.",),
        images=tuple(
            ImageRow(
                i + 1, SOURCES[i % 2], {k: v[i] for k, v in true.items()}, {k: v[i] for k, v in found.items()}
            )
            for i in range(12)
        ),
        shapes={"box": shape, "mask": shape} if masks else {"box": shape},
        confusion=Confusion(
            (*CLASSES, "invented"),
            (*CLASSES, "missed"),
            ((450, 1, 0, 20), (0, 25, 0, 1), (2, 0, 80, 14), (17, 1, 9, 0)),
        ),
        counts={k: _counts(true[k], found[k]) for k in CLASSES},
        calibration={k: _calibration(0.04 if k == ALL else -0.06) for k in (*CLASSES, ALL)},
        subsets=tuple(
            Subset(
                c,
                n,
                20,
                about(q[c] - 0.03 * i),
                about(q[c] - 0.02),
                about(q[c] - 0.02 * i),
                about(0.85),
                about(q[c]),
                low,
                high,
                "µm²" if low is not None else "",
            )
            for c in CLASSES
            for i, (n, low, high) in enumerate(sizes)
        ),
        sources={
            s: SourceFigures(
                6,
                about(0.9),
                {c: about(q[c] - 0.05 * i) for c in CLASSES},
                dict.fromkeys(CLASSES, 30),
                {c: about(0.9) for c in CLASSES},
            )
            for i, s in enumerate(SOURCES)
        },
    )


def store_evaluation(home: Path, key: str, found: Evaluation, **status: Any) -> Path:
    """Put an evaluation where the page looks for it, as a job leaves it."""
    folder = home / "evaluations" / key
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(found.to_json()), encoding="utf-8")
    write_json(folder / "status.json", {"state": "done", "created": "2026-11-22T01:00:00+00:00", **status})
    return folder


def store_training(
    home: Path, key: str, task: str, model: str, *, state: str = "done", **changes: Any
) -> Path:
    """A training directory as the trainer leaves it: 40 train events, 10 validations."""
    folder = new_run_dir(from_preset(task, model, **changes), home / "trainings" / key)
    rate = 0.25 if model == "type1" else 0.35
    for step in range(10, 410, 10):
        event = {"step": step, "epoch": step / 40, "seconds": 3.0 * step, "lr": 1e-4}
        fade = float(np.exp(-rate * step / 40))
        append_curve(folder, {**event, "split": "train", "loss": 0.2 + fade + 0.02 * ((step // 10) % 3)})
        if step % 40 == 0:
            ap = {
                c: round(0.9 * (1 - fade) - 0.05 * i, 4)
                for i, c in enumerate(from_preset(task, model).classes)
            }
            best = float(np.mean(list(ap.values())))
            append_curve(
                folder,
                {
                    **event,
                    "split": "val",
                    "loss": 0.3 + fade,
                    "map50": best,
                    "map": best * 0.6,
                    "ap50": ap,
                    "images": 8,
                },
            )
    write_json(folder / "environment.json", {"device": "CPU (2 threads, bf16)", "versions": {"torch": "2"}})
    write_status(folder, state=state, device="CPU (2 threads, bf16)", step=400, seconds=1200.0)
    assert (folder / CURVES).is_file()
    return folder
