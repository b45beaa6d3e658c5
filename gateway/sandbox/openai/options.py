"""What can be chosen about a simulated OpenAI before it starts. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.sandbox.magic import check_rates
from gateway.sandbox.openai.words import WORDS
from gateway.sandbox.options import MIB


@dataclass(frozen=True, kw_only=True)
class OpenAIOptions:
    """Every knob of the simulator. Wrong values raise ValueError with the name of the field."""

    seed: int = 1
    """With the order of the calls it determines every picture and chance."""
    accepted_key: str | None = None
    """The only key that is let in; None lets in any that begins with `sk-`, and any `api-key`."""
    public_url: str | None = None
    """The base of links to pictures; None takes the address that it serves on."""

    models: tuple[str, ...] = ()
    """The only names served; one that is not known takes and costs what `gpt-image-2` does.
    Empty: all that OpenAI serves."""
    denied_models: frozenset[str] = frozenset()
    """Models that answer 404 `model_not_found` to every key."""
    unverified_models: frozenset[str] = frozenset()
    """Models that answer 403, since the organisation is not verified."""
    deployments: Mapping[str, str] = field(default_factory=dict)
    """Azure's names: deployment → model. Each model is its own deployment besides."""

    compatible: bool = False
    """A server that speaks this API in its own way, at the address of OpenAI: it takes pictures
    as repeated `image` and no `image[]`, answers links unless `response_format` is `b64_json`, has
    no `usage`, and its errors are `{"detail": "..."}`."""

    seconds_per_picture: float = 4.0
    """How long a medium 1024x1024 takes, give or take a fifth: all times are scaled by it. The
    real service takes about 40."""
    picture_scale: float = 1.0
    """Scales the sides of the pictures drawn, so that a test can have small, quick ones."""
    output_details: bool = True
    """Whether `usage` has `output_tokens_details`; both have been seen."""
    charge_late_failures: bool = True
    """Whether a refusal after the work (an output block, a slow 500) is on the bill. OpenAI does
    not say; True is the dearer truth."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    images_per_minute: int | None = None
    input_images_per_minute: int | None = None
    """Limits for each key; beyond them 429 `rate_limit_exceeded`. None sets no limit."""
    credit_usd_micros: int | None = None
    """When a key's bill has reached it, calls answer 429 `credit_balance_exhausted`."""
    usage_delay_seconds: float = 0.0
    """How old a call is before the usage report shows it."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Chance (0..1) of a magic word acting unasked: `{"drop": 0.01, "late-http": 0.05}`."""

    fetch_local_links: bool = False
    """Links to references on this machine are fetched, to see their size. No other ever is."""

    max_requests_kept: int = 5_000
    max_charges_kept: int = 100_000
    """Beyond it the oldest lines of the bill are forgotten; its sums stay."""
    max_json_bytes: int = 64 * MIB
    picture_cache_bytes: int = 32 * MIB
    drawing_threads: int = 2

    def __post_init__(self) -> None:
        check_rates(self.rates, WORDS)
        for name in ("seconds_per_picture", "usage_delay_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("max_requests_kept", "max_charges_kept", "drawing_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 < self.picture_scale <= 2:
            raise ValueError("picture_scale must be above 0 and at most 2")
