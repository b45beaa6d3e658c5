"""`make cluster`: three gateways at work on one machine, and one of them killed.

Starts everything in a temporary folder, tells the story, and stays until it is interrupted;
whatever happens, it ends what it has started. Exit status 0 when all was as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx

from cluster.gateways import MODEL
from cluster.guard import Guard
from cluster.installation import Cluster, cluster
from cluster.story import Story, Surprise
from cluster.telling import Telling
from gateway import serving
from gateway.config.sandbox import ADMIN_KEY, TEAM_KEY

LONGEST_SECONDS: Final = 600.0
OTHER_SERVERS: Final = re.compile("AWS_.*|PG[A-Z]+")
"""Variables by which clients of S3 and PostgreSQL find, and enter, a server."""
EXIT_FAILED: Final = 1
EXIT_UNHEARD: Final = 128 + signal.SIGPIPE


def main() -> None:
    arguments = _arguments()
    _forget_other_servers()
    folder = Path(tempfile.mkdtemp(prefix="image-gateway-cluster-"))
    code = EXIT_FAILED
    try:
        with Guard(folder):
            code = serving.run(_until_stopped(_show(folder, arguments)))
    finally:
        if code == EXIT_FAILED:
            print(f"The logs of all processes are left in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make cluster",
        description="Three gateways on PostgreSQL and S3 behind Caddy, all on this machine:"
        " no root, no container, no key, nothing paid. One is killed in the middle of its"
        " work, and nothing is lost.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end when the story is told, instead of staying until Ctrl-C (make cluster ONCE=1)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=4.0,
        help="how long the simulated upstream takes for a picture (default: 4)",
    )
    return parser.parse_args()


def _seconds(written: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(written) <= LONGEST_SECONDS:
            return float(written)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to {LONGEST_SECONDS:.0f}")


def _forget_other_servers() -> None:
    """What the environment says of the user's own bucket and database: it goes before what the
    servers here are called by, so that the gateways would ask elsewhere."""
    for name in [name for name in os.environ if OTHER_SERVERS.fullmatch(name)]:
        del os.environ[name]


async def _until_stopped(story: Coroutine[Any, Any, int]) -> int:
    """Its exit status; 128 and more when a signal ended it, after all has been ended."""
    stop = serving.catch_stop_signals()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.put_nowait, signal.SIGHUP)
    telling = asyncio.ensure_future(story)
    stopped = asyncio.ensure_future(stop.get())
    await asyncio.wait([telling, stopped], return_when=asyncio.FIRST_COMPLETED)
    if telling.done():
        stopped.cancel()
        return telling.result()
    telling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await telling
    return 128 + stopped.result()


async def _show(folder: Path, arguments: argparse.Namespace) -> int:
    telling = Telling()
    telling.title("image-gateway cluster")
    telling.say(
        "Three gateways that share a PostgreSQL ledger and an S3 bucket, with Caddy in front."
        f" All run on this machine, in {folder}; nothing is paid and nothing leaves it.\n"
    )
    try:
        async with (
            cluster(folder, seconds=arguments.seconds, told=telling.did) as running,
            httpx.AsyncClient(base_url=running.balancer.url, timeout=40, trust_env=False) as client,
        ):
            telling.parts(running.parts())
            telling.facts(_places(running))
            await Story(running, telling, client).tell()
            if not arguments.once:
                await _stay(telling, running)
    except asyncio.CancelledError:
        telling.say("\nInterrupted. All processes are ended.")
        raise
    except BrokenPipeError:  # nobody reads any more
        return EXIT_UNHEARD
    except (Surprise, RuntimeError, OSError, httpx.TransportError) as problem:
        telling.failed(str(problem) or repr(problem))
        return EXIT_FAILED
    telling.say("\nAll processes are ended.")
    return 0


def _places(running: Cluster) -> dict[str, str]:
    base = running.balancer.url
    return {
        "address": base,
        "console": f"{base}/console",
        "team key": TEAM_KEY,
        "admin key": ADMIN_KEY,
        "logs": f"{running.folder}/*/log",
    }


async def _stay(telling: Telling, running: Cluster) -> None:
    """Until it is interrupted, which is how it is meant to end."""
    telling.scene("Now try your own", "It goes on until Ctrl-C. Order, and kill whom you like:")
    for line in (
        f"curl {running.balancer.url}/v1/images/generations \\",
        f"  -H 'Authorization: Bearer {TEAM_KEY}' -H 'Prefer: wait=20' \\",
        f"""  -d '{{"model":"{MODEL}","prompt":"a red bicycle","quality":"low"}}'""",
        f"kill -9 {running.replicas[-1].pid}",
    ):
        telling.line(line)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
