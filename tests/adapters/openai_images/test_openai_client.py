"""The client against real servers: what is sent, what comes of every kind of answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from openai_upstream import (
    KEY,
    LIMIT,
    USAGE,
    Answer,
    Asked,
    a_run,
    answering,
    client,
    coded,
    error,
    hang,
    hang_up,
    named,
    pictures,
    png,
    upstream,
)

from gateway.adapters.openai_images.asked import OpenAIDialect
from gateway.adapters.openai_images.delivered import recovered
from gateway.adapters.openai_images.links import SpoolLinks
from gateway.adapters.openai_images.spool import AnswerSpool, Arriving
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.vendor import MAX_ANSWER_BYTES, straight
from gateway.core.kinds import Rates
from gateway.core.model import Run
from gateway.core.runs import docket
from gateway.core.runs.docket import Tokens
from gateway.core.runs.events import (
    AnswerLost,
    CredentialsRefused,
    Delivered,
    NotNow,
    Refused,
    SubmitEvent,
    TaskFailed,
    Unreachable,
    Why,
)

RUN = a_run()
JPEG = b"\xff\xd8\xff" + b"j" * 100
WEBP = b"RIFF\x00\x00\x00\x00WEBP" + b"w" * 100


async def submit(answer: Answer, folder: Path, run: Run = RUN, **more: Any) -> SubmitEvent:
    async with upstream(answer) as server, client(server.url, folder, **more) as one:
        return await one.submit(run)


async def sent(
    run: Run, folder: Path, dialect: OpenAIDialect, *, base: str = ""
) -> tuple[Asked, SubmitEvent]:
    async with (
        upstream(answering(pictures())) as server,
        client(server.url + base, folder, dialect) as one,
    ):
        event = await one.submit(run)
    (asked,) = server.asked
    return asked, event


async def bytes_of(link: str, folder: Path) -> bytes:
    fetcher = Fetcher(allow_private=True)
    links = SpoolLinks(AnswerSpool(folder), fetcher)
    async with links.stream(link, max_bytes=LIMIT, timeout_seconds=5) as body:
        return b"".join([piece async for piece in body])


# --- what is sent --------------------------------------------------------------------------------


async def test_a_generation(tmp_path: Path) -> None:
    run = a_run(n=2, size="3:2", quality="low", background="opaque", output_format="jpeg")
    asked, _ = await sent(run, tmp_path, OpenAIDialect(), base="/v1")
    assert (asked.method, asked.target) == ("POST", "/v1/images/generations")
    assert asked.json == {
        "model": "gpt-image-2", "prompt": "a red bicycle", "n": 2, "size": "1536x1024",
        "quality": "low", "background": "opaque", "output_format": "jpeg",
    }  # fmt: skip
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "api-key" not in asked.headers and "idempotency-key" not in asked.headers


async def test_response_format_is_said_where_a_server_wants_it(tmp_path: Path) -> None:
    asked, _ = await sent(RUN, tmp_path, OpenAIDialect(response_format="b64_json"))
    assert asked.json["response_format"] == "b64_json"


async def test_azure_has_the_deployment_in_its_address(tmp_path: Path) -> None:
    dialect = OpenAIDialect(style="azure", api_version="2025-04-01-preview")
    asked, _ = await sent(RUN, tmp_path, dialect, base="/openai/deployments/ours")
    path = "/openai/deployments/ours/images/generations?api-version=2025-04-01-preview"
    assert asked.target == path and asked.json == {"prompt": "a red bicycle"}
    assert asked.headers["api-key"] == KEY and "authorization" not in asked.headers


async def test_azures_newer_addresses_have_it_as_the_model(tmp_path: Path) -> None:
    run = replace(RUN, upstream_model="ours")
    asked, _ = await sent(run, tmp_path, OpenAIDialect(style="azure_v1"), base="/openai/v1")
    assert asked.target == "/openai/v1/images/generations"
    assert asked.json == {"model": "ours", "prompt": "a red bicycle"}
    assert asked.headers["api-key"] == KEY and "authorization" not in asked.headers


async def test_links_go_as_links(tmp_path: Path) -> None:
    run = a_run(
        image_urls=["https://a.test/1.png", "https://a.test/2"], mask_url="https://a.test/m"
    )
    asked, _ = await sent(run, tmp_path, OpenAIDialect(references="link"))
    assert asked.target == "/images/edits"
    assert asked.json == {
        "model": "gpt-image-2", "prompt": "a red bicycle",
        "images": [{"image_url": "https://a.test/1.png"}, {"image_url": "https://a.test/2"}],
        "mask": {"image_url": "https://a.test/m"},
    }  # fmt: skip


@asynccontextmanager
async def files(**contents: Answer) -> AsyncIterator[dict[str, str]]:
    """A server for each file."""
    servers = {name: upstream(answer) for name, answer in contents.items()}
    entered = {name: await server.__aenter__() for name, server in servers.items()}
    try:
        yield {name: f"{one.url}/{name}" for name, one in entered.items()}
    finally:
        for server in servers.values():
            await server.__aexit__(None, None, None)


def file(content: bytes, media_type: str = "image/png") -> bytes:
    return answering(content, Content_Type=media_type)


@pytest.mark.parametrize("field", ["image[]", "image"])
async def test_pictures_are_sent_along_with_their_true_type(tmp_path: Path, field: str) -> None:
    big = png() + b"x" * 1_000_000
    async with files(
        a=file(big, "text/plain"), b=file(JPEG), c=file(WEBP), m=file(png(3))
    ) as links:
        run = a_run(image_urls=[links["a"], links["b"], links["c"]], mask_url=links["m"], n=2)
        asked, event = await sent(run, tmp_path, OpenAIDialect(image_field=field), base="/v1")
    assert isinstance(event, Delivered)
    assert asked.target == "/v1/images/edits" and "transfer-encoding" not in asked.headers
    texts = [(name, content) for name, head, content in asked.form if "filename" not in head]
    assert texts == [("model", b"gpt-image-2"), ("prompt", b"a red bicycle"), ("n", b"2")]
    parts = [(name, head, content) for name, head, content in asked.form if "filename" in head]
    assert [(name, content) for name, _, content in parts] == [
        (field, big), (field, JPEG), (field, WEBP), ("mask", png(3)),
    ]  # fmt: skip
    types = [head.partition("Content-Type: ")[2] for _, head, _ in parts]
    assert types == ["image/png", "image/jpeg", "image/webp", "image/png"]
    assert not list(tmp_path.glob("*.ref"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answering(b"", 404), "nothing can be fetched there"),
        (answering(b"", 500), "could not be fetched whole"),
        (file(b"GIF89a" + b"g" * 100), "not a whole JPEG, PNG or WebP"),
        (file(b"<html>"), "not a whole JPEG, PNG or WebP"),
        (file(b""), "not a whole JPEG, PNG or WebP"),
        (answering(png(), Content_Length="50000001"), "more than 50 MB"),
        (hang_up, "could not be fetched whole"),
    ],
)
async def test_a_reference_that_cannot_be_used_is_ours_to_refuse(
    tmp_path: Path, answer: Answer, said: str
) -> None:
    if isinstance(answer, bytes) and b"50000001" in answer:
        answer = answer.replace(f"Content-Length: {len(png())}\r\n".encode(), b"")
    async with (
        files(a=file(png()), b=answer) as links,
        upstream() as server,
        client(server.url, tmp_path) as one,
    ):
        event = await one.submit(a_run(image_urls=[links["a"], links["b"]]))
    assert isinstance(event, Refused) and event.status == 400
    told = json.loads(event.body)["error"]
    assert told["param"] == "image_urls[1]" and said in told["message"]
    assert (told["code"], told["type"]) == ("invalid_request", "invalid_request_error")
    assert server.connections == 0 and not list(tmp_path.iterdir())


async def test_a_mask_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    async with (
        files(a=file(png()), m=answering(b"", 410)) as links,
        upstream() as server,
        client(server.url, tmp_path) as one,
    ):
        event = await one.submit(a_run(image_urls=[links["a"]], mask_url=links["m"]))
    assert isinstance(event, Refused) and json.loads(event.body)["error"]["param"] == "mask_url"


@pytest.mark.parametrize(
    ("run", "dialect"),
    [
        (a_run(seed=1), OpenAIDialect()),
        (a_run(size="16:9"), OpenAIDialect()),
        (a_run(output_format="webp"), OpenAIDialect(style="azure_v1")),
    ],
)
async def test_what_does_not_fit_is_not_sent(
    tmp_path: Path, run: Run, dialect: OpenAIDialect
) -> None:
    async with upstream() as server, client(server.url, tmp_path, dialect) as one:
        event = await one.submit(run)
    assert isinstance(event, NotNow) and event.its_own
    assert server.connections == 0 and not list(tmp_path.iterdir())


async def test_azure_takes_no_webp(tmp_path: Path) -> None:
    async with (
        files(a=file(WEBP)) as links,
        upstream() as server,
        client(server.url, tmp_path, OpenAIDialect(style="azure")) as one,
    ):
        event = await one.submit(a_run(image_urls=[links["a"]]))
    assert isinstance(event, NotNow) and event.its_own and server.connections == 0


# --- what comes ----------------------------------------------------------------------------------


async def test_pictures_are_delivered_from_the_disk(tmp_path: Path) -> None:
    answer = answering(pictures(3), x_request_id="req_1")
    event = await submit(answer, tmp_path, a_run(n=3))
    assert isinstance(event, Delivered)
    name = f"{RUN.id}-1"
    assert event.links == tuple(f"spool:{name}/{index}" for index in range(3))
    assert event.cost_usd_micros == 5_970
    assert [await bytes_of(link, tmp_path) for link in event.links] == [png(0), png(1), png(2)]
    kept = docket.read(event.task)
    assert (kept.kind, kept.request_id, kept.tokens) == ("openai", "req_1", Tokens(18, 0, 196))
    assert kept.said == {"created": 1795870000, "data": [{}, {}, {}], "usage": USAGE}
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.answer"]


async def test_what_is_said_beside_the_pictures_is_bounded_as_a_whole(tmp_path: Path) -> None:
    """Or else each answer makes a row of the ledger as long as it likes."""
    many = {f"note{index}": ["é" * 10_000] * 20 for index in range(5)}
    answer = answering(pictures(background="opaque", **many))
    event = await submit(answer, tmp_path, limit=3 * LIMIT)
    assert isinstance(event, Delivered) and event.cost_usd_micros == 5_970
    said = docket.read(event.task).said
    assert len(event.task.encode()) < MAX_ANSWER_BYTES + 1_000
    assert said["usage"] == USAGE and said["background"] == "opaque" and "note0" in said
    assert await bytes_of(event.links[0], tmp_path) == png()


async def test_fewer_pictures_and_more_than_were_ordered(tmp_path: Path) -> None:
    fewer = await submit(answering(pictures(2)), tmp_path, a_run(n=4))
    assert isinstance(fewer, Delivered) and len(fewer.links) == 2
    more = await submit(answering(pictures(3)), tmp_path, a_run(n=1))
    assert isinstance(more, Delivered) and len(more.links) == 3
    many = await submit(answering(pictures(30)), tmp_path, a_run(n=1))
    assert isinstance(many, Delivered) and len(many.links) == 10


async def test_links_of_a_server_go_to_the_fetcher(tmp_path: Path) -> None:
    async with files(a=file(png(7))) as links:
        data = [{"url": links["a"]}, {"url": links["a"], "b64_json": None}, {"b64_json": "QUJD"}]
        event = await submit(answering({"data": data, "usage": USAGE}), tmp_path, a_run(n=3))
        assert isinstance(event, Delivered)
        assert event.links == (links["a"], f"spool:{RUN.id}-1/2")
        assert await bytes_of(event.links[0], tmp_path) == png(7)
        assert await bytes_of(event.links[1], tmp_path) == b"ABC"


@pytest.mark.parametrize(
    ("usage", "more", "cost"),
    [
        (USAGE, {}, 5_970),
        (USAGE, {"rates": None}, None),
        (USAGE, {"dialect": OpenAIDialect(usage="absent")}, None),
        (None, {}, None),
        ({"input_tokens": 1, "output_tokens": 0}, {}, None),
        ({"input_tokens": 18, "output_tokens": 196}, {}, 5_970),
        (
            {
                "input_tokens": 10,
                "output_tokens": 196,
                "input_tokens_details": {"text_tokens": 10**9},
            },
            {},
            5_930,
        ),
        ({"input_tokens": 10, "output_tokens": 10**9}, {}, None),
        (
            {
                "input_tokens": 10,
                "output_tokens": 196,
                "output_tokens_details": {"image_tokens": 0, "text_tokens": 196},
            },
            {},
            None,
        ),
    ],
)
async def test_the_bill(tmp_path: Path, usage: Any, more: dict[str, Any], cost: int | None) -> None:
    event = await submit(answering(pictures(usage=usage)), tmp_path, **more)
    assert isinstance(event, Delivered) and event.cost_usd_micros == cost


async def test_an_answer_may_be_compressed_all_the_same(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(pictures()).encode())
    event = await submit(answering(packed, Content_Encoding="gzip"), tmp_path)
    assert isinstance(event, Delivered)
    assert await bytes_of(event.links[0], tmp_path) == png()


async def test_the_vendors_azure_name_for_the_call(tmp_path: Path) -> None:
    event = await submit(answering(pictures(), apim_request_id="apim-1"), tmp_path)
    assert isinstance(event, Delivered) and docket.read(event.task).request_id == "apim-1"


async def test_the_key_is_nowhere_in_what_is_told(tmp_path: Path) -> None:
    answer = answering(pictures(note=KEY), x_request_id=KEY)
    assert KEY not in repr(await submit(answer, tmp_path))
    assert KEY not in repr(await submit(answering(error("moderation_blocked", KEY), 400), tmp_path))


ERRORS: list[tuple[Answer, type[Any]]] = [
    (answering(error("moderation_blocked", type="image_generation_user_error"), 400), Refused),
    (answering(error("contentFilter"), 400), Refused),
    (answering(error("invalid_value", param="size"), 400), NotNow),
    (answering(error("invalid_value", param="model"), 400), CredentialsRefused),
    (answering(error("unknown_parameter", param="seed"), 400), NotNow),
    (answering(error("invalid_api_key"), 401), CredentialsRefused),
    (answering(error(None, "Your organization must be verified"), 403), CredentialsRefused),
    (answering(error("Forbidden", "Your resource has been temporarily blocked"), 403),
     CredentialsRefused),
    (answering(error("model_not_found"), 404), CredentialsRefused),
    (answering(error("rate_limit_exceeded"), 429, retry_after="3"), NotNow),
    (answering(error("credit_balance_exhausted", type="insufficient_quota"), 429),
     CredentialsRefused),
    (answering(error("server_error"), 500), NotNow),
    (answering(error("server_is_overloaded"), 503), NotNow),
    (answering(b"<html>", 502), AnswerLost),
    (answering(b"", 504), AnswerLost),
    (answering(b"<html>", 524), AnswerLost),
    (answering(b"", 408), AnswerLost),
    (answering(b"", 307, Location="http://169.254.169.254/"), AnswerLost),
    (answering(b"", 407), NotNow),
    (answering(error("rate_limit_exceeded")), AnswerLost),
    (answering(error("moderation_blocked")), Refused),
    (answering({"created": 1, "data": []}), AnswerLost),
    (answering({"created": 1}), AnswerLost),
    (answering({"created": 10**40, "error": {"code": 10**40, "message": "m"}}), AnswerLost),
    (answering(b""), AnswerLost),
    (answering(b"<html>"), AnswerLost),
    (answering(b"event: image_generation.partial_image\ndata: {}\n\n"), AnswerLost),
    (answering(json.dumps(pictures()).encode()[:-3]), AnswerLost),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n", AnswerLost),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", AnswerLost),
    (b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(pictures()).encode()[:50], AnswerLost),
    (b"nonsense\r\n\r\n", AnswerLost),
    (hang_up, AnswerLost),
]  # fmt: skip


PICTURES = json.dumps(pictures()).encode()
CHUNK = b"%x\r\n%s\r\n" % (len(PICTURES), PICTURES)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ZIPPED = gzip.compress(PICTURES)
WHOLE: list[Answer] = [
    answering(pictures()).replace(b"Length: ", b"Length: 9"),
    answering(PICTURES, Content_Length=str(len(PICTURES) + 2)).replace(b"Content-Length", b"X", 1),
    CHUNKED + CHUNK,
    CHUNKED + CHUNK + b"0",
    CHUNKED + CHUNK + b"0\r\n",
    CHUNKED + CHUNK.removesuffix(b"\r\n"),
    CHUNKED + CHUNK + b"zz\r\n",
    CHUNKED + b"%x\r\n%s" % (len(PICTURES) + 5, PICTURES),
    answering(PICTURES + b"\n<!-- served by b2 -->"),
    answering(b" " * 2_000_000 + PICTURES),
    answering(b"\xef\xbb\xbf" + PICTURES),
    answering(ZIPPED[:-4], Content_Encoding="gzip"),
    b"HTTP/1.1 200 OK\r\n\r\n" + PICTURES,
]


@pytest.mark.parametrize("answer", WHOLE, ids=named)
async def test_an_answer_that_is_whole_but_for_its_frame_is_delivered(
    tmp_path: Path, answer: Answer
) -> None:
    event = await submit(answer, tmp_path)
    assert isinstance(event, Delivered) and event.cost_usd_micros == 5_970
    assert await bytes_of(event.links[0], tmp_path) == png()
    async with client("http://unused.test", tmp_path) as one:
        assert await one.recovered(RUN) == event


@pytest.mark.parametrize("body", [PICTURES[:-1], PICTURES[:-40], b"{}", b'{"data":[]}', b""])
async def test_an_answer_that_is_broken_off_is_lost(tmp_path: Path, body: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    event = await submit(CHUNKED + chunk, tmp_path)
    assert isinstance(event, AnswerLost) and event.reason == "no answer: RemoteProtocolError"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("answer", "kind"), ERRORS, ids=named)
async def test_every_other_answer(tmp_path: Path, answer: Answer, kind: type[Any]) -> None:
    async with upstream(answer) as server, client(server.url, tmp_path) as one:
        event = await one.submit(RUN)
    assert isinstance(event, kind), event
    assert server.connections == len(server.asked) == 1  # never sent again, nowhere else
    if kind is AnswerLost:
        async with client(server.url, tmp_path) as one:
            assert isinstance(await one.recovered(RUN), AnswerLost)


async def test_a_failure_after_long_work_may_be_charged(tmp_path: Path) -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(answering(error("server_error", "retry"), 500, x_request_id="req_9"))
        await writer.drain()

    assert isinstance(await submit(late, tmp_path), NotNow)
    event = await submit(late, tmp_path, slow_seconds=0.2)
    assert isinstance(event, TaskFailed) and event.charged and event.is_providers
    assert docket.read(event.task).request_id == "req_9"


async def test_silence_and_a_drip_end_with_the_time(tmp_path: Path) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    for behave in (hang, drip):
        start = time.monotonic()
        event = await submit(behave, tmp_path, seconds=0.5)
        assert isinstance(event, AnswerLost) and time.monotonic() - start < 3
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["finish", "read"])
async def test_what_has_arrived_is_taken_in_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    finish, read = Arriving.finish, AnswerSpool.read

    def finish_late(self: Arriving) -> None:
        time.sleep(2)
        finish(self)

    async def read_late(self: AnswerSpool, *of: Any) -> Any:
        await asyncio.sleep(2)
        return await read(self, *of)

    if step == "finish":
        monkeypatch.setattr(Arriving, "finish", finish_late)
    else:
        monkeypatch.setattr(AnswerSpool, "read", read_late)
    event = await submit(answering(pictures()), tmp_path, seconds=0.5)
    assert isinstance(event, Delivered), event


async def test_an_answer_that_waits_while_the_process_stands_still_is_taken_in(
    tmp_path: Path,
) -> None:
    body = answering(pictures(note="x" * 200_000))

    def serve(server: socket.socket) -> None:
        line, _ = server.accept()
        with line:
            line.recv(65_536)
            time.sleep(0.3)
            line.sendall(body)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = asyncio.create_task(asyncio.to_thread(serve, server))
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with client(url, tmp_path, seconds=0.6) as one:
            asyncio.get_running_loop().call_later(0.2, time.sleep, 2.5)
            event = await one.submit(RUN)
        await serving
    assert isinstance(event, Delivered), event


async def test_an_answer_is_bounded(tmp_path: Path) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"A" * 65_536)
            await writer.drain()

    event = await submit(flood, tmp_path, limit=100_000)
    assert isinstance(event, AnswerLost) and "more than" in event.reason
    assert not list(tmp_path.iterdir())


# --- whether it has left -------------------------------------------------------------------------


async def test_nobody_there(tmp_path: Path) -> None:
    async with upstream() as server:
        url = server.url
    async with client(url, tmp_path) as one:
        event = await one.submit(RUN)
    assert isinstance(event, NotNow) and event.why is Why.NEVER_SENT
    assert not list(tmp_path.iterdir())


async def test_a_full_pool_was_no_submit(tmp_path: Path) -> None:
    pool = straight(httpx.Limits(max_connections=1))
    more: Any = {"transports": lambda _: pool}
    async with (
        upstream(hang) as server,
        client(server.url, tmp_path, seconds=1.5, **more) as patient,
        client(server.url, tmp_path, seconds=0.3, **more) as hurried,
    ):
        under_way = asyncio.create_task(patient.submit(RUN))
        async with asyncio.timeout(5):
            while not server.asked:
                await asyncio.sleep(0.01)
        event = await hurried.submit(replace(RUN, id="run_other"))
        assert isinstance(event, NotNow) and event.why is Why.NEVER_SENT
        assert isinstance(await under_way, AnswerLost)


class Lost(Exception):
    pass


async def test_it_is_asked_for_leave_when_all_is_ready(tmp_path: Path) -> None:
    """The references are here and so is the file, and nothing has been sent."""
    seen: list[list[str]] = []

    async def refuse() -> None:
        seen.append(sorted(path.suffix for path in tmp_path.iterdir()))
        raise Lost

    async with (
        files(a=file(png())) as links,
        upstream() as server,
        client(server.url, tmp_path) as one,
    ):
        with pytest.raises(Lost):
            await one.submit(a_run(image_urls=[links["a"]]), sure=refuse)
    assert seen == [[".part", ".ref"]] and not server.asked and not list(tmp_path.iterdir())


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


async def test_a_full_disk_before_it_leaves_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    async with upstream(answering(pictures())) as server, client(server.url, tmp_path) as one:
        event = await one.submit(RUN)
    assert isinstance(event, NotNow) and event.why is Why.NEVER_SENT
    assert "No space left" in event.reason
    assert server.connections == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["head", "write", "finish"])
async def test_a_full_disk_afterwards_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Arriving, step, full)
    event = await submit(answering(pictures()), tmp_path)
    assert isinstance(event, AnswerLost) and "No space left" in event.reason
    assert not list(tmp_path.iterdir())


async def test_a_call_cut_short_leaves_what_a_crash_would(tmp_path: Path) -> None:
    async with upstream(hang) as server, client(server.url, tmp_path) as one:
        under_way = asyncio.create_task(one.submit(RUN))
        async with asyncio.timeout(5):
            while not server.asked:
                await asyncio.sleep(0.01)
        under_way.cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        assert isinstance(await one.recovered(RUN), AnswerLost)


async def test_connections_are_not_kept(tmp_path: Path) -> None:
    answer = answering(pictures()).replace(b"Connection: close\r\n", b"")
    async with upstream(answer) as server, client(server.url, tmp_path) as one:
        for attempt in (1, 2):
            assert isinstance(await one.submit(replace(RUN, attempts=attempt)), Delivered)
        assert server.connections == 2


# --- afterwards ----------------------------------------------------------------------------------


async def test_what_is_whole_is_found_again_and_forgotten(tmp_path: Path) -> None:
    event = await submit(answering(pictures(2), x_request_id="req_1"), tmp_path, a_run(n=2))
    async with client("http://127.0.0.1:9", tmp_path) as one:
        assert await one.recovered(a_run(n=2)) == event
        assert await one.recovered(a_run(n=2)) == event
        assert isinstance(await one.recovered(replace(RUN, attempts=2)), AnswerLost)
        assert isinstance(await one.recovered(replace(RUN, id="run_other")), AnswerLost)
        await one.forget(replace(RUN, attempts=7))
        await one.forget(RUN)
        assert isinstance(await one.recovered(a_run(n=2)), AnswerLost)
    assert not list(tmp_path.iterdir())


async def test_what_is_whole_needs_no_settings_to_be_found(tmp_path: Path) -> None:
    """It is billed at what it was begun at. Nobody knows the key that might stand in it."""
    told = pictures(2, echo=KEY)
    event = await submit(answering(told, x_request_id="req_1"), tmp_path, a_run(n=2))
    assert isinstance(event, Delivered) and event.cost_usd_micros == 5_970
    found = await recovered(AnswerSpool(tmp_path), a_run(n=2))
    assert isinstance(found, Delivered)
    assert (found.links, found.cost_usd_micros) == (event.links, event.cost_usd_micros)
    kept = docket.read(found.task)
    assert (kept.request_id, kept.tokens, kept.said) == ("req_1", Tokens(18, 0, 196), {})
    async with client("http://127.0.0.1:9", tmp_path, rates=Rates(1, 1, 1)) as one:
        assert await one.recovered(a_run(n=2)) == event
    nobody = await recovered(AnswerSpool(tmp_path), replace(RUN, attempts=2))
    assert isinstance(nobody, AnswerLost) and not nobody.unread


@pytest.mark.parametrize("rates", ["x", {"text_in": 1}, {"unheard_of": 1}])
async def test_a_head_that_is_none_of_ours_bills_nothing(tmp_path: Path, rates: Any) -> None:
    head = {"status": 200, "headers": {}, "at": 1.0, "rates": rates}
    body = json.dumps(head).encode() + b"\n" + json.dumps(pictures()).encode()
    (tmp_path / f"{RUN.id}-1.answer").write_bytes(body)
    found = await recovered(AnswerSpool(tmp_path), RUN)
    assert isinstance(found, Delivered) and found.cost_usd_micros is None


async def test_there_are_no_tasks_and_no_credits(tmp_path: Path) -> None:
    async with client("http://127.0.0.1:9", tmp_path) as one:
        told = await one.poll("anything")
        assert isinstance(told, Unreachable) and told.gone
        assert await one.credits() is None


async def test_a_spool_that_cannot_be_read_raises_nothing(tmp_path: Path) -> None:
    async with client("http://127.0.0.1:9", tmp_path / "there") as one:
        (tmp_path / "there" / f"{RUN.id}-1.answer").mkdir()
        assert isinstance(await one.recovered(RUN), AnswerLost)
        await one.forget(RUN)


async def test_memory_stays_flat(tmp_path: Path) -> None:
    large = coded(png() + b"\0" * 30_000_000)
    body = json.dumps({"data": [{"b64_json": large}], "usage": USAGE}).encode()

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        view = memoryview(body)
        for at in range(0, len(body), 65_536):
            writer.write(view[at : at + 65_536])
            await writer.drain()

    async with (
        upstream(write) as server,
        client(server.url, tmp_path, limit=40_000_000, seconds=60) as one,
    ):
        tracemalloc.start()
        try:
            event = await one.submit(RUN)
            assert isinstance(event, Delivered)
            links = SpoolLinks(AnswerSpool(tmp_path), Fetcher(allow_private=True))
            size = 0
            async with links.stream(
                event.links[0], max_bytes=40_000_000, timeout_seconds=5
            ) as content:
                async for piece in content:
                    size += len(piece)
            assert size > 30_000_000
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()
