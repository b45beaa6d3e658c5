"""Validation: a request's JSON becomes an order, or an error that names the field.

Only what upstream documents is judged here; fields we do not know are kept, forwarded and
counted in the fingerprint. Nothing that this module refuses has cost anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.core.addresses import check_url
from gateway.core.catalog import Catalog, ImageModel, Limits, Team
from gateway.core.model import Order
from gateway.core.orders.defaults import filled
from gateway.core.orders.fingerprint import canonical_json
from gateway.core.orders.spellings import LABELS, NOT_FORWARDED, given, settled
from gateway.core.orders.texts import check_texts
from gateway.errors import InvalidRequest

NO_REFERENCES: Final = frozenset({
    "7z", "aac", "avi", "bz2", "css", "csv", "doc", "docx", "eps", "epub", "exe", "flac", "flv",
    "gif", "gz", "htm", "html", "ico", "js", "json", "log", "m4a", "m4v", "md", "mkv", "mov",
    "mp3", "mp4", "mpeg", "mpg", "odt", "ogg", "opus", "pdf", "php", "ppt", "pptx", "ps", "psd",
    "py", "rar", "rtf", "svg", "svgz", "tar", "tgz", "ts", "txt", "wav", "webm", "wmv", "xhtml",
    "xls", "xlsx", "xml", "xz", "yaml", "yml", "zip",
})  # fmt: skip
"""Endings of what upstream surely takes for no reference picture. It documents JPEG, PNG and WebP;
any other ending, such as the style that an object store appends, is for upstream to judge."""

_STYLES: Final = re.compile("[!@;]")
"""What object stores put between a picture's name and the form in which they hand it out."""

LABEL_CHARACTERS: Final = 10_000
"""Of all labels as JSON. Each order keeps its own, also one that costs nothing."""

ANY_TEAM: Final = Team("")
"""One that has no limits and no defaults of its own."""

MAX_DEPTH: Final = 32
"""Nesting of an order's JSON: far beyond any real field, far below what parsers stand."""


def read_order(
    body: object, catalog: Catalog, team: Team = ANY_TEAM, *, private_callbacks: bool = False
) -> Order:
    """The team's order in a request's parsed JSON. Raises `InvalidRequest` naming the field.

    The prompt's length in tokens is not judged here, since counting takes time: see
    `check_prompt_tokens`. `private_callbacks` lets `callback_url` name internal addresses.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest('The body must be a JSON object such as {"model": …, "prompt": …}.')
    check_texts(body, max_depth=MAX_DEPTH)
    model = _model(body.get("model"), catalog)
    fields = filled(settled(given(body), model.limits), model, team)
    prompt = _prompt(fields.get("prompt"), model.limits)
    n = _count(fields.get("n", 1), model.limits)
    size = _choice("size", fields.get("size"), model.limits.sizes)
    quality = _choice("quality", fields.get("quality"), model.limits.qualities)
    if model.limits.resolutions is not None:
        _choice("resolution", fields.get("resolution"), model.limits.resolutions)
    if (urls := fields.get("image_urls")) is not None:
        _check_image_urls(urls, model.limits)
    callback_url = fields.get("callback_url")
    if callback_url is not None:
        callback_url = _callback_url(callback_url, allow_private=private_callbacks)
    labels: dict[str, object] = {name: fields[name] for name in LABELS if name in fields}
    if labels:
        _check_labels(labels)
    kept = {k: v for k, v in fields.items() if k not in NOT_FORWARDED and k != "model"}
    return Order(model.name, prompt, n, size, quality, kept, callback_url, labels=labels)


def _check_labels(labels: Mapping[str, object]) -> None:
    if len(canonical_json(labels)) > LABEL_CHARACTERS:
        largest = max(labels, key=lambda name: len(canonical_json(labels[name])))
        raise InvalidRequest(
            f"'{largest}' is too long: {', '.join(LABELS)} may have {LABEL_CHARACTERS} characters "
            "together.",
            param=largest,
        )


def needs_counting(order: Order, limits: Limits) -> bool:
    """False when the prompt fits whatever its tokens are: each has at least one byte."""
    return limits.prompt_tokens is not None and len(order.prompt.encode()) > limits.prompt_tokens


def check_prompt_tokens(tokens: int, limits: Limits) -> None:
    """Raises when the prompt has more tokens than the model takes."""
    if limits.prompt_tokens is not None and tokens > limits.prompt_tokens:
        raise InvalidRequest(
            f"The prompt has {tokens} tokens; this model takes at most {limits.prompt_tokens}.",
            param="prompt",
        )


def _model(value: object, catalog: Catalog) -> ImageModel:
    known = f"Known models: {', '.join(sorted(catalog.models))}."
    if value is None:
        raise InvalidRequest(f"The field 'model' is required. {known}", param="model")
    if not isinstance(value, str):
        raise InvalidRequest(
            f"'model' must be a model's name, not {_show(value)}. {known}", param="model"
        )
    model = catalog.find(value)
    if model is None:
        raise InvalidRequest(f"The model {_show(value)} is not known here. {known}", param="model")
    return model


def _prompt(value: object, limits: Limits) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest("The field 'prompt' is required: a text.", param="prompt")
    most = limits.prompt_characters
    if most is not None and len(value) > most:
        raise InvalidRequest(
            f"The prompt has {len(value)} characters; this model takes at most {most}.",
            param="prompt",
        )
    return value


def _count(value: object, limits: Limits) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limits.max_n:
        raise InvalidRequest(
            f"'n' must be a whole number from 1 to {limits.max_n}, not {_show(value)}.", param="n"
        )
    return value


def _choice(name: str, value: object, allowed: frozenset[str] | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"'{name}' must be a text, not {_show(value)}.", param=name)
    if allowed is not None and value not in allowed:
        raise InvalidRequest(
            f"'{name}' must be one of {', '.join(sorted(allowed))}, not {_show(value)}.",
            param=name,
        )
    return value


def _check_image_urls(value: object, limits: Limits) -> None:
    if not isinstance(value, list) or len(value) > limits.max_image_urls:
        raise InvalidRequest(
            f"'image_urls' must be a list of at most {limits.max_image_urls} URLs.",
            param="image_urls",
        )
    for index, url in enumerate(value):
        _check_image_url(url, f"image_urls[{index}]")


def _check_image_url(url: object, param: str) -> None:
    """Upstream fetches these itself, so the address is upstream's to judge."""
    if not isinstance(url, str):
        raise InvalidRequest(f"'{param}' must be a URL, not {_show(url)}.", param=param)
    schemes = frozenset({"http", "https"})
    if problem := check_url(url, schemes=schemes, allow_private=True):
        raise InvalidRequest(f"'{param}': {problem}", param=param)
    name = _STYLES.split(urlsplit(url).path.rpartition("/")[2])[0]
    _, dot, extension = name.rpartition(".")
    if dot and (not extension or extension.lower() in NO_REFERENCES):
        raise InvalidRequest(
            f"'{param}' ends in '.{extension}'; a reference picture must be a JPEG, PNG or WebP.",
            param=param,
        )


def _callback_url(value: object, *, allow_private: bool) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(
            f"'callback_url' must be an https URL, not {_show(value)}.", param="callback_url"
        )
    if problem := check_url(value, schemes=frozenset({"https"}), allow_private=allow_private):
        raise InvalidRequest(f"'callback_url': {problem}", param="callback_url")
    return value


def _show(value: object) -> str:
    """A value as it may stand in a message: short, and recognisable."""
    if isinstance(value, str):
        return f"'{value[:64]}'"
    return str(value)[:64] if isinstance(value, int | float) else f"a {type(value).__name__}"
