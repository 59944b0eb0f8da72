"""From a training's weights to what can be used: a half-precision file and the card that describes it."""

from __future__ import annotations

import hashlib
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
from cmlcore.files import whole_file, write_json
from cmlcore.ground_truth import MPP
from cmlcore.ground_truth.records import drawn
from cmlcore.settings import settings as cml_settings
from cmlcore.store.ids import unused
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
    weights: dict[str, Tensor],
    card: dict[str, Any],
    weights_dir: Path,
    cards_dir: Path | None = None,
    text: str = "",
) -> Path:
    """Write ``<key>.safetensors`` (fp16) and ``<key>.json``, the card, with the file's sha256 filled in.

    Args:
        weights: a network's state; floating tensors are stored as fp16, others as they are.
        card: the card's fields, ``key`` among them.
        weights_dir: where the weights go.
        cards_dir: where the card goes; by default beside the weights.
        text: the card as people read it, for ``<key>.md`` beside the JSON; empty: no such file.

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
    card_path = (cards_dir or weights_dir) / f"{card['key']}.json"
    with whole_file(path) as part:
        save_file(half, part)
        with part.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
    if text:
        with whole_file(card_path.with_suffix(".md")) as part:
            part.write_text(text, encoding="utf-8")
    write_json(card_path, {**card, "weights": path.name, "sha256": digest})
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
        "limits": limits(facts.get("sources", ())),
    }


def limits(sources: Sequence[str]) -> list[str]:
    """What a trained network must not be believed, as far as its training images tell."""
    said = [RESEARCH_USE, "Figures are for microscopes and stains like those of the training images."]
    if drawn(sources):
        said.append("Cells it learned from are phantoms, drawn by a program: no figure here is of real ones.")
    return said


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
    return unused(wanted, {c.key for c in cards()})


def install(card_path: Path) -> None:
    """Copy a card and its files to CML_HOME/models, the card last, so that it never lacks one."""
    models = cml_settings().home / "models"
    files = [card_path.with_suffix(suffix) for suffix in (".safetensors", ".md", ".json")]
    for path in (p for p in files if p.is_file()):
        with whole_file(models / path.name) as part:
            shutil.copyfile(path, part)
