"""Evaluation: how well a model finds, outlines and names the cells of labelled images."""

from cmlcore.evaluation.report import EvaluationReport
from cmlcore.evaluation.run import SETS, evaluate, evaluate_sets

__all__ = ["SETS", "EvaluationReport", "evaluate", "evaluate_sets"]
