"""Is a cell of score s right in a share s of all cases? Bins of equally many cells, and the mean gap.

Right is a found cell that takes a true cell of its class at IoU 0.5. Expected calibration error: Naeini et
al. 2015, with the bins of equal mass of Nixon et al. 2019 (arXiv:1904.01685): none stands on a few cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmlcore.evaluation.matching import Flags, Ints, Numbers, Table
from cmlcore.evaluation.resample import estimate
from cmlcore.evaluation.result import Calibration, CalibrationBin, Estimate

BINS = 15
LEAST_PER_BIN = 10


def calibration(tables: Sequence[Table], weight: Numbers, min_score: float) -> Calibration:
    """Reliability of the scores of one or more classes.

    Args:
        tables: one a class, of the same images.
        weight: ``(R, I)`` of the bootstrap over them.
        min_score: of the cells that are shown.

    """
    scores = np.concatenate([t.scores[~t.ignored[0]] for t in tables])
    right = np.concatenate([t.hit[0, ~t.ignored[0]] for t in tables])
    image = np.concatenate([t.image[~t.ignored[0]] for t in tables])
    at = bins(scores)
    made = []
    for k in range(int(at.max(initial=-1)) + 1):
        s, r = scores[at == k], right[at == k]
        made.append(CalibrationBin(float(s.min()), float(s.max()), len(s), float(s.mean()), float(r.mean())))
    shown = scores >= min_score
    return Calibration(
        len(scores),
        tuple(made),
        calibration_error(scores, right, image, weight),
        calibration_error(scores[shown], right[shown], image[shown], weight),
    )


def bins(scores: Numbers) -> Ints:
    """Bin of each cell, ``(N,)``: about equally many cells a bin, equal scores in one bin."""
    if not len(scores):
        return np.zeros(0, np.int64)
    wanted = int(np.clip(len(scores) // LEAST_PER_BIN, 1, BINS))
    edges = np.unique(np.quantile(scores, np.arange(1, wanted) / wanted))
    _, made = np.unique(np.searchsorted(edges, scores, side="right"), return_inverse=True)
    return np.asarray(made, np.int64)


def calibration_error(scores: Numbers, right: Flags, image: Ints, weight: Numbers) -> Estimate:
    """Mean gap |share that is right - mean score| over the cells; resamples keep the bins."""
    if not len(scores):
        return Estimate(None)
    at = bins(scores)
    # The bins of a resample are those of the sample: the gap of each bin is a sum over its cells.
    table = np.zeros((at.max() + 1, weight.shape[1]))
    number = np.zeros(weight.shape[1])
    np.add.at(table, (at, image), right - scores)
    np.add.at(number, image, 1)

    def error(w: Numbers) -> Numbers:
        cells = w @ number
        gaps = np.abs(w @ table.T).sum(axis=1)
        return np.asarray(np.divide(gaps, cells, out=np.full(len(w), np.nan), where=cells > 0), np.float64)

    return estimate(error(np.ones((1, weight.shape[1])))[0], error(weight))
