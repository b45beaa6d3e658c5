"""What a task costs in credits, and the token counts that go with it. Pure.

Token prices are those of the vendor's product page for gpt-image-1.5, in credits per 1,000 tokens.
The number of output tokens per picture follows the model family's published table.
"""

from dataclasses import dataclass

from gateway.sandbox.models import Wish

_IMAGE_OUTPUT, _IMAGE_INPUT, _TEXT_INPUT = 1.9584, 0.4896, 0.306
_TOKENS_PER_REFERENCE = 1_024
_MEGAPIXEL = 1024 * 1024
# Output tokens of one picture: quality → (square, portrait, landscape).
OUTPUT_TOKENS = {
    "low": (272, 408, 400),
    "medium": (1_056, 1_584, 1_568),
    "high": (4_160, 6_240, 6_208),
    "xhigh": (6_240, 9_360, 9_312),
    "max": (8_320, 12_480, 12_416),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """Credits and tokens of one task with `pictures` results."""

    credits: float
    image_input_tokens: int
    image_output_tokens: int
    text_input_tokens: int


def bill(wish: Wish, pictures: int) -> Bill:
    """The price of `pictures` pictures made for `wish`."""
    output = _output_tokens(wish) * pictures
    references = _TOKENS_PER_REFERENCE * len(wish.image_urls)
    words = max(1, len(wish.prompt) // 4)
    flat = wish.model.flat_credits
    if flat is not None:
        return Bill(round(flat * pictures, 4), references, output, words)
    milli = output * _IMAGE_OUTPUT + references * _IMAGE_INPUT + words * _TEXT_INPUT
    return Bill(round(milli / 1_000, 4), references, output, words)


def _output_tokens(wish: Wish) -> int:
    width, height = wish.pixels
    square, portrait, landscape = OUTPUT_TOKENS.get(wish.quality, OUTPUT_TOKENS["medium"])
    if width * height > 2 * _MEGAPIXEL:
        return int(square * width * height / _MEGAPIXEL)
    return square if width == height else portrait if width < height else landscape
