"""Limits per minute: what each key may still do, and what is said to who asks for more."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.refusals import FAILURES, RefusedError

_WINDOW = 60.0


class Pace:
    """Counts what each key took in the last 60 seconds, by the names that headers give it."""

    def __init__(self, options: OpenAIOptions, clock: Callable[[], float]) -> None:
        limits = {
            "requests": options.requests_per_minute,
            "tokens": options.tokens_per_minute,
            "images": options.images_per_minute,
            "input-images": options.input_images_per_minute,
        }
        self._limits = {what: limit for what, limit in limits.items() if limit is not None}
        self._clock = clock
        self._taken: dict[tuple[str, str], deque[tuple[float, int]]] = {}

    def take(self, key: str, wanted: Mapping[str, int]) -> None:
        """Counts one call. Raises RefusedError, and counts nothing, when it is one too many."""
        now = self._clock()
        for what, limit in self._limits.items():
            wait = self._wait(self._of(key, what, now), limit, wanted[what], now)
            if wait > 0:
                raise _too_many(what, limit, wait)
        for what in self._limits:
            self._taken.setdefault((key, what), deque()).append((now, wanted[what]))

    def headers(self, key: str) -> dict[str, str]:
        """The `x-ratelimit-*` headers of a key."""
        now = self._clock()
        headers = {}
        for what, limit in self._limits.items():
            taken = self._of(key, what, now)
            left = limit - sum(count for _, count in taken)
            reset = taken[-1][0] + _WINDOW - now if taken else 0.0
            headers[f"x-ratelimit-limit-{what}"] = str(limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(max(0, left))
            headers[f"x-ratelimit-reset-{what}"] = duration(reset)
        return headers

    def _of(self, key: str, what: str, now: float) -> deque[tuple[float, int]]:
        """What is still in the window; a key without any is forgotten."""
        taken = self._taken.get((key, what), deque())
        while taken and taken[0][0] <= now - _WINDOW:
            taken.popleft()
        if not taken:
            self._taken.pop((key, what), None)
        return taken

    def _wait(self, taken: deque[tuple[float, int]], limit: int, wanted: int, now: float) -> float:
        """Seconds until `wanted` more fit; 0 when they fit now."""
        over = sum(count for _, count in taken) + wanted - limit
        if over <= 0:
            return 0.0
        for at, count in taken:
            over -= count
            if over <= 0:
                return at + _WINDOW - now
        return _WINDOW  # more than a minute may ever bring


def duration(seconds: float) -> str:
    """A time as the headers write it: 250ms, 58.891s, 1m30s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s"


def _too_many(what: str, limit: int, wait: float) -> RefusedError:
    message = (
        f"Rate limit reached on {what} per min: exceeded call rate limit {limit}/1min. "
        f"Please retry after {max(1, round(wait))} seconds."
    )
    refusal = FAILURES["rate_limit_exceeded"]
    return RefusedError(replace(refusal, type=what, message=message, retry_after_seconds=wait))
