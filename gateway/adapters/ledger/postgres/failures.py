"""PostgreSQL's errors told apart: what is to be done about each, and what the outside is told.

The rule: the code (`sqlstate`) says what it is, wherever there is one. Connections that are never
made have none, only a text. Nothing that is said here holds an address or a password.
"""

from __future__ import annotations

from typing import Final

import psycopg

from gateway.errors import Unavailable

RETRY_AFTER_SECONDS: Final = 5.0

_NO_ADDRESS: Final = (
    "its address cannot be read: write % / ? # : and @ of a password as %25 %2F %3F %23 %3A and %40"
)
_NO_PROOF: Final = (
    "the server's certificate is not proved: name the file of its authority behind the database in"
    " storage.ledger, as ?sslmode=verify-full&sslrootcert=/path/to/authority.pem"
)
_NO_TABLES: Final = "its tables are not there, or not as this gateway knows them: a restore perhaps"

CONFLICTS: Final = frozenset({"40001", "40P01"})
"""Serialisation failure and deadlock: undone, and to be done again."""

OVERTAKEN: Final = frozenset({"runs_one_live", "claims_pkey"})
"""Constraints that another process was quicker at: seen again, the decision is another one."""

ADVICE: Final = {
    "25006": "the server is read-only (a standby, or a fail-over under way): name all of its hosts",
    "25P03": "a transaction stood idle for too long and the server ended it",
    "25P04": "a transaction took too long and the server ended it",
    "28000": "the server lets this user in from nowhere or not from here: see its pg_hba.conf",
    "28P01": "the server refuses the password of storage.ledger",
    "3D000": "the server has no such database: make it, or mend the name in storage.ledger",
    "53100": "the server's disk is full; orders are taken again as soon as there is room",
    "53200": "the server is out of memory",
    "53300": "the server has too many connections: raise max_connections, or use a pooler"
    " (storage.postgres.pooler)",
    "55P03": "a lock was not to be had in time: something else holds the ledger's tables",
    "57014": "the server did not answer in time",
    "57P01": "the server is being stopped or ended the connection",
    "57P02": "the server has crashed and recovers",
    "57P03": "the server is starting up",
    "3F000": _NO_TABLES,
    "42703": _NO_TABLES,
    "42P01": _NO_TABLES,
    "42501": "the user of storage.ledger lacks a right: let it own its database",
}

TEXTS: Final = {
    "password authentication failed": ADVICE["28P01"],
    "no password supplied": "storage.ledger has no password, and the server wants one",
    "no pg_hba.conf entry": ADVICE["28000"],
    "does not support SSL": "the server speaks no TLS, and sslmode in storage.ledger wants it",
    "root certificate file": _NO_PROOF,
    "certificate verify failed": _NO_PROOF,
    "does not match host name": "the server's certificate is for another name than the host in"
    " storage.ledger",
    "invalid response to SSL": "what answers at the address of storage.ledger is no PostgreSQL",
    "failed: No such file or directory": "there is no socket of a server where storage.ledger says",
    "is not permitted to log in": "the user of storage.ledger may not log in: make it a LOGIN role",
    "does not exist": "the server has no such database or user: mend storage.ledger",
    "too many clients": ADVICE["53300"],
    "remaining connection slots": ADVICE["53300"],
    "too many connections": ADVICE["53300"],
    "session is read-only": ADVICE["25006"],
    "server is in hot standby": ADVICE["25006"],
    "starting up": ADVICE["57P03"],
    "shutting down": ADVICE["57P01"],
    "recovery mode": ADVICE["57P02"],
    "Connection refused": "nobody listens at the address of storage.ledger",
    "could not translate host name": "the host of storage.ledger has no address: mend its name",
    "failed to resolve host": "the host of storage.ledger has no address: mend its name",
    "Name or service not known": "the host of storage.ledger has no address: mend its name",
    "timeout": "the server did not answer in time",
    "cannot be read": _NO_ADDRESS,
    "unsupported startup parameter": "a pooler is in between: set storage.postgres.pooler: true",
}
"""What a connection that is not made says, whatever else is in its words."""

OTHERWISE: Final = "its PostgreSQL server failed or is away; the gateway's log says how"


def reason(error: psycopg.Error) -> str:
    """In words that say what to do."""
    found = ADVICE.get(error.sqlstate or "")
    if found is None and (error.sqlstate or "").startswith(("53", "58")):
        return "the server is at the end of something: disk, memory or connections"
    said = str(error)
    return found or next((why for text, why in TEXTS.items() if text in said), OTHERWISE)


def unavailable(error: psycopg.Error) -> Unavailable:
    """The public face of an error of the server; the error itself goes along as its cause."""
    face = Unavailable(
        f"The gateway's ledger cannot be used now: {reason(error)}.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
    face.__cause__ = error
    return face


def is_defect(error: BaseException) -> bool:
    """Whether it is the statement's own, and would be so again: constraints and bad data.

    Not that a table is missing: while a database is restored nothing is wrong with what is asked.
    """
    if isinstance(error, UnicodeEncodeError):
        return True
    kinds = psycopg.IntegrityError | psycopg.DataError | psycopg.ProgrammingError
    return isinstance(error, kinds) and getattr(error, "sqlstate", None) not in ADVICE


def is_conflict(error: psycopg.Error) -> bool:
    return error.sqlstate in CONFLICTS


def is_overtaken(error: psycopg.Error) -> bool:
    return isinstance(error, psycopg.IntegrityError) and (error.diag.constraint_name in OVERTAKEN)


def said(error: BaseException) -> str:
    """In the server's words, without the row that they are about: it may hold a prompt."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or (str(error).splitlines() or [type(error).__name__])[0]
