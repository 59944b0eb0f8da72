"""Evaluation: how well a model finds, outlines and names the cells of labelled images.

The names are loaded when first used: who only reads stored results (``result``) pays for nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmlcore.evaluation.report import EvaluationReport
    from cmlcore.evaluation.result import Evaluation
    from cmlcore.evaluation.run import SETS, evaluate, evaluate_sets
    from cmlcore.evaluation.stored_run import evaluate_run
    from cmlcore.evaluation.whole import evaluate_records

__all__ = [
    "SETS",
    "Evaluation",
    "EvaluationReport",
    "evaluate",
    "evaluate_records",
    "evaluate_run",
    "evaluate_sets",
]

_HOME = {
    "EvaluationReport": "report",
    "Evaluation": "result",
    "SETS": "run",
    "evaluate": "run",
    "evaluate_sets": "run",
    "evaluate_records": "whole",
    "evaluate_run": "stored_run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
