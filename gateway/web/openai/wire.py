"""OpenAI's Images API as JSON: the only place that knows it, errors apart (`openai_errors`).

A request becomes the body of an order of our own, a finished run becomes OpenAI's answer. It
decides nothing about money or pictures, and does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.core.catalog import Catalog, ImageModel, Team
from gateway.core.model import Run
from gateway.core.orders.defaults import defaults
from gateway.core.orders.spellings import AUTO
from gateway.core.orders.validation import ANY_TEAM
from gateway.core.runs import docket
from gateway.core.runs.docket import Tokens
from gateway.errors import InvalidRequest
from gateway.web.moulds import Moulds

# --- requests ------------------------------------------------------------------------------------

IGNORED: Final = frozenset({"moderation", "style"})
"""They ask for a milder filter, or for what DALL·E alone had; neither is part of a picture here."""

WITHOUT_COUNTERPART: Final[Mapping[str, tuple[object, ...]]] = {
    # Parameter: its values that ask for nothing beyond what is made anyway. Any other is refused.
    "callback_url": (),  # the answer itself tells the ending, and nobody is told it twice
    "complexity": (),
    "frame_count": (),
    "frame_duration_ms": (),
    "image": (),
    "images": (),
    "input_fidelity": ("low",),
    "markup": (),
    "mask": (),
    "output_compression": (100,),
    "partial_images": (0,),
    "stream": (False,),
    "svg": (),
}
SINCE_GPT_IMAGE_2: Final[Mapping[str, tuple[object, ...]]] = {
    # The same for models before gpt-image-2; for later ones any other value is forwarded.
    "background": ("auto", "opaque"),
    "output_format": ("png",),
}
DALL_E: Final = "dall-e-"
"""Programs that ask for such a model know only what it knew, and read its answers."""

DALL_E_QUALITIES: Final[Mapping[str, str | None]] = {"standard": None, "hd": "high"}
"""DALL·E's words in ours; None is as left out."""

BEFORE_GPT_IMAGE_2: Final = "gpt-image-1"
OPTIONAL: Final = IGNORED | {"response_format", *WITHOUT_COUNTERPART, *SINCE_GPT_IMAGE_2}
MASK: Final = "mask"
FILE_PARTS: Final = frozenset({"image", "image[]", MASK})
PICTURES: Final = frozenset({"image", "images"})
HOW_TO_SEND_PICTURES: Final = (
    "pictures come as files in a form sent to /openai/v1/images/edits, one as 'image' or several "
    "as 'image[]'."
)
MAX_PICTURES: Final = 16
_WHOLE: Final = frozenset({"n", "output_compression", "partial_images"})
_FLAGS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for: the body of our own order, and the form of the answer."""

    body: dict[str, object]
    as_links: bool


def read_wish(fields: object, catalog: Catalog, team: Team = ANY_TEAM) -> Wish:
    """The team's wish in a request's parsed JSON. Raises `InvalidRequest` naming the parameter."""
    if not isinstance(fields, Mapping):
        raise InvalidRequest('The body must be a JSON object such as {"model": …, "prompt": …}.')
    name = fields.get("model")
    model = catalog.find(name) if isinstance(name, str) else None
    as_dall_e = isinstance(name, str) and name.startswith(DALL_E)
    said = _in_our_words(fields) if as_dall_e else fields
    given = {name: value for name, value in said.items() if not _says_nothing(name, value)}
    as_links = _wants_links(given.pop("response_format", "url" if as_dall_e else "b64_json"))
    body = {
        name: value
        for name, value in given.items()
        if name not in IGNORED
        and (_overrules(name, value, model, team) or not _is_harmless(name, value, model))
    }
    return Wish(body, as_links)


def read_fields(fields: Iterable[tuple[str, str]]) -> dict[str, object]:
    """The fields of a form with the types that JSON would give them."""
    return {name: _typed(name, text) for name, text in fields}


def parameter(part: str) -> str:
    """The parameter that a part of a form belongs to: `image[]` and `svg[model]` have brackets."""
    return part.partition("[")[0]


def takes_mask(model: ImageModel) -> bool:
    return not _is_older(model)


def _typed(name: str, text: str) -> object:
    if name in _WHOLE and text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return _FLAGS.get(text.lower(), text) if name == "stream" else text


def _in_our_words(fields: Mapping[str, object]) -> Mapping[str, object]:
    quality = fields.get("quality")
    if not isinstance(quality, str):
        return fields
    return {**fields, "quality": DALL_E_QUALITIES.get(quality.strip().lower(), quality)}


def _wants_links(value: object) -> bool:
    if value not in ("b64_json", "url"):
        raise InvalidRequest(
            "'response_format' must be 'b64_json' or 'url'.", param="response_format"
        )
    return value == "url"


def _says_nothing(name: str, value: object) -> bool:
    """Whether a parameter that is known here alone is given and empty; an order knows its own."""
    return value is None or (name in OPTIONAL and value in ("", []))


def _overrules(name: str, value: object, model: ImageModel | None, team: Team) -> bool:
    """Whether what is made anyway has to be said, because a default would make something else."""
    if model is None or value not in SINCE_GPT_IMAGE_2.get(name, ()) or value == AUTO:
        return False
    return defaults(model, team).get(name, value) != value


def _is_harmless(name: str, value: object, model: ImageModel | None) -> bool:
    """True for what may be left out. Raises for what would be missed."""
    written, name = name, parameter(name)
    if name in SINCE_GPT_IMAGE_2:
        if value in SINCE_GPT_IMAGE_2[name]:
            return True
        if model is None or not _is_older(model):
            return False
    elif name not in WITHOUT_COUNTERPART:
        return False
    harmless = {**WITHOUT_COUNTERPART, **SINCE_GPT_IMAGE_2}[name]
    if value in harmless:
        return True
    if name in PICTURES:
        raise InvalidRequest(f"'{written}': {HOW_TO_SEND_PICTURES}", param=name)
    instead = f"; only {_listed(harmless)} may be given" if harmless else ""
    raise InvalidRequest(
        f"The parameter '{name}' cannot be honoured here{instead}. Leave it out.", param=name
    )


def _listed(values: Sequence[object]) -> str:
    return " or ".join(orjson.dumps(value).decode() for value in values)


def _is_older(model: ImageModel) -> bool:
    return any(route.model.startswith(BEFORE_GPT_IMAGE_2) for route in model.routes)


# --- answers -------------------------------------------------------------------------------------

_QUALITIES: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_FORMATS: Final = {"jpg": "jpeg"}
PICTURE_HEAD, PICTURE_TAIL, PICTURES_TAIL = b'{"b64_json":"', b'"}', b"]}"


def facts(run: Run) -> dict[str, object]:
    """What OpenAI's answer tells beside the pictures; what is not known is left out."""
    told: dict[str, object] = {"created": int(run.finished_at or run.created_at)}
    request = orjson.loads(run.request)
    told["background"] = "transparent" if request.get("background") == "transparent" else "opaque"
    if run.pictures:
        first = run.pictures[0]
        told["size"] = f"{first.width}x{first.height}"
        told["output_format"] = _FORMATS.get(first.extension, first.extension)
    if run.quality in _QUALITIES:
        told["quality"] = run.quality
    if tokens := docket.read(run.task).tokens:
        told["usage"] = _usage(tokens)
    return told


def pictures_head(told: Mapping[str, object]) -> bytes:
    """The answer up to its first picture."""
    return orjson.dumps(dict(told))[:-1] + b',"data":['


_moulds: Final = Moulds()


def links_body(run: Run, public_url: str) -> bytes:
    """The whole answer with the permanent links of a run that is done."""

    def made() -> bytes:
        links = [f"{public_url}/pictures/{picture.name}" for picture in run.pictures]
        return with_links(facts(run), links)

    return _moulds.of(run, public_url, made=made)


def with_links(told: Mapping[str, object], links: Iterable[str]) -> bytes:
    """The whole answer for those who asked for links."""
    return orjson.dumps({**told, "data": [{"url": link} for link in links]})


def _usage(tokens: Tokens) -> dict[str, object]:
    told: dict[str, object] = {
        "input_tokens": tokens.image_in + tokens.text_in,
        "input_tokens_details": {"image_tokens": tokens.image_in, "text_tokens": tokens.text_in},
        "output_tokens": tokens.image_out + tokens.text_out,
        "total_tokens": tokens.total,
    }
    if tokens.text_out:
        made = {"image_tokens": tokens.image_out, "text_tokens": tokens.text_out}
        told["output_tokens_details"] = made
    return told


# --- models --------------------------------------------------------------------------------------


MODELS_CREATED: Final = 1_767_225_600
"""`created` has to be there, and nobody knows it: 2026-01-01, for all."""


def model_object(name: str) -> dict[str, object]:
    """A model under the name that a client may send for it."""
    return {
        "id": name,
        "object": "model",
        "created": MODELS_CREATED,
        "owned_by": "image-gateway",
    }


def model_list(models: Iterable[ImageModel], aliases: Mapping[str, str]) -> dict[str, object]:
    """Every name that may be sent: each model's own, then its aliases."""
    names = [
        name
        for model in models
        for name in (model.name, *(one for one in aliases if aliases[one] == model.name))
    ]
    return {"object": "list", "data": [model_object(name) for name in names]}
