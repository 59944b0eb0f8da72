"""Generated ids: short, safe in URLs and file names, and without any trace of the file they name."""

from __future__ import annotations

import secrets

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are read aloud and retyped
LENGTH = 10  # 31**10 ids: a collision among a million rows has odds of 1 in 1600


def new_id() -> str:
    """A fresh random id."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
