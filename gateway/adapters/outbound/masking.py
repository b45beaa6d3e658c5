"""How an answer comes in: bounded, and without the organisation's key, in whatever encoding.

Every adapter that sends the key reads its answers here. Upstream may repeat the key in an error, a
link or a header, and what it says reaches teams, the ledger and the log word by word.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Final

import httpx2 as httpx

from gateway.adapters.outbound.said import VendorAnswer
from gateway.core.kinds import SHORTEST_SECRET
from gateway.ports.calls import CallAnswer

REDACTED: Final = b"[redacted]"

USED_HEADERS: Final = ("apim-request-id", "cf-ray", "content-type", "date", "idempotency-replayed",
                       "retry-after", "retry-after-ms", "server", "x-request-id")  # fmt: skip
"""All that anybody reads of an answer's head."""

SHORTEST_CORE: Final = 8
"""Base64 of fewer characters could be anything."""


_ESCAPES: Final = re.compile(rb"[\\%&]")
"""What every escaped form of a byte begins with."""


class Mask:
    """Takes one secret out of bytes, however it is written there.

    One of fewer than `SHORTEST_SECRET` characters is none: words and numbers would go with it.
    """

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        self._pattern = re.compile(_pattern(key)) if len(secret) >= SHORTEST_SECRET else None
        self._unescaped = (key.lower(), key.hex().encode())
        self._cores = _base64_cores(key)

    def bytes(self, raw: bytes) -> bytes:
        if self._pattern is None or not _may_be_in(raw, self._unescaped, self._cores):
            return raw
        return self._pattern.sub(REDACTED, raw)

    def text(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogateescape")
        return self.bytes(raw).decode("utf-8", "surrogateescape")


def _may_be_in(raw: bytes, unescaped: Iterable[bytes], cores: Iterable[bytes]) -> bool:
    """Where nothing is escaped it can only stand there as it is, which is seen in 2 µs for an
    answer to a poll; the pattern takes 33 to find nothing."""
    if _ESCAPES.search(raw):
        return True
    lowered = raw.lower()
    return any(form in lowered for form in unescaped) or any(core in raw for core in cores)


def masked(answer: CallAnswer, mask: Mask) -> VendorAnswer:
    """It is masked as a whole: the key may lie across two pieces."""
    body = None if answer.body is None else mask.bytes(answer.body)
    return VendorAnswer(answer.status, body, used_headers(answer.headers, mask))


async def received(response: httpx.Response, mask: Mask, *, max_bytes: int) -> VendorAnswer:
    """The answer with its whole body, or None as the body when that is larger than `max_bytes`."""
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > max_bytes:
                break
        whole = None if len(body) > max_bytes else bytes(body)
        return masked(CallAnswer(response.status_code, response.headers, whole), mask)
    finally:
        await response.aclose()


def used_headers(headers: Mapping[str, str], mask: Mask) -> dict[str, str]:
    told = [(name, headers.get(name)) for name in USED_HEADERS]
    found = {name: value for name, value in told if value is not None}
    all_of_it = "\n".join(found.values())
    if mask.text(all_of_it) == all_of_it:  # as nearly always, seen in one look
        return found
    return {name: mask.text(value) for name, value in found.items()}


def _pattern(secret: bytes) -> bytes:
    """The secret plain, escaped for JSON, percent-encoded or as HTML, even mixed; hex; base64.

    What is escaped may be escaped again, in a JSON text within JSON, say. Every repetition has a
    bound, so that no body makes the search slow.
    """
    written = b"".join(_written(byte) for byte in secret)
    whole = [b"(?i:" + written + b")", b"(?i:" + secret.hex().encode() + b")"]
    return b"|".join([*whole, *(re.escape(core) for core in _base64_cores(secret))])


def _written(byte: int) -> bytes:
    code = b"%02x" % byte
    forms = (
        rb"\\{0,8}" + re.escape(bytes([byte])),
        rb"\\{1,8}(?:u00|x)" + code,
        rb"%(?:25){0,8}" + code,
        rb"&(?:amp;){0,8}#(?:0{0,8}" + str(byte).encode() + rb"|x0{0,8}" + code + rb");",
    )
    return b"(?:" + b"|".join(forms) + b")"


def _base64_cores(secret: bytes) -> set[bytes]:
    """What base64 of any text with the secret in it has in common, in both alphabets.

    The text before it shifts it by none, one or two bytes; what depends on neighbours is left out.
    """
    cores = set()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        start = (shift * 8 + 5) // 6
        end = (shift + len(secret)) * 8 // 6
        core = encoded[start:end]
        if len(core) >= SHORTEST_CORE:
            cores |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return cores
