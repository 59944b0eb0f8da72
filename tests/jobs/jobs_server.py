"""A job service in a process of its own, as the web server would run it: it can be killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import psutil

CODE = """
import sys
from cmlcore.jobs import JobService
if __name__ == "__main__":
    with JobService():
        sys.stdin.read()
        assert "torch" not in sys.modules
"""


class Server:
    """Takes the environment as it is when it is made."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE)

    def family(self) -> list[psutil.Process]:
        """All processes below it: the workers, and the decoders below those."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> set[int]:
        """Process ids of the live workers."""
        found = set()
        for p in self.family():
            with suppress(psutil.NoSuchProcess):  # a zombie has no command line either
                if "multiprocessing.spawn" in " ".join(p.cmdline()):
                    found.add(p.pid)
        return found

    def listening(self) -> list[tuple[str, int]]:
        """Addresses at which it, or a process below it, takes connections."""
        found = []
        for p in [psutil.Process(self.process.pid), *self.family()]:
            with suppress(psutil.NoSuchProcess):
                found += [tuple(c.laddr) for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        return found

    def kill(self) -> list[psutil.Process]:
        """``kill -9``; gives those that were below it."""
        family = self.family()
        self.process.kill()
        self.process.wait()
        return family

    def stop(self) -> int:
        """End it in order; its exit code."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        return self.process.wait(timeout=60)
