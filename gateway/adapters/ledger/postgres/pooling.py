"""Whether what lasts beyond a transaction lasts: not behind a pooler that shares connections by it.

There a session's settings, locks and prepared statements are left with a connection of the server
that others get next. A server's own process knows itself by the number that it gave to its client
at the start; with a pooler in between the two differ, and what it shares by is tried out.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import psycopg

from gateway.errors import Unavailable

SHARED: Final = (
    "A pooler between here and the PostgreSQL server shares connections by transaction: set"
    " storage.postgres.pooler: true, and name the server's own address, past the pooler, in"
    " storage.postgres.direct."
)
_ROUNDS: Final = 4

Connection = psycopg.Connection[Any]


def require_own_session(connection: Connection, url: str) -> None:
    """Raises `Unavailable` where this connection's session is not its own."""
    if is_shared(connection, url):
        raise Unavailable(SHARED)


def is_shared(connection: Connection, url: str) -> bool:
    """Idle connections only. Two that are open at a time never have one process in common, nor
    one of them two processes, unless they are shared."""
    if _process(connection) == connection.info.backend_pid:
        return False
    other = psycopg.connect(url, autocommit=True, prepare_threshold=None, connect_timeout=5)
    with closing(other):
        own, others = set[int](), set[int]()
        for _ in range(_ROUNDS):
            own |= {_process(connection), _process(connection)}
            others.add(_process(other))
    return len(own) > 1 or bool(own & others)


def _process(connection: Connection) -> int:
    found = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    return int(found[0]) if found else 0
