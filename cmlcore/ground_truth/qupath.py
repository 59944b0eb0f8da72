"""Annotations that QuPath exports as GeoJSON, one file an image, of the same stem.

Base ROIs are annotations named or classed “ROI”, “Base ROI” or “Region” (QuPath's ``Region*``), and
unclassed annotations around classed objects: within them every cell is labelled. Where an image has none,
all of it counts as labelled. Objects without a class, and QuPath's ``Ignore*``, are places to ignore.
Coordinates are pixels of the image, along pixel edges, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cmlcore.classes import CLASSES
from cmlcore.errors import InputError
from cmlcore.ground_truth.reading import (
    FACTS,
    IMAGE_SUFFIXES,
    Facts,
    Notes,
    Sample,
    bounding_box,
    clipped_outline,
    facts_in,
    image_size,
    part_of,
    read_json,
    with_complete,
)
from cmlcore.ground_truth.records import Floats, Record

_ROI_NAMES = frozenset({"roi", "base roi", "base_roi", "region", "region*"})


@dataclass(frozen=True, slots=True)
class _Shape:
    """One object: its outline in the image, its class name (None: unclassed), whether it is a detection."""

    outline: Floats
    name: str | None
    title: str
    annotation: bool


def geojson_files(path: Path) -> list[Path]:
    """The GeoJSON files at a path: itself, or those of the folder, its parts and their sub-folders."""
    if path.is_file():
        return [path] if path.suffix in (".geojson", ".json") and _is_geojson(path) else []
    found = sorted(p for p in path.rglob("*.geojson"))
    return found or sorted(p for p in path.glob("*.json") if p.name != FACTS and _is_geojson(p))


def _is_geojson(path: Path) -> bool:
    return path.suffix == ".geojson" or _features(read_json(path)) is not None


def _features(raw: Any) -> list[Any] | None:
    if isinstance(raw, dict) and raw.get("type") == "FeatureCollection":
        return raw["features"] if isinstance(raw.get("features"), list) else None
    if isinstance(raw, dict) and raw.get("type") == "Feature":
        return [raw]
    if isinstance(raw, list) and all(isinstance(f, dict) and f.get("type") == "Feature" for f in raw):
        return raw
    return None


def read_geojson(files: Sequence[Path], root: Path, notes: Notes) -> list[Sample]:
    """Every image that has a file beside it.

    Args:
        files: the GeoJSON files.
        root: the folder that holds them; its sub-folders may name the part.
        notes: where to say what is left out.

    Raises:
        InputError: a file is broken.

    """
    facts = facts_in(root)
    samples = []
    for path in files:
        image = _image_of(path)
        if image is None:
            notes.say("image missing", f"No image lies beside {path.name}; its labels are left out.")
            continue
        size = image_size(image, notes)
        if size is None:
            continue
        folders = path.parent.relative_to(root).parts
        part = next((p for f in folders if (p := part_of(f)) is not None), None)
        samples.append(Sample(_record(path, image, size, facts, notes), part, image.stem))
    return with_complete(samples, facts)


def slide_labels(path: Path, size: tuple[int, int], mpp: float, source: str) -> Record:
    """The labels of a whole slide's scene, from one GeoJSON in level-0 pixels.

    Args:
        path: the GeoJSON file; it stands in the record where the image would.
        size: width and height of the scene in level-0 pixels.
        mpp: µm per pixel at level 0.
        source: how figures shall name where it comes from.

    Raises:
        InputError: the file is broken or names no cell.

    """
    facts = facts_in(path.parent)
    record = _record(path, path, size, facts, Notes())
    if not record.names:
        raise InputError(f"{path.name} names no cell; export the annotations with their classes.")
    complete = facts.complete if facts.complete is not None else frozenset(record.names)
    return replace(record, mpp=mpp, source=source, complete=complete)


def _image_of(path: Path) -> Path | None:
    """The image of the same stem, beside the file or in ``images``; ``a.png.geojson`` is of ``a.png``."""
    folders = (path.parent, path.parent / "images", path.parent.parent / "images")
    for folder in folders:
        exact = folder / path.stem
        if exact.suffix.casefold() in IMAGE_SUFFIXES and exact.is_file():
            return exact
        for suffix in IMAGE_SUFFIXES:
            for one in (suffix, suffix.upper()):
                if (folder / f"{path.stem}{one}").is_file():
                    return folder / f"{path.stem}{one}"
    return None


def _record(path: Path, image: Path, size: tuple[int, int], facts: Facts, notes: Notes) -> Record:
    features = _features(read_json(path))
    if features is None:
        raise InputError(f"{path.name} is no GeoJSON of objects; export it from QuPath again.")
    shapes = [s for f in features for s in _shapes(f, size, image.name, notes)]
    if not shapes:
        notes.say("no object", f"{path.name} holds no object; its image counts as bare of cells.")
    rois, cells = _parted(shapes)
    if not rois:
        notes.say("no base ROI", f"{path.name} has no base ROI; all of its image counts as labelled.")
    boxes, names, outlines, clusters = [], [], [], []
    for s in cells:
        if s.name is None or s.name.endswith("*"):
            clusters.append(bounding_box(s.outline))
            if s.name is None:
                notes.say(
                    "unclassed", f"An object without a class lies in {path.name}; its place is ignored."
                )
            continue
        boxes.append(bounding_box(s.outline))
        names.append(_key(s.name, facts))
        outlines.append(s.outline)
    four = [np.array(b, np.float32).reshape(-1, 4) for b in (boxes, clusters)]
    return Record(
        image,
        facts.source or path.parent.name,
        facts.mpp_of(image),
        frozenset(),
        four[0],
        tuple(names),
        tuple(outlines),
        None,
        four[1],
        tuple(s.outline for s in rois),
    )


def _key(name: str, facts: Facts) -> str:
    """Class key; of a derived class such as “Leukocyte: Neutrophil” the last name that the tree knows."""
    whole = facts.key(name)
    if whole in CLASSES or ":" not in name:
        return whole
    known = [k for n in reversed(name.split(":")) if (k := facts.key(n.strip())) in CLASSES]
    return known[0] if known else whole


def _shapes(feature: Any, size: tuple[int, int], image: str, notes: Notes) -> list[_Shape]:
    """The outlines of one feature; several where it is in pieces."""
    try:
        geometry, properties = feature["geometry"], feature.get("properties") or {}
        kind = geometry["type"]
        coordinates = geometry["coordinates"]
        parts = [coordinates] if kind == "Polygon" else coordinates if kind == "MultiPolygon" else []
        rings = [np.array(p[0], np.float32).reshape(-1, np.shape(p[0])[-1])[:, :2] for p in parts]
        name = _class_name(properties)
        title = str(properties.get("name") or "")
        annotation = properties.get("objectType", "annotation") == "annotation"
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        notes.say("broken object", f"An object of {image} is broken; it is left out.")
        return []
    if not parts:
        notes.say("no area", f"An object of {image} is a {kind}, which encloses nothing; it is left out.")
    usable = []
    for ring in rings:
        if len(ring) > 1 and (ring[0] == ring[-1]).all():
            ring = ring[:-1]
        inside = clipped_outline(ring, *size) if np.isfinite(ring).all() else None
        if inside is None:
            notes.say("outside", f"An object of {image} lies outside the image; it is left out.")
        else:
            usable.append(_Shape(inside, name, title, annotation))
    return usable


def _class_name(properties: Mapping[str, Any]) -> str | None:
    """The class of an object; QuPath writes ``name``, or ``names`` for derived classes since 0.6."""
    c = properties.get("classification")
    if isinstance(c, str):
        return c or None
    if not isinstance(c, dict):
        return None
    if isinstance(c.get("names"), list) and c["names"]:
        return ": ".join(str(n) for n in c["names"])
    return str(c["name"]) if c.get("name") else None


def _parted(shapes: Sequence[_Shape]) -> tuple[list[_Shape], list[_Shape]]:
    """Base ROIs, and cells."""
    rois: list[_Shape] = []
    rest: list[_Shape] = []
    for s in shapes:
        named = {(s.name or "").casefold(), s.title.casefold()} & _ROI_NAMES
        (rois if s.annotation and named else rest).append(s)
    cells: list[_Shape] = []
    for s in rest:
        around = s.annotation and s.name is None and any(_holds(s, o) for o in rest if o.name is not None)
        (rois if around else cells).append(s)
    return rois, cells


def _holds(outer: _Shape, inner: _Shape) -> bool:
    """Whether the middle of one shape lies in the other."""
    return bool(shapely.contains_xy(shapely.Polygon(outer.outline), *inner.outline.mean(0)))
