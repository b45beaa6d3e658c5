"""Settings → a running gateway: the only package that imports adapters.

Building does no I/O; `start` opens the stores in the order that recovery needs, `stop` lets go
in the opposite order.

    gateway.py             a gateway's life: start, stop, reload
    adapters.py            what stands for the world outside, each made from its settings
    connections.py         those that the settings may change meanwhile: upstreams, receivers
    kinds.py               the kinds of upstream there are
    looks.py               whether upstreams take their keys and have the models
    callback_addresses.py  the addresses at which upstream calls
    picture_store.py       whether the picture folder is the one that the ledger knows
    backups.py             a backup of an installation is made
    restores.py            and becomes one again
    moves.py               an installation is moved to other stores
    services.py            the use cases, and what runs in the background
    endpoints.py           what is served
"""

from __future__ import annotations

from gateway.adapters.ledger.moving.carrying import AlreadyMoved
from gateway.wiring.adapters import (
    LEDGER_NAME,
    make_ledger,
    require_bucket,
    require_store,
    require_way_past_pooler,
)
from gateway.wiring.backups import Backup
from gateway.wiring.connections import Outside
from gateway.wiring.gateway import Gateway
from gateway.wiring.moves import Move, come_back, make_place, origin
from gateway.wiring.restores import Restore

__all__ = [
    "LEDGER_NAME",
    "AlreadyMoved",
    "Backup",
    "Gateway",
    "Move",
    "Outside",
    "Restore",
    "come_back",
    "make_ledger",
    "make_place",
    "origin",
    "require_bucket",
    "require_store",
    "require_way_past_pooler",
]
