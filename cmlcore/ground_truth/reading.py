"""What every reader of a person's own ground truth shares: names, pixel sizes, parts, and what to say."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from cmlcore.classes import CLASSES
from cmlcore.errors import InputError
from cmlcore.geometry import Mpp
from cmlcore.ground_truth.records import Floats, Record

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
FACTS = "dataset.json"
PARTS = ("train", "val", "test")
VAL_SHARE = 0.15
_PART_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_PART_WORDS |= {"test": "test", "testing": "test"}
_SAID_AT_MOST = 20
_ORIENTATION = 274  # the EXIF tag


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


_KEYS = {_plain(n): c.key for c in CLASSES.values() for n in (c.key, c.label, *c.aliases)}


@dataclass
class Notes:
    """Sentences about what was left out, passed on as they come; many of one kind are cut short."""

    tell: Callable[[str], None] | None = None
    _said: Counter[str] = field(default_factory=Counter)

    def say(self, kind: str, sentence: str) -> None:
        """Pass one sentence on."""
        self._said[kind] += 1
        if self.tell is not None and self._said[kind] <= _SAID_AT_MOST:
            self.tell(sentence)

    def close(self) -> None:
        """Say how many sentences were held back."""
        for kind, n in self._said.items():
            if self.tell is not None and n > _SAID_AT_MOST:
                self.tell(f"{n - _SAID_AT_MOST} more of this kind: {kind}.")


@dataclass(frozen=True, slots=True)
class Sample:
    """A record, the part that its file or folder says it belongs to, and what must stay on one side."""

    record: Record
    part: str | None
    group: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``dataset.json`` beside the labels says; all of it may be left out.

    Attributes:
        mpp: µm per pixel of all images, or by file name.
        source: name of the microscope or the set.
        complete: classes of which every cell is labelled; None: all classes the labels name.
        classes: class key for names the labels use.
        cell: class of the cells in mask files that name none.
        masks: "labels" (a number a cell) or "binary"; None: told from the pixels.

    """

    mpp: float | Mapping[str, float] | None = None
    source: str | None = None
    complete: frozenset[str] | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    cell: str | None = None
    masks: str | None = None

    def mpp_of(self, image: Path) -> float | None:
        """µm per pixel of one image, where it is said."""
        value = self.mpp.get(image.name) if isinstance(self.mpp, Mapping) else self.mpp
        return None if value is None else checked_mpp(value)

    def key(self, name: str) -> str:
        """Class key of a name that the labels use."""
        return class_key(self.classes.get(name, name))


def facts_in(folder: Path) -> Facts:
    """Read ``dataset.json`` of a folder; nothing is said where there is none.

    Raises:
        InputError: the file is broken or says something impossible.

    """
    path = folder / FACTS
    if not path.is_file():
        return Facts()
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path.name} must hold an object such as {{“mpp”: 0.1}}; correct the file.")
    masks = raw.get("masks")
    if masks not in (None, "labels", "binary"):
        raise InputError(f"“masks” in {path.name} must be “labels” or “binary”, not “{masks}”.")
    complete = raw.get("complete")
    if complete is not None and not (
        isinstance(complete, list) and all(isinstance(c, str) for c in complete)
    ):
        raise InputError(f"“complete” in {path.name} must be a list of class names; correct it.")
    source = raw.get("source")
    if source is not None and not isinstance(source, str):
        raise InputError(f"“source” in {path.name} must be a name; correct it.")
    classes = raw.get("classes", {})
    if not isinstance(classes, dict) or not all(isinstance(v, str) for v in classes.values()):
        raise InputError(f"“classes” in {path.name} must give a class for each name; correct it.")
    mpp = raw.get("mpp")
    for value in mpp.values() if isinstance(mpp, dict) else [mpp]:
        if value is not None:
            checked_mpp(value)
    keys = None if complete is None else frozenset(class_key(str(classes.get(c, c))) for c in complete)
    cell = raw.get("class")
    cell_key = None if cell is None else class_key(str(cell))
    return Facts(mpp, source, keys, classes, cell_key, masks)


def checked_mpp(value: Any) -> float:
    """A pixel size as a number.

    Raises:
        InputError: it is none, or out of range.

    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"“{value}” is no pixel size; give µm per pixel as a number, such as 0.1.")
    return Mpp(float(value), float(value)).x


def class_key(name: str) -> str:
    """Class key of a name people use: key, label, alias or plural of the tree, else a key of its own.

    ``“Red blood cells”`` is ``erythrocyte``; a name outside the tree, ``“Howell-Jolly body”``, becomes
    ``howell_jolly_body``.
    """
    plain = _plain(name)
    for form in (plain, plain.removesuffix("s"), plain.removesuffix("en")):
        if form in _KEYS:
            return _KEYS[form]
    return re.sub(r"\W+", "_", name.casefold()).strip("_") or "unnamed"


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: it is missing or no JSON.

    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path.name} cannot be read as JSON; write or export the file again.") from e


def image_size(path: Path, notes: Notes) -> tuple[int, int] | None:
    """Width and height from the file's header; None, with a sentence, where it cannot be used."""
    try:
        with Image.open(path) as image:
            if image.getexif().get(_ORIENTATION, 1) == 1:
                return image.size
            # readers differ on whether to turn it, and so did the tool that it was labelled with
            notes.say(
                "turned image", f"{path.name} is turned by a tag in its file; save it upright and label that."
            )
    except FileNotFoundError:
        notes.say("image missing", f"The image {path.name} is missing; its labels are left out.")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
        notes.say("no image", f"{path.name} cannot be read as an image; its labels are left out.")
    return None


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in order of their names."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.casefold() in IMAGE_SUFFIXES and p.is_file())


def clipped_outline(outline: Floats, w: int, h: int) -> Floats | None:
    """An outline held inside the image; None where less than a pixel of it is left."""
    inside = np.clip(outline, 0, (w, h)).astype(np.float32)
    return inside if len(inside) >= 3 and area(inside) >= 1 else None


def area(outline: Floats) -> float:
    """Area inside an outline, in square pixels (the shoelace formula)."""
    x, y = outline[:, 0].astype(float), outline[:, 1].astype(float)
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def bounding_box(outline: Floats) -> tuple[float, float, float, float]:
    """Smallest upright box x0, y0, x1, y1 around an outline."""
    (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
    return float(x0), float(y0), float(x1), float(y1)


def part_of(name: str) -> str | None:
    """The part that a file's or folder's name speaks of: ``instances_train.json`` is train."""
    words = re.split(r"[^a-zA-Z]+", name.casefold())
    return next((_PART_WORDS[w] for w in reversed(words) if w in _PART_WORDS), None)


def in_part(samples: Iterable[Sample], part: str) -> list[Record]:
    """The records of one part; samples that say none are split by a fixed draw.

    About ``VAL_SHARE`` of the groups go to ``val``. The draw depends on the groups' names alone, is made
    within the groups that share their rarest class, and leaves both sides at least one group where there
    are two. Where some samples say their part, those that say none are ``train``.
    """
    samples = list(samples)
    if part == "all":
        return [s.record for s in samples]
    if any(s.part == "val" for s in samples):
        return [s.record for s in samples if (s.part or "train") == part]
    fixed = [s.record for s in samples if s.part == part == "test"]
    open_ones = [s for s in samples if s.part != "test"]
    val = _val_groups(open_ones)
    return fixed + [s.record for s in open_ones if part == ("val" if s.group in val else "train")]


def _val_groups(samples: list[Sample]) -> set[str]:
    cells: dict[str, Counter[str]] = {}
    for s in samples:
        cells.setdefault(s.group, Counter()).update(s.record.names)
    total: Counter[str] = Counter()
    for names in cells.values():
        total.update(names.keys())
    strata: dict[str, list[str]] = {}
    for group, names in cells.items():
        rarest = min(names, key=lambda n: (total[n], n), default="")
        strata.setdefault(rarest, []).append(group)
    val: set[str] = set()
    owed = 0.0
    for rarest in sorted(strata):
        drawn = sorted(strata[rarest], key=lambda g: hashlib.sha256(g.encode()).digest())
        owed += VAL_SHARE * len(drawn)
        take = min(round(owed), len(drawn) - (len(drawn) > 1))
        owed -= take
        val.update(drawn[:take])
    if not val and len(cells) > 1:
        val.add(min(cells, key=lambda g: hashlib.sha256(g.encode()).digest()))
    return val


def with_complete(samples: Iterable[Sample], facts: Facts) -> list[Sample]:
    """All classes that the labels of a set name are complete, unless ``dataset.json`` says which are."""
    samples = list(samples)
    named = frozenset(n for s in samples for n in (*s.record.names, *s.record.complete))
    complete = named if facts.complete is None else facts.complete
    return [replace(s, record=replace(s.record, complete=complete)) for s in samples]
