"""What stands at the head of every export: what was asked, of which slide, with which network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cmlcore import RESEARCH_USE

_KEYS = (
    "slide_id",
    "slide_sha256",
    "scene",
    "mpp",
    "mpp_is_estimate",
    "model",
    "model_sha256",
    "settings",
    "rois_l0",
    "area_mm2",
    "classes",
    "versions",
)


def header_facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The manifest's facts that an export repeats, as one-line texts in a fixed order.

    Only what decides the cells, so that the page and the shell write the same bytes: no run id, no
    times, no count of threads. Facts the manifest lacks are left out; nested ones become JSON with
    sorted keys.
    """
    facts = {"research_use": RESEARCH_USE}
    for key in _KEYS:
        value = manifest.get(key)
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        facts[key] = " ".join(text.split())
    return facts
