"""The work itself: it takes its time, is charged when it is done, and asks for nobody's presence.

A call's work is a task of its own. Who waits for it may go away; it goes on to its end and to the
bill all the same, as the real service does.
"""

import asyncio
import math
from dataclasses import dataclass, replace

from gateway.sandbox.drawing import Picture
from gateway.sandbox.magic import without_magic
from gateway.sandbox.openai.bill import KEPT_CHARACTERS, Charge, key_id
from gateway.sandbox.openai.state import Call, OpenAIState
from gateway.sandbox.openai.tokens import PARTIAL_TOKENS, Tokens, worth
from gateway.sandbox.openai.wishes import Wish
from gateway.sandbox.studio import Studio

# How long a picture takes, measured by a medium one.
_SLOWNESS = {"low": 0.2, "medium": 1.0, "high": 2.4, "xhigh": 3.2, "max": 4.0}
_MEGAPIXEL = 1024 * 1024
_OFF_BY = 3


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a call: its pictures, drawn, and its tokens."""

    pictures: tuple[Picture, ...]
    contents: tuple[bytes, ...]
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Work:
    """Work under way, and the seconds that it takes in all."""

    seconds: float
    making: asyncio.Task[Made]


class Workshop:
    """Owns all work that is under way."""

    def __init__(self, state: OpenAIState, studio: Studio) -> None:
        self._state = state
        self._studio = studio
        self._making: set[asyncio.Task[Made]] = set()

    def begin(self, call: Call) -> Work:
        """Starts the work of a call; there is no way to stop it."""
        seconds = self._seconds(call)
        self._state.under_way += 1
        making = asyncio.create_task(self._make(call, seconds))
        self._making.add(making)
        making.add_done_callback(self._leave)
        return Work(seconds, making)

    async def partial(self, call: Call, index: int) -> bytes:
        """An unfinished picture, for a stream."""
        picture = self._pictures(call)[0]
        return await self._studio.picture(replace(picture, seed=f"{picture.seed}:{index}"))

    async def close(self) -> None:
        """Gives up what is under way, when the whole service ends."""
        for making in self._making:
            making.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)

    def _leave(self, making: asyncio.Task[Made]) -> None:
        self._making.discard(making)
        self._state.under_way -= 1

    async def _make(self, call: Call, seconds: float) -> Made:
        pictures = self._pictures(call)
        drawing = asyncio.gather(*(self._studio.picture(picture) for picture in pictures))
        _, contents = await asyncio.gather(asyncio.sleep(seconds), drawing)
        made = Made(pictures, tuple(contents), tokens_of(call))
        # No await between here and the end: a call is charged and done, or neither.
        if self._is_charged(call):
            self._state.bill.charge(self._line(call, made))
        return made

    def _is_charged(self, call: Call) -> bool:
        if call.acts("free"):
            return False
        is_late_failure = call.acts("late-http") or call.acts("late-fail")
        return self._state.options.charge_late_failures or not is_late_failure

    def _line(self, call: Call, made: Made) -> Charge:
        wish, tokens = call.wish, made.tokens
        return Charge(
            serial=call.serial,
            request_id=call.request_id,
            api_key_id=key_id(call.api_key),
            model=wish.model.name,
            source=wish.source,
            size=wish.size,
            prompt=wish.prompt[:KEPT_CHARACTERS],
            images=len(made.pictures),
            text_in=tokens.text_in,
            image_in=tokens.image_in,
            image_out=tokens.image_out,
            text_out=tokens.text_out,
            usd_micros=tokens.usd_micros(wish.model.prices),
            at=self._state.clock(),
        )

    def _pictures(self, call: Call) -> tuple[Picture, ...]:
        wish, options = call.wish, self._state.options
        width, height = wish.pixels
        off = _OFF_BY if call.acts("off-size") else 0
        count = _count(call)
        return tuple(
            Picture(
                prompt=without_magic(wish.prompt),
                caption=f"{wish.model.name}  ·  {wish.size}  ·  {wish.quality}",
                index=index,
                count=count,
                pixels=(width + off, height + off),
                scale=options.picture_scale,
                output_format=wish.output_format,
                seed=f"{options.seed}:{call.serial}:{index}",
            )
            for index in range(count)
        )

    def _seconds(self, call: Call) -> float:
        told = call.number("delay")
        if told is not None:
            return told
        usual = slowness(call.wish) * self._state.options.seconds_per_picture
        return usual * self._state.chance(call).uniform(0.8, 1.2)


def slowness(wish: Wish) -> float:
    """How much longer its pictures take than one of medium quality, 1024x1024."""
    width, height = wish.pixels
    larger, more = math.sqrt(width * height / _MEGAPIXEL), 1 + 0.25 * (wish.n - 1)
    return _SLOWNESS[wish.quality] * larger * more


def partials_of(call: Call) -> int:
    """How many partial pictures the call's stream brings."""
    asked = call.wish.partials or 0
    return max(0, asked - 1) if call.acts("fewer-partials") else asked


def tokens_of(call: Call) -> Tokens:
    """What a call is worth, by its wish and its magic words."""
    tokens, told = worth(call.wish, _count(call)), call.number("tokens")
    pictures = tokens.image_out if told is None else int(told)
    return replace(
        tokens,
        image_out=pictures + PARTIAL_TOKENS * partials_of(call),
        text_out=int(call.number("text-out") or 0),
    )


def _count(call: Call) -> int:
    told = call.number("results")
    return call.wish.n if told is None else int(told)
