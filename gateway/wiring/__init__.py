"""Settings → a running gateway: the only package that imports adapters.

Building does no I/O; `start` opens the stores in the order that recovery needs, `stop` lets go
in the opposite order.

    gateway.py       a gateway's life: start, stop, reload
    adapters.py      what stands for the world outside, each made from its settings
    connections.py   those that the settings may change meanwhile: upstreams, receivers
    callback_addresses.py  the addresses at which upstream calls
    stages.py        the stories and drivers, each with what it works with
    pages.py         what is served: one expression for all doors
"""

from __future__ import annotations

from gateway.wiring.adapters import LEDGER_NAME, make_ledger, require_store
from gateway.wiring.connections import Outside
from gateway.wiring.gateway import Gateway

__all__ = ["LEDGER_NAME", "Gateway", "Outside", "make_ledger", "require_store"]
