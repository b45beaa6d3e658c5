"""All that the simulated OpenAI remembers: the bill, who called, what it has seen.

Tests inspect and steer it through `app.state.sandbox`. It does no I/O, and everything in it is
bounded. Single-threaded: only the event loop touches it.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sandbox.drawing import Picture
from gateway.sandbox.magic import Magic, read_magic
from gateway.sandbox.openai.bill import Bill
from gateway.sandbox.openai.models import served_models
from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.pace import Pace
from gateway.sandbox.openai.references import Links
from gateway.sandbox.openai.wishes import Wish
from gateway.sandbox.openai.words import WORDS
from gateway.sandbox.state import BoundedCounter, SeenRequest

_MOST_LINKED = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is let in. `occurrence` is how often its prompt has come by now."""

    serial: int
    request_id: str
    api_key: str
    wish: Wish
    magic: Magic
    occurrence: int

    def acts(self, word: str) -> bool:
        return self.magic.acts(word, self.occurrence)

    def text(self, word: str) -> str | None:
        return self.magic.text(word, self.occurrence)

    def number(self, word: str) -> float | None:
        return self.magic.number(word, self.occurrence)

    def status(self, word: str) -> tuple[int, str | None] | None:
        return self.magic.status(word, self.occurrence)


class OpenAIState:
    """The simulator's memory. Attributes without an underscore are for tests to read or set."""

    def __init__(self, options: OpenAIOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.public_url = options.public_url
        self.models = served_models(options)
        self.bill = Bill(options.max_charges_kept)
        self.pace = Pace(options, clock)
        self.links = Links(fetch_local=options.fetch_local_links)

        self.down = False
        """True: the API answers 503 `server_is_overloaded`, or as `down_mode` says."""
        self.down_mode = "overloaded"
        """`overloaded`, or `cut`: connections are cut before any answer."""

        self.requests: deque[SeenRequest] = deque(maxlen=options.max_requests_kept)
        self.image_requests = 0
        """Requests for pictures so far, refused ones included."""
        self.open_now = 0
        """Requests for pictures that wait for their answer."""
        self.most_open = 0
        self.under_way = 0
        """Calls whose work is not done yet, whether anyone waits for it or not."""
        self.keys_seen = BoundedCounter()
        """Every key that ever arrived, on any path, with its count."""
        self.calls_by_prompt = BoundedCounter()
        """Calls that were let in or refused by a magic word, by their prompt."""

        self._serial = 0
        self._linked: OrderedDict[str, Picture] = OrderedDict()

    def call(self, api_key: str, request_id: str, wish: Wish) -> Call:
        """A new call. Raises MagicError."""
        self._serial += 1
        occurrence = self.calls_by_prompt.add(wish.prompt)
        salt = f"{self.options.seed}:{self._serial}"
        magic = read_magic(wish.prompt, rates=self.options.rates, salt=salt, words=WORDS)
        return Call(self._serial, request_id, api_key, wish, magic, occurrence)

    def chance(self, call: Call) -> random.Random:
        return random.Random(f"{self.options.seed}:{call.serial}")

    def opened(self) -> None:
        """A request for pictures has come."""
        self.image_requests += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)

    def closed(self) -> None:
        """It has got its answer, or is gone."""
        self.open_now -= 1

    def link(self, name: str, picture: Picture) -> None:
        """Remembers a picture that was handed out as a link."""
        self._linked[name] = picture
        if len(self._linked) > _MOST_LINKED:
            self._linked.popitem(last=False)

    def linked(self, name: str) -> Picture | None:
        return self._linked.get(name)
