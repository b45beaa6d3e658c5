"""The models that the sandbox knows: their parameters, limits and prices.

Turns a request body into a `Wish` or refuses it. Pure. Where the vendor's documents disagree (the
range of `n`, for instance) the wider range is accepted, because a simulator that refuses what the
real service takes would hide defects.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CREDITS_PER_USD = 68
_RATIOS_15 = {"1:1": (1024, 1024), "2:3": (1024, 1536), "3:2": (1536, 1024)}
_RATIO_TEXTS = (
    "1:1", "1:2", "2:1", "1:3", "3:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9",
    "9:21", "21:9",
)  # fmt: skip
_PIXELS = re.compile(r"(\d{2,4})\s*[x×]\s*(\d{2,4})")  # noqa: RUF001 - the vendor takes both
_RESOLUTIONS = {"1K": 1, "2K": 2, "4K": 4}
_MAX_EDGE, _MIN_AREA, _MAX_AREA = 3840, 655_360, 8_294_400
_OTHER_ENDINGS = (
    ".pdf", ".txt", ".html", ".htm", ".csv", ".json", ".xml", ".doc", ".docx", ".zip", ".gz",
    ".mp3", ".mp4", ".mov", ".webm", ".gif", ".svg",
)  # fmt: skip
_FORMATS = ("png", "jpeg", "webp")


class WishError(ValueError):
    """A parameter that the model does not take; `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Model:
    """One model: `serves` is the name it reports, `flat_credits` None means billed by tokens."""

    name: str
    serves: str
    pixels: Callable[[str, str], tuple[int, int] | None]
    sizes_text: str
    default_size: str = "1:1"
    qualities: tuple[str, ...] = ()
    default_quality: str = "high"
    max_prompt_tokens: int = 2_000
    max_image_urls: int = 16
    max_n: int = 10
    flat_credits: float | None = None

    @property
    def billing_rule(self) -> str:
        return "per_token" if self.flat_credits is None else "per_call"


@dataclass(frozen=True)
class Wish:
    """A valid request with every default filled in; `size` and `quality` are as they were asked."""

    model: Model
    prompt: str
    pixels: tuple[int, int]
    size: str
    quality: str
    n: int
    output_format: str
    image_urls: tuple[str, ...]
    callback_url: str | None


def _pixels_15(size: str, _resolution: str) -> tuple[int, int] | None:
    if size in _RATIOS_15:
        return _RATIOS_15[size]
    return next((p for p in _RATIOS_15.values() if size == f"{p[0]}x{p[1]}"), None)


def _pixels_2(size: str, resolution: str) -> tuple[int, int] | None:
    if size == "auto":
        return 1024, 1024
    if size in _RATIO_TEXTS:
        return _of_ratio(size, _RESOLUTIONS.get(resolution, 1))
    match = _PIXELS.fullmatch(size)
    if match is None:
        return None
    width, height = int(match[1]), int(match[2])
    return (width, height) if are_legal(width, height) else None


def are_legal(width: int, height: int) -> bool:
    """Whether the second generation of models makes pictures of these pixels."""
    fits = all(edge % 16 == 0 and 16 <= edge <= _MAX_EDGE for edge in (width, height))
    shaped = max(width, height) <= 3 * min(width, height)
    return fits and shaped and _MIN_AREA <= width * height <= _MAX_AREA


def _of_ratio(ratio: str, scale: int) -> tuple[int, int]:
    across, down = (int(part) for part in ratio.split(":"))
    area = min(1024 * 1024 * scale * scale, _MAX_AREA)
    height = (area * down / across) ** 0.5
    shrink = min(1.0, _MAX_EDGE / max(height, height * across / down))
    width_px, height_px = (
        int(side * shrink) // 16 * 16 for side in (height * across / down, height)
    )
    return width_px, height_px


_SIZES_15 = "1:1, 2:3, 3:2, 1024x1024, 1024x1536, 1536x1024"
_SIZES_2 = f"auto, {', '.join(_RATIO_TEXTS)}, or WIDTHxHEIGHT in multiples of 16"
_LOW_TO_HIGH = ("low", "medium", "high")
_BETA = Model(
    "gpt-image-1.5-beta", "gpt-image-1.5-beta", _pixels_15, _SIZES_15,
    qualities=(*_LOW_TO_HIGH, "auto"), default_quality="auto", flat_credits=0.9,
)  # fmt: skip


def _second(name: str, *extra_qualities: str) -> Model:
    return Model(
        name, name, _pixels_2, _SIZES_2, default_size="auto",
        qualities=(*_LOW_TO_HIGH, *extra_qualities), default_quality="medium",
        max_prompt_tokens=32_000,
    )  # fmt: skip


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("gpt-image-1.5", "gpt-image-1.5", _pixels_15, _SIZES_15, qualities=_LOW_TO_HIGH),
        _BETA,
        Model(
            "gpt-image-1.5-lite", _BETA.serves, _pixels_15, _SIZES_15,
            qualities=_BETA.qualities, default_quality="auto", flat_credits=0.9,
        ),
        _second("gpt-image-2"),
        Model(
            "gpt-image-2-beta", "gpt-image-2-beta", _pixels_2, _SIZES_2, default_size="auto",
            max_prompt_tokens=32_000, flat_credits=0.9,
        ),
        _second("gpt-image-2.5-sunburst", "xhigh", "max"),
        _second("gpt-image-2.5-flare", "xhigh", "max"),
        Model(
            "gpt-4o-image", "gpt-4o-image", _pixels_15, _SIZES_15,
            max_n=4, max_image_urls=5, flat_credits=0.9,
        ),
    )
}  # fmt: skip


def with_names(names: Iterable[str]) -> Mapping[str, Model]:
    """The models, and under each further name one that takes and costs what `gpt-image-2` does."""
    return {**{name: _second(name) for name in names}, **MODELS}


def read_wish(body: Mapping[str, Any], model: Model) -> Wish:
    """Checks the parameters that `model` documents; fields it does not know are tolerated.

    Raises WishError. `callback_url` is checked for form only.
    """
    size = _text(body, "size", model.default_size)
    pixels = model.pixels(size, _text(body, "resolution", "1K"))
    if pixels is None:
        raise WishError("size", f"size must be one of {model.sizes_text}")
    quality = _text(body, "quality", model.default_quality)
    if model.qualities and quality not in model.qualities:
        raise WishError("quality", f"quality must be one of {', '.join(model.qualities)}")
    output_format = _text(body, "output_format", "png")
    if output_format not in _FORMATS:
        raise WishError("output_format", f"output_format must be one of {', '.join(_FORMATS)}")
    return Wish(
        model=model,
        prompt=_prompt(body, model),
        pixels=pixels,
        size=size,
        quality=quality,
        n=_count(body, model),
        output_format=output_format,
        image_urls=_image_urls(body, model),
        callback_url=_callback_url(body),
    )


def _text(body: Mapping[str, Any], name: str, usual: str) -> str:
    value = body.get(name)
    if value is None:
        return usual
    if not isinstance(value, str):
        raise WishError(name, f"{name} must be a string")
    return value


def _prompt(body: Mapping[str, Any], model: Model) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise WishError("prompt", "prompt is required and must be a non-empty string")
    # Four characters to a token is the usual rule of thumb; the sandbox carries no tokenizer.
    if len(prompt) > 4 * model.max_prompt_tokens:
        raise WishError("prompt", f"prompt must be at most {model.max_prompt_tokens} tokens")
    return prompt


def _count(body: Mapping[str, Any], model: Model) -> int:
    n = body.get("n")
    if n is None:
        return 1
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= model.max_n:
        raise WishError("n", f"n must be a whole number from 1 to {model.max_n}")
    return n


def _image_urls(body: Mapping[str, Any], model: Model) -> tuple[str, ...]:
    urls = body.get("image_urls")
    if urls is None:
        return ()
    if not isinstance(urls, list) or not 1 <= len(urls) <= model.max_image_urls:
        raise WishError("image_urls", f"image_urls must hold 1 to {model.max_image_urls} URLs")
    for url in urls:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise WishError("image_urls", "image_urls must be http or https URLs")
        name = url.split("?", 1)[0].rsplit("/", 1)[-1]
        if name.lower().endswith(_OTHER_ENDINGS):
            raise WishError("image_urls", "image_urls must be .jpeg, .jpg, .png or .webp pictures")
    return tuple(urls)


def _callback_url(body: Mapping[str, Any]) -> str | None:
    url = body.get("callback_url")
    if url is None:
        return None
    if not isinstance(url, str) or not 1 <= len(url) <= 2048:
        raise WishError("callback_url", "callback_url must be a URL of at most 2048 characters")
    return url
