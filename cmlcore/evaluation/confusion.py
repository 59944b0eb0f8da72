"""What is taken for what: true against found classes, with the missed and the invented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmlcore.evaluation.field import Field
from cmlcore.evaluation.match_tables import Overlap
from cmlcore.evaluation.matching import best_pairs
from cmlcore.evaluation.result import Confusion

INVENTED, MISSED = "invented", "missed"


def confusion(
    fields: Sequence[Field],
    overlap: Sequence[Overlap],
    classes: tuple[str, ...],
    min_score: float,
    least: float = 0.5,
) -> Confusion:
    """Pair true and found cells one to one by overlap, best first, whatever their class.

    A found cell without a partner is invented, unless it lies in a place that is not judged for its class.

    Args:
        fields: the images.
        overlap: of each image's cells.
        classes: those judged.
        min_score: of the cells that count.
        least: IoU that a pair needs.

    """
    n = len(classes)
    counts = np.zeros((n + 1, n + 1), np.int64)
    for field, over in zip(fields, overlap, strict=True):
        shown = np.flatnonzero(field.scores >= min_score)
        pairs = best_pairs(over.iou[shown], least)
        found = shown[np.array([d for d, _ in pairs], np.int64)]
        true = np.array([g for _, g in pairs], np.int64)
        np.add.at(counts, (field.true.classes[true], field.found.classes[found]), 1)
        missed = np.delete(field.true.classes, true)
        alone = np.setdiff1d(shown, found)
        invented = field.found.classes[alone[over.covered[alone] < least]]
        counts[:n, n] += np.bincount(missed, minlength=n)
        counts[n, :n] += np.bincount(invented, minlength=n)
    return Confusion((*classes, INVENTED), (*classes, MISSED), tuple(map(tuple, counts.tolist())))
