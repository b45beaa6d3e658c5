"""Settings of words that say where ledger and pictures are, read as in `words`.

What stands in an address may be a password: no message shows any of it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr

from gateway.config.words import Text, choice, optional
from gateway.core.buckets import SCHEME, read_place
from gateway.core.proxies import masked

FOLDER = "folder"
SQLITE = "sqlite"
POSTGRES = ("postgresql://", "postgres://")
HOST = re.compile(r"(\[[^\[\]@]+\]|[^\[\]:@]*)(:(?P<port>[0-9]{1,5})?)?")
"""One host of an address: a name, an address or a socket's folder, with a port or without."""
PORTS = 65536
BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})|%00")


def ledger(value: object) -> str:
    """`sqlite`, or the address of a PostgreSQL database; no message ever shows it."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be sqlite or postgresql://user:password@host/database")
    if value == "memory":
        raise ValueError(
            "a ledger in memory is no longer available; use sqlite, with a new data_dir for a trial"
        )
    if value == SQLITE:
        return value
    if not value.startswith(POSTGRES):
        raise ValueError("must be sqlite or postgresql://user:password@host/database")
    return database(value)


def database(value: object) -> str:
    """The address of a PostgreSQL database; no message ever shows it."""
    form = "must be postgresql://user:password@host/database"
    no_host = f"{form}: behind a host's name stands nothing but : and a port's number"
    if not isinstance(value, str) or not value.startswith(POSTGRES):
        raise ValueError(form)
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError(f"{form}, without spaces and line breaks")
    try:
        parts = urlsplit(value)
    except ValueError:  # of brackets: some versions of the library read what others refuse
        raise ValueError(no_host) from None
    if "@" in parts.path or "@" in parts.fragment or parts.fragment:
        raise ValueError(f"{form}; write / ? # and @ of a password as %2F %3F %23 and %40")
    if BAD_ESCAPE.search(value):
        raise ValueError(f"{form}; write % of a password as %25")
    user, _, hosts = parts.netloc.rpartition("@")
    if "@" in user:
        raise ValueError(f"{form}; write @ of a password as %40")
    has_host = hosts or "host=" in parts.query
    if not has_host or not parts.path.strip("/"):
        raise ValueError(f"{form}: a host or the database's name is missing")
    if not all(map(_is_host, hosts.split(","))):
        raise ValueError(no_host)
    return str(value)


def _is_host(written: str) -> bool:
    """Whether it is one, with a port that can be one. A password without its @ looks like a port,
    and would be told by who fails to read it."""
    found = HOST.fullmatch(written)
    return found is not None and 0 < int(found["port"] or 1) < PORTS


def show_ledger(value: SecretStr | None) -> str | None:
    """Where it is, without its password and what follows the database's name."""
    place = value.get_secret_value() if value else None
    if place is None or place == SQLITE:
        return place
    return masked(place) + urlsplit(place).path


def pictures(value: str) -> str:
    """`folder`, or a bucket as it is written out."""
    if value == FOLDER:
        return value
    if not value.startswith(SCHEME):
        raise ValueError("must be folder or s3://bucket/prefix")
    return str(read_place(value))


class Serve(StrEnum):
    """Who gives clients the bytes of pictures in a bucket."""

    STREAM = "stream"
    REDIRECT = "redirect"


DatabaseOrNone = Annotated[
    SecretStr | None, BeforeValidator(optional(database)), PlainSerializer(show_ledger)
]
LedgerPlace = Annotated[SecretStr, BeforeValidator(ledger), PlainSerializer(show_ledger)]
PicturesPlace = Annotated[Text, AfterValidator(pictures)]
Serving = Annotated[Serve, BeforeValidator(choice(Serve)), PlainSerializer(str)]
