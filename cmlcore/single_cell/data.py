"""Sets of single-cell images: one folder a class, the Matek set as it is downloaded, and what is refused.

A class folder may be called by any name the class tree knows (English, German, three-letter codes); another
name is a class of the user's own. What cannot be used is left out with one sentence; the rest go through.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cmlcore.classes import CLASSES, cell_class
from cmlcore.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
PARTS = ("train", "val", "test", "dev")

MATEK = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "smudge_cell",
    "LYA": "lymphocyte_atypical",
    "LYT": "lymphocyte",
    "MMZ": "metamyelocyte",
    "MOB": "monoblast",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "MYO": "myeloblast",
    "NGB": "neutrophil_band",
    "NGS": "neutrophil_segmented",
    "PMB": "promyelocyte_bilobed",
    "PMO": "promyelocyte",
}
"""The 15 classes of Matek et al., "Human-level recognition of blast cells in acute myeloid leukaemia with
convolutional neural networks", Nature Machine Intelligence 1:538-544, 2019, and our keys."""
MATEK_MPP = 1 / 14.14
"""µm per pixel of that set: Precipoint M8, 100× oil."""
ANNOTATIONS = "annotations.dat"

_IMAGE_COLUMNS = ("image", "img_name", "file", "filename")
_UNITS = {
    "patient": "patient",
    "patient_id": "patient",
    "slide": "slide",
    "slide_id": "slide",
    "original_id": "original cell",
    "group": "group",
}


@dataclass(frozen=True, slots=True)
class CellImage:
    """One labelled single-cell image on disk; the cell lies in its middle.

    Attributes:
        path: the file.
        cls: key of the class tree, or a key of the user's own.
        part: "train", "val", "test" or "dev" where the set's folders say so, else "".
        group: what must stay on one side of a split (patient, slide, …); None where nothing is known.

    """

    path: Path
    cls: str
    part: str = ""
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file or folder that was left out, and the sentence that says why. Names only, never paths."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class CellSet:
    """The images of a folder that can be used.

    Attributes:
        images: in the order of class and name.
        classes: keys that occur, in the order of the class tree, own ones after them.
        unit: what a split keeps together: "patient", "slide", "original cell", "group" or "image".
        mpp: µm per pixel where the set is known by its layout, else None.
        refused: what was left out.

    """

    images: tuple[CellImage, ...]
    classes: tuple[str, ...]
    unit: str
    mpp: float | None = None
    refused: tuple[Refused, ...] = field(default=())

    def counts(self) -> dict[str, int]:
        """Images a class."""
        n = Counter(i.cls for i in self.images)
        return {c: n[c] for c in self.classes}

    def part(self, *names: str) -> CellSet:
        """Only the images of these parts.

        Raises:
            InputError: there is none.

        """
        kept = tuple(i for i in self.images if i.part in names)
        if not kept:
            raise InputError(f"The set has no part called {' or '.join(names)}; leave the part out.")
        return CellSet(kept, self.classes, self.unit, self.mpp, self.refused)


def load(root: Path, classes: Sequence[str] | None = None) -> CellSet:
    """Read a set, its layout told by what lies there.

    Layouts: ``CLASS/image``; ``train|val|test|dev/CLASS/image``; the Matek download, recognised by its
    ``annotations.dat``. A CSV file beside them with a column ``image`` and one of patient, patient_id,
    slide, original_id or group says what a split keeps together.

    Args:
        root: the set's folder.
        classes: the class list to keep to (names, aliases or own keys); None takes the folders' own.

    Raises:
        InputError: the folder is not there, holds no image in class folders, or knows no class of the list.

    """
    if not root.is_dir():
        raise InputError(
            f"The folder {root.name} is not there; give the folder that holds one folder a class."
        )
    wanted = None if classes is None else _class_list(classes)
    listing = _annotations(root)
    images, refused = _annotated(*listing) if listing else _foldered(root)
    if wanted is not None:
        images, more = _only(images, wanted)
        refused += more
    if not images:
        hint = "none of its folders is a class of the list" if wanted and refused else "none was found"
        raise InputError(
            f"The folder {root.name} has no usable cell images, {hint}; it needs one folder a class."
        )
    groups, unit = _groups(root)
    if groups:
        images = [CellImage(i.path, i.cls, i.part, groups.get(i.path.name)) for i in images]
    if not groups or all(i.group is None for i in images):
        unit = "image"
    have = {i.cls for i in images}
    order = [c for c in (wanted or CLASSES) if c in have]
    order += sorted(have - set(order))
    images.sort(key=lambda i: (order.index(i.cls), i.part, i.path.name))
    return CellSet(tuple(images), tuple(order), unit, MATEK_MPP if listing else None, tuple(refused))


def key_of(name: str) -> str:
    """Key of a class folder: of the class tree where it knows the name, else one made of the name."""
    try:
        return cell_class(name.replace("_", " ")).key
    except InputError:
        pass
    try:
        return cell_class(name).key
    except InputError:
        return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_") or "unnamed"


def _class_list(names: Sequence[str]) -> tuple[str, ...]:
    keys = [key_of(n) for n in names if n.strip()]
    twice = [k for k, n in Counter(keys).items() if n > 1]
    if twice:
        raise InputError(f"The class list names {', '.join(twice)} twice; name each class once.")
    if len(keys) < 2:
        raise InputError("A class list needs at least two classes; name them, separated by commas.")
    return tuple(keys)


def _only(images: list[CellImage], wanted: tuple[str, ...]) -> tuple[list[CellImage], list[Refused]]:
    other = Counter(i.cls for i in images if i.cls not in wanted)
    missing = [c for c in wanted if all(i.cls != c for i in images)]
    refused = [
        Refused(c, f"{n} images of “{c}” are left out: the class list does not name it.")
        for c, n in sorted(other.items())
    ]
    refused += [Refused(c, f"The class list names “{c}”, but no image shows one.") for c in missing]
    return [i for i in images if i.cls in wanted], refused


# -- folders --------------------------------------------------------------------------------------------


def _foldered(root: Path) -> tuple[list[CellImage], list[Refused]]:
    images: list[CellImage] = []
    refused: list[Refused] = []
    parts = [(p, root / p) for p in PARTS if any(_folders(root / p))]
    for part, top in parts or [("", root)]:
        for folder in _folders(top):
            files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
            cells = [f for f in files if f.suffix.lower() in SUFFIXES]
            if not cells:
                refused.append(Refused(folder.name, f"The folder {folder.name} holds no images."))
            images += [CellImage(f, key_of(folder.name), part) for f in cells]
            refused += [
                Refused(f.name, f"{f.name} is no image; use PNG, JPEG, TIFF or BMP.")
                for f in files
                if f not in cells
            ]
    return images, refused


def _folders(top: Path) -> Iterator[Path]:
    if top.is_dir():
        yield from sorted(f for f in top.iterdir() if f.is_dir() and not f.name.startswith((".", "__")))


# -- the Matek download ---------------------------------------------------------------------------------


def _annotations(root: Path) -> tuple[Path, Path] | None:
    """(annotations.dat, folder that holds the class folders), or None where it is another set."""
    for folder in (root, *_folders(root)):
        listing = folder / ANNOTATIONS
        if not listing.is_file():
            continue
        for top in (folder, *_folders(folder), root, *_folders(root)):
            if any((top / code).is_dir() for code in MATEK):
                return listing, top
    return None


def _annotated(listing: Path, top: Path) -> tuple[list[CellImage], list[Refused]]:
    """An image a line: the file, the experts' label, and those of later readings, which are not used."""
    images, refused, lost = [], [], 0
    for line in _lines(listing):
        name, *labels = re.split(r"[\s,;]+", line.strip())
        code = (labels[0] if labels else Path(name).parent.name).upper()
        if code not in MATEK:
            refused.append(Refused(Path(name).name, f"{Path(name).name} has no label of the 15 classes."))
            continue
        path = next((p for p in (top / name, top / code / Path(name).name) if p.is_file()), None)
        if path is None:
            lost += 1
            continue
        images.append(CellImage(path, MATEK[code]))
    if lost:
        why = f"{lost} images that {ANNOTATIONS} names are not there; unpack the download once more."
        refused.append(Refused(ANNOTATIONS, why))
    return images, refused


def _lines(path: Path) -> Iterable[str]:
    try:
        return [ln for ln in path.read_text(encoding="utf-8").splitlines() if ln.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path.name} cannot be read as text; unpack the download once more.") from e


# -- what belongs together ------------------------------------------------------------------------------


def _groups(root: Path) -> tuple[dict[str, str], str]:
    """File name → group from the CSV files beside the folders, and what a group is."""
    found: dict[str, str] = {}
    unit = "image"
    for path in sorted(root.glob("*.csv")):
        try:
            with path.open(newline="", encoding="utf-8-sig") as f:
                rows = csv.DictReader(f)
                columns = rows.fieldnames or []
                image = next((c for c in columns if c.casefold() in _IMAGE_COLUMNS), None)
                group = next((c for k in _UNITS for c in columns if c.casefold() == k), None)
                if image is None or group is None:
                    continue
                unit = _UNITS[group.casefold()]
                found |= {Path(r[image]).name: r[group] for r in rows if r[image] and r[group]}
        except (UnicodeDecodeError, csv.Error) as e:
            raise InputError(f"{path.name} cannot be read as CSV; save it as UTF-8 or take it away.") from e
    return found, unit
