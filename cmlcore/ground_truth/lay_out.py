"""How the originals of the public sets lie, and how they lie here.

Each function takes the unpacked original, looks for its files wherever in it they are, writes them into a
new folder, and gives the number of images back: none where it is another set. Sets without parts of their
own are split by a draw that depends on the files' names alone.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from cmlcore.ground_truth.reading import IMAGE_SUFFIXES, VAL_SHARE
from cmlcore.ground_truth.sets import MIN_COMPONENT_PX, MPP

_TXL_SIZES = {
    (360, 363): "PBC",
    (366, 369): "PBC",
    (575, 575): "Raabin",
    (640, 480): "BCCD",
    (416, 416): "BCD",
}
_CLUSTER = 1.7  # a piece of more than so many median areas holds several cells
_PBC_CLASSES = {
    "BA": "basophil",
    "EO": "eosinophil",
    "ERB": "erythroblast",
    "LY": "lymphocyte",
    "MO": "monocyte",
    "PMY": "promyelocyte",
    "MY": "myelocyte",
    "MMY": "metamyelocyte",
    "BNE": "neutrophil_band",
    "SNE": "neutrophil_segmented",
    "PLATELET": "platelet",
}
_FIVE = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.casefold() in IMAGE_SUFFIXES and p.is_file())


def drawn_part(name: str) -> str:
    """The part of a file: ``val`` for about ``VAL_SHARE`` of all names."""
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return "val" if draw < VAL_SHARE else "train"


def _copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _table(path: Path, rows: Iterable[Mapping[str, object]], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as f:
        out = csv.DictWriter(f, columns)
        out.writeheader()
        out.writerows(rows)


def txl_pbc(original: Path, to: Path) -> int:
    """``TXL_PBC/images|labels/train|val|test``; the source of an image is told by its size."""
    rows: dict[str, list[dict[str, object]]] = {}
    for image in _images(original):
        part, labels = image.parent.name, image.parent.parent.with_name("labels")
        label = labels / part / f"{image.stem}.txt"
        if part not in ("train", "val", "test") or not label.is_file():
            continue
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
        size = (0, 0) if pixels is None else (pixels.shape[1], pixels.shape[0])
        if size not in _TXL_SIZES:
            continue
        _copied(image, to / part / "images" / image.name)
        _copied(label, to / part / "labels" / label.name)
        row = {"image": image.name, "width": size[0], "height": size[1], "source": _TXL_SIZES[size]}
        rows.setdefault(part, []).append(row)
    for part, found in rows.items():
        _table(to / f"meta_{part}.csv", found, ("image", "width", "height", "source"))
    return sum(map(len, rows.values()))


def bccd(original: Path, to: Path) -> int:
    """``BCCD/JPEGImages``, ``Annotations`` (VOC) and ``ImageSets/Main``; written as YOLO boxes."""
    numbers = {"WBC": 0, "RBC": 1, "Platelets": 2}
    parts = {
        line.strip(): p.stem
        for p in original.rglob("ImageSets/Main/*.txt")
        if p.stem in ("train", "val", "test")
        for line in p.read_text(encoding="utf-8").splitlines()
    }
    n = 0
    for xml in sorted(original.rglob("Annotations/*.xml")):
        image = xml.parent.with_name("JPEGImages") / f"{xml.stem}.jpg"
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR) if image.is_file() else None
        if pixels is None:
            continue
        size = np.array([pixels.shape[1], pixels.shape[0]] * 2, float)
        lines = []
        for cell in ElementTree.parse(xml).getroot().iter("object"):  # noqa: S314 - no entities are resolved
            name, box = cell.findtext("name"), cell.find("bndbox")
            if name not in numbers or box is None:
                continue
            x0, y0, x1, y1 = (
                np.array([float(box.findtext(k, "0")) for k in ("xmin", "ymin", "xmax", "ymax")]) / size
            )
            if x1 > x0 and y1 > y0:
                lines.append(
                    f"{numbers[name]} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}"
                )
        part = parts.get(xml.stem, "train")
        _copied(image, to / part / "images" / image.name)
        labels = to / part / "labels" / f"{xml.stem}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines) + "\n")
        n += 1
    if n:
        there = "".join(f"{p}: {p}/images\n" for p in ("train", "val", "test") if (to / p).is_dir())
        (to / "data.yaml").write_text(f"{there}names: [WBC, RBC, Platelets]\n")
        facts = {"mpp": MPP["BCCD"], "source": "BCCD (own labels)", "complete": ["leukocyte"]}
        (to / "dataset.json").write_text(json.dumps(facts))
    return n


def bbbc041seg(original: Path, to: Path) -> int:
    """Images and masks of the same stem in two folders; the masks' has “mask” or “truth” in its path.

    The original does not say which pieces of a mask are several cells: those far larger than the others
    are taken to be.
    """
    masks: dict[str, Path] = {}
    images: dict[str, Path] = {}
    for path in _images(original):
        inner = path.relative_to(original).as_posix().casefold()
        (masks if re.search("mask|truth", inner) else images).setdefault(_bare(path.stem), path)
    rows: dict[str, list[dict[str, object]]] = {}
    columns = ("image", "x0", "y0", "x1", "y1", "area_px", "class")
    for stem in sorted(masks.keys() & images.keys()):
        mask = cv2.imread(str(masks[stem]), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            continue
        part = drawn_part(stem)
        _copied(images[stem], to / part / "images" / f"{stem}{images[stem].suffix}")
        _copied(masks[stem], to / part / "masks" / f"{stem}{masks[stem].suffix}")
        _, _, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8), connectivity=8)
        cells = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= MIN_COMPONENT_PX].tolist()
        usual = float(np.median([c[4] for c in cells])) if cells else 0.0
        for x, y, w, h, area in cells:
            kind = "cluster" if area > _CLUSTER * usual else "unboxed"
            values = (f"{stem}{images[stem].suffix}", x, y, x + w, y + h, area, kind)
            rows.setdefault(part, []).append(dict(zip(columns, values, strict=True)))
    for part, found in rows.items():
        _table(to / f"instances_{part}.csv", found, columns)
    return len({r["image"] for found in rows.values() for r in found})


def _bare(stem: str) -> str:
    return re.sub(r"[_-]?(mask|gt|truth)$", "", stem, flags=re.IGNORECASE)


def krd_wbc(original: Path, to: Path) -> int:
    """``image/imageN.jpg`` and ``mask/maskN.jpg``, with a table of classes."""
    by_kind: dict[str, dict[str, Path]] = {"image": {}, "mask": {}}
    for path in _images(original):
        if (m := re.fullmatch(r"(image|mask)(\d+)", path.stem)) is not None:
            by_kind[m[1]].setdefault(m[2], path)
    classes = _krd_classes(original)
    rows: dict[str, list[dict[str, object]]] = {}
    for number in sorted(by_kind["image"].keys() & by_kind["mask"].keys(), key=int):
        image, mask = by_kind["image"][number], by_kind["mask"][number]
        part = drawn_part(f"krd {'200' if number == '202' else number}")  # these two show one field
        _copied(image, to / part / "images" / image.name)
        _copied(mask, to / part / "masks" / mask.name)
        row: dict[str, object] = {
            "image": image.name,
            "mask": mask.name,
            "class": classes.get(number, ""),
        }
        rows.setdefault(part, []).append(row)
    for part, found in rows.items():
        _table(to / f"labels_{part}.csv", found, ("image", "mask", "class"))
    return sum(map(len, rows.values()))


def _krd_classes(original: Path) -> dict[str, str]:
    """Class of each image number, from whichever table gives a class beside a name that ends in a number."""
    out: dict[str, str] = {}
    for table in sorted(original.rglob("*.csv")):
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            words = re.split(r"[,;\t]", line.casefold())
            found = next((c for c in _FIVE if any(c in w for w in words)), None)
            number = re.search(r"(\d+)(?=\.|$)", words[0].strip('" '))
            if found is not None and number is not None:
                out[number[1]] = found
    return out


def zxaoyou_ds2(original: Path, to: Path) -> int:
    """``Dataset 2/NNN.bmp`` (image) and ``NNN.png`` (mask); classes 1 to 5 in a table beside."""
    classes: dict[str, str] = {}
    for table in original.rglob("*Dataset 2*.csv"):
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            m = re.match(r"\D*(\d+)\D+([1-5])\b", line)
            if m is not None:
                classes[f"{int(m[1]):03d}"] = _FIVE[int(m[2]) - 1]
    rows: list[dict[str, object]] = []
    for image in sorted(original.rglob("*.bmp")):
        mask = image.with_suffix(".png")
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
        if "dataset 2" not in image.parent.name.casefold() or not mask.is_file() or pixels is None:
            continue
        name = f"{image.stem}.png"  # one name for both, without loss
        (to / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(to / "images" / name), pixels)
        _copied(mask, to / "masks" / name)
        rows.append({"image": name, "class": classes.get(image.stem, "")})
    if rows:
        _table(to / "labels.csv", rows, ("image", "class"))
    return len(rows)


def pbc(original: Path, to: Path) -> int:
    """``PBC_dataset_normal_DIB/<folder>/<PREFIX>_N.jpg``: the prefix is the class.

    Images without a stage (``IG``) or form of nucleus (``NEUTROPHIL``) look different and are left out.
    """
    n = 0
    for image in _images(original):
        cls = _PBC_CLASSES.get(image.stem.split("_")[0])
        if cls is not None:
            _copied(image, to / drawn_part(image.stem) / cls / image.name)
            n += 1
    if n:
        (to / "dataset.json").write_text(json.dumps({"mpp": MPP["PBC"], "source": "PBC"}))
    return n


def matek(original: Path, to: Path) -> int:
    """``<CLASS>/<CLASS>_N.tiff`` and ``annotations.dat``, left as they are."""
    n = 0
    for image in _images(original):
        if re.fullmatch(r"[A-Z]{3}", image.parent.name) and image.stem.startswith(image.parent.name):
            _copied(image, to / image.parent.name / image.name)
            n += 1
    listing = next(iter(sorted(original.rglob("annotations.dat"))), None)
    if n and listing is not None:
        _copied(listing, to / listing.name)
    return n
