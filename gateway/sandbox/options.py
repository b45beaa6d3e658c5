"""What can be chosen about a sandbox before it starts. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.sandbox.magic import check_rates

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """Every knob of a sandbox, with the value that resembles the real service beside it.

    Wrong values raise ValueError with the name of the field.
    """

    seed: int = 1
    """With the order of the tasks it determines every picture, id suffix and chance."""
    accepted_key: str | None = None
    """The only bearer key that is let in; None lets in any that begins with `sk-`."""
    public_url: str | None = None
    """The base of result and file links; None takes the address that the request came to."""

    seconds_per_picture: float = 4.0
    """How long a task takes, give or take a fifth; a picture more in a task adds a quarter."""
    picture_scale: float = 1.0
    """Scales the sides of the pictures drawn, so that a test can have small, quick ones."""
    link_lifetime_seconds: float = 24 * 3600.0
    file_lifetime_seconds: float = 72 * 3600.0

    account_credits: float = 10_000_000.0
    more_models: frozenset[str] = frozenset()
    """Further names of models; each takes what `gpt-image-2` takes."""
    denied_models: frozenset[str] = frozenset()
    """Models that answer 403 `model_access_denied`."""
    submits_per_minute: int | None = None
    """Submits beyond this in any 60 seconds answer 429; None sets no limit."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Chance (0..1) of a magic word acting unasked: `{"drop": 0.01, "fail": 0.05}`."""

    allow_private_addresses: bool = False
    """Callbacks may go to plain http and, like uploads by URL, to internal addresses, which the
    real service cannot reach; for tests on one machine."""
    callback_timeout_seconds: float = 10.0
    callback_retry_seconds: tuple[float, ...] = (1.0, 2.0, 4.0)

    max_tasks: int = 100_000
    """Beyond it the oldest finished tasks are forgotten; bounds memory (about 2 KB each)."""
    max_requests_kept: int = 5_000
    """How many of the latest requests, with their headers, `state.requests` remembers."""
    max_files: int = 2_000
    max_file_bytes: int = 100 * MIB
    max_files_bytes: int = 512 * MIB
    """All uploaded files together; they are held in memory."""
    picture_cache_bytes: int = 32 * MIB
    """Drawn pictures kept for the next download; any other is drawn again, byte for byte."""
    drawing_threads: int = 2

    def __post_init__(self) -> None:
        check_rates(self.rates)
        for name in ("seconds_per_picture", "link_lifetime_seconds", "file_lifetime_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("max_tasks", "max_files", "max_file_bytes", "drawing_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 < self.picture_scale <= 2:
            raise ValueError("picture_scale must be above 0 and at most 2")
