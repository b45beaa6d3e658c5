"""Who is calling: the key in a request to a team, an operator or a scraper.

Keys are known only as SHA-256 digests. A team's is looked up by it, an operator's compared with
each in constant time: what timing tells of a digest says nothing of a key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from starlette.requests import Request

from gateway.core.catalog import DIGEST_DIGITS, Team
from gateway.core.policy import Current, Policy
from gateway.errors import Unauthorized

KEY_HEADERS: Final = ("x-api-key", "api-key", "x-goog-api-key")
"""Where other services' clients put their keys."""


def team_of(request: Request, current: Current) -> Team:
    """The team whose key the request carries. Raises `Unauthorized`."""
    digest = _digest_of_key(request)
    if digest is None:
        raise Unauthorized(_no_key(request, "your team's key"))
    team = current.granted(digest)
    if team is None:
        raise Unauthorized(
            "This API key is not known here, or was revoked. Use the key that your platform "
            "team gave you for this gateway, not one of the upstream provider."
        )
    return team


def operator_of(request: Request, policy: Policy) -> str:
    """Who acts, by the name of the admin key that the request carries, or the start of its digest.

    Raises `Unauthorized`; a team's key is not enough.
    """
    if not policy.admin_keys:
        raise Unauthorized(
            "There is no admin key yet: put the SHA-256 of one into server.admin_keys of the "
            "settings file, and reload it with SIGHUP."
        )
    digest = _digest_of_key(request)
    if digest is None:
        raise Unauthorized(_no_key(request, "an admin key"))
    if not carries_key(request, policy.admin_keys):
        raise Unauthorized(
            "This is not an admin key. Send a key whose SHA-256 stands in server.admin_keys."
        )
    return policy.admin_keys[digest] or digest[:DIGEST_DIGITS]


def carries_key(request: Request, digests: Iterable[str]) -> bool:
    """True when the request carries one of these keys; every digest is compared."""
    digest = _digest_of_key(request) or ""
    found = False
    for known in digests:
        found |= hmac.compare_digest(digest, known)
    return found


def _no_key(request: Request, whose: str) -> str:
    """What is missing, said of what there is instead. A key itself is never repeated."""
    right = f"send {whose} as 'Authorization: Bearer <key>'."
    said = _said(request)
    if len(said) > 1:
        return f"'Authorization' stands there more than once, and says different things: {right}"
    if said:
        return f"'Authorization' does not have the form 'Bearer <key>': {right}"
    for name in KEY_HEADERS:
        if name in request.headers:
            return f"A key in '{name}' is not looked at: {right}"
    return f"No API key: {right}"


def _digest_of_key(request: Request) -> str | None:
    said = _said(request)
    if len(said) != 1:  # which of several counts, each proxy on the way would decide for itself
        return None
    [(scheme, key)] = said
    if scheme != "bearer" or not key:
        return None
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()


def _said(request: Request) -> set[tuple[str, str]]:
    """The schemes and what follows them, of all headers that say anything."""
    parts = [one.partition(" ") for one in request.headers.getlist("authorization") if one]
    return {(scheme.lower(), key.strip()) for scheme, _, key in parts}
