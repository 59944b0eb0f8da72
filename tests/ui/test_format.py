"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cmlcore.ui import format as fmt

THIN = "\u202f"


def test_numbers_are_grouped_and_missing_ones_are_a_dash() -> None:
    assert fmt.count(1234567) == f"1{THIN}234{THIN}567"
    assert fmt.count(None) == fmt.decimal(None) == fmt.decimal(float("nan")) == fmt.percent(None) == "–"
    assert fmt.decimal(12345.678, 2) == f"12{THIN}345.68"
    assert fmt.percent(0.12345) == f"12.3{THIN}%"


@pytest.mark.parametrize(
    ("x", "text"), [(1.25, "+1.2"), (-1.25, "−1.2"), (0.0, "0.0"), (-0.04, "0.0"), (None, "–")]
)
def test_differences_carry_a_sign_unless_they_round_to_nothing(x: float | None, text: str) -> None:
    assert fmt.signed(x) == text


@pytest.mark.parametrize(
    ("x", "text"), [(0.001234, "0.00123"), (1.234, "1.23"), (123.4, "123"), (1234.5, f"1{THIN}234"), (0, "0")]
)
def test_three_significant_digits(x: float, text: str) -> None:
    assert fmt.significant(x) == text


def test_extent_is_in_mm_only_where_the_pixel_size_is_known() -> None:
    assert fmt.extent(10000, 20000, (0.25, 0.25)) == f"2.50 × 5.00{THIN}mm"
    assert fmt.extent(10000, 20000, None) == f"10{THIN}000 × 20{THIN}000{THIN}px"


@pytest.mark.parametrize(
    ("n", "text"), [(12, "12 B"), (3_420_288, "3.42 MB"), (999_999, "1.00 MB"), (5 << 30, "5.37 GB")]
)
def test_bytes(n: int, text: str) -> None:
    assert fmt.size_bytes(n) == text.replace(" ", THIN)


@pytest.mark.parametrize(
    ("s", "text"),
    [(1.25, "1.2 s"), (9.96, "10 s"), (59.4, "59 s"), (125, "2 min 05 s"), (4800, "1 h 20 min")],
)
def test_durations(s: float, text: str) -> None:
    assert fmt.duration(s) == text.replace("1.2 s", f"1.2{THIN}s").replace(" min", f"{THIN}min").replace(
        " s", f"{THIN}s"
    ).replace(" h", f"{THIN}h")


def test_differences_of_durations_have_a_sign() -> None:
    assert [fmt.signed_duration(s) for s in (2.5, -132.2, 0.0)] == [
        f"+2.5{THIN}s",
        f"−2{THIN}min 12{THIN}s",
        f"0.0{THIN}s",
    ]


def test_today_is_told_by_the_hour_and_another_day_by_its_date() -> None:
    now = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
    assert fmt.when(now, now) == f"{now.astimezone():%H:%M}"
    earlier = now - timedelta(days=3)
    assert fmt.when(earlier.replace(tzinfo=None), now) == f"{earlier.astimezone():%Y-%m-%d %H:%M}"
