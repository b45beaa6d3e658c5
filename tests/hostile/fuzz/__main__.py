"""Fuzzing that follows what is covered, one target after another: `make fuzz SECONDS=300`.

atheris comes from the package index into a folder that is thrown away: nothing depends on it. What
it finds lies in `.fuzz/` afterwards, and is given to its target first the next time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TESTS: Final = HERE.parents[1]
SAMPLES: Final = (TESTS, TESTS / "adapters" / "pictures", TESTS / "adapters" / "openai_images")
FOUND: Final = TESTS.parent / ".fuzz"
PACKAGE: Final = "atheris>=3,<4"
LIMITS: Final = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1")
TARGETS: Final = tuple(sorted(path.stem for path in HERE.glob("reads_*.py")))


def main(seconds: str, *names: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "atheris")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place]
        subprocess.run([*pip, PACKAGE], check=True)
        paths = [TESTS.parent, *SAMPLES, place]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        wanted = [f"reads_{name}" for name in names] or TARGETS
        return max(_fuzzed(name, seconds, Path(folder), environ) for name in wanted)


def _fuzzed(name: str, seconds: str, folder: Path, environ: Mapping[str, str]) -> int:
    """0 where nothing was found."""
    corpus, found = folder / name, FOUND / name
    corpus.mkdir()
    found.mkdir(parents=True, exist_ok=True)
    print(f"== {name}, {seconds} seconds", flush=True)
    wish = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", *LIMITS, corpus, found]
    command = [sys.executable, HERE / "fuzzed.py", name, *wish]
    return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
