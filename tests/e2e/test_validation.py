"""Nothing that is refused at the door has moved any money, and every refusal names its field."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from house import TEAM_KEY, House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One gateway for all: what it refuses leaves nothing behind."""
    async with house(tmp_path_factory.mktemp("door")) as one:
        yield one


REFUSED = [
    ("model", {"model": "gpt-image-9"}),
    ("model", {"model": ...}),
    ("model", {"model": 7}),
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": "  \n"}),
    ("prompt", {"prompt": 5}),
    ("prompt", {"prompt": "word " * 2500}),
    ("size", {"size": "9:9"}),
    ("size", {"size": 1024}),
    ("quality", {"quality": "ultra"}),
    ("prompt", {"prompt": "half a \0 word"}),
    ("metadata", {"metadata": "x" * 20_000}),
    ("thing.seeds[1]", {"thing": {"seeds": [1, 2**64]}}),
    ("seed", {"seed": -(2**63) - 1}),
    ("seed", {"seed": 10**400}),
    ("extra.style", {"extra": {"style": "\0"}}),
    ("N", {"N": 9}),
    ("Resolution", {"Resolution": "4K"}),
    ("\u017fize", {"\u017fize": "3:2"}),
    ("Model", {"Model": "another"}),
    ("Callback_URL", {"Callback_URL": "https://example.com/done"}),
    ("n", {"n": 0}),
    ("n", {"n": 11}),
    ("n", {"n": 1.5}),
    ("n", {"n": True}),
    ("n", {"n": "2"}),
    ("image_urls", {"image_urls": "https://example.com/a.png"}),
    ("image_urls", {"image_urls": ["https://example.com/a.png"] * 17}),
    ("image_urls[0]", {"image_urls": ["ftp://example.com/a.png"]}),
    ("image_urls[1]", {"image_urls": ["https://example.com/a", "https://example.com/a.gif"]}),
    ("image_urls[0]", {"image_urls": ["https://example.com/" + "a" * 2048]}),
    ("callback_url", {"callback_url": "http://example.com/done"}),
    ("callback_url", {"callback_url": "https://127.0.0.1/done"}),
    ("callback_url", {"callback_url": "https://0x7f.1/done"}),
    ("callback_url", {"callback_url": "https://[::ffff:10.0.0.1]/done"}),
    ("callback_url", {"callback_url": "https://localhost/done"}),
    ("callback_url", {"callback_url": "https://user@example.com/done"}),
]


@pytest.mark.parametrize(("param", "wish"), REFUSED, ids=lambda one: str(one)[:40])
async def test_a_refusal_names_its_field(door: House, param: str, wish: object) -> None:
    assert isinstance(wish, dict)
    answer = await door.post(**{"prompt": "a door", **wish})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalid_request" and error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert len(error["message"]) > 20
    assert door.sandbox.state.submits == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000]
)
async def test_bodies_that_are_no_object(door: House, content: bytes) -> None:
    answer = await door.client.post(
        "/v1/images/generations", content=content, headers={"Authorization": f"Bearer {TEAM_KEY}"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("field", "text"),
    [("prompt", '"prompt": "a \\ud83d b"'), ("seed", '"prompt": "a", "seed": 1e400')],
)
async def test_what_json_can_spell_and_nobody_can_carry(door: House, field: str, text: str) -> None:
    answer = await door.client.post(
        "/v1/images/generations",
        content=f'{{"model": "gpt-image-1.5", {text}}}'.encode(),
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert door.sandbox.state.submits == 0


async def test_deep_nesting_is_refused(door: House) -> None:
    deep: object = 1
    for _ in range(60):
        deep = {"a": deep}
    answer = await door.post("deep", thing=deep)
    assert answer.status_code == 400


async def test_bodies_are_bounded_while_they_are_read(door: House) -> None:
    auth = {"Authorization": f"Bearer {TEAM_KEY}"}
    big = b'{"prompt": "' + b"x" * 1_100_000 + b'"}'
    sent = await door.client.post("/v1/images/generations", content=big, headers=auth)
    assert sent.status_code == 413
    assert sent.json()["error"]["code"] == "request_too_large"
    given = 0

    async def endless() -> object:
        nonlocal given
        for _ in range(1000):
            given += 65536
            yield b"x" * 65536

    chunked = await door.client.post("/v1/images/generations", content=endless(), headers=auth)
    assert chunked.status_code == 413
    assert door.sandbox.state.submits == 0
