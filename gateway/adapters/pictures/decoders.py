"""Processes of their own in which pictures are decoded.

The bytes are a stranger's and decoding is heavy native code: apart from us it can neither take
our secrets, nor our memory, nor the moments that the event loop needs. A process is started when
it is first wanted, then asked again and again, and ends by itself when we do. All calls block.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from gateway.adapters.pictures.cost import OVERRUN, PAID, Cost
from gateway.core.picture_errors import NotAPicture, TooCostly, Undecodable

_PROGRAM: Final = "from gateway.adapters.pictures.inspection import main; main({parent})"
_ANSWER_SECONDS: Final = 60.0  # twice what is allowed of a processor: this one hangs
_END_SECONDS: Final = 5.0
_PASSED_ON: Final = frozenset({"PATH", "LD_LIBRARY_PATH"})  # all else may be a secret


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a picture turned out to be. `extension` is one of `core.pictures.MEDIA_TYPES`."""

    media_type: str
    extension: str
    width: int
    height: int


class Decoders:
    """As many decoding processes as there are callers at once; safe to call from any thread.

    Each picture may cost at most `cost`.
    """

    def __init__(self, cost: Cost = PAID) -> None:
        self._cost = cost
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._closed = threading.Event()

    def inspect(self, path: Path, *, max_pixels: int) -> Inspection:
        """Proves that the file is one whole picture of at most `max_pixels`.

        Raises NotAPicture, of which TooCostly is one kind, or OSError when the file cannot be
        read or the process fails.
        """
        decoder = self._take()
        self._busy.add(decoder)
        try:
            if self._closed.is_set():  # `close` may have looked before it was there
                raise OSError("the decoding processes have ended")
            outcome = decoder.ask(path, max_pixels, self._cost)
        except BaseException:
            decoder.end()
            raise
        finally:
            self._busy.discard(decoder)
        self._idle.append(decoder)
        if self._closed.is_set():
            self.close()
        if "costly" in outcome:
            raise TooCostly(str(outcome["costly"]))
        if "refused" in outcome:
            raise NotAPicture(str(outcome["refused"]))
        if "undecodable" in outcome:
            raise Undecodable(str(outcome["undecodable"]))
        if "failed" in outcome:
            raise OSError(f"decoding failed: {outcome['failed']}")
        return Inspection(**outcome)

    def _take(self) -> _Decoder:
        with suppress(IndexError):
            while True:
                decoder = self._idle.pop()
                if decoder.is_alive():
                    return decoder
                decoder.end()
        return _Decoder()

    def close(self) -> None:
        """Ends every process; what one is at work on fails with OSError. Safe to call twice."""
        self._closed.set()
        for decoder in tuple(self._busy):
            decoder.kill()
        with suppress(IndexError):
            while True:
                self._idle.pop().end()


class _Decoder:
    """One process: a line of JSON in for each picture, a line of JSON out."""

    def __init__(self) -> None:
        passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, and no shell
            [sys.executable, "-P", "-c", _PROGRAM.format(parent=os.getpid())],
            env={**passed_on, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is for us, not for it
        )
        self._pipes = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)

    def ask(self, path: Path, max_pixels: int, cost: Cost) -> Any:
        stdin, stdout = self._pipes
        asked = [os.fspath(path), max_pixels, cost.cpu_seconds, cost.scans]
        stdin.write(json.dumps(asked).encode() + b"\n")
        stdin.flush()
        arrival = select.poll()
        arrival.register(stdout, select.POLLIN)
        if not arrival.poll(_ANSWER_SECONDS * 1000):
            raise TimeoutError(f"decoding took more than {_ANSWER_SECONDS:.0f} seconds")
        line = stdout.readline()
        if not line.endswith(b"\n"):
            if self._process.wait(_END_SECONDS) == -OVERRUN:
                seconds = f"{cost.cpu_seconds:g} seconds of a processor"
                raise TooCostly(f"decoding it takes more than {seconds}")
            raise OSError("the decoding process ended")
        return json.loads(line)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.kill()
        for pipe in self._pipes:
            with suppress(OSError):  # a line that it never read
                pipe.close()
        self._process.wait()
