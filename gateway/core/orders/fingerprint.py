"""An order's cache name: a digest of everything that can change the picture, and of the scope.

Two orders with one fingerprint may share one paid run; so whatever is not known to be without
effect on the picture is in it, fields we do not know included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from gateway.core.catalog import CacheScope, ImageModel, Team
from gateway.core.model import Order

VERSION: Final = 1
"""Part of the digest: raise it when the meaning of an order changes."""


_encoded: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces."""
    return _encoded(value)


def fingerprint(order: Order, team: Team, model: ImageModel) -> str:
    """64 hex digits. An absent `n` means 1 everywhere, so the two are one order.

    `model` is the order's. Where the operator lets other models make its pictures, these are in it.
    """
    scope = "*" if team.cache_scope is CacheScope.ORGANIZATION else team.name
    body = {**order.body, "n": order.n}
    named: list[object] = [VERSION, team.cache_scope, scope, order.model, body]
    if order.digests:
        known = {place: url for place, url in references(order).items() if url in order.digests}
        body.update(_by_their_bytes(order, known))
        if known:  # told, so that no text of a client's own can pass for a digest
            named.append(sorted(known))
    if model.others:
        named.append({"made_by": list(model.others)})
    return hashlib.sha256(canonical_json(named).encode()).hexdigest()


def claim_digest(order: Order) -> str:
    """64 hex digits for an `Idempotency-Key`: everything that the caller sent, callback included.

    Whoever shares pictures with whom does not matter here, nor what is behind a link.
    """
    return _claimed(order, {**order.body, "n": order.n})


def claim_name(order: Order) -> str:
    """What a claim keeps of its order: its digest, and where defaults filled something in, behind a
    blank the one of what the caller said. So a changed default makes no other order of it."""
    said = {name: value for name, value in order.body.items() if name not in order.filled}
    digests = (claim_digest(order), _claimed(order, {"n": 1, **said}))
    return " ".join(dict.fromkeys(digests))


def is_same_claim(one: str, other: str) -> bool:
    """Whether two claims are of one order: as it was made whole, or as it was said."""
    return not set(one.split()).isdisjoint(other.split())


def _claimed(order: Order, body: Mapping[str, object]) -> str:
    named = canonical_json([VERSION, order.model, body, order.callback_url])
    return hashlib.sha256(named.encode()).hexdigest()


def references(order: Order) -> Mapping[str, str]:
    """The links to reference pictures by their place, such as `image_urls[0]` or `mask_url`."""
    urls, mask = order.body.get("image_urls"), order.body.get("mask_url")
    listed = urls if isinstance(urls, list) else []
    found = {f"image_urls[{i}]": url for i, url in enumerate(listed) if isinstance(url, str)}
    return {**found, "mask_url": mask} if isinstance(mask, str) else found


def _by_their_bytes(order: Order, known: Mapping[str, str]) -> Mapping[str, object]:
    """The fields that hold references, with a digest in place of each link whose bytes are known.

    Their order stays as it is: upstream reads a meaning into it.
    """
    named = {place: f"sha256:{order.digests[url]}" for place, url in known.items()}
    fields: dict[str, object] = {"mask_url": named["mask_url"]} if "mask_url" in named else {}
    urls = order.body.get("image_urls")
    if isinstance(urls, list):
        fields["image_urls"] = [named.get(f"image_urls[{i}]", url) for i, url in enumerate(urls)]
    return fields
