"""What needs no key: kept pictures, and the addresses that only upstream knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.picture_errors import MEDIA_TYPES
from gateway.errors import NotFound
from gateway.web.openapi.operation import Door, Header, Operation

_PICTURES: Final = "Pictures"

OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        "GET",
        "/pictures/{name}",
        _PICTURES,
        "A kept picture",
        Door.OPEN,
        dict.fromkeys(MEDIA_TYPES.values()),
        description="Permanent. No key is needed: the name is the SHA-256 of the bytes.",
        path_words={"name": "The digest and the ending of its kind: " + ", ".join(MEDIA_TYPES)},
        headers=(
            Header("If-None-Match", "Answered 304 when it names the picture."),
            Header("Range", "A part of it."),
        ),
        answer_headers=(Header("ETag", "The digest."),),
        other_answers={
            206: "The part that `Range` asks for.",
            304: "It is the picture that `If-None-Match` names.",
            416: "`Range` asks for what is not there.",
        },
        refusals=(NotFound,),
    ),
    Operation(
        "POST",
        "/callbacks/{token}",
        _PICTURES,
        "Upstream's own call",
        Door.OPEN,
        {},
        description="Only upstream calls here, at addresses that it was told.",
        path_words={"token": "What the address was made with."},
        refusals=(NotFound,),
    ),
)
