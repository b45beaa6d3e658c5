"""Bodies of requests: JSON, multipart, and JSON edits with links, each read as the original does.

References are looked at, for their type and their pixels, and thrown away.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from PIL import Image
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.references import Links
from gateway.sandbox.openai.refusals import (
    Style,
    content_type,
    duplicate,
    invalid,
    missing,
    too_large,
    unknown,
    wrong_type,
)
from gateway.sandbox.openai.wishes import Pixels, Sheet
from gateway.sandbox.options import MIB

MOST_REFERENCES = 16
_MOST_BYTES = 50 * MIB
_MOST_LINK_CHARACTERS = 20_971_520
_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp")
_JSON, _FORM = "application/json", "multipart/form-data"
_BESIDE = ("mask", "markup")
_BESIDE_TYPES = ("image/png",)
# More files than any legal request has, so that a 17th picture is refused by its own name.
_MOST_FILES, _MOST_FIELDS = 64, 64
_FAILED_READS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class _PartRules:
    """Where servers differ about the files of a form."""

    is_azure: bool
    compatible: bool

    @property
    def names(self) -> tuple[str, ...]:
        return ("image",) if self.compatible else ("image", "image[]")

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(kind for kind in _TYPES if not (self.is_azure and kind == "image/webp"))


async def read_generation(request: Request, options: OpenAIOptions) -> Sheet:
    """The fields of a generation. Raises RefusedError."""
    found = _content_type(request)
    if found != _JSON:
        raise content_type(found, _JSON)
    return Sheet(await _json(request, options.max_json_bytes), is_form=False)


async def read_edit(request: Request, links: Links, style: Style, options: OpenAIOptions) -> Sheet:
    """The fields of an edit and its references. Raises RefusedError."""
    found = _content_type(request)
    if found == _FORM:
        return await _read_form(request, _PartRules(style.is_azure, options.compatible))
    if found != _JSON or style.is_azure:
        raise content_type(found, _FORM if style.is_azure else f"{_FORM} or {_JSON}")
    return await _read_links(await _json(request, options.max_json_bytes), links)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(request: Request, most_bytes: int) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise too_large()
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(None, None, "The JSON body of your request cannot be parsed.") from error
    if not isinstance(content, dict):
        raise invalid(None, None, "The body of your request must be a JSON object.")
    return content


# --- multipart --------------------------------------------------------------------------------


async def _read_form(request: Request, rules: _PartRules) -> Sheet:
    try:
        async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
            return _form_sheet(form, rules)
    except MultiPartException as error:
        raise invalid(
            None, None, f"The multipart body cannot be parsed: {error.message}"
        ) from error


def _form_sheet(form: FormData, rules: _PartRules) -> Sheet:
    pictures: list[Any] = []
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in rules.names:
            if name == "image" and pictures and not rules.compatible:
                raise duplicate("image")
            pictures.append(value)
        elif name in fields:
            raise duplicate(name)
        else:
            fields[name] = value
    _check_count(len(pictures), "image")
    several = "image[]" in form
    references = [
        _part(value, f"image[{index}]" if several else "image", rules.types)
        for index, value in enumerate(pictures)
    ]
    beside = tuple(name for name in _BESIDE if name in fields)
    for name in beside:
        _check_beside(_part(fields.pop(name), name, _BESIDE_TYPES), references, name)
    for name, value in fields.items():
        if not isinstance(value, str):
            raise wrong_type(name, "a string, but got a file instead")
    return Sheet(fields, is_form=True, references=tuple(references), beside=beside, is_edit=True)


def _part(value: Any, name: str, types: tuple[str, ...]) -> Pixels:
    """The pixels of one file part."""
    if not isinstance(value, UploadFile):
        raise wrong_type(name, "a file, but got a string instead")
    if not value.content_type:
        raise invalid(name, "missing_file_mimetype", f"The file '{name}' has no mimetype.")
    kind = value.content_type.partition(";")[0].strip().lower()
    if kind not in types:
        message = f"Unsupported mimetype ('{kind}') of the file '{name}'."
        raise invalid(name, "unsupported_file_mimetype", message)
    if (value.size or 0) >= _MOST_BYTES:
        raise invalid(name, "invalid_value", f"The file '{name}' is larger than 50 MB.")
    return read_pixels(value.file, name, needs_alpha=types == _BESIDE_TYPES)


def read_pixels(file: Any, name: str, *, needs_alpha: bool = False) -> Pixels:
    """The pixels of a picture, by its own bytes. Raises RefusedError."""
    try:
        with Image.open(file, formats=("PNG", "JPEG", "WEBP")) as picture:
            has_alpha = picture.mode in ("RGBA", "LA") or "transparency" in picture.info
            size = picture.size
    except _FAILED_READS as error:
        message = f"The file '{name}' is no picture that can be read."
        raise invalid(name, "invalid_image_file", message) from error
    if needs_alpha and not has_alpha:
        raise invalid(name, "invalid_value", f"The file '{name}' has no alpha channel.")
    return size


def _check_count(count: int, param: str) -> None:
    if not count:
        raise missing(param)
    if count > MOST_REFERENCES:
        message = f"'{param}' has {count} entries and may have {MOST_REFERENCES}."
        raise invalid(param, "array_above_max_length", message)


def _check_beside(pixels: Pixels, references: Sequence[Pixels], name: str) -> None:
    if pixels != references[0]:
        message = f"The size of '{name}' is not that of the first image."
        raise invalid(name, "invalid_value", message)


# --- JSON edits -------------------------------------------------------------------------------


async def _read_links(fields: dict[str, Any], links: Links) -> Sheet:
    entries = fields.pop("images", None) or []
    if not isinstance(entries, list):
        raise wrong_type("images", "an array")
    _check_count(len(entries), "images")
    references = [
        await _entry(entry, f"images[{index}]", links) for index, entry in enumerate(entries)
    ]
    beside = tuple(name for name in _BESIDE if fields.get(name) is not None)
    for name in beside:
        pixels = await _entry(fields.pop(name), name, links)
        if pixels is not None and references[0] is not None:
            _check_beside(pixels, [references[0]], name)
    known = tuple(pixels or (1024, 1024) for pixels in references)
    return Sheet(fields, is_form=False, references=known, beside=beside, is_edit=True)


async def _entry(entry: Any, name: str, links: Links) -> Pixels | None:
    """The pixels of one entry; None where nobody may look."""
    if not isinstance(entry, dict):
        raise wrong_type(name, "an object")
    for key in entry:
        if key not in ("image_url", "file_id"):
            raise unknown(f"{name}.{key}")
    if len(entry) != 1:
        raise invalid(name, "invalid_value", f"'{name}' takes one of image_url and file_id.")
    if "file_id" in entry:
        raise invalid(f"{name}.file_id", "invalid_value", "No such file.")
    link = entry["image_url"]
    param = f"{name}.image_url"
    if not isinstance(link, str):
        raise wrong_type(param, "a string")
    if len(link) > _MOST_LINK_CHARACTERS:
        raise invalid(param, "string_above_max_length", f"'{param}' is too long.")
    if link.startswith("data:"):
        return read_pixels(io.BytesIO(_of_data_url(link, param)), param)
    if not link.startswith(("http://", "https://")):
        raise invalid(param, "invalid_value", f"'{param}' is no http, https or data URL.")
    content = await links.asked(link, param)
    return None if content is None else read_pixels(io.BytesIO(content), param)


def _of_data_url(link: str, param: str) -> bytes:
    head, _, text = link.partition(",")
    if head[5:].partition(";")[0].lower() not in _TYPES or not head.endswith(";base64"):
        raise invalid(param, "invalid_value", f"'{param}' is no picture in base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(param, "invalid_value", f"'{param}' is no base64.") from error
