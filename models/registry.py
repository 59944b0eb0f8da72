"""Which networks there are: their cards, their weight files, and how one is loaded.

Reading cards imports no torch, so the web process may do it; only ``load_model`` does.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast

from cmlcore.errors import ModelError
from cmlcore.settings import settings
from models.base import CellModel, TileGrid
from models.calibration import Calibration

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent
_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_REQUIRED = ("key", "title", "kind", "classes", "mpp", "tile", "margin", "align", "sha256", "min_score")


class Carded(Protocol):
    """A card of any kind, as far as its weight file goes; see ``ModelCard``."""

    @property
    def key(self) -> str:
        """Name in files, URLs and the shell."""
        ...

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        ...

    @property
    def sha256(self) -> str:
        """Of that file."""
        ...


C = TypeVar("C", bound=Carded)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The machine-readable part of a model card.

    Attributes:
        key: name in files, URLs and the shell, e.g. "type1".
        title: name people read.
        kind: which network code loads it.
        classes: keys of ``cmlcore.classes`` in the order of the network's outputs.
        mpp: µm per pixel the network was trained at.
        tile: side of a tile in model pixels, see ``models.base.TileGrid``.
        margin: part of a tile, on every side, that is context only.
        align: what tile sides are multiples of.
        weights: the safetensors file (it may be absent; ``load_model`` says so).
        sha256: of that file, lower-case hex.
        min_score: score from which cells are kept and named by default.
        extra: everything else the card's file says (architecture, data, metrics).

    """

    key: str
    title: str
    kind: Literal["type1", "type2"]
    classes: tuple[str, ...]
    mpp: float
    tile: int
    margin: int
    align: int
    weights: Path
    sha256: str
    min_score: float
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def grid(self) -> TileGrid:
        """The default tiling."""
        return TileGrid(self.tile, self.margin, self.align)

    @property
    def unidentified_score(self) -> float | None:
        """Cells below ``min_score`` and from here are kept without a name; None: they are not kept."""
        value = self.extra.get("unidentified_score")
        return None if value is None else float(value)

    def to_json(self) -> dict[str, Any]:
        """The card as its file holds it; the weight file by name only, so no path of a machine leaves it."""
        own = {k: getattr(self, k) for k in _REQUIRED}
        return {**own, "classes": list(self.classes), "weights": self.weights.name, **self.extra}


def read_card(path: Path, weights_dir: Path) -> ModelCard:
    """Read one card file.

    Raises:
        ModelError: it is not JSON, or a field is missing or impossible.

    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"The model card {path.name} cannot be read as JSON; write it again.") from e
    missing = [k for k in _REQUIRED if not isinstance(raw, dict) or k not in raw]
    if missing:
        raise ModelError(f"The model card {path.name} lacks {', '.join(missing)}; add what is missing.")
    extra = {k: v for k, v in raw.items() if k not in _REQUIRED and k != "weights"}
    try:
        # .name: a card may not point outside its own folder.
        weights = weights_dir / Path(str(raw.get("weights", f"{raw['key']}.safetensors"))).name
        sha256 = str(raw["sha256"]).lower()
        numbers = {k: int(raw[k]) for k in ("tile", "margin", "align")}
        made = ModelCard(
            key=str(raw["key"]),
            title=str(raw["title"]),
            kind=raw["kind"],
            classes=tuple(str(c) for c in raw["classes"]),
            mpp=float(raw["mpp"]),
            **numbers,
            weights=weights,
            sha256=sha256,
            min_score=float(raw["min_score"]),
            extra=_without_foreign_calibration(extra, sha256, path),
        )
        _check(made)
    except (TypeError, ValueError, ZeroDivisionError) as e:
        raise ModelError(f"The model card {path.name} cannot be used: {e}.") from e
    return made


def _without_foreign_calibration(extra: dict[str, Any], sha256: str, path: Path) -> dict[str, Any]:
    """The extra facts, without a calibration that was fitted to other weights: raw scores are better."""
    fitted_on = extra.get("calibrated_on")
    fitted_to = fitted_on.get("weights_sha256") if isinstance(fitted_on, dict) else None
    if fitted_to is None or str(fitted_to).lower() == sha256:
        return extra
    _warn_of_foreign_calibration(path, sha256)
    return {k: v for k, v in extra.items() if k not in ("calibration", "calibrated_on")}


@cache  # cards are read again and again
def _warn_of_foreign_calibration(path: Path, sha256: str) -> None:
    log.warning(
        "The calibration in %s was fitted to other weights than %s… and is not used; fit it again.",
        path.name,
        sha256[:12],
    )


def _check(made: ModelCard) -> None:
    if not _KEY.fullmatch(made.key):
        raise ValueError("its key may hold only a-z, 0-9, dot, dash and underscore")
    if made.kind not in ("type1", "type2"):
        raise ValueError("its kind must be type1 or type2")
    if not made.classes or len(set(made.classes)) != len(made.classes):
        raise ValueError("its classes must be named, each once")
    if not (math.isfinite(made.mpp) and 0.005 <= made.mpp <= 50):
        raise ValueError("its mpp must lie between 0.005 and 50 µm")
    if not 0 <= made.min_score <= 1:
        raise ValueError("its min_score must lie between 0 and 1")
    if not 0 <= (made.unidentified_score or 0) <= made.min_score:
        raise ValueError("its unidentified_score must lie between 0 and its min_score")
    Calibration.of(made.extra.get("calibration"), made.classes)
    if made.weights.suffix != ".safetensors":
        raise ValueError("its weights must be a safetensors file")
    if made.margin < 0 or made.tile % made.align:
        raise ValueError("its tile must be a multiple of align and its margin not negative")
    _ = made.grid


def _card_files() -> Iterator[tuple[Path, Path]]:
    """(card file, folder of its weights); shipped ones first, then the user's by name."""
    for path in sorted((SHIPPED / "cards").glob("*.json")):
        yield path, SHIPPED / "weights"
    user = settings().home / "models"
    for path in sorted(user.glob("*.json")):
        yield path, user


def cards() -> list[ModelCard]:
    """Every usable card: the shipped ones, then those in ``CML_HOME/models``.

    A broken user card, or one whose key is taken, is left out with a warning in the log:
    one bad file must not take the others away.
    """
    return usable(_card_files(), read_card)


def usable(files: Iterable[tuple[Path, Path]], read: Callable[[Path, Path], C]) -> list[C]:
    """What ``read`` makes of (card file, folder of its weights); broken cards and taken keys are logged."""
    found: dict[str, C] = {}
    for path, weights_dir in files:
        try:
            made = read(path, weights_dir)
        except ModelError as e:
            log.warning("%s", e)
            continue
        if made.key in found:
            log.warning("The card %s is left out: the key “%s” is taken.", path.name, made.key)
            continue
        found[made.key] = made
    return list(found.values())


def card(key: str) -> ModelCard:
    """The card of one model.

    Raises:
        ModelError: there is no such model.

    """
    known = {c.key: c for c in cards()}
    if key not in known:
        have = ", ".join(known) or "none"
        raise ModelError(f"There is no model “{key}”; available: {have}.")
    return known[key]


def check_weights(made: Carded) -> None:
    """Hold the weight file against the card.

    Raises:
        ModelError: it is missing or not the file the card describes.

    """
    try:
        with made.weights.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise ModelError(
            f"The weights of “{made.key}” ({made.weights.name}) are missing; put the file back "
            "or choose another model."
        ) from e
    if digest != made.sha256:
        raise ModelError(
            f"The weights of “{made.key}” ({made.weights.name}) are not the file its card describes "
            f"(sha256 {digest[:12]}…, expected {made.sha256[:12]}…); fetch the file again."
        )


def load_model(key: str, device: str = "auto", threads: int = 0) -> CellModel:
    """Load a network, ready to predict.

    Args:
        key: of a card.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: torch threads on the CPU; 0 means all cores.

    Raises:
        ModelError: no such model, its file is missing or does not fit, or the device cannot be used.

    """
    made = card(key)
    check_weights(made)
    network = importlib.import_module(f"models.{made.kind}")  # torch comes in here, and only here
    return cast(CellModel, network.load(made, device, threads))
