"""Result links as upstream writes them, read as a browser reads an address.

What stands in the task stays as it came, because our own link takes its place there. It is cleaned
when it is followed, and where it may lead is judged after that.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

MAX_LINK_CHARACTERS: Final = 8192
"""As long as servers take a request line. A link that is signed with a session has thousands."""

SPOOL: Final = "spool:"
"""How a link begins that leads to an answer on a gateway's own disk:
`spool:<run>-<attempt>/<index>`."""

_OUTER: Final = "".join(map(chr, range(0x21)))
"""Control characters and the blank: no part of an address at its ends."""

_ABSOLUTE: Final = re.compile(r"(https?)://", re.IGNORECASE)
_DATA: Final = re.compile(r"data:image/", re.IGNORECASE)
_KEPT: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"<>`{}\\')
_PLAIN: Final = re.compile(rf"https?://[{re.escape(_KEPT)}]*")
"""What is asked for as it is, which is nearly all."""

_PARTS: Final = re.compile(r"(https?://)([^/?#]*)(.*)", re.DOTALL)


def is_link(text: str) -> bool:
    """Whether this is the address of something, or a picture written out as one."""
    text = text.lstrip(_OUTER)
    return _ABSOLUTE.match(text) is not None or _DATA.match(text) is not None


def is_path(text: str) -> bool:
    """Whether this may be an address without its host."""
    text = text.lstrip(_OUTER)
    return text.startswith("/") and len(text) > 1 and " " not in text.strip(_OUTER)


def cleaned(text: str, base_url: str = "") -> str:
    """The link as it is asked for: outer blanks cut, what an address cannot hold encoded.

    An address without a host or a scheme goes on from `base_url`. The host stays as it is, so
    that it is judged as it came.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = re.sub(r"[\t\r\n]", "", text.strip(_OUTER))
    if _DATA.match(text):
        return text
    if is_path(text) and (base := _PARTS.fullmatch(base_url)):
        text = (base[1].removesuffix("//") if text.startswith("//") else base[1] + base[2]) + text
    if match := _ABSOLUTE.match(text):
        text = f"{match[1].lower()}://{text[match.end() :]}"
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return text
    path, mark, query = parts[3].partition("?")
    path = _encoded(path.replace("\\", "/"))
    return f"{parts[1]}{parts[2]}{path}{mark}{_encoded(query)}"


def _encoded(text: str) -> str:
    return quote(text, safe=_KEPT, errors="replace")
