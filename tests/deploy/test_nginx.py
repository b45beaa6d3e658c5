"""The site for nginx: as wide and as patient as the gateway's own limits, and nginx takes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from deployed import DEPLOY

from gateway.config.schema import ServerSettings
from gateway.web.openai.edits import FILES_BYTES

SITE = (DEPLOY / "nginx.conf").read_text("utf-8")


def told(directive: str) -> str:
    (value,) = re.findall(rf"^ *{directive} +(.+);$", SITE, re.MULTILINE)
    return str(value)


def test_it_waits_longer_and_takes_more_than_the_gateway() -> None:
    for directive in ("proxy_read_timeout", "proxy_send_timeout"):
        assert int(told(directive).removesuffix("s")) > ServerSettings().openai_wait_seconds
    room = int(told("client_max_body_size").removesuffix("m")) * 1024 * 1024
    assert room > max(FILES_BYTES, ServerSettings().upload_limit_bytes)
    assert told("proxy_request_buffering") == "off"
    assert f":{ServerSettings().port};" in SITE


def test_nginx_takes_it(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    if nginx is None:
        if os.environ.get("CI"):
            pytest.fail("nginx is not installed; .ci/run installs it")
        pytest.skip("nginx is not installed")
    site = re.sub(r"^ *ssl_.*\n", "", SITE, flags=re.MULTILINE).replace("443 ssl", "127.0.0.1:8443")
    (tmp_path / "site.conf").write_text(site)
    whole = tmp_path / "nginx.conf"
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {folders} include {tmp_path}/site.conf; }}"
    )
    command = [nginx, "-t", "-c", str(whole), "-p", str(tmp_path)]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert tried.returncode == 0, tried.stderr
