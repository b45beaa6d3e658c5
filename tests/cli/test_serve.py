"""`serve`: what its flags mean before anything is started, and what it says when it is ready."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.serve import sandbox_links
from gateway.config import sandbox_settings, with_address


@pytest.mark.parametrize(
    ("host", "port", "links"),
    [
        (None, 9000, None),
        ("127.0.0.1", None, None),
        ("::1", 0, None),
        ("localhost", 9000, None),
        ("0.0.0.0", None, "http://127.0.0.1:8080"),
        ("::", 9000, "http://127.0.0.1:9000"),
        ("192.0.2.7", 9000, "http://127.0.0.1:9000"),
    ],
)
def test_where_the_links_of_the_sandbox_lead(
    tmp_path: Path, host: str | None, port: int | None, links: str | None
) -> None:
    assert sandbox_links(host, port) == links
    settings = sandbox_settings("http://127.0.0.1:9", tmp_path, public_url=links)
    server = with_address(settings, host=host, port=port).server
    assert (server.host, server.public_url) == (host or "127.0.0.1", links)


def test_links_of_the_sandbox_need_a_port_that_is_known() -> None:
    result = CliRunner().invoke(main, ["serve", "--sandbox", "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 2
    assert "name the --port" in result.stderr


def said(folder: Path, *words: str, **environ: str) -> tuple[list[str], str]:
    """The lines of standard output from a start to a stop, and standard error."""
    with (folder / "errors").open("wb") as errors:
        one = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", "0", *words],
            cwd=folder,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
    assert one.stdout is not None
    with one.stdout as lines:
        told = [lines.readline()]
        one.terminate()
        told += lines.readlines()
    assert one.wait(30) == 0, (folder / "errors").read_text()
    return told, (folder / "errors").read_text()


def test_the_first_line_says_that_it_is_ready_and_the_next_where_to_look(tmp_path: Path) -> None:
    lines, _ = said(tmp_path, "--sandbox")
    ready = re.fullmatch(r"image-gateway is ready on (http://127\.0\.0\.1:\d+)\n", lines[0])
    assert ready is not None
    assert lines[1:5] == [
        f"console: {ready[1]}/console\n",
        "team key: team-demo-key\n",
        "admin key: admin-demo-key\n",
        f"API docs: {ready[1]}/docs\n",
    ]
    assert re.fullmatch(r"simulated EvoLink: http://127\.0\.0\.1:\d+\n", lines[5])
    assert re.fullmatch(r"simulated OpenAI: http://127\.0\.0\.1:\d+/v1\n", lines[6])


def test_without_any_admin_key_it_says_so_and_how_to_make_one(tmp_path: Path) -> None:
    url = "https://images.example.org/below"
    made = CliRunner().invoke(main, ["init", "--dir", str(tmp_path), "--public-url", url])
    assert made.exit_code == 0
    path = tmp_path / "config.yaml"
    path.write_text(re.sub(r"admin_keys: .*", "admin_keys: []", path.read_text("utf-8")))
    lines, errors = said(tmp_path, EVOLINK_API_KEY="sk-x")
    assert lines[0].startswith("image-gateway is ready on http://127.0.0.1:")
    assert lines[1] == f"console: {url}/console\n"
    [notice] = [line for line in errors.splitlines() if "server.admin_keys" in line]
    assert "no team of this file has a key" in notice
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = notice.rpartition("belongs there: ")[2]
    key, digest = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert digest.split()[0] == hashlib.sha256(key.encode()).hexdigest()


def test_a_reader_of_its_first_line_alone_does_not_end_it(tmp_path: Path) -> None:
    one = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--sandbox", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert one.stdout is not None
    url = one.stdout.readline().split()[-1]
    one.stdout.close()
    with urllib.request.urlopen(f"{url}/healthz") as answer:
        assert answer.status == 200
    one.terminate()
    assert one.wait(30) == 0
