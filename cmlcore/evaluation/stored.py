"""Evaluations on disk: a folder each, with ``evaluation.json`` and its tables as CSV. Needs no torch."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path

from cmlcore.errors import InputError, StorageError
from cmlcore.evaluation.result import Evaluation
from cmlcore.evaluation.result_tables import csv_bytes, csv_tables
from cmlcore.files import NO_SPACE, whole_file
from cmlcore.job_folder import FOLDER_NAME
from cmlcore.settings import settings

FILE, TABLES = "evaluation.json", "tables"


def save(evaluation: Evaluation, folder: Path | None = None) -> Path:
    """Write an evaluation and its tables; the JSON comes last, so whoever sees it sees all.

    Args:
        evaluation: what to write.
        folder: where; None: a new one below ``CML_HOME/evaluations``.

    Returns:
        The folder.

    Raises:
        StorageError: the disk is full or the folder cannot be written.

    """
    if folder is None:
        day = re.sub(r"\D", "", evaluation.manifest.created)[:14]
        folder = settings().evaluations_dir / f"{day}-{secrets.token_hex(4)}"
    try:
        for table in csv_tables(evaluation):
            with whole_file(folder / TABLES / f"{table[0]}.csv") as part:
                part.write_bytes(csv_bytes(table, evaluation))
        text = json.dumps(evaluation.to_json(), ensure_ascii=False, allow_nan=False)
        with whole_file(folder / FILE) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as e:
        why = "the disk is full" if e.errno in NO_SPACE else "its folder cannot be written"
        raise StorageError(f"The evaluation cannot be stored: {why}.") from e
    return folder


def load(name: str | Path) -> Evaluation:
    """Read an evaluation by the name of its folder below ``CML_HOME/evaluations``, or by folder or file.

    Raises:
        InputError: there is none, or it is damaged.

    """
    if isinstance(name, str):
        if not FOLDER_NAME.fullmatch(name):
            raise InputError("There is no such evaluation; choose one from the list.")
        name = settings().evaluations_dir / name
    path = name / FILE if name.is_dir() else name
    try:
        return Evaluation.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise InputError("There is no such evaluation; choose one from the list.") from e
    except ValueError as e:
        raise InputError("The stored evaluation is damaged; evaluate the model again.") from e


def stored() -> list[tuple[str, Evaluation]]:
    """Name and content of every readable evaluation, the newest first."""
    found = []
    for path in settings().evaluations_dir.glob(f"*/{FILE}"):
        try:
            found.append((path.parent.name, load(path)))
        except InputError:
            continue  # a damaged one must not take the others away
    return sorted(found, key=lambda pair: pair[1].manifest.created, reverse=True)
