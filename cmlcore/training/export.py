"""From a training's weights to what ships: a half-precision file and the card that describes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cmlcore.training.sets import CLASSES
from cmlcore.training.tiles import MODEL_MPP


def export(weights: dict[str, Tensor], card: dict[str, Any], models_dir: Path) -> Path:
    """Write ``weights/<key>.safetensors`` (fp16) and ``cards/<key>.json`` below ``models_dir``.

    Args:
        weights: a network's state; floating tensors are stored as fp16, others as they are.
        card: the card's fields, ``key`` among them; ``sha256``, ``mpp`` and ``classes`` are filled in.
        models_dir: the folder that holds ``weights`` and ``cards``.

    Returns:
        The weight file.

    Raises:
        ValueError: a weight is too large for fp16.

    """
    half = {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    broken = [k for k, v in half.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise ValueError(f"not finite in fp16: {', '.join(broken)}")
    path = models_dir / "weights" / f"{card['key']}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(half, part)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    full = {**card, "classes": list(CLASSES), "mpp": MODEL_MPP, "weights": path.name, "sha256": digest}
    card_path = models_dir / "cards" / f"{card['key']}.json"
    card_path.parent.mkdir(parents=True, exist_ok=True)
    card_path.write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path
