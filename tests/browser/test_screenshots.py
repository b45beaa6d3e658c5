"""The pictures of the console in the pages are made by a script, of today's console."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"


@pytest.mark.long
def test_the_script_takes_every_picture(tmp_path: Path) -> None:
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium") or os.environ.get("CI")):
        pytest.skip("there is no Chromium here; CHROMIUM names one")
    sys.path.insert(0, str(SCRIPT.parent))
    from screenshots import SHOTS, SIZE

    command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    taken = {path.name for path in tmp_path.iterdir()}
    assert taken == {"demo.svg", *(f"{shot.name}.png" for shot in SHOTS)}
    drawn = (tmp_path / "demo.svg").read_text("utf-8")
    assert "the&#160;ledger&#160;adds&#160;up" in drawn
    assert re.findall(r"https?://(?!127|www\.w3\.org)|@import|@font-face", drawn) == []
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == SIZE, path.name
            assert len(picture.convert("RGB").getcolors(2**20) or ()) > 50, path.name
