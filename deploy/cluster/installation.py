"""All of it on one machine: ledger, pictures, simulated upstream, three gateways, a balancer.

It starts what does not depend on each other at once, and ends everything, whatever happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cluster.balancer import Balancer
from cluster.gateways import Replica, Stores, settings
from cluster.ports import free_ports
from cluster.postgres import PostgresServer
from cluster.s3 import S3Server
from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox

NAMES: Final = ("gateway-1", "gateway-2", "gateway-3")
BUCKET: Final = "pictures"
_T = TypeVar("_T")

Told = Callable[[str], None]
"""Takes a sentence about what has just been done."""


@dataclass(frozen=True)
class Part:
    """One of the processes: what it is, where it listens, and its process's number."""

    name: str
    address: str
    pid: int | None
    does: str


@dataclass(frozen=True)
class Cluster:
    """What is running."""

    folder: Path
    postgres: PostgresServer
    s3: S3Server
    upstream: RunningSandbox
    replicas: tuple[Replica, ...]
    balancer: Balancer

    def parts(self) -> list[Part]:
        gateways = [
            Part(one.name, one.address, one.pid, "takes orders, makes what it took")
            for one in self.replicas
        ]
        upstream = self.upstream.base_url.removeprefix("http://")
        s3 = self.s3.endpoint.removeprefix("http://")
        return [
            Part("Caddy", f"127.0.0.1:{self.balancer.port}", self.balancer.pid, "the balancer"),
            *gateways,
            Part(
                "PostgreSQL",
                f"127.0.0.1:{self.postgres.port}",
                self.postgres.pid,
                "the ledger: orders, budgets, money",
            ),
            Part("SeaweedFS", s3, self.s3.pid, "the bucket: pictures"),
            Part("upstream", upstream, os.getpid(), "a simulated EvoLink, in this process"),
        ]


@contextlib.asynccontextmanager
async def cluster(folder: Path, *, seconds: float, told: Told) -> AsyncIterator[Cluster]:
    """For the length of the block; `seconds` is how long upstream takes for a picture.

    Raises `RuntimeError` with the last words of whoever does not start.
    """
    async with contextlib.AsyncExitStack() as ends:
        postgres, s3 = PostgresServer(folder / "postgres"), S3Server(folder / "s3")
        ends.push_async_callback(in_thread, postgres.stop)
        ends.callback(s3.kill)
        await together(_stores(postgres, told), _bucket(s3, told))
        options = SandboxOptions(seconds_per_picture=seconds, picture_scale=0.5)
        upstream = await ends.enter_async_context(running_sandbox(options))
        told(f"The simulated upstream answers; a picture takes it {seconds:.0f} s.")
        ports = free_ports(len(NAMES) + 1)
        balancer = Balancer(
            folder / "caddy", [f"127.0.0.1:{port}" for port in ports[1:]], port=ports[0]
        )
        stores = Stores(postgres.url("gateway"), f"s3://{BUCKET}/demo")
        replicas = tuple(
            Replica(
                name,
                port,
                folder / name,
                settings(
                    folder / name,
                    stores=stores,
                    upstream=upstream.base_url,
                    public_url=balancer.url,
                ),
                s3.environment,
            )
            for name, port in zip(NAMES, ports[1:], strict=True)
        )
        for one in replicas:
            ends.push_async_callback(in_thread, one.kill)  # where an orderly end has not come to it
        ends.push_async_callback(_stopped, replicas)
        ends.push_async_callback(in_thread, balancer.stop)
        began = time.monotonic()
        await together(*(in_thread(one.start) for one in replicas))
        told(f"Three gateways share both; {_since(began)}, the tables are made once.")
        await in_thread(balancer.start)
        told(f"Caddy shares requests out among those that are ready: {balancer.url}")
        yield Cluster(folder, postgres, s3, upstream, replicas, balancer)


async def _stopped(replicas: Sequence[Replica]) -> None:
    await together(*(in_thread(one.stop) for one in replicas))


async def together(*starts: Coroutine[Any, Any, object]) -> None:
    """Returns or raises when all are done, be it well or not: none may go on behind one's back."""
    for result in await asyncio.gather(*starts, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def in_thread(work: Callable[[], _T]) -> _T:
    """The result of what blocks. Who is cancelled meanwhile leaves when it is done, not before:
    what is about to start could not be ended yet."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        doing.exception()  # who was cancelled has no use for it
        raise


async def _stores(postgres: PostgresServer, told: Told) -> None:
    def start() -> str:
        postgres.start()
        postgres.sql("CREATE DATABASE gateway")
        return postgres.sql("SHOW server_version")

    began = time.monotonic()
    version = await in_thread(start)
    told(f"PostgreSQL {version} holds the ledger; {_since(began)}.")


async def _bucket(s3: S3Server, told: Told) -> None:
    def start() -> None:
        s3.start()
        s3.make_bucket(BUCKET)

    began = time.monotonic()
    await in_thread(start)
    told(f"SeaweedFS, an S3 server, has the bucket for pictures; {_since(began)}.")


def _since(began: float) -> str:
    return f"ready after {time.monotonic() - began:.1f} s"
