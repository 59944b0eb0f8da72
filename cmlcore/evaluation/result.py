"""The schema of an evaluation: what is stored, shown and exported. It needs no torch to be read.

One JSON object; every number that cannot be given is null. An ``Estimate`` is ``{"value", "low", "high"}``:
a figure and its 95 % interval (percentiles of the bootstrap over images; null without one). Shares lie in
0..1. Classes are keys of the class tree and stand in ``classes`` in their order; every mapping by class has
those keys, and ``"all"`` where cells of all classes are taken together.

::

    manifest      Manifest: what was judged, on what, how
    classes       the classes judged, see ``mapping``
    mapping       {"model": {class of the model: class judged or null}, "truth": {the same for labels}}
    notes         sentences that a reader must know (what was not judged, what has no figure and why)
    images        [ImageRow]: cells of each image by class; no file names
    shapes        {"box": ShapeFigures, "mask": ShapeFigures}; "mask" only where true outlines exist
      .map50 .map   Estimate: mean over the classes of AP at IoU 0.50, and over IoU 0.50 … 0.95
      .classes      {class or "all": ClassFigures}; "all" sums over the cells, its AP is the mean
      .curves       {class: PrCurve}: IoU 0.5
      .thresholds   {class or "all": ThresholdCurve}: precision, recall, F1 over the score
    confusion     Confusion: true class × found class at ``min_score``, matched by IoU whatever the class
    counts        {class: CountError}: found less true per image (Bland and Altman 1986)
    calibration   {class or "all": Calibration}: is a cell of score s right in a share s of all cases?
    subsets       [Subset]: small / medium / large, touching / single, cut / whole
    sources       {source: SourceFigures}
    loss          {"loss": x, its parts, "epoch", "split"} of the training run, or null, and ``loss_note``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError

ALL = "all"
IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""IoU thresholds of AP 50:95, after COCO."""
ShapeKind = Literal["box", "mask"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; None where it has none."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was judged, on what, how.

    Attributes:
        kind: "model" (the network was run for this) or "run" (the cells of a stored run).
        model: key of the model.
        title: its title.
        model_sha256: of its weights.
        data: name of the sets, such as "txl_pbc", or "base ROIs".
        data_sha256: over the images' and labels' content in their order.
        settings: min_score, iou, edges, bootstrap, seed, mpp and whatever else decides the figures.
        versions: of the software that decides them.
        device: where the network ran, as the model says it; empty for a stored run.
        created: ISO 8601, UTC.
        seconds: time spent, predicting included.
        research_use: the line that every export carries.

    """

    kind: Literal["model", "run"]
    model: str
    title: str
    model_sha256: str
    data: str
    data_sha256: str
    settings: dict[str, Any]
    versions: dict[str, str]
    device: str
    created: str
    seconds: float
    research_use: str = RESEARCH_USE


@dataclass(frozen=True, slots=True)
class ImageRow:
    """Cells of one image at ``min_score``; a class not completely labelled there has None."""

    number: int  # from 1, in the order of the data
    source: str
    true: dict[str, int | None]
    found: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How well one class is found.

    ``ap*`` look at all scores; all others at the cells of at least ``min_score``, matched to true cells of
    their class at IoU 0.5. ``iou`` and ``dice`` are means over matched cells. ``pq`` = ``sq`` × ``dq``
    (Kirillov et al. 2019, eq. 1), matched above IoU 0.5, best overlap first.
    """

    true: int
    found: int
    ap50: Estimate
    ap75: Estimate
    ap: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    iou: Estimate
    dice: Estimate
    pq: Estimate
    sq: Estimate
    dq: Estimate
    ap_by_iou: tuple[float | None, ...] = ()  # at each of ``IOUS``


@dataclass(frozen=True, slots=True)
class PrCurve:
    """Precision at recall 0, 0.01, … 1 (the envelope that AP averages), and the score reached there.

    ``score`` is None beyond the highest recall; there the precision is 0.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    score: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Precision, recall and F1 of the cells of at least ``score``; precision None where none is left.

    ``best_score`` is the threshold of the highest F1 among all scores found (None without true cells).
    """

    score: tuple[float, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    best_score: float | None
    best_f1: float | None


@dataclass(frozen=True, slots=True)
class ShapeFigures:
    """Figures by the boxes of the outlines, or by their pixels."""

    images: int
    map50: Estimate
    map: Estimate
    classes: dict[str, ClassFigures]
    curves: dict[str, PrCurve]
    thresholds: dict[str, ThresholdCurve]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts ``[true][found]``: rows are the classes and "invented", columns the classes and "missed".

    True and found cells are paired one to one by IoU (boxes, at least 0.5), best first, whatever the class.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class CountError:
    """Found less true cells per image (Bland and Altman 1986), on images where the class is complete.

    Attributes:
        images: how many.
        bias: mean difference.
        sd: standard deviation of the differences (n - 1); None for a single image.
        lower: bias - 1.96 sd, the lower 95 % limit of agreement.
        upper: bias + 1.96 sd.
        absolute: mean of the absolute differences.
        points: (image number, true, found).

    """

    images: int
    bias: Estimate
    sd: float | None
    lower: Estimate
    upper: Estimate
    absolute: Estimate
    points: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Cells of neighbouring scores, ``low`` to ``high``: their mean score, and the share that is right."""

    low: float
    high: float
    cells: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability of the score, in bins of about equally many cells.

    ``error`` is the expected calibration error (Naeini et al. 2015) of all cells found, ``error_shown`` that
    of the cells of at least ``min_score``.
    """

    cells: int
    bins: tuple[CalibrationBin, ...]
    error: Estimate
    error_shown: Estimate


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the true cells of a class, and what was found there.

    A false cell belongs to the true cell that it overlaps most; one on bare ground belongs to no subset.

    Attributes:
        cls: class, or "all".
        name: "small", "medium", "large" (tertiles of the area), "touching", "single", "cut" (by the
            image's edge) or "whole".
        low: smallest area that belongs, for sizes; None for the others.
        high: areas from here on do not belong; None without a bound.
        unit: of the bounds, "µm²" or "px²".

    """

    cls: str
    name: str
    true: int
    recall: Estimate
    precision: Estimate
    f1: Estimate
    iou: Estimate
    ap50: Estimate
    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Figures of the images of one microscope or set, by boxes; intervals over those images."""

    images: int
    map50: Estimate
    ap50: dict[str, Estimate]
    true: dict[str, int]
    f1: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured; see the module's text."""

    manifest: Manifest
    classes: tuple[str, ...]
    mapping: dict[str, dict[str, str | None]]
    notes: tuple[str, ...]
    images: tuple[ImageRow, ...]
    shapes: dict[str, ShapeFigures]
    confusion: Confusion
    counts: dict[str, CountError]
    calibration: dict[str, Calibration]
    subsets: tuple[Subset, ...]
    sources: dict[str, SourceFigures]
    loss: dict[str, Any] | None = None
    loss_note: str = ""
    schema: int = field(default=1)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, floats rounded to six digits."""
        return {k: _rounded(v) for k, v in asdict(self).items()}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Evaluation:
        """What ``to_json`` gave.

        Raises:
            InputError: it is something else.

        """
        try:
            return _reader().validate_python(dict(raw))
        except (ValidationError, TypeError, ValueError) as e:
            raise InputError("This is not a stored evaluation; evaluate the model again.") from e


@cache
def _reader() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value
