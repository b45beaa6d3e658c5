"""A request's fields, checked as the original checks them, and with every default filled in.

`read_wish` is the one table of fields. Pure. What a form sends as text is read as the type that
its field has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.openai.models import Model
from gateway.sandbox.openai.refusals import (
    Style,
    invalid,
    missing,
    unknown,
    wrong_size,
    wrong_type,
    wrong_value,
)

MOST_PROMPT_CHARACTERS = 32_000
MOST_PICTURES = 10
_FORMATS = ("png", "jpeg", "webp")
_FORMS = ("b64_json", "url")
_BACKGROUNDS = ("auto", "opaque", "transparent")
_USUAL_QUALITY = "medium"
_OBLONG = 1.2

Pixels = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made. `size` and `quality` are the resolved ones, `asked_size` is as asked."""

    model: Model
    source: str
    prompt: str
    n: int
    asked_size: str
    pixels: Pixels
    quality: str
    background: str
    output_format: str
    references: tuple[Pixels, ...]
    fidelity: str
    partials: int | None
    """How many partial pictures a stream brings; None: no stream."""
    safety_identifier: str | None
    as_links: bool = False

    @property
    def size(self) -> str:
        return f"{self.pixels[0]}x{self.pixels[1]}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """The fields as they came, `is_form` where they are all texts; pictures are taken out."""

    fields: Mapping[str, Any]
    is_form: bool
    references: tuple[Pixels, ...] = ()
    beside: tuple[str, ...] = ()
    """`mask`, `markup`: which of them lie over the first reference."""
    is_edit: bool = False


def read_wish(sheet: Sheet, model: Model, style: Style, *, compatible: bool = False) -> Wish:
    """Checks every field. Raises RefusedError for the first that is wrong.

    `compatible` is the option of that name.
    """
    take = _Reader(sheet)
    prompt = take.text("prompt")
    n = take.whole("n", 1, MOST_PICTURES)
    size = take.text("size") or "auto"
    usual_quality = "high" if style.is_azure else "auto"
    quality = take.one_of("quality", ("auto", *model.qualities)) or usual_quality
    output_format = take.one_of("output_format", _formats(style)) or "png"
    compression = take.whole("output_compression", 0, 100)
    background = take.one_of("background", _BACKGROUNDS) or "auto"
    take.one_of("moderation", ("auto", "low"))
    is_stream = take.flag("stream")
    partials = take.whole("partial_images", 0, 3)
    identifier = take.text("safety_identifier") or take.text("user")
    fidelity = _fidelity(take, model) if sheet.is_edit else "low"
    if model.has_complexity:
        take.one_of("complexity", ("low", "medium", "high"))
    as_links = compatible and take.one_of("response_format", _FORMS) != "b64_json"
    take.finish()
    _check_beside(sheet, model)
    if prompt is None:
        raise missing("prompt")
    _check_prompt(prompt)
    if compression not in (None, 100) and output_format == "png":
        raise wrong_value("output_compression", "100 for png")
    if background == "transparent" and output_format == "jpeg":
        raise wrong_value("background", "opaque or auto for jpeg")
    return Wish(
        model=model,
        source="image.edit" if sheet.is_edit else "image.generation",
        prompt=prompt,
        n=n or 1,
        asked_size=size,
        pixels=_pixels(size, model, sheet.references),
        quality=_USUAL_QUALITY if quality == "auto" else quality,
        background="opaque" if background == "auto" else background,
        output_format=output_format,
        references=sheet.references,
        fidelity=fidelity,
        partials=(partials or 0) if is_stream else None,
        safety_identifier=identifier,
        as_links=as_links,
    )


class _Reader:
    """Takes fields one by one, and knows at the end which were never asked for.

    A field that is null is as if it were not there.
    """

    def __init__(self, sheet: Sheet) -> None:
        self._fields = sheet.fields
        self._is_form = sheet.is_form
        self._known = {"model"}

    def text(self, name: str) -> str | None:
        value: str | None = self._taken(name, "a string", lambda found: isinstance(found, str))
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in allowed:
            raise wrong_value(name, ", ".join(allowed))
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        written = self._fields.get(name)
        value: int | None
        if self._is_form and isinstance(written, str) and written.removeprefix("-").isdecimal():
            self._known.add(name)
            value = int(written)
        else:
            value = self._taken(name, "an integer", lambda found: type(found) is int)
        if value is not None and value < least:
            raise invalid(name, "integer_below_min_value", f"'{name}' must be at least {least}.")
        if value is not None and value > most:
            raise invalid(name, "integer_above_max_value", f"'{name}' must be at most {most}.")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name)
        if self._is_form and value in ("true", "false"):
            self._known.add(name)
            return bool(value == "true")
        return bool(self._taken(name, "a boolean", lambda found: isinstance(found, bool)))

    def finish(self) -> None:
        """Raises RefusedError for a field that nobody asked for."""
        for name in self._fields:
            if name not in self._known:
                raise unknown(name)

    def _taken(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        self._known.add(name)
        value = self._fields.get(name)
        if value is not None and not fits(value):
            raise wrong_type(name, expected)
        return value


def _formats(style: Style) -> tuple[str, ...]:
    return tuple(name for name in _FORMATS if not (style.is_azure and name == "webp"))


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise wrong_value("prompt", "a text that is not empty")
    if len(prompt) > MOST_PROMPT_CHARACTERS:
        message = f"'prompt' must have at most {MOST_PROMPT_CHARACTERS} characters."
        raise invalid("prompt", "string_above_max_length", message)


def _check_beside(sheet: Sheet, model: Model) -> None:
    if "markup" in sheet.beside and not model.has_markup:
        raise unknown("markup")
    if len(sheet.beside) > 1:
        raise invalid("markup", "invalid_value", "'markup' does not go together with 'mask'.")


def _fidelity(take: _Reader, model: Model) -> str:
    value = take.text("input_fidelity")
    if value is not None and not model.fidelities:
        message = f"The model '{model.name}' does not take 'input_fidelity'."
        raise invalid("input_fidelity", "invalid_input_fidelity_model", message)
    if value is not None and value not in model.fidelities:
        raise wrong_value("input_fidelity", ", ".join(model.fidelities))
    return value or "low"


def _pixels(size: str, model: Model, references: tuple[Pixels, ...]) -> Pixels:
    if size != "auto":
        pixels = model.pixels(size)
        if pixels is None:
            raise wrong_size(size, model.sizes_text)
        return pixels
    width, height = references[0] if references else (1, 1)
    if width >= _OBLONG * height:
        return 1536, 1024
    return (1024, 1536) if height >= _OBLONG * width else (1024, 1024)
