"""Child processes of one's own: started with a log, watched while they start, ended for certain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 0.05
_TOLD_LINES: Final = 5

DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks this machine's own servers, which no proxy of the environment can reach."""


def found(name: str) -> str | None:
    """A program beside the interpreter, where a package puts it; else wherever the system does."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    return shutil.which(name, path=beside) or shutil.which(name)


def answers(url: str) -> bool:
    """Whether somebody says 200 there."""
    with suppress(OSError), DIRECT.open(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


class Program:
    """One child process, which may be started again after its end; its output goes to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self, is_ready: Callable[[], bool], *, seconds: float = 60) -> None:
        """Returns when it is ready. Raises `RuntimeError` with its last words when it is not."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,  # an interrupt at the terminal is for whoever started it
            )
        try:
            self._await(is_ready, seconds)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends it at once, as a crash would (SIGKILL); none running is no error."""
        self._end(subprocess.Popen.kill, seconds=None)

    def stop(self, *, seconds: float = 20) -> None:
        """Asks it to end (SIGTERM), and ends it when it has not within that time."""
        self._end(subprocess.Popen.terminate, seconds=seconds)

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None], seconds: float | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        how(process)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await(self, is_ready: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not is_ready():
            if self.pid is None:
                raise RuntimeError(f"{self.name} ended at its start: {self._last_words()}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} is not ready: {self._last_words()}")
            time.sleep(_LOOK_SECONDS)

    def _last_words(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return " / ".join(lines[-_TOLD_LINES:]) or "it has said nothing"
