"""Who is calling: the key in a request to a team, an operator or a scraper.

Keys are known only as SHA-256 digests; the digest is looked up and then compared in constant
time, so that neither the settings nor timing give a key away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.requests import Request

from gateway.core.model import Team
from gateway.core.policy import Policy
from gateway.errors import Unauthorized


def team_of(request: Request, policy: Policy) -> Team:
    """The team whose key the request carries. Raises `Unauthorized`."""
    digest = _digest_of_key(request)
    if digest is None:
        raise Unauthorized("No API key: send your team's key as 'Authorization: Bearer <key>'.")
    known = digest if digest in policy.keys else ""
    if not hmac.compare_digest(known, digest):
        raise Unauthorized(
            "This API key is not known here, or was revoked. Use the key that your platform "
            "team gave you for this gateway, not one of the upstream provider."
        )
    return policy.teams[policy.keys[digest]]


def carries_key(request: Request, digests: Iterable[str]) -> bool:
    """True when the request carries one of these keys; every digest is compared."""
    digest = _digest_of_key(request) or ""
    found = False
    for known in digests:
        found |= hmac.compare_digest(digest, known)
    return found


def _digest_of_key(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        return None
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()
