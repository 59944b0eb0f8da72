"""The few facts taken from a CZI's metadata. All else in it, names and titles above all, is left there."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp
from cmlcore.slides.stored import iso_date


@dataclass(frozen=True, slots=True)
class CziFacts:
    """Pixel size, objective, date and imaging mode, each None where the file does not say."""

    mpp: Mpp | None = None
    objective: float | None = None
    acquired_at: str | None = None
    fluorescent: bool = False
    bits: int | None = None
    readable: bool = True


def facts(xml: bytes) -> CziFacts:
    """Parse the metadata; a document that is no plain XML gives no facts and ``readable`` False."""
    if not xml.strip(b"\0 \r\n\t"):
        return CziFacts()
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"\0" in xml.rstrip(b"\0"):
        return CziFacts(readable=False)
    try:
        root = ET.fromstring(xml.rstrip(b"\0"))  # noqa: S314  no entities, at most 16 MB
    except (ET.ParseError, ValueError, LookupError):
        return CziFacts(readable=False)
    image = root.find("Metadata/Information/Image")
    return CziFacts(
        mpp=_mpp(root),
        objective=_objective(root),
        acquired_at=_date(root),
        fluorescent=_fluorescent(image),
        bits=_whole(image.findtext("ComponentBitCount")) if image is not None else None,
    )


def _mpp(root: ET.Element) -> Mpp | None:
    """Scaling is in metres; 0, absent and absurd values all mean unknown."""
    um = {
        d.get("Id"): round((_number(d.findtext("Value")) or 0) * 1e6, 9)
        for d in root.iterfind("Metadata/Scaling/Items/Distance")
    }
    try:
        return Mpp(um.get("X", 0.0), um.get("Y", 0.0))
    except InputError:
        return None


def _objective(root: ET.Element) -> float | None:
    """Nominal magnification of the objective the image refers to, or of the only one listed."""
    listed = root.findall("Metadata/Information/Instrument/Objectives/Objective")
    ref = root.find("Metadata/Information/Image/ObjectiveSettings/ObjectiveRef")
    chosen = [o for o in listed if ref is not None and o.get("Id") == ref.get("Id")] or listed
    if len(chosen) != 1:
        return None
    value = _number(chosen[0].findtext("NominalMagnification"))
    return value if value and 0 < value <= 1000 else None


def _date(root: ET.Element) -> str | None:
    for path in ("Image/AcquisitionDateAndTime", "Document/CreationDate"):
        if date := iso_date(root.findtext(f"Metadata/Information/{path}") or ""):
            return date
    return None


def _fluorescent(image: ET.Element | None) -> bool:
    channels = [] if image is None else image.findall("Dimensions/Channels/Channel")
    said = [
        (c.findtext(tag) or "").lower() for c in channels for tag in ("ContrastMethod", "IlluminationType")
    ]
    return any("fluor" in s or "epi" in s for s in said) or any(
        c.find("EmissionWavelength") is not None or c.find("Fluor") is not None for c in channels
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value and 1 <= value <= 64 else None
