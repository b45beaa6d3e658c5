"""What can go wrong while a picture is fetched and kept, in words that every layer may use.

The worker decides by these classes alone, so each says one thing only: whether the link, the
bytes or our own store is at fault, and whether trying again can help. Messages are for logs;
they name a host at most, never a whole link, because links may carry signatures.
"""

from __future__ import annotations


class PictureProblem(Exception):
    """A picture could not be fetched or kept; the message says why."""


class LinkDead(PictureProblem):
    """The link will not give the picture: it is gone, or it points where we may not go."""


class LinkForbidden(LinkDead):
    """The link points where the gateway may not go."""


class LinkBroken(PictureProblem):
    """The link did not give the whole picture this time; it may work later."""


class NotAPicture(PictureProblem):
    """The bytes are not one whole PNG, JPEG or WebP."""


class TooCostly(NotAPicture):
    """The bytes take more work to decode than any real picture does: so they prove nothing."""


class PictureTooLarge(PictureProblem):
    """The body has more bytes than the limit allows."""


class StoreFull(PictureProblem):
    """Our own store cannot take or read pictures now: no room, or the disk refuses."""


def name_of(happened: object) -> str:
    """The class of what happened; of a problem with a picture, the one here that it belongs to."""
    own = type(happened).__mro__
    at = own.index(PictureProblem) if PictureProblem in own else 0
    return own[max(0, at - 1)].__name__
