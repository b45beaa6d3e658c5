"""How many tokens a call is worth, and what they cost. Pure.

The counts of the first generation are published as a table, those of the second follow a formula
that gives every published reading. For references to the second generation and for prompts no
rule is published: theirs is this module's own, and deterministic.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from gateway.sandbox.billing import OUTPUT_TOKENS
from gateway.sandbox.openai.models import Model, Prices
from gateway.sandbox.openai.wishes import Wish

PARTIAL_TOKENS = 100
"""What a partial picture in a stream costs beside the whole one."""
_LEAST_REFERENCE, _MOST_REFERENCE = 64, 4_096
_PIXELS_PER_TOKEN = 1_024
_TILE_TOKENS, _BASE_TOKENS = 129, 65
_FAITHFUL_SQUARE, _FAITHFUL_OBLONG = 4_160, 6_240


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one call: of text and pictures, in and out."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int = 0

    @property
    def total(self) -> int:
        return self.text_in + self.image_in + self.image_out + self.text_out

    def usd_micros(self, prices: Prices) -> int:
        """What they cost in whole micro-dollars, rounded up once."""
        exact = (
            self.text_in * prices.text_in
            + self.image_in * prices.image_in
            + self.image_out * prices.image_out
            + self.text_out * prices.text_out
        )
        return int(Decimal(exact).to_integral_value(ROUND_CEILING))


def worth(wish: Wish, pictures: int) -> Tokens:
    """What a call is worth when `pictures` whole ones come of it."""
    references = (reference_tokens(wish.model, one, wish.fidelity) for one in wish.references)
    return Tokens(
        text_in=prompt_tokens(wish.prompt),
        image_in=sum(references),
        image_out=picture_tokens(wish.model, wish.quality, wish.pixels) * pictures,
    )


def prompt_tokens(prompt: str) -> int:
    """Four characters to a token, the usual rule of thumb: the sandbox carries no tokenizer."""
    return max(1, len(prompt) // 4)


def picture_tokens(model: Model, quality: str, pixels: tuple[int, int]) -> int:
    """The output tokens of one picture."""
    width, height = pixels
    if model.edges is None:
        square, portrait, landscape = OUTPUT_TOKENS[quality]
        return square if width == height else portrait if width < height else landscape
    long = model.edges[quality]
    longer, shorter = max(pixels), min(pixels)
    short = (2 * long * shorter + longer) // (2 * longer)  # rounded half up
    return -(-long * short * (2_000_000 + width * height) // 4_000_000)


def reference_tokens(model: Model, pixels: tuple[int, int], fidelity: str) -> int:
    """The input tokens of one reference picture."""
    width, height = pixels
    if model.edges is not None:
        count = -(-width * height // _PIXELS_PER_TOKEN)
        return min(max(count, _LEAST_REFERENCE), _MOST_REFERENCE)
    # Scaled until the shorter side is one tile; never more tiles than an oblong of 3:1 has.
    tiles = min(3, -(-max(pixels) // min(pixels)))
    count = _BASE_TOKENS + _TILE_TOKENS * tiles
    if fidelity == "high":
        count += _FAITHFUL_SQUARE if width == height else _FAITHFUL_OBLONG
    return count
