"""Gateways as processes of their own on one PostgreSQL and one bucket, behind one balancer.

Everything is started on free ports of this machine and ended with the block. What each part takes
of the processors is read from `/proc`, so it is known whatever else the machine does. Nothing is
pinned: several gateways share all cores.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster.balancer import Balancer
from cluster.gateways import Replica
from cluster.ports import free_ports
from cluster.postgres import PostgresServer
from cluster.programs import Program
from cluster.s3 import S3Server

from benchmarks import installation
from benchmarks.processors import family
from benchmarks.stand import listens

BUCKET: Final = "pictures"


@dataclass
class Site:
    """The parts that run. `gateways` and `balancer` change from one measurement to the next."""

    folder: Path
    ledger: PostgresServer
    bucket: S3Server
    upstream: Program
    upstream_url: str
    gateways: list[Replica] = field(default_factory=list)
    balancer: Balancer | None = None

    @property
    def base_url(self) -> str:
        """Where orders go."""
        assert self.balancer is not None
        return self.balancer.url

    def add_gateway(self) -> None:
        """One more, and a balancer in front of all that there are; the former one ends."""
        number, (port,) = len(self.gateways) + 1, free_ports(1)
        home = self.folder / f"gateway-{number}"
        settings = self._settings(home)
        one = Replica(home.name, port, home, settings, self.bucket.environment)
        self.gateways.append(one)
        one.start()
        if self.balancer is not None:
            self.balancer.stop()
        addresses = [each.address for each in self.gateways]
        self.balancer = Balancer(self.folder / f"balancer-{number}", addresses)
        self.balancer.start()

    def end(self) -> None:
        if self.balancer is not None:
            self.balancer.stop()
        for one in self.gateways:
            one.stop()

    def _settings(self, home: Path) -> Mapping[str, Any]:
        """The installation of the other benches, on shared stores; pictures in a bucket."""
        found: dict[str, Any] = json.loads(installation.settings(self.upstream_url, home / "data"))
        found["storage"] |= {"ledger": self.ledger.url(), "pictures": f"s3://{BUCKET}/kept"}
        found["upstreams"]["evolink"] |= {
            "poll": {"first": "500ms", "every": "500ms", "max": "2s"},
            "max_connections": 400,
        }
        return found

    def processes(self) -> Mapping[str, list[int]]:
        """The processes of each part, as they are now."""
        (postmaster, *_) = (self.folder / "ledger/data/postmaster.pid").read_text().split()
        parts: dict[str, list[int | None]] = {
            "gateways": [one.pid for one in self.gateways],
            "balancer": [self.balancer.pid] if self.balancer else [],
            "PostgreSQL": [int(postmaster)],
            "bucket": [self.bucket.pid],
            "upstream": [self.upstream.pid],
        }
        known = {name: [pid for pid in pids if pid] for name, pids in parts.items()}
        return {name: family(pids) for name, pids in known.items()}


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """The stores and the simulated upstream, without a gateway yet."""
    with contextlib.ExitStack() as ends:
        ledger = PostgresServer(folder / "ledger")
        ends.callback(ledger.stop)
        ledger.start()
        bucket = ends.enter_context(S3Server(folder / "bucket"))
        bucket.make_bucket(BUCKET)
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "gateway", "sandbox", "--seconds", "1"]
        upstream = Program("upstream", [*command, "--port", str(port)], folder / "upstream.log")
        ends.callback(upstream.stop)
        one = Site(folder, ledger, bucket, upstream, f"http://127.0.0.1:{port}")
        ends.callback(one.end)
        upstream.start(lambda: listens(port))
        yield one
