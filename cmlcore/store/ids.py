"""Generated ids: short, safe in URLs and file names, and without any trace of the file they name."""

from __future__ import annotations

import secrets
from collections.abc import Container

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are read aloud and retyped
LENGTH = 10  # 31**10 ids: a collision among a million rows has odds of 1 in 1600


def new_id() -> str:
    """A fresh random id."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def unused(wanted: str, taken: Container[str]) -> str:
    """A name, with a number behind it where it is taken."""
    name, n = wanted, 2
    while name in taken:
        name, n = f"{wanted}-{n}", n + 1
    return name
