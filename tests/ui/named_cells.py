"""A naming that is done, and a bench, as their children leave them; no network is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cmlcore.files import write_json
from cmlcore.job_folder import write_status
from cmlcore.jobs.classify import ANSWERS, NAMINGS, RESULT, NamingRequest
from cmlcore.jobs.crops import CropWriter
from cmlcore.single_cell import metrics, named
from cmlcore.single_cell.contrasts import contrasts, packed

CLASSES = ("lymphocyte", "monocyte", "basophil")


class Said(SimpleNamespace):
    """Stands for ``single_cell.classify.Answers``, which needs torch."""

    def __len__(self) -> int:
        return len(self.probs)


def a_card(home: Path, key: str = "small", *, weights: bool = True, **extra: Any) -> None:
    """A classifier on the shelf."""
    folder = home / "classifiers"
    card = {
        "key": key, "title": f"Title of {key}", "backbone": "dinov2_vits14", "tuning": "whole",
        "colours": "rgb+aug", "classes": list(CLASSES), "field_um": 22.0, "side": 224,
        "weights": f"{key}.safetensors", "sha256": "0" * 64,
        "data": {"train": 400, "unit": "Split by image."},
        "metrics": {"images": 55, "accuracy": [0.91, 0.85, 0.95], "balanced_accuracy": [0.9, 0.84, 0.94],
                    "f1_macro": [0.89, 0.83, 0.93], "unknown_share": 0.03,
                    "classes": {"monocyte": [0.8, 0.75]}},
        "limits": ["Only this stain."],
    }  # fmt: skip
    write_json(folder / f"{key}.json", card | extra)
    if weights:
        (folder / f"{key}.safetensors").write_bytes(b"not looked at")


def a_naming(files: list[str] | None = None, n: int = 60, run: str | None = None, **status: Any) -> str:
    """``n`` cells, every tenth unknown, classes in turn; with names of files, some of them left out."""
    request = NamingRequest(classifier="small", run=run, mpp=None if run else 0.16)
    key = NAMINGS.submit(request)
    folder = NAMINGS.folder(key)
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 0.99, n).astype(np.float32)
    probs = np.repeat((1 - sure[:, None]) / 2, 3, axis=1)
    probs[np.arange(n), np.arange(n) % 3] = sure
    unlike = rng.uniform(0.1, 0.9, n).astype(np.float32)
    unlike[::10] = 1.5
    best = [CLASSES[i % 3] for i in range(n)]
    cls = ["unidentified" if u > 1 else b for b, u in zip(best, unlike, strict=True)]
    answers = Said(probs=probs.astype(np.float32), named=cls, best=best, unlike=unlike)
    chunk: Any = SimpleNamespace(cell_ids=np.arange(n), answers=answers)
    facts = {"classifier": "small", "sha256": "0" * 64}
    named.write_named(folder / ANSWERS, [chunk], CLASSES, facts)
    with CropWriter(folder) as crops:
        crops.add(rng.integers(0, 255, (n, 32, 32, 3), dtype=np.uint8))
    names = [] if run else files or [f"cell {i}.png" for i in range(n)]
    result = {
        "classifier": "small", "title": "Title of small", "sha256": "0" * 64, "classes": CLASSES,
        "device": "CPU", "mpp": 0.16, "mpp_from": "run" if run else "given",
        "files": names + ([] if run else ["grey.png"]),
        "refused": [] if run else [[n, "grey.png", "grey.png is grey."]], "notes": [], "seconds": 3.0,
    }  # fmt: skip
    write_json(folder / RESULT, result)
    write_status(folder, state="done", created=datetime.now(UTC).isoformat(), **status)
    return key


def a_bench(folder: Path, rows: tuple[tuple[str, str, str], ...]) -> dict[str, Any]:
    """A bench of (backbone, tuning, colours) with answers drawn at random, better ones in later rows."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    made = []
    for i, (backbone, tuning, colours) in enumerate(rows):
        logits = rng.normal(size=(60, 3))
        logits[np.arange(60), truth] += 1 + i
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        folds = [metrics.figures(truth[k::5], probs[k::5]) for k in range(5)]
        made.append(
            {
                "backbone": backbone,
                "title": {"dinov2_vits14": "DINOv2 ViT-S/14"}.get(backbone, "EfficientNet-Lite0"),
                "tuning": tuning,
                "colours": colours,
                "folds": [{"figures": f, "seconds": 1.0, "penalty": 0.01, "epochs": []} for f in folds],
                "summary": {k: list(v) for k, v in metrics.summary(folds).items()},
                "pooled": metrics.judge(truth, probs, CLASSES, bootstrap=20).to_json(),
                "side": 64,
                "judged": 60,
                "hits": packed(probs.argmax(axis=1) == truth),
            }
        )
    bench = {
        "format": 1,
        "research_use": "",
        "set": {"images": 60, "classes": dict.fromkeys(CLASSES, 20), "mpp": 0.16, "notes": ["Sizes differ."],
                "refused": [{"name": "x.txt", "why": "x.txt is no image."}]},
        "split": {"cut": "folds", "folds": 5, "unit": "Split by image: no patient is known."},
        "plan": {"seed": 0},
        "costs": [{"key": b, "title": t, "parameters": 22_056_576, "flops": 5_500_000_000,
                   "activations": 11_110_000, "conv2d": 1, "seconds_per_image": 0.0231, "memory_mb": 412.0,
                   "device": "CPU", "batch": 8}
                  for b, t in {(r["backbone"], r["title"]) for r in made}],
        "versions": {"torch": "2"},
        "rows": made,
        "contrasts": contrasts(made, [], times=50),
    }  # fmt: skip
    write_json(folder / "bench.json", bench)
    return bench
