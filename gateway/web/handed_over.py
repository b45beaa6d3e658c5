"""A kept picture left to the proxy in front, which sends its file itself (`server.hand_over`).

Only what comes through a proxy that asks for it, by the request header that Rack made usual, is
left to it: who comes past the proxy gets the picture from here. An answer without a body, which
says that it is good for ever, would stay in a browser or a cache for as long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from gateway.config.words import HandOver
from gateway.core.picture_names import media_type_of

ASKED_BY: Final = "X-Sendfile-Type"
"""The proxy names the header here by which it wants to be told."""

INTERNAL: Final = "/kept-pictures"
"""Below it nginx has the folder of pictures, for nobody but itself."""

_JUDGED_HERE: Final = ("if-match", "if-unmodified-since")
"""Nothing changes a picture, so we do not heed these; a proxy knows its own tag of the file alone,
and would refuse."""


def may_be_handed_over(request: Request, how: HandOver) -> bool:
    """Whether the proxy that the request comes through sends files of ours."""
    asked = request.headers
    return (
        how is not HandOver.NONE
        and asked.get(ASKED_BY, "").lower() == how
        and not any(name in asked for name in _JUDGED_HERE)
    )


class HandedOver(Response):
    """Without a body: where the file is, and all that the client is told of the picture."""

    def __init__(self, name: str, path: Path, headers: Mapping[str, str], how: HandOver) -> None:
        varied = {**headers, "Vary": ASKED_BY}  # where a client says it, its answer is its own
        super().__init__(headers=varied, media_type=media_type_of(name))
        if how is HandOver.X_ACCEL_REDIRECT:
            place = f"{INTERNAL}/{path.parent.name}/{path.name}".encode()
        else:
            place = quote(os.fsencode(path.absolute())).encode()  # they read it as an address
        self.raw_headers.append((how.encode(), place))
