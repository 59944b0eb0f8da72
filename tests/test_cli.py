"""The shell: what each command prints and writes, and one plain sentence with its exit code for bad input."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmlcore import RESEARCH_USE, cli
from cmlcore.demo import draw_demo

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cmlscope", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_demo(tmp_path_factory.mktemp("cli") / "DOE_JOHN.czi", 512)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "field.png"
    Image.fromarray(np.full((64, 64, 3), 230, np.uint8)).save(path)
    return path


def _one_sentence(err: str) -> bool:
    lines = [line for line in err.splitlines() if line.strip()]
    return len(lines) == 1 and lines[0].endswith((".", "…")) and "Traceback" not in err


def test_both_doors_of_the_shell_are_the_same() -> None:
    script = Path(sys.executable).with_name("cmlscope")
    module = [sys.executable, "-m", "cmlcore"]
    answers = [subprocess.run([*c, "--help"], capture_output=True, text=True) for c in (module, [script])]
    assert answers[0].returncode == 0
    assert answers[0].stdout == answers[1].stdout
    assert RESEARCH_USE.split(".")[0] in " ".join(answers[0].stdout.split())


def test_help_loads_no_network_library() -> None:
    code = (
        "import sys, cmlcore.cli as c, typer.testing as t; t.CliRunner().invoke(c.app, ['--help'])\n"
        "print(*[m for m in ('torch', 'streamlit', 'numpy', 'dask', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_version_carries_the_research_use_line(shell: Shell) -> None:
    code, out, _ = shell("--version")
    assert code == 0
    assert RESEARCH_USE in out


@pytest.mark.parametrize(
    "words", [["nonsense"], ["info"], ["segment", "x.czi"], ["serve", "--port", "70000"]]
)
def test_a_wrong_call_ends_with_code_two(shell: Shell, words: list[str]) -> None:
    code, out, err = shell(*words)
    assert code == 2
    assert out == ""
    assert "Usage" in err


# -- info -----------------------------------------------------------------------------------------------


def test_info_prints_facts_as_json_without_the_name(shell: Shell, slide: Path) -> None:
    code, out, err = shell("info", slide)
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["mpp"] == {"x": 0.22, "y": 0.22}
    assert facts["objective"] == 20
    assert [s["size"] for s in facts["scenes"]] == [{"w": 512, "h": 512}, {"w": 512, "h": 384}]
    assert "DOE" not in out


@pytest.mark.parametrize("content", [b"", b"\0", b"ZISRAWFILE" + b"\0" * 200, b"MZ\x90 not a slide" * 99])
def test_info_refuses_a_bad_file_in_one_sentence(shell: Shell, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.czi"
    bad.write_bytes(content)
    code, out, err = shell("info", bad)
    assert (code, out) == (3, "")
    assert _one_sentence(err)


def test_info_refuses_a_cut_slide_and_a_missing_one(shell: Shell, slide: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.czi"
    cut.write_bytes(slide.read_bytes()[: slide.stat().st_size // 2])
    for bad in (cut, tmp_path / "nowhere.czi", tmp_path):
        code, _, err = shell("info", bad)
        assert code in (2, 3)
        assert _one_sentence(err)


# -- segment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["--model", "type9"], 4, "type9"),
        (["--roi", "1,2,3"], 2, "region"),
        (["--roi", "a,b c,d e,f"], 2, "region"),
        (["--roi", "0,0,-5,5"], 2, "region"),
        (["--mpp", "0"], 2, "pixel size"),
        (["--mpp", "nan"], 2, "pixel size"),
    ],
)
def test_segment_refuses_bad_input(
    shell: Shell, slide: Path, tmp_path: Path, words: list[str], exit_code: int, says: str
) -> None:
    code, _, err = shell("segment", slide, "--out", tmp_path / "out", *words)
    assert code == exit_code
    assert says in err
    assert _one_sentence(err)
    assert not (tmp_path / "out" / "cells.csv").exists()


@pytest.mark.weights
def test_segment_refuses_a_scene_that_is_not_there(shell: Shell, slide: Path, tmp_path: Path) -> None:
    code, _, err = shell("segment", slide, "--out", tmp_path / "out", "--scene", 3)
    assert code == 2
    assert "scene" in err


@pytest.mark.weights
def test_segment_refuses_a_damaged_slide(shell: Shell, slide: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.czi"
    cut.write_bytes(slide.read_bytes()[:5000])
    code, _, err = shell("segment", cut, "--out", tmp_path / "out")
    assert code == 3
    assert _one_sentence(err)


@pytest.mark.weights
def test_segment_says_where_it_cannot_write(shell: Shell, slide: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = shell("segment", slide, "--out", tmp_path / "file" / "out", "--roi", "0,0,100,100")
    assert code == 6
    assert _one_sentence(err)


@pytest.mark.weights
def test_segment_twice_gives_the_same_bytes(shell: Shell, slide: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        code, said, _ = shell("segment", slide, "--out", tmp_path / out, "--roi", "100,100,300,200")
        assert code == 0
        assert RESEARCH_USE in said
    csv = (tmp_path / "a" / "cells.csv").read_bytes()
    assert csv == (tmp_path / "b" / "cells.csv").read_bytes()
    rows = [line for line in csv.decode().splitlines() if not line.startswith("#")]
    assert len(rows) - 1 == len(json.loads((tmp_path / "a" / "cells.geojson").read_text())["features"]) > 3
    assert RESEARCH_USE in csv.decode()
    assert "DOE" not in csv.decode()


# -- predict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mpp", "says"), [("big", "pixel size"), ("-1", "pixel size"), ("99", "pixel size")])
def test_predict_refuses_a_bad_pixel_size(
    shell: Shell, photo: Path, tmp_path: Path, mpp: str, says: str
) -> None:
    code, _, err = shell("predict", photo, "--mpp", mpp, "--out", tmp_path / "r.json")
    assert code == 2
    assert says in err
    assert not (tmp_path / "r.json").exists()


def test_predict_refuses_an_unknown_model(shell: Shell, photo: Path, tmp_path: Path) -> None:
    code, _, err = shell("predict", photo, "--mpp", "0.1", "--model", "type9", "--out", tmp_path / "r.json")
    assert code == 4
    assert _one_sentence(err)


@pytest.mark.weights
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n cut"])
def test_predict_refuses_what_is_no_image(shell: Shell, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    code, _, err = shell("predict", bad, tmp_path / "none.png", "--mpp", "0.1", "--out", tmp_path / "r.json")
    assert code == 2
    assert _one_sentence(err)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.weights
def test_predict_writes_coco_results(shell: Shell, tmp_path: Path) -> None:
    from cmlcore.demo import demo_scenes, draw_smear

    rgb, cells = draw_smear(demo_scenes(512)[0], 1)
    Image.fromarray(rgb).save(tmp_path / "field.png")
    out = tmp_path / "r.json"
    code, _, _ = shell("predict", tmp_path / "field.png", "--mpp", "0.22", "--min-score", "0.3", "--out", out)
    assert code == 0
    results = json.loads(out.read_text())
    assert len(results) > len(cells) // 2
    assert set(results[0]) == {"file_name", "category_name", "score", "bbox", "segmentation"}
    assert {r["file_name"] for r in results} == {"field.png"}


# -- evaluate and train ---------------------------------------------------------------------------------


@pytest.mark.weights
@pytest.mark.parametrize("words", [[], ["--sets", "nonsense"], ["--split", "test"], ["--mpp", "0.1"]])
def test_evaluate_refuses_what_is_not_there(shell: Shell, tmp_path: Path, words: list[str]) -> None:
    code, out, err = shell("evaluate", "--data", tmp_path, "--json", tmp_path / "r.json", *words)
    assert (code, out) == (2, "")
    assert _one_sentence(err)
    assert not (tmp_path / "r.json").exists()


def test_evaluate_refuses_an_unknown_model(shell: Shell, tmp_path: Path) -> None:
    code, _, err = shell("evaluate", "--data", tmp_path, "--model", "type9")
    assert code == 4
    assert _one_sentence(err)


def test_train_refuses_a_folder_without_sets(shell: Shell, tmp_path: Path) -> None:
    code, _, err = shell("train", "--model", "type2", "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert _one_sentence(err)


def test_train_lists_its_options(shell: Shell) -> None:
    code, out, _ = shell("train", "--help")
    assert code == 0
    assert "--minutes" in out


# -- serve and demo -------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that the command line would have run as the server."""
    programs: list[str] = []
    monkeypatch.setattr(runpy, "run_path", lambda path, run_name: programs.append(f"{run_name} {path}"))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(Path.cwd())  # undone afterwards
    return programs


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", ""])
def test_serve_refuses_to_be_reached_from_elsewhere(shell: Shell, started: list[str], host: str) -> None:
    code, out, err = shell("serve", "--host", host)
    assert (code, out, started) == (2, "", [])
    assert _one_sentence(err)


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1:8765"), ("::1", "[::1]:8765")])
def test_serve_prints_its_address_and_becomes_the_server(
    shell: Shell, started: list[str], host: str, address: str
) -> None:
    code, out, _ = shell("serve", "--host", host, "--port", 8765)
    assert code == 0
    assert f"http://{address}" in out
    assert [Path(w).name for w in started] == ["app.py"]
    assert started[0].startswith("__main__ ")


def test_serve_demo_adds_the_drawn_slide_once(cml_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmlcore import demo, launch, store

    small = demo.demo_scenes(512)
    monkeypatch.setattr(demo, "demo_scenes", lambda *_: small)
    launch.register_demo()
    assert demo.demo_path().is_relative_to(cml_home)
    (slide,) = store.list_slides()
    assert Path(slide.path) == demo.demo_path().resolve()
    drawn_at = demo.demo_path().stat().st_mtime_ns
    launch.register_demo()
    assert [s.id for s in store.list_slides()] == [slide.id]
    assert demo.demo_path().stat().st_mtime_ns == drawn_at
    store.delete_slide(slide.id)
    launch.register_demo()
    assert store.list_slides() == []


def test_demo_draws_slide_and_truth(shell: Shell, tmp_path: Path) -> None:
    code, out, _ = shell("demo", "--out", tmp_path, "--side", 512)
    assert code == 0
    assert Path(out.strip()).is_file()
    assert len(list(tmp_path.glob("*.truth.geojson"))) == 2


def test_demo_says_where_it_cannot_write(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = shell("demo", "--out", tmp_path / "file", "--side", 512)
    assert code == 6
    assert _one_sentence(err)


@pytest.mark.weights
def test_demo_reports_what_a_model_finds(shell: Shell, tmp_path: Path) -> None:
    report = tmp_path / "recall.json"
    code, out, _ = shell("demo", "--out", tmp_path, "--side", 512, "--model", "type2", "--json", report)
    assert code == 0
    assert "erythrocyte" in out
    scenes = json.loads(report.read_text())["scenes"]
    assert len(scenes) == 2
    for counts in scenes:
        assert counts["erythrocyte"]["found"] <= counts["erythrocyte"]["drawn"]
