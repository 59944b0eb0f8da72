"""Which versions of which packages a result was made with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from cmlcore import __version__


def versions(*libraries: str) -> dict[str, str]:
    """Our own version and that of each library that is installed."""
    found = {"cmlscope": __version__}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
