"""What the ``cmlscope classify`` commands share: reading their arguments, showing tables and progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmlcore.errors import InputError
from cmlcore.geometry import Mpp

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from cmlcore.single_cell.data import CellSet


def parts(text: str) -> tuple[str, ...]:
    """What a comma separates."""
    return tuple(p.strip() for p in text.split(",") if p.strip())


def scale_of(text: str, cells: CellSet, device: str) -> float | None:
    """µm per pixel of "known" (None: as the layout says), "auto", or a number."""
    if text == "known":
        return None
    if text == "auto":
        from cmlcore.single_cell.scale import estimate_set_mpp

        found = estimate_set_mpp(cells, device)
        print(f"Estimated from the erythrocytes around the cells: {found:.4f} µm per pixel.")
        return found
    try:
        value = float(text)
    except ValueError:
        raise InputError(
            f"“{text}” is no pixel size; give µm per pixel, such as 0.1, known or auto."
        ) from None
    return Mpp(value, value).x


def teller(bars: Bars) -> Callable[[str, int, int], None]:
    """Bars that show what is done and hide what was."""
    tasks: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            for other in tasks.values():
                bars.update(other, visible=False)
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return tell


def show_table(title: str, header: list[str], lines: list[list[Any]]) -> None:
    """Print a table."""
    from rich import print as show
    from rich.table import Table

    table = Table(*header, title=title)
    for line in lines:
        table.add_row(*("" if v is None else str(v) for v in line))
    show(table)


def number(value: float | None) -> str:
    """Three decimals, a dash for what is not defined."""
    return "–" if value is None else f"{value:.3f}"
