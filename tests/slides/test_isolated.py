"""The decoding process: same pixels, killed and started again, limited, shared, an orphan never."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from czi_writer import drawn, write_slide
from PIL import Image

from cmlcore.errors import InputError, SlideDiedError, SlideError
from cmlcore.geometry import Region
from cmlcore.settings import settings
from cmlcore.slides import open_slide
from cmlcore.slides.isolated import IsolatedReader

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60


def pid_of(reader: IsolatedReader) -> int:
    return reader._slide.running()._process.pid


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    def set_limit(name: str, value: object) -> None:
        monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    return set_limit


def test_the_same_pixels_as_in_process(slide_path: Path) -> None:
    with open_slide(slide_path, isolated=False) as near, open_slide(slide_path) as far:
        assert far.info == near.info
        for scene in (0, 1):
            assert far.covered(scene) == near.covered(scene)
            for region, d in [
                (Region(0, 0, 700, 500), 1),
                (Region(-9, 5, 333, 222), 4),
                (Region(0, 0, 1500, 1100), 8),
            ]:
                assert (far.read(scene, region, d) == near.read(scene, region, d)).all()


def test_many_threads_one_reader(slide_path: Path, picture: np.ndarray) -> None:
    def part(k: int) -> bool:
        y, x = 100 * (k % 10), 130 * (k // 10)
        return bool((reader.read(0, Region(x, y, 128, 96)) == picture[y : y + 96, x : x + 128]).all())

    with open_slide(slide_path) as reader, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(part, range(100)))


def test_large_answers(tmp_path: Path) -> None:
    """Beyond the memory a slot keeps, and back to small ones."""
    path, image = tmp_path / "a.png", drawn(400, 300)
    Image.fromarray(image).save(path)
    with open_slide(path) as reader:
        big = reader.read(0, Region(0, 0, 6000, 4000))
        assert big.shape == (4000, 6000, 3)
        assert (big[:400, :300] == image).all()
        assert (big[400:] == 255).all()
        assert (reader.read(0, Region(5, 6, 50, 40)) == image[6:46, 5:55]).all()


def test_killed_between_and_during_calls(slide_path: Path, picture: np.ndarray) -> None:
    with IsolatedReader(slide_path) as reader:
        first = pid_of(reader)
        os.kill(first, signal.SIGKILL)
        assert (reader.read(0, Region(0, 0, 64, 64)) == picture[:64, :64]).all()
        second = pid_of(reader)
        assert second != first
        os.kill(second, signal.SIGSTOP)  # the call is under way for sure when the process dies
        killer = threading.Timer(0.3, os.kill, (second, signal.SIGKILL))
        killer.start()
        assert (reader.read(0, Region(0, 0, 64, 64)) == picture[:64, :64]).all()
        killer.join()
        assert gone(first)
        assert gone(second)


def test_a_hanging_process_is_replaced(
    slide_path: Path, picture: np.ndarray, limit: Callable[..., None]
) -> None:
    limit("CML_DECODE_TIMEOUT_S", 1.0)
    with IsolatedReader(slide_path) as reader:
        reader._slide.running().deadline_s = 0.3
        limit("CML_DECODE_TIMEOUT_S", PATIENCE_S)  # for its successor
        stuck = pid_of(reader)
        os.kill(stuck, signal.SIGSTOP)
        assert (reader.read(0, Region(0, 0, 64, 64)) == picture[:64, :64]).all()
        assert gone(stuck)


def test_past_the_deadline_twice_is_bad(tmp_path: Path, limit: Callable[..., None]) -> None:
    path = tmp_path / "a.czi"
    write_slide(path, [((0, 0), drawn(3000, 3000))], pyramid=False, compression="jpegxr")
    limit("CML_DECODE_TIMEOUT_S", 0.001)
    with IsolatedReader(path) as reader:
        with pytest.raises(SlideDiedError, match=r"took longer than 0\.001 s, twice"):
            reader.read(0, Region(0, 0, 3000, 3000), 4)
        with pytest.raises(SlideDiedError, match="twice"):
            reader.read(0, Region(0, 0, 8, 8))
        assert reader._slide.process is None or not reader._slide.process.alive
    limit("CML_DECODE_TIMEOUT_S", PATIENCE_S)
    with open_slide(path) as reader:  # opened anew, it gets a new chance
        assert reader.read(0, Region(0, 0, 8, 8)).shape == (8, 8, 3)


def test_memory_has_a_limit(tmp_path: Path, limit: Callable[..., None]) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (12_000, 12_000)).save(path, compress_level=1)
    limit("CML_DECODE_MEMORY_BYTES", 700 << 20)
    with pytest.raises(SlideError, match="memory"):
        open_slide(path)


def test_readers_of_a_file_share_a_process(slide_path: Path) -> None:
    a, b = IsolatedReader(slide_path), IsolatedReader(slide_path)
    pid = pid_of(a)
    assert pid_of(b) == pid
    a.close()
    a.close()
    assert b.read(0, Region(0, 0, 8, 8)).shape == (8, 8, 3)
    with pytest.raises(SlideError, match="closed"):
        a.read(0, Region(0, 0, 8, 8))
    b.close()
    wait_for(lambda: gone(pid))


def test_the_least_used_process_makes_room(tmp_path: Path, limit: Callable[..., None]) -> None:
    limit("CML_MAX_OPEN_SLIDES", 2)
    readers = []
    for k in range(4):
        path = tmp_path / f"{k}.png"
        Image.fromarray(np.full((20, 20, 3), 40 * k, np.uint8)).save(path)
        readers.append(IsolatedReader(path))
    running = [r for r in readers if r._slide.process is not None]
    assert running == readers[2:]
    for k, reader in enumerate(readers):
        assert (reader.read(0, Region(0, 0, 20, 20)) == 40 * k).all()
    assert [r for r in readers if r._slide.process is not None] == readers[2:]
    for reader in readers:
        reader.close()


def test_wrong_questions_do_not_reach_the_process(slide_path: Path) -> None:
    with IsolatedReader(slide_path) as reader:
        pid = pid_of(reader)
        for scene, region, d in [
            (0, Region(0, 0, 8, 8), 3),
            (0, Region(0, 0, 0, 0), 1),
            (7, Region(0, 0, 8, 8), 1),
        ]:
            with pytest.raises(InputError):
                reader.read(scene, region, d)
        assert pid_of(reader) == pid


def test_the_process_knows_no_names_and_no_secrets(slide_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CML_DATABASE_URL", "postgresql://user:secret@host/db")
    with IsolatedReader(slide_path) as reader:
        proc = Path("/proc", str(pid_of(reader)))
        assert slide_path.stem.encode() not in proc.joinpath("cmdline").read_bytes()
        assert b"secret" not in proc.joinpath("environ").read_bytes()


def test_the_process_stays_light() -> None:
    """No torch, no streamlit, no settings library's worth of start-up for a decoder."""
    code = (
        "import sys, cmlcore.slides.child, cmlcore.slides.czi, cmlcore.slides.tiff, cmlcore.slides.vendor\n"
        "print(sorted({'torch', 'streamlit', 'dask', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _read_in_a_daemon(path: str) -> None:
    with open_slide(path) as reader:
        assert reader.read(0, Region(0, 0, 30, 30)).shape == (30, 30, 3)


def test_inside_a_daemonic_process(slide_path: Path) -> None:
    """Dask's workers are such: they may have no children of multiprocessing's own."""
    worker = multiprocessing.get_context("spawn").Process(
        target=_read_in_a_daemon, args=(str(slide_path),), daemon=True
    )
    worker.start()
    worker.join(PATIENCE_S)
    assert worker.exitcode == 0


SCRIPT = """
    import sys, time
    print("main runs", flush=True)
    from cmlcore.geometry import Region
    from cmlcore.slides import open_slide
    reader = open_slide(sys.argv[1])
    reader.read(0, Region(0, 0, 8, 8))
    print(reader._slide.process._process.pid, flush=True)
    time.sleep(600)
"""


def test_no_orphan_and_no_second_main(slide_path: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(textwrap.dedent(SCRIPT))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(slide_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip() == "main runs"
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(child))
    assert parent.stdout.read() == ""
    parent.stdout.close()


def test_closed_while_reading(slide_path: Path) -> None:
    """The call under way ends with a sentence, and leaves no process."""
    reader = IsolatedReader(slide_path)
    pid = pid_of(reader)
    os.kill(pid, signal.SIGSTOP)
    closer = threading.Timer(0.3, reader.close)
    closer.start()
    with pytest.raises(SlideError, match="closed"):
        reader.read(0, Region(0, 0, 64, 64))
    closer.join()
    wait_for(lambda: gone(pid))
    assert reader._slide.process is None or not reader._slide.process.alive
