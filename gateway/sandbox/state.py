"""All that a sandbox remembers: tasks, credits, idempotency keys, and what it has seen.

Tests inspect and steer it through `app.state.sandbox`. It reads the clock that it was given, draws
chances only from its seed, does no I/O, and everything in it is bounded. Single-threaded: only the
event loop touches it.
"""

import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gateway.sandbox.billing import bill
from gateway.sandbox.files import FileStore
from gateway.sandbox.magic import Magic, read_magic
from gateway.sandbox.models import Wish
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.task import Task, account_name, new_task_id

# Counts by prompt, keys seen and idempotency keys beyond this forget their oldest entry.
_MAX_COUNTED = 100_000


class OutOfCreditsError(Exception):
    """The account cannot pay the reservation."""


class OverloadedError(Exception):
    """Every remembered task is still unfinished and there is no room for another."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it arrived."""

    method: str
    path: str
    raw_headers: tuple[tuple[bytes, bytes], ...]
    at: float

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; the last of equal names wins."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers}


@dataclass(frozen=True, slots=True)
class SeenCallback:
    """One attempt to deliver a callback; `status` None means that no answer came."""

    task_id: str
    url: str
    attempt: int
    status: int | None
    at: float


class BoundedCounter(Counter[str]):
    """A counter that forgets its oldest name when it holds too many."""

    def add(self, name: str) -> int:
        """Counts `name` once more and returns its count."""
        self[name] += 1
        if len(self) > _MAX_COUNTED:
            del self[next(iter(self))]
        return self[name]


class SandboxState:
    """The sandbox's memory. Attributes without an underscore are for tests to read or set."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.account = account_name(options.seed)
        self.public_url = options.public_url
        self.files = FileStore(options, clock)

        self.down = False
        """True: the API answers 503 `no_available_channel`, or as `down_mode` says."""
        self.down_mode = "no_channel"
        """`no_channel`, or `cut`: connections are cut before any answer. (To refuse them at
        the socket, use `RunningSandbox.refuse_connections`.)"""
        self.links_down = False
        """True: result and file links are cut; their real host is another than the API's."""

        self.tasks: OrderedDict[str, Task] = OrderedDict()
        self.requests: deque[SeenRequest] = deque(maxlen=options.max_requests_kept)
        self.callbacks: deque[SeenCallback] = deque(maxlen=options.max_requests_kept)
        self.keys_seen = BoundedCounter()
        """Every Authorization value that ever arrived, on any path, with its count."""
        self.submits_by_prompt = BoundedCounter()
        """Submits that carried this prompt and a good key, refused ones included."""
        self.accepted_by_prompt = BoundedCounter()
        self.polls_by_task = BoundedCounter()
        self.downloads_by_path = BoundedCounter()
        self.bytes_served = 0
        """Bytes of bodies sent from result and file links."""

        self.credits_granted = options.account_credits
        self.credits_reserved = 0.0
        self.credits_used = 0.0

        self._serial = 0
        self._submits = 0
        self._due: list[tuple[float, int, str]] = []
        self._settled: deque[str] = deque()
        self._by_link: dict[str, Task] = {}
        self._idempotent: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._recent_submits: deque[float] = deque()

    @property
    def credits_left(self) -> float:
        self.advance()
        return self.credits_granted - self.credits_reserved - self.credits_used

    @property
    def submits(self) -> int:
        """Submits so far that carried a good key and a prompt, refused ones included."""
        return self._submits

    # --- submits --------------------------------------------------------------------------

    def too_many_submits(self) -> bool:
        """Counts a submit against `submits_per_minute`; True when it is one too many."""
        limit = self.options.submits_per_minute
        if limit is None:
            return False
        now = self.clock()
        while self._recent_submits and self._recent_submits[0] <= now - 60:
            self._recent_submits.popleft()
        if len(self._recent_submits) >= limit:
            return True
        self._recent_submits.append(now)
        return False

    def read_submit(self, prompt: str) -> tuple[Magic, int]:
        """Counts a submit and reads its words: (magic, how often the prompt has come by now).

        Raises MagicError, after it has counted.
        """
        self._submits += 1
        occurrence = self.submits_by_prompt.add(prompt)
        salt = f"{self.options.seed}:{self._submits}"
        return read_magic(prompt, rates=self.options.rates, salt=salt), occurrence

    def accept(self, wish: Wish, magic: Magic) -> Task:
        """Reserves the credits and remembers the new task.

        Raises OutOfCreditsError or OverloadedError; nothing is remembered or reserved then.
        """
        self.advance()
        reserved = bill(wish, wish.n)
        if reserved.credits > self.credits_left:
            raise OutOfCreditsError
        self._make_room()
        self._serial += 1
        task = self._new_task(wish, magic)
        self.credits_reserved += reserved.credits
        self.tasks[task.id] = task
        self._by_link[task.link_name] = task
        if task.ready_at is not None:
            heapq.heappush(self._due, (task.ready_at, task.serial, task.id))
        self.accepted_by_prompt.add(wish.prompt)
        return task

    def first_of(self, idempotency_key: str, digest: str) -> Task | bool | None:
        """The task that this key made; None when it is new, False when it had another body."""
        known = self._idempotent.get(idempotency_key)
        if known is None:
            return None
        task = self.tasks.get(known[1])
        if task is None:
            del self._idempotent[idempotency_key]
            return None
        return task if known[0] == digest else False

    def remember_key(self, idempotency_key: str, digest: str, task: Task) -> None:
        self._idempotent[idempotency_key] = (digest, task.id)
        if len(self._idempotent) > _MAX_COUNTED:
            self._idempotent.popitem(last=False)

    # --- reads ----------------------------------------------------------------------------

    def poll(self, task_id: str) -> Task | None:
        """The task of that id, counted as polled once more."""
        self.advance()
        task = self.tasks.get(task_id)
        if task is not None:
            task.polls += 1
            self.polls_by_task.add(task_id)
        return task

    def newest_first(self) -> Iterable[Task]:
        self.advance()
        return reversed(self.tasks.values())

    def of_link(self, link_name: str) -> Task | None:
        self.advance()
        return self._by_link.get(link_name)

    def links(self, task: Task, base_url: str) -> list[str]:
        """The absolute result links of a task."""
        base = (self.public_url or base_url).rstrip("/")
        return [base + task.link_path(self.account, index) for index in range(task.pictures)]

    def advance(self) -> None:
        """Settles every task that has ended by now: its reservation goes, its cost is booked."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            _, _, task_id = heapq.heappop(self._due)
            task = self.tasks.get(task_id)
            if task is None or task.settled:
                continue
            task.settled = True
            self.credits_reserved = max(0.0, self.credits_reserved - task.reserved.credits)
            if task.error_code is None:
                self.credits_used += task.used.credits
            self._settled.append(task_id)

    # --- inside ---------------------------------------------------------------------------

    def _make_room(self) -> None:
        while len(self.tasks) >= self.options.max_tasks:
            if not self._settled:
                raise OverloadedError
            oldest = self.tasks.pop(self._settled.popleft(), None)
            if oldest is not None:
                del self._by_link[oldest.link_name]

    def _new_task(self, wish: Wish, magic: Magic) -> Task:
        chance = random.Random(f"{self.options.seed}:{self._serial}")
        created = self.clock()
        seconds = self._seconds(wish, magic, chance)
        results = magic.number("results")
        pictures = wish.n if results is None else int(results)
        used = bill(wish, pictures)
        told = magic.number("credits")
        return Task(
            id=new_task_id(created, chance),
            serial=self._serial,
            wish=wish,
            magic=magic,
            created=created,
            ready_at=None if magic.acts("stuck") else created + seconds,
            estimated_seconds=round(seconds),
            error_code=magic.text("fail"),
            pictures=pictures,
            reserved=bill(wish, wish.n),
            used=used if told is None else replace(used, credits=told),
            link_name=f"{chance.getrandbits(128):032x}",
        )

    def _seconds(self, wish: Wish, magic: Magic, chance: random.Random) -> float:
        jitter = chance.uniform(0.8, 1.2)
        told = magic.number("delay")
        if told is not None:
            return told
        return self.options.seconds_per_picture * jitter * (1 + 0.25 * (wish.n - 1))
