"""A pgbouncer of one's own in front of a PostgreSQL server; skips where it is not installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from cluster.ports import free_ports
from cluster.postgres import NOBODY
from psycopg.conninfo import conninfo_to_dict

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECONDS = 15.0


@contextmanager
def pooler(url: str, *, mode: str = "transaction", size: int = 10) -> Iterator[str]:
    """The address of the database at `url` through one, which ends with the block.

    `size` is how many connections to the server its clients share.
    """
    if PROGRAM is None:
        pytest.skip("there is no pgbouncer: apt-get install pgbouncer")
    server = conninfo_to_dict(url)
    [port] = free_ports(1)
    through = url.replace(f":{server['port']}/", f":{port}/")
    with tempfile.TemporaryDirectory(prefix="image-gateway-pooler-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        users = folder / "users"
        users.write_text(f'"{server["user"]}" "{server["password"]}"\n', "utf-8")
        settings = folder / "settings"
        settings.write_text(
            f"[databases]\n* = host={server['host']} port={server['port']}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {size}\n",
            "utf-8",
        )
        process = subprocess.Popen(
            [PROGRAM, "-q", str(settings)], cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}),
        )  # fmt: skip
        try:
            _wait_for(through, process)
            yield through
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
