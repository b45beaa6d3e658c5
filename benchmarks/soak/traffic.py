"""What clients do: one table of acts, each a request or a few, with how often it is done.

The load is the same from the first minute to the last, so that what grows is the gateway.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from PIL import Image

from benchmarks.soak.asking import ORDERED, Client
from benchmarks.soak.operators import OPERATING
from benchmarks.soak.promises import Done

PAUSE_SECONDS: Final = 0.12
"""From one act of a client to its next, give or take."""

SERIAL: Final = itertools.count(1)
WORDS: Final = ("a red bicycle", "a lighthouse at dusk", "two cats in the snow", "an old harbour")
SIZES: Final = ("1:1", "2:3", "3:2")
MAGIC: Final = (
    "", "", "", "", "[sandbox:delay=1]", "[sandbox:fail=content_policy_violation]",
    "[sandbox:http=422]", "[sandbox:http=503*1]", "[sandbox:dead-link*1]", "[sandbox:drop]",
    "[sandbox:credits=2.5]", "[sandbox:stuck]", "[sandbox:poll-http=500*2]",
)  # fmt: skip
READ_BY_TEAMS: Final = (
    "/v1/credits", "/v1/models", "/v1/tasks", "/team/v1/summary", "/team/v1/usage",
    "/team/v1/orders", "/team/v1/pictures", "/team/v1/pictures?q=cats",
    "/team/v1/prices/gpt-image-1.5", "/openai/v1/models", "/api/v1/files/list",
)  # fmt: skip
PAGES: Final = (
    "/", "/console", "/console/app.js", "/docs", "/openapi.json", "/healthz", "/metrics", "/metrics"
)  # fmt: skip


async def live(client: Client) -> None:
    """One act after the other, until it is time to go."""
    weights = [each for each, _, _ in ACTS]
    async with client.http:
        while not client.stopped():
            _, name, act = client.chance.choices(ACTS, weights)[0]
            await act(client)
            client.promises.acts[name] += 1
            await asyncio.sleep(client.chance.uniform(0, 2 * PAUSE_SECONDS))


def new(client: Client, **more: Any) -> dict[str, Any]:
    """An order like no other."""
    prompt = f"{client.chance.choice(WORDS)}, no. {next(SERIAL)}"
    return {"prompt": prompt, "size": client.chance.choice(SIZES), **more}


# --- orders --------------------------------------------------------------------------------------


async def miss(client: Client) -> None:
    body = new(client)
    if client.chance.random() < 0.2:
        body["n"] = 2
    body["prompt"] += f" {client.chance.choice(MAGIC)}".rstrip()
    answer = await client.order(body, may=ORDERED | {422})
    if answer is not None and answer.status_code == 200:
        await _remember(client, body, answer.json()["id"])


async def _remember(client: Client, body: dict[str, Any], task: str) -> None:
    told = await client.ended(task)
    if told is not None and told["status"] == "completed":
        names = client.promises.show(str(told["results"]))
        client.promises.finish(Done(body, task, names))


async def hit(client: Client) -> None:
    """Ordered again; it costs nothing unless the cache was purged meanwhile."""
    if client.promises.finished:
        await client.order(dict(client.chance.choice(client.promises.finished).body))


async def join(client: Client) -> None:
    body = new(client)
    orders = [client.order(body, headers={"Prefer": "wait=5"}) for _ in range(3)]
    answers = await asyncio.gather(*orders)
    tasks = [one.json()["id"] for one in answers if one is not None and one.status_code == 200]
    if tasks:
        await _remember(client, body, tasks[0])


async def again(client: Client) -> None:
    """An order that comes twice under one key is one task, over a restart as well."""
    body, headers = new(client), {"Idempotency-Key": f"soak-key-{next(SERIAL):012}"}
    may = ORDERED | {409}
    first = await client.order(body, headers=headers, may=may)
    second = await client.order(body, headers=headers, may=may)
    told = [one.json() for one in (first, second) if one is not None and one.status_code == 200]
    if len({one["id"] for one in told}) > 1:
        client.promises.wonder("one idempotency key made two tasks")


async def called_back(client: Client) -> None:
    await client.order(new(client, callback_url=client.site.receiver.url))


async def left(client: Client) -> None:
    """A client that hangs up while it waits."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(client.chance.uniform(0.02, 0.4)):
            await client.order(new(client), headers={"Prefer": "wait=20"})


async def openai(client: Client) -> None:
    path, body = "/openai/v1/images/generations", {"model": "gpt-image-1.5", "quality": "low"}
    body |= {"prompt": new(client)["prompt"], "response_format": "url"}
    answer = await client.team("POST", path, json=body, may=ORDERED | {502})
    if answer is not None:
        client.promises.show(answer.text)


async def edit(client: Client) -> None:
    files = {"image": ("in.png", drawn(client), "image/png")}
    body = {"model": "gpt-image-1.5", "prompt": new(client)["prompt"], "response_format": "url"}
    path = "/openai/v1/images/edits"
    answer = await client.team("POST", path, data=body, files=files, may=ORDERED | {502})
    if answer is not None:
        client.promises.show(answer.text)


async def upload(client: Client) -> None:
    path = "/api/v1/files/upload/base64"
    body = {"base64_data": base64.b64encode(drawn(client)).decode()}
    answer = await client.team("POST", path, json=body, may={200, 502, 504})
    if answer is not None and answer.status_code == 200:
        file = answer.json()["data"]
        await client.order(new(client, image_urls=[file["file_url"]]))
        if client.chance.random() < 0.3:
            away = f"/api/v1/files/{file['file_id']}"
            await client.team("DELETE", away, may={200, 404, 502, 504})


def drawn(client: Client) -> bytes:
    file = io.BytesIO()
    colour = tuple(client.chance.randrange(256) for _ in range(3))
    Image.new("RGB", (24, 24), colour).save(file, "PNG")
    return file.getvalue()


# --- what is refused, and what is only looked at -------------------------------------------------


async def refused(client: Client) -> None:
    """By the form, by the key, by the budget, by the rate."""
    paths = "/v1/images/generations", "/v1/tasks/task-unified-1-none"
    await client.order({"prompt": "", "n": 99}, may={400})
    await client.ask("GET", paths[1], may={401}, headers={"Authorization": "Bearer nobody"})
    await client.team("GET", paths[1], may={404})
    await client.team("POST", paths[0], content=b"{broken", may={400})
    await client.order(new(client, n=2), team="poor", may={402})
    await client.order(new(client), team="hasty", may=ORDERED | {429})


async def polled(client: Client) -> None:
    if client.promises.finished:
        one = client.chance.choice(client.promises.finished)
        await client.team("GET", f"/v1/tasks/{one.task}")
        body = {"task_ids": [each.task for each in list(client.promises.finished)[-20:]]}
        await client.team("POST", "/v1/tasks/batch", json=body)


async def picture(client: Client) -> None:
    """Whole, in part, by its head, and not at all where the client has it."""
    if not client.promises.finished:
        return
    name = client.chance.choice(client.promises.finished[-1].pictures)
    path, gone = f"/pictures/{name}", {404} if name in client.promises.gone else set()
    whole = await client.ask("GET", path, may={200} | gone)
    await client.ask("HEAD", path, may={200, 404})
    await client.ask("GET", path, may={206, 404}, headers={"Range": "bytes=0-99"})
    if whole is not None and whole.status_code == 200:
        tag = {"If-None-Match": whole.headers["etag"]}
        await client.ask("GET", path, may={304, 404}, headers=tag)


async def read(client: Client) -> None:
    await client.team("GET", client.chance.choice(READ_BY_TEAMS), may={200, 502, 504})
    await client.team("POST", "/v1/images/estimate", json=new(client, model="gpt-image-1.5"))


async def browse(client: Client) -> None:
    for path in client.chance.sample(PAGES, 3):
        await client.ask("GET", path, may={200, 307})


Act = Callable[[Client], Awaitable[None]]

ACTS: Final[Sequence[tuple[float, str, Act]]] = (
    (30, "hit", hit),
    (12, "miss", miss),
    (4, "join", join),
    (15, "poll", polled),
    (15, "picture", picture),
    (3, "again under its key", again),
    (3, "callback", called_back),
    (3, "left while it waited", left),
    (3, "OpenAI", openai),
    (1, "edit", edit),
    (2, "upload", upload),
    (4, "refused", refused),
    (4, "read by a team", read),
    (2, "page", browse),
    *OPERATING,
)
