"""A trained model's card as people read it: what is in its JSON card, in sentences and tables (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.training.presets import from_preset
from cmlcore.training.settings import TrainSettings

# Of this machine or of this one training; nobody else needs them to judge or to repeat it.
_UNTOLD = {
    "backbone", "backbone_weights", "classes", "data", "device", "devices", "key", "model", "mpp", "preset",
    "save_s", "start_from", "threads", "title", "validate_images", "workers",
}  # fmt: skip


def card_markdown(card: Mapping[str, Any], settings: TrainSettings) -> str:
    """The card of a model that came of a training here.

    Args:
        card: the JSON card, see ``package.card_of``.
        settings: what the training was told. Paths in it are not written: the card travels with the weights.

    """
    parts = [
        f"# {card['title']}",
        f"It outlines and names these cells: {', '.join(map(label, card['classes']))}. {RESEARCH_USE}",
        _network(card, settings),
        _data(card),
        _course(card, settings),
        _measured(card),
        "**Limits.**\n" + "\n".join(f"- {x}" for x in (*card["limits"], *_LIMITS) if x != RESEARCH_USE),
    ]
    return "\n\n".join(parts) + "\n"


_LIMITS = (
    "What the training images do not show, the network does not know: other cells are missed, or taken for "
    "one of its classes.",
    "A pixel size that is wrong shifts every size, and the counts with it.",
)


def _network(card: Mapping[str, Any], settings: TrainSettings) -> str:
    kind = {"type1": "Mask R-CNN", "type2": "Vision Transformer"}[card["kind"]]
    start = "It began from scratch."
    if settings.start_from:
        start = f"It went on from the model “{settings.start_from}”."
    elif settings.backbone_weights is not None or settings.pretrained:
        start = "Its backbone began with weights learned elsewhere."
    return (
        f"**Network.** {kind} on `{card['architecture']['backbone']}`, {card['mpp']:g} µm per pixel, tiles "
        f"of {card['tile']} px. Cells count from a confidence of {card['min_score']:g}. {start}"
    )


def _data(card: Mapping[str, Any]) -> str:
    data = card["data"]
    images, cells = data.get("images", {}), data.get("cells", {})
    rows = [
        (label(c), *(f"{cells.get(part, {}).get(c, 0):,}" for part in ("train", "val")))
        for c in card["classes"]
    ]
    about = (
        f"**Data.** {images.get('train', 0):,} images to learn from and {images.get('val', 0):,} to judge "
        f"by, from {_listed(data.get('sources', [])) or 'a source that is not named'}."
    )
    table = _table(("class", "cells, train", "cells, val"), rows)
    return f"{about}\n\n{table}\n\n{card['licence'].removeprefix(RESEARCH_USE).strip()}".rstrip()


def _course(card: Mapping[str, Any], settings: TrainSettings) -> str:
    told = card["training"]
    recipe = f"the recipe “{settings.preset}”" if settings.preset else "the network's own recipe"
    text = (
        f"**Training.** {_some(told['steps'], 'step')} of {_some(told['batch'], 'tile')} "
        f"({told['epochs']:g} epochs) in {told['seconds'] / 60:.0f} minutes on "
        f"{told['device'] or 'a device that is not known'}, by {recipe}; "
        f"the weights of step {told['kept_step']:,} are kept."
    )
    changed = [f"{name} {_value(value)}" for name, value in _differing(settings)]
    return text + (f" Other than there: {', '.join(changed)}." if changed else "")


def _differing(settings: TrainSettings) -> list[tuple[str, Any]]:
    """Settings that are not the recipe's, by name; of the augmentation each of its own."""
    base = from_preset(settings.preset, settings.model)
    found = []
    for name in TrainSettings.model_fields:
        ours, theirs = getattr(settings, name), getattr(base, name)
        if name in _UNTOLD or ours == theirs or (name in ("epochs", "steps", "minutes") and ours is None):
            continue
        if name == "augmentation":
            mine, usual = ours.model_dump(), theirs.model_dump()
            found += [(f"augmentation {k}", v) for k, v in mine.items() if v != usual[k]]
        else:
            found.append((name.replace("_", " "), ours))
    return found


def _measured(card: Mapping[str, Any]) -> str:
    metrics = card["metrics"]
    if "box_mAP50" not in metrics:
        return (
            "**Measured.** Nothing: there were no images to judge by. Evaluate the model before you use it."
        )
    rows = [
        ("all classes, mean", metrics["box_mAP50"]),
        *((label(c), value) for c, value in metrics["box_AP50"].items()),
    ]
    return (
        f"**Measured** on {_some(metrics['images'], 'image')} of the `val` part, which the network was not "
        "trained on, but by which these weights were chosen:\n\n"
        + _table(("boxes of the outlines", "AP50"), [(name, f"{value:.3f}") for name, value in rows])
        + f"\n\nmAP50–95 is {metrics['box_mAP50_95']:.3f}. `cmlscope evaluate --model {card['key']}` gives "
        "every figure, with intervals."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _some(n: int, thing: str) -> str:
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return _listed(value)
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
