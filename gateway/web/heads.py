"""Which headers a request has, found out once.

Most looks among them are for one that is not there, and each takes a microsecond or two: Starlette
goes through all of them, and raises in between. A cached answer is looked at so eight times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request

_NAMES: Final = "gateway.header_names"


def has(request: Request, name: str) -> bool:
    """Whether the request has a header of this name, which is in small letters."""
    names = request.scope.get(_NAMES)
    if names is None:
        names = request.scope[_NAMES] = {one for one, _ in request.scope["headers"]}
    return name.encode() in names


def lines(request: Request, name: str) -> Sequence[str]:
    """All that it says in headers of this name, which is in small letters."""
    return request.headers.getlist(name) if has(request, name) else ()
