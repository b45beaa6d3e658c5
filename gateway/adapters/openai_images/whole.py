"""What a whole answer says, and where its pictures are in it.

The pictures stay where they are. What is left is small, is masked, and may be shown and written
down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from gateway.adapters.openai_images.outline import Outline, Span, Unreadable
from gateway.adapters.outbound.masking import Mask
from gateway.core.links import is_link, is_path

MAX_TEXT: Final = 65_536
"""Bytes of a text that is kept as one, a prompt rewritten, say. A longer one is left out."""

MAX_DEPTH: Final = 32
PICTURE: Final = "b64_json"
LINK: Final = "url"
_WRITTEN_OUT: Final = b"data:"

Picture = Span | str
"""Base64 at a place of the file, or a link."""


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """`said` is its JSON without the pictures, which `pictures` leads to, in their order."""

    said: Mapping[str, Any]
    pictures: tuple[Picture, ...]


def read_whole(outline: Outline, raw: Callable[[Span], bytes], mask: Mask) -> AnswerRead:
    """`raw` gives what lies at a place. Raises `Unreadable` when it is no JSON object."""
    reading = _Reading(outline, raw, mask)
    if not isinstance(outline.plain, dict):
        raise Unreadable("it is no object")
    whole = reading.named(outline.plain)
    data = whole.pop("data", None)
    said = {name: reading.restored(value, 1) for name, value in whole.items()}
    if not isinstance(data, list):
        return AnswerRead(said | ({} if data is None else {"data": reading.restored(data, 1)}), ())
    entries = [reading.named(one) for one in data if isinstance(one, dict)]
    pictures = [reading.picture(entry) for entry in entries]
    said["data"] = [{name: reading.restored(one, 2) for name, one in e.items()} for e in entries]
    return AnswerRead(said, tuple(one for one in pictures if one is not None))


class _Reading:
    def __init__(self, outline: Outline, raw: Callable[[Span], bytes], mask: Mask) -> None:
        self._spans = outline.spans
        self._raw = raw
        self._mask = mask

    def named(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """An object with its own names. Of a name that comes twice the last counts."""
        return {self._text(name): value for name, value in plain.items()}

    def restored(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.restored(one, depth + 1) for one in value]
        if isinstance(value, dict):
            return {name: self.restored(one, depth + 1) for name, one in self.named(value).items()}
        return value

    def picture(self, entry: dict[str, Any]) -> Picture | None:
        """The picture of an entry, taken out of it where it is written out; None without one."""
        coded = entry.pop(PICTURE, None)
        if isinstance(coded, str) and self._spans[int(coded)].length:
            return self._spans[int(coded)]
        link = entry.get(LINK)
        if not isinstance(link, str):
            return None
        span = self._spans[int(link)]
        if self._raw(Span(span.start, min(span.stop, span.start + 5))).lower() == _WRITTEN_OUT:
            del entry[LINK]
            return span
        text = self._text(link)
        return text if is_link(text) or is_path(text) else None

    def _text(self, number: str) -> str:
        span = self._spans[int(number)]
        if span.length > MAX_TEXT:
            return ""
        return unescaped(self._mask.bytes(self._raw(span)))


def unescaped(raw: bytes) -> str:
    """The text; one that is not quite JSON as it stands there, for it is only shown."""
    text = raw.decode("utf-8", "replace")
    with suppress(ValueError):
        text = str(json.loads(f'"{text}"', strict=False))
    return text.encode("utf-8", "replace").decode()
