"""Starting the server, and the demo slide a new installation begins with."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

from cmlcore.errors import InputError
from cmlcore.settings import settings
from cmlcore.web import require_loopback

APP = Path(__file__).resolve().parent.parent / "app.py"
DEMO_NAME = "Demo smear (drawn, no real cells)"


def start_server(host: str | None = None, port: int | None = None) -> None:
    """Become the server; returns when it stops.

    Raises:
        InputError: the address is not loopback, or the application is not beside the library.

    """
    host = settings().host if host is None else host
    port = port or settings().port
    require_loopback(host)
    if not APP.is_file():
        raise InputError(f"The application is missing: {APP.name} does not lie beside the cmlcore folder.")
    print(f"CMLscope: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    os.environ.update(CML_HOST=host, CML_PORT=str(port))
    settings.cache_clear()
    os.chdir(APP.parent)  # where Streamlit looks for its configuration
    # In this process, as "python app.py" would: what is imported already need not be imported again.
    sys.argv = [str(APP)]
    runpy.run_path(str(APP), run_name="__main__")


def register_demo(progress: Callable[[float], None] | None = None) -> None:
    """Draw the demo slide and take it in, once for each ``CML_HOME``: who deletes it is rid of it.

    Raises:
        StorageError: the slide cannot be written.

    """
    done = settings().home / "demo" / "registered"
    if done.is_file():  # before any heavy import: this stands between a user and the first page
        return
    from cmlcore import store
    from cmlcore.demo import demo_path, draw_demo
    from cmlcore.jobs import intake_slide

    store.ensure_schema()
    path = demo_path()
    if not path.is_file():
        draw_demo(path, progress=progress)
    intake_slide(path, in_place=True, name=DEMO_NAME)
    done.touch()
