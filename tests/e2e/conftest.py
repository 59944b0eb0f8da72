"""A real server in a process of its own, a real browser, and a small slide drawn for the purpose."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cmlcore.demo.czi import write_czi
from cmlcore.demo.smear import WARM, Smear, draw_smear
from cmlcore.geometry import Size
from cmlcore.settings import settings
from cmlcore.web.assets import DIST

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 120
WAIT_MS = 30_000  # machines that test are often busy
expect.set_options(timeout=WAIT_MS)
PATIENT = "Erika Mustermann 1950"


@dataclass
class Server:
    """The server under test; ``stop`` kills it as a power cut would."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = {**os.environ, "CML_HOME": str(self.home), "CML_THREADS": "2", "CML_DEVICE": "cpu"}
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"the server did not start:\n{self.log()}")

    def log(self) -> str:
        return (self.home / "server.log").read_text()[-4000:]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CML_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (install the package chromium or set CML_TEST_BROWSER)")
    if not (DIST / "manifest.json").is_file():
        pytest.skip("the frontend has not been built (make frontend)")
    with sync_playwright() as p:
        b = p.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield b
        b.close()


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    s = Server(tmp_path_factory.mktemp("home"), free_port())
    s.start()
    yield s
    s.stop()


@pytest.fixture(scope="session")
def czi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn smear repeated to 4096 × 3072 px, under a name that must never be seen again.

    Large enough that a run of all of it can be watched, and cheap to draw.
    """
    smear = Smear(Size(1024, 768), WARM, {"neutrophil": 3, "lymphocyte": 2}, leukocytes_per_mm2=300)
    picture, _ = draw_smear(smear, seed=7)
    path = tmp_path_factory.mktemp("slide") / f"{PATIENT}.czi"
    write_czi(path, [np.tile(picture, (4, 4, 1))], [(-700, 300)], smear.mpp, 20)
    return path


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A page on which a script error, a foreign address or cells asked for too early fail the test."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, base_url=server.url, accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    foreign: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if is_foreign(r.url, server) else None)
    early: list[str] = []
    page.on("response", lambda r: early.append(r.url) if r.status == 409 and "/overlay/" in r.url else None)
    yield page
    context.close()
    assert errors == []
    assert foreign == []
    assert early == []


def is_foreign(url: str, server: Server) -> bool:
    """Whether a request left this machine; a slide is nobody else's business."""
    return not url.startswith((server.url, "data:", "blob:"))


@pytest.fixture
def patience(page: Page) -> Iterator[None]:
    """Networks work beside the browser, on a machine that may have nothing else to give."""
    page.set_default_timeout(180_000)
    expect.set_options(timeout=180_000)
    yield
    expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def home(server: Server, monkeypatch: pytest.MonkeyPatch, cml_home: Path) -> Path:
    """This process looks at the server's data folder; after ``cml_home``, which sets another."""
    monkeypatch.setenv("CML_HOME", str(server.home))
    settings.cache_clear()
    return server.home
