"""What a kept picture is called: the digest of its bytes and the ending of its kind."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.picture_errors import MEDIA_TYPES

_NAME: Final = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(MEDIA_TYPES)})")


def is_picture_name(name: str) -> bool:
    """Whether a kept picture may be called so."""
    return _NAME.fullmatch(name) is not None


def media_type_of(name: str) -> str:
    """Of a picture's name."""
    return MEDIA_TYPES[name.partition(".")[2]]
