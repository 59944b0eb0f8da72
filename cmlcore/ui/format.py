"""How numbers, sizes and times are written on every page: one way each, no streamlit."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
_THIN = "\u202f"  # narrow no-break space: groups thousands, parts a number from its unit


def count(n: float | None) -> str:
    """Whole number in groups of three: ``12 345``."""
    return NONE if n is None else f"{n:,.0f}".replace(",", _THIN)


def decimal(x: float | None, places: int = 1) -> str:
    """Number with a fixed number of decimals and grouped thousands; a dash where there is none."""
    if x is None or not math.isfinite(x):
        return NONE
    return f"{x:,.{places}f}".replace(",", _THIN)


def signed(x: float | None, places: int = 1) -> str:
    """Difference with its sign, a true minus; zero has none."""
    if x is None or not math.isfinite(x):
        return NONE
    text = decimal(abs(x), places)
    if float(text.replace(_THIN, "")) == 0:
        return text
    return ("+" if x > 0 else "−") + text


def percent(share: float | None, places: int = 1) -> str:
    """Share in 0..1 as per cent."""
    return NONE if share is None else decimal(100 * share, places) + _THIN + "%"


def unit(x: float | None, name: str, places: int = 1) -> str:
    """Number and its unit; a dash alone where there is no number."""
    text = decimal(x, places)
    return text if text == NONE else f"{text}{_THIN}{name}"


def significant(x: float | None, digits: int = 3) -> str:
    """Number with so many significant digits, never in powers of ten below a million."""
    if x is None or not math.isfinite(x):
        return NONE
    if x == 0:
        return "0"
    power = int(f"{x:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.999 becomes 10.0
    return decimal(x, max(0, digits - 1 - power))


def area_mm2(x: float | None) -> str:
    """Area in mm², three significant digits."""
    return NONE if x is None else f"{significant(x)}{_THIN}mm²"


def extent(w_px: int, h_px: int, mpp: tuple[float, float] | None) -> str:
    """Side lengths: in mm where the pixel size is known, else in pixels."""
    if mpp is None:
        return f"{count(w_px)} × {count(h_px)}{_THIN}px"
    return f"{significant(w_px * mpp[0] / 1000)} × {significant(h_px * mpp[1] / 1000)}{_THIN}mm"


def size_bytes(n: int | None) -> str:
    """Size of a file in decimal units, as disks are sold: ``3.4 MB``."""
    if n is None:
        return NONE
    value, names = float(n), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(names) > 1:
        value /= 1000
        names.pop(0)
    return f"{significant(value) if names[0] != 'B' else count(value)}{_THIN}{names[0]}"


def duration(seconds: float | None) -> str:
    """Length of time in its two largest units: ``45 s``, ``2 min 05 s``, ``1 h 20 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f}{_THIN}s"
    s = round(seconds)
    if s < 60:
        return f"{s}{_THIN}s"
    if s < 3600:
        return f"{s // 60}{_THIN}min {s % 60:02d}{_THIN}s"
    return f"{s // 3600}{_THIN}h {s % 3600 // 60:02d}{_THIN}min"


def signed_duration(seconds: float) -> str:
    """Difference of two lengths of time, with its sign: ``+2.5 s``, ``−2 min 12 s``."""
    return f"{'−' if seconds < 0 else '+' if seconds else ''}{duration(abs(seconds))}"


def when(moment: datetime | None, now: datetime | None = None) -> str:
    """Point in time: the hour alone today, else with the date (ISO 8601 order)."""
    if moment is None:
        return NONE
    aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return f"{aware:%H:%M}" if aware.date() == today else f"{aware:%Y-%m-%d %H:%M}"
