"""The rules of the house, held by machines: who may import whom, what the web process never loads, what
nobody may name."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "torchvision", "timm", "lightning", "torchmetrics", "faster_coco_eval")
PRODUCT = ("cmlcore", "models", "pages")


def _python_files(*folders: str) -> list[Path]:
    return [p for f in folders for p in sorted((ROOT / f).rglob("*.py")) if "node_modules" not in p.parts]


def _committed() -> list[Path]:
    """Files that are, or would be, in the repository; all of the tree where git is not there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout, so what belongs to the project cannot be told")
    return [p for name in listed.stdout.split("\0") if name and (p := ROOT / name).is_file()]


def _imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, at whatever depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_import_contracts_are_kept() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


def test_every_module_has_its_layer_and_its_streamlit_rule() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    modules = {
        f"cmlcore.{p.stem}"
        for p in (ROOT / "cmlcore").iterdir()
        if p.stem != "__init__" and (p.suffix == ".py" or (p / "__init__.py").is_file())
    }
    layers = next(c for c in contracts if c["type"] == "layers")["layers"]
    layered = {m.strip() for layer in layers for m in re.split(r"[:|]", layer)}
    assert layered == modules | {"models"}
    below_ui = next(c for c in contracts if c.get("forbidden_modules") == ["streamlit"])["source_modules"]
    assert set(below_ui) == layered - {"cmlcore.ui", "cmlcore.__main__"}


def test_the_web_process_never_imports_torch() -> None:
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in _python_files(
            "cmlcore/ui", "cmlcore/web", "cmlcore/store", "cmlcore/report", "cmlcore/cells"
        )
        if "migrations" not in p.parts
    ]
    code = f"""
import importlib, runpy, sys
import app
for name in {modules!r}:
    importlib.import_module(name)
from models.registry import cards
cards()
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_pages_and_the_launcher_name_no_network_library() -> None:
    for path in [*_python_files("pages", "cmlcore/ui", "cmlcore/web"), ROOT / "app.py"]:
        assert not _imports(path) & set(HEAVY), path.relative_to(ROOT)


def test_every_import_is_a_pinned_requirement() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {
        re.split(r"[\[=]", line)[0].lower().replace("_", "-"): "==" in line
        for line in lines
        if line and not line.startswith("#")
    }
    assert all(pinned.values())
    by_module = importlib.metadata.packages_distributions()
    missing = {}
    for path in [*_python_files(*PRODUCT), ROOT / "app.py"]:
        for module in _imports(path) - set(sys.stdlib_module_names) - {"cmlcore", "models", "pages"}:
            names = {d.lower().replace("_", "-") for d in by_module.get(module, [module])}
            if not names & set(pinned):
                missing[module] = str(path.relative_to(ROOT))
    assert missing == {}


def test_no_requirement_is_without_use() -> None:
    used = {m for p in [*_python_files(*PRODUCT), ROOT / "app.py"] for m in _imports(p)}
    by_module = importlib.metadata.packages_distributions()
    used_names = {d.lower().replace("_", "-") for m in used for d in by_module.get(m, [])}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {re.split(r"[\[=]", line)[0].lower() for line in lines if line and not line.startswith("#")}
    # openslide-bin is the library behind openslide-python; imagecodecs decodes for tifffile; openvino is
    # imported by name, once its telemetry is barred (models/openvino_engine.py).
    assert names - used_names - {"openslide-bin", "imagecodecs", "openvino"} == set()


def test_nothing_names_a_registry_or_a_place_on_this_machine() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org")
    places = (f"{ROOT.parent}/", f"{Path.home()}/") if len(ROOT.parts) > 2 else ()
    guilty = []
    for path in _committed():
        text = path.read_bytes()
        guilty += [f"{path.relative_to(ROOT)}: {w}" for w in (*hosts, *places) if w.encode() in text]
    assert guilty == []


def test_files_stay_readable() -> None:
    long = {str(p.relative_to(ROOT)) for p in _committed() if p.suffix in {".py", ".js"} and _lines(p) > 400}
    assert long == set()


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
