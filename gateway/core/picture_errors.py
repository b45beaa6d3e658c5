"""Kinds of pictures, and what can go wrong with one, in words that every layer may use.

The worker decides by these classes alone, so each says one thing only: whether the link, the
bytes or our own store is at fault, and whether trying again can help. Messages are sentences for
logs; they name a host at most, never a whole link, because links may carry signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "jp2": "image/jp2",
}
"""The kinds that are kept: the ending of a picture's name → the media type it is served under.

Only what is decoded in full and is nothing but pixels to a browser: an SVG, which may hold
scripts, is never one of them.
"""

ORDINARY: Final = frozenset({"png", "jpg", "webp"})
"""The kinds that upstream takes as references, and that OpenAI's clients know."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where bytes come from that are to be kept: the picture of a run at a place of its list."""

    run_id: str
    index: int
    team: str
    upstream: str
    host: str
    media_type: str
    at: float


@dataclass(frozen=True, slots=True)
class SetAside:
    """Paid bytes that are no picture, as they came, and why they are none.

    `kind` is the picture that they begin like, empty for none. `size_bytes` and `digest` are of
    the bytes.
    """

    name: str
    origin: Origin
    reason: str
    kind: str
    digest: str
    size_bytes: int


class PictureProblem(Exception):
    """A picture could not be fetched or kept; the message says why.

    `set_aside` tells whether the bytes that came lie where the operator can fetch them.
    """

    set_aside: bool = False


class LinkDead(PictureProblem):
    """The link will not give the picture: it is gone, or it points where we may not go."""


class LinkForbidden(LinkDead):
    """The link points where the gateway may not go."""


class LinkBroken(PictureProblem):
    """The link did not give the whole picture this time; it may work later."""


class NotAPicture(PictureProblem):
    """The bytes are not one whole picture of a kind that is kept.

    Of bytes that were to be kept, `digest` is their SHA-256 in hex.
    """

    digest: str = ""


class Undecodable(NotAPicture):
    """The bytes begin like a picture, and do not decode as a whole one."""


class TooCostly(Undecodable):
    """The bytes take more work to decode than any real picture does: so they prove nothing."""


class PictureTooLarge(PictureProblem):
    """The body has more bytes than the limit allows."""


class StoreFull(PictureProblem):
    """Our own store cannot take or read pictures now: no room, or the disk refuses."""


class StoreAway(StoreFull):
    """The folder is not the picture store: its disk is not mounted, or another one is.

    Nobody can tell then which pictures there are, and nothing may be written.
    """


def name_of(happened: object) -> str:
    """The class of what happened; of a problem with a picture, the one here that it belongs to."""
    own = type(happened).__mro__
    at = own.index(PictureProblem) if PictureProblem in own else 0
    return own[max(0, at - 1)].__name__
