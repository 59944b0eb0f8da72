"""From a training's weights to what can be used: a half-precision file and the card that describes it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.errors import ModelError
from cmlcore.ground_truth import MPP
from cmlcore.settings import settings as cml_settings
from cmlcore.training import run_dir
from cmlcore.training.recipe import Recipe
from cmlcore.training.settings import TrainSettings
from cmlcore.training.validation import Figures
from models.registry import cards

_NON_COMMERCIAL = {
    "bbbc041seg": "BBBC041 is CC BY-NC-SA 3.0",
    "Raabin": "Raabin-WBC is free for research only",
    "zxaoyou_ds2": "zxaoyou's set is GPL-3.0",
    "krd_wbc": "the terms of KRD-WBC are unclear",
}


def export(
    weights: dict[str, Tensor], card: dict[str, Any], weights_dir: Path, cards_dir: Path | None = None
) -> Path:
    """Write ``<key>.safetensors`` (fp16) and ``<key>.json``, the card, with the file's sha256 filled in.

    Args:
        weights: a network's state; floating tensors are stored as fp16, others as they are.
        card: the card's fields, ``key`` among them.
        weights_dir: where the weights go.
        cards_dir: where the card goes; by default beside the weights.

    Returns:
        The card's file.

    Raises:
        ModelError: a weight is too large for fp16.

    """
    half = {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    broken = [k for k, v in half.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise ModelError(f"The weights {', '.join(broken[:3])} are not finite in fp16; lower the rate.")
    path = weights_dir / f"{card['key']}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(half, part)
    with part.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    card_path = (cards_dir or weights_dir) / f"{card['key']}.json"
    card_path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
    full = {**card, "weights": path.name, "sha256": digest}
    card_part = card_path.with_suffix(".part")
    card_part.write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    card_part.replace(card_path)
    return card_path


def card_of(
    settings: TrainSettings,
    recipe: Recipe,
    key: str,
    figures: Figures | None,
    facts: dict[str, Any],
    training: dict[str, Any],
    largest: float,
) -> dict[str, Any]:
    """The card of a trained network.

    Args:
        settings: what the training was told.
        recipe: the network.
        key: the model's.
        figures: of the weights kept, on val; None where there was no val image.
        facts: what data.json holds.
        training: steps, seconds and the like, for whoever wants to repeat it.
        largest: side of the largest cells in model pixels.

    """
    metrics: dict[str, Any] = {"part": "none", "note": "There were no val images."}
    if figures is not None:
        metrics = {
            "part": "val",
            "note": "Boxes, on whole val images, while training; `evaluate` gives the full figures.",
            "images": figures.images,
            "box_mAP50": round(figures.map50, 3),
            "box_mAP50_95": round(figures.map, 3),
            "box_AP50": {k: round(v, 3) for k, v in figures.ap50.items()},
        }
    return {
        "key": key,
        "title": settings.title or default_title(settings),
        "kind": recipe.kind,
        "classes": list(settings.classes),
        "mpp": settings.mpp,
        **recipe.grid(largest),
        "min_score": figures.threshold if figures is not None else Figures.threshold,
        "architecture": recipe.architecture(),
        "data": {k: facts[k] for k in ("images", "cells", "sources", "sha256") if k in facts},
        "licence": licence(facts.get("sources", ())),
        "training": {**training, "preset": settings.preset, "seed": settings.seed, "curves": run_dir.CURVES},
        "metrics": metrics,
        "limits": [RESEARCH_USE, "Figures are for microscopes and stains like those of the training images."],
    }


def default_title(settings: TrainSettings) -> str:
    """Type, backbone and classes."""
    name = {"type1": "Mask R-CNN", "type2": "Vision Transformer"}[settings.model]
    start = f"from {settings.start_from}" if settings.start_from else settings.backbone_name
    what = ", ".join(label(c) for c in settings.classes)
    return f"Type {settings.model[-1]}: {name} ({start}), {what}"


def licence(sources: Sequence[str]) -> str:
    """The terms that the training images put on the weights, as far as they are known."""
    hard = [text for source, text in _NON_COMMERCIAL.items() if source in sources]
    said = [RESEARCH_USE]
    if hard:
        said.append(f"Part of the training images is not free for all uses ({'; '.join(hard)}): ")
        said[-1] += "not for commercial use until somebody clears it."
    if any(s not in MPP for s in sources):
        said.append("Part of the training images is the user's own; their terms apply.")
    return " ".join(said)


def free_key(settings: TrainSettings, folder: Path) -> str:
    """The key asked for, or one made from what was trained; with a number where it is taken."""
    wanted = settings.key or f"{settings.model}-{settings.preset or 'own'}-{folder.name}".lower()
    wanted = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in wanted)[:56].strip(
        "-._"
    )
    taken = {c.key for c in cards()}
    key, n = wanted, 2
    while key in taken:
        key, n = f"{wanted}-{n}", n + 1
    return key


def install(card_path: Path) -> None:
    """Copy a card and its weights to CML_HOME/models, weights first, so that a card never lacks its file."""
    models = cml_settings().home / "models"
    models.mkdir(parents=True, exist_ok=True)
    for path in (card_path.with_suffix(".safetensors"), card_path):
        part = models / f"{path.name}.part"
        shutil.copyfile(path, part)
        part.replace(models / path.name)
