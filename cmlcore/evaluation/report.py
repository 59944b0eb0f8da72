"""What an evaluation found, as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from cmlcore import RESEARCH_USE


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Figures of one model on labelled sets.

    Attributes:
        model: key of the model card.
        sha256: of its weights.
        split: part of the sets, "train" or "val".
        mpp: "known" (each source's own pixel size) or "auto" (estimated from the cells).
        device: as the model says it.
        images: images judged, by set.
        figures: set → name of a figure → value in 0..1 unless the name says otherwise.
        seconds: time spent predicting.

    """

    model: str
    sha256: str
    split: str
    mpp: str
    device: str
    images: dict[str, int]
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything, rounded to five digits, with the research-use line."""
        raw = asdict(self)
        raw["figures"] = {s: {k: round(v, 5) for k, v in f.items()} for s, f in self.figures.items()}
        raw["seconds"] = round(self.seconds, 1)
        return {**raw, "note": RESEARCH_USE}

    def table(self) -> Table:
        """For the terminal: a row a figure."""
        table = Table(title=f"{self.model} on {self.split}, pixel size {self.mpp}", caption=RESEARCH_USE)
        table.add_column("set")
        table.add_column("figure")
        table.add_column("value", justify="right")
        for name, figures in self.figures.items():
            for i, (figure, value) in enumerate(figures.items()):
                table.add_row(
                    f"{name} ({self.images[name]} images)" if i == 0 else "", figure, f"{value:.3f}"
                )
            table.add_section()
        return table
