"""One part of an S3-compatible bucket: what is asked of it, in our own time and our own errors.

Nothing waits longer than `QUICK_SECONDS`, or `BODY_SECONDS` while a body is on its way, whatever
the server does. Objects are named from the part on. Nothing here knows what an object is for.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import structlog

from gateway.adapters.pictures.bucket_faults import first_line, told
from gateway.core.buckets import BucketPlace
from gateway.core.picture_errors import StoreFull

if TYPE_CHECKING:
    from obstore.store import S3Store

log = structlog.get_logger("gateway.pictures")

T = TypeVar("T")

REGION: Final = "us-east-1"
QUICK_SECONDS: Final = 5.0
BODY_SECONDS: Final = 60.0
LOG_SECONDS: Final = 1.0
PIECE_BYTES: Final = 64 * 1024
PART_BYTES: Final = 256 * 1024
STALL_SECONDS: Final = 1.0
"""A reader that wants nothing for so long holds no stream open."""

_WRITTEN: Final = re.compile(r"[\x21-\x7e]*")
_CONNECT: Final = timedelta(seconds=2)
_SLACK_SECONDS: Final = 5.0
"""Beyond the library's own time-outs: for what they do not cover, as finding keys by a role."""
_RETRY: Final = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Where the server is and what opens it; None for what the library finds by itself."""

    endpoint: str | None = None
    region: str = REGION
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    authority: str | None = None
    """A file of certificates to trust besides the system's."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """By the names that every S3 client reads."""

        def named(*names: str) -> str | None:
            return next((environ[name] for name in names if environ.get(name)), None)

        return cls(
            endpoint=named("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
            region=named("AWS_REGION", "AWS_DEFAULT_REGION") or REGION,
            access_key_id=named("AWS_ACCESS_KEY_ID"),
            secret_access_key=named("AWS_SECRET_ACCESS_KEY"),
            session_token=named("AWS_SESSION_TOKEN"),
            authority=named("AWS_CA_BUNDLE"),
        )

    @property
    def server(self) -> str:
        """Its name, without anything secret that the address may hold."""
        if self.endpoint is None:
            return f"AWS, region {self.region}"
        scheme, _, rest = self.endpoint.partition("://")
        return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"

    def require_usable(self) -> None:
        """Raises `StoreFull`: an address that is none, and a key that no header can hold, make the
        library panic; one with a line break at its end is only ever refused."""
        if not self._has_server():
            raise StoreFull("AWS_ENDPOINT_URL must be http:// or https:// and a host")
        for name, value in (
            ("AWS_REGION", self.region),
            ("AWS_ACCESS_KEY_ID", self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key),
            ("AWS_SESSION_TOKEN", self.session_token),
        ):
            if not _WRITTEN.fullmatch(value or ""):
                raise StoreFull(f"{name} has a space, a line break or a sign that none has in it")

    def _has_server(self) -> bool:
        if self.endpoint is None:
            return True
        try:
            parts = urlsplit(self.endpoint)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            return is_one and _WRITTEN.fullmatch(self.endpoint) is not None
        except ValueError:
            return False

    def configuration(self) -> dict[str, Any]:
        """As the library takes it."""
        known = {
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": self.session_token,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Seen:
    """An object of the bucket. Another `tag` means other bytes."""

    key: str
    size_bytes: int
    changed_at: float
    tag: str = ""

    @classmethod
    def of(cls, facts: Any) -> Self:
        changed_at = facts["last_modified"].timestamp()
        return cls(facts["path"], facts["size"], changed_at, str(facts.get("e_tag") or ""))


class Bucket:
    """Connects when it is first asked. All calls raise `StoreFull`, of which `StoreAway` is one."""

    def __init__(self, place: BucketPlace, access: BucketAccess) -> None:
        self.place = place
        self.access = access
        self.where = f"the bucket {place} ({access.server})"
        self._logged_at = -LOG_SECONDS

    async def open(self) -> None:
        """Makes ready to ask; nothing is asked yet."""
        try:
            await asyncio.to_thread(lambda: (self._quick, self._bodies))
        except StoreFull:
            raise
        except Exception as error:  # of as many kinds as there are settings to be wrong
            raise self._fault(error) from None

    async def head(self, key: str) -> Seen | None:
        """The object; None when it is not there, or when the bucket is not: who asks finds out."""
        facts = await self._or_none(_obstore().head_async(self._quick, key), QUICK_SECONDS)
        return None if facts is None else Seen.of(facts)

    async def get(self, key: str) -> bytes | None:
        """All of a small object. None as of `head`."""
        return await self._or_none(self._bytes(key), QUICK_SECONDS)

    async def read(
        self, key: str, start: int = 0, stop: int | None = None
    ) -> tuple[Seen, AsyncGenerator[bytes]] | None:
        """The object, and its bytes from `start` up to `stop`. None as of `head`.

        Who reads slowly may take longer than one request may last: then it is asked again from
        where it was.
        """
        got = await self._or_none(self._opened(key, start, stop), QUICK_SECONDS)
        if got is None:
            return None
        return Seen.of(got.meta), self._pieces(key, got, stop)

    async def put(
        self, key: str, content: bytes | Path, attributes: Mapping[str, str], *, anew: bool = False
    ) -> bool:
        """Writes the object; False when there is one already, unless `anew`."""
        from obstore.exceptions import AlreadyExistsError

        mode: Any = "overwrite" if anew else "create"
        writing = _obstore().put_async(
            self._bodies,
            key,
            content,
            attributes=dict(attributes),
            mode=mode,
            use_multipart=False,  # what breaks off leaves nothing behind that costs
        )
        try:
            await self._in_time(writing, BODY_SECONDS)
        except AlreadyExistsError:
            return False
        except FileNotFoundError as error:
            raise self._fault(error) from None
        return True

    async def delete(self, key: str) -> None:
        """Takes the object away; none there is no error."""
        await self._or_none(_obstore().delete_async(self._quick, key), QUICK_SECONDS)

    async def listed(self, prefix: str = "", *, most: int | None = None) -> list[Seen]:
        """What is there, at least `most` of it. Raises `StoreAway` when the bucket is not there."""
        try:
            return await self._in_time(self._pages(prefix, most), BODY_SECONDS)
        except FileNotFoundError as error:
            raise self._fault(error) from None

    async def signed(self, key: str, seconds: float) -> str:
        """An address that gives the object to whoever has it, for so long."""
        sign = _obstore().sign_async(self._quick, "GET", key, timedelta(seconds=seconds))
        return await self._in_time(sign, QUICK_SECONDS)

    # --- inside --------------------------------------------------------------------------------

    @cached_property
    def _quick(self) -> S3Store:
        return self._connected(QUICK_SECONDS)

    @cached_property
    def _bodies(self) -> S3Store:
        return self._connected(BODY_SECONDS)

    def _fault(self, error: Exception) -> StoreFull:
        """In our words; the library's are logged, of many that come together one."""
        now = time.monotonic()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("the bucket failed", bucket=self.where, reason=first_line(error))
        return told(error, self.where, has_keys=self.access.access_key_id is not None)

    def _connected(self, seconds: float) -> S3Store:
        from obstore.store import S3Store

        self.access.require_usable()
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": _CONNECT,
            "allow_http": (self.access.endpoint or "").startswith("http://"),
        }
        if self.access.authority is not None:
            options["root_certificate"] = _certificates(self.access.authority)
        configuration: Any = self.access.configuration()
        return S3Store(
            self.place.bucket,
            prefix=self.place.prefix or None,
            client_options=options,  # type: ignore[arg-type]
            retry_config=_RETRY,  # type: ignore[arg-type]
            **configuration,
        )

    async def _bytes(self, key: str) -> bytes:
        return bytes(await (await _obstore().get_async(self._quick, key)).bytes_async())

    async def _opened(self, key: str, start: int, stop: int | None) -> Any:
        part: Any = {"offset": start} if stop is None else (start, stop)
        options: Any = {} if start == 0 and stop is None else {"range": part}
        return await _obstore().get_async(self._bodies, key, options=options)

    async def _pieces(self, key: str, got: Any, stop: int | None) -> AsyncGenerator[bytes]:
        """One stream for a quick reader; one that let it wait is given the rest in small parts."""
        at, end = got.range
        stalled = asyncio.Event()
        while at < end:
            before = at
            stream = _Stream(got, stalled)
            del got
            try:
                while size := await self._in_time(stream.next(), BODY_SECONDS):
                    at += size
                    stream.waits_for_reader()
                    yield stream.taken()  # kept by nobody here while its reader waits
            except StoreFull:
                if at == before:
                    raise
            finally:
                stream.close()
            if at == before:
                raise StoreFull(f"{self.where} broke off")
            if at < end:
                part = min(at + PART_BYTES, end) if stalled.is_set() else stop
                got = await self._or_none(self._opened(key, at, part), QUICK_SECONDS)
                if got is None:
                    raise StoreFull(f"{key} is no longer there")

    async def _pages(self, prefix: str, most: int | None) -> list[Seen]:
        found: list[Seen] = []
        async for page in _obstore().list(self._quick, prefix or None):
            found += [Seen.of(facts) for facts in page]
            if most is not None and len(found) >= most:
                break
        return found

    async def _or_none(self, call: Awaitable[T], seconds: float) -> T | None:
        try:
            return await self._in_time(call, seconds)
        except FileNotFoundError:
            return None

    async def _in_time(self, call: Awaitable[T], seconds: float) -> T:
        """Raises `FileNotFoundError` and `AlreadyExistsError` as they are, and `StoreFull`."""
        from obstore.exceptions import AlreadyExistsError

        try:
            async with asyncio.timeout(seconds + _SLACK_SECONDS):
                return await call
        except (FileNotFoundError, AlreadyExistsError):
            raise
        except Exception as error:  # the library's, the system's, and what panics in it
            raise self._fault(error) from None


def _certificates(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StoreFull(f"AWS_CA_BUNDLE cannot be read: {error.strerror}") from None


class _Stream:
    """An answer's bytes. While its reader waits, the library reads ahead: of a reader that stands
    still the stream is let go, and `stalled` set."""

    def __init__(self, got: Any, stalled: asyncio.Event) -> None:
        self._pieces: Any = got.stream(min_chunk_size=PIECE_BYTES)
        self._stalled = stalled
        self._piece = b""
        self._timer: asyncio.TimerHandle | None = None

    async def next(self) -> int:
        """How long the next piece is; 0 at its end, and once it was let go."""
        self._stop_timer()
        if self._pieces is None:
            return 0
        self._piece = bytes(await anext(self._pieces, b""))
        return len(self._piece)

    def taken(self) -> bytes:
        piece, self._piece = self._piece, b""
        return piece

    def waits_for_reader(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self._let_go)

    def close(self) -> None:
        self._stop_timer()
        self._pieces = None

    def _let_go(self) -> None:
        self._stalled.set()
        self._pieces = None

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _obstore() -> Any:
    """The library, which only who keeps pictures in a bucket has installed."""
    import obstore

    return obstore
