"""A program for test_scaffolding: imports modules in a fresh interpreter and tells what they did.

Usage: import_watch.py ROOT MODULE...    Prints one line of JSON. ROOT is where `gateway/` lies.
"""

import json
import os
import sys
import sysconfig
import time
from types import FrameType
from typing import Any

DEEDS = {
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.system",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "sqlite3.connect",
    "subprocess.Popen",
}
STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]
CODE = (".py", ".pyc", ".so")


class Watch:
    """An audit hook that notes every deed, every write, and every data file that we read."""

    def __init__(self, root: str) -> None:
        self.ours = os.path.join(root, "gateway", "")  # noqa: PTH118 - a hook must stay simple
        self.importing = ""
        self.found: list[str] = []

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        if event in DEEDS:
            self.found.append(f"{self.importing}: {event}")
        elif event == "open" and isinstance(details[0], str):
            path, _mode, flags = details
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.found.append(f"{self.importing}: writes {path}")
            elif not path.endswith(CODE) and self.is_ours(sys._getframe(1)):
                self.found.append(f"{self.importing}: reads {path}")

    def is_ours(self, frame: FrameType | None) -> bool:
        """Whether our code did it: the nearest that is neither import system nor library of Python.

        What foreign libraries read of their own when they are imported is their affair.
        """
        while frame is not None:
            name = frame.f_code.co_filename
            standard = name.startswith(STANDARD_LIBRARY) and "site-packages" not in name
            if not standard and not name.startswith("<frozen"):
                return name.startswith(self.ours)
            frame = frame.f_back
        return False


def main(root: str, *modules: str) -> None:
    sys.path.insert(0, root)
    watch = Watch(root)
    sys.addaudithook(watch)
    started = time.process_time()
    for module in modules:
        watch.importing = module
        __import__(module)
    cpu_seconds = time.process_time() - started
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"found": watch.found, "cpu_seconds": cpu_seconds, "loaded": loaded}))


if __name__ == "__main__":
    main(*sys.argv[1:])
