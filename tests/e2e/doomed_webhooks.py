"""A gateway that kills itself (SIGKILL) when a callback is answered, before it can record that.

    python doomed_webhooks.py SETTINGS PORT CERTIFICATES

CERTIFICATES is a file of authorities that receivers of callbacks are trusted by.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

from gateway.config import parse
from gateway.core.delivery import Outcome
from gateway.core.model import Delivery
from gateway.ports.outbound import Callbacks
from gateway.serving import InProcessServer
from gateway.wiring import Gateway


class Deadly:
    """Delivers, and dies."""

    def __init__(self, real: Callbacks) -> None:
        self._real = real

    async def deliver(self, delivery: Delivery, body: bytes) -> Outcome:
        outcome = await self._real.deliver(delivery, body)
        os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    async def aclose(self) -> None:
        await self._real.aclose()


async def main(settings: str, port: int, certificates: str) -> None:
    trust = ssl.create_default_context(cafile=certificates)
    gateway = Gateway(parse(Path(settings).read_text(), {}), callback_tls=trust)
    gateway.webhooks.callbacks = Deadly(gateway.webhooks.callbacks)
    await gateway.start()
    http = InProcessServer(gateway.app, port=port)
    await http.start()
    gateway.bound(http.bound_port)
    print("ready", flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
