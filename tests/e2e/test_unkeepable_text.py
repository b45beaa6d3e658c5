"""U+0000, which one ledger keeps and another cannot: refused at every door by the field's name."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from house import ADMIN_KEY, TEAM_KEY, House

NUL = "a\x00b"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
pytestmark = pytest.mark.asyncio(loop_scope="module")
WISH = {"model": "gpt-image-1.5", "prompt": "a boat"}

TEAM_BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/images/generations", {**WISH, "prompt": NUL}),
    ("/v1/images/generations", {**WISH, NUL: 1}),
    ("/v1/images/generations", {**WISH, "metadata": {"note": NUL}}),
    ("/v1/images/generations", {**WISH, "callback_url": f"https://receiver.example.org/{NUL}"}),
    ("/v1/images/generations", {**WISH, "image_urls": [f"https://files.example.org/{NUL}"]}),
    ("/v1/images/generations", {**WISH, "user": NUL}),
    ("/v1/images/estimate", {**WISH, "prompt": NUL}),
    ("/openai/v1/images/generations", {**WISH, "prompt": NUL}),
    ("/openai/v1/images/generations", {**WISH, "user": NUL}),
    ("/api/v1/files/upload/base64", {"base64_data": PNG, "file_name": NUL}),
    ("/api/v1/files/upload/base64", {"base64_data": PNG, "uploadPath": NUL}),
    ("/api/v1/files/upload/url", {"file_url": f"https://files.example.org/{NUL}"}),
    ("/api/v1/files/upload/url", {"file_url": "https://files.example.org/a.png", "file_name": NUL}),
]


@pytest.mark.parametrize(("path", "body"), TEAM_BODIES)
async def test_teams(shared_house: House, path: str, body: dict[str, Any]) -> None:
    answer = await shared_house.client.post(
        path, json=body, headers={"Authorization": f"Bearer {TEAM_KEY}"}
    )
    assert answer.status_code == 400, answer.text
    assert "\x00" not in answer.text


async def test_a_form(shared_house: House) -> None:
    answer = await shared_house.client.post(
        "/api/v1/files/upload/stream",
        files={"file": ("a.png", base64.b64decode(PNG), "image/png")},
        data={"upload_path": NUL},
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )
    assert answer.status_code == 400, answer.text
    assert "\x00" not in answer.text


OPERATOR_BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "teams", {"name": NUL}),
    ("POST", "teams", {"name": "new", "description": NUL}),
    ("PATCH", "teams/blue", {"description": NUL}),
    ("POST", "teams/blue/keys", {"label": NUL}),
    ("POST", "teams/blue/keys", {"label": "x", NUL: 1}),
    ("POST", "cache/purge", {"team": NUL}),
]


@pytest.mark.parametrize(("method", "path", "body"), OPERATOR_BODIES)
async def test_operators(shared_house: House, method: str, path: str, body: dict[str, Any]) -> None:
    answer = await shared_house.admin(method, path, json=body)
    assert answer.status_code in (400, 409), answer.text
    assert "\x00" not in answer.text


ASKED = [
    "admin/v1/runs?team=%00",
    "admin/v1/runs/%00",
    "admin/v1/pictures?team=%00",
    "admin/v1/pictures/unproven?run=%00",
    "admin/v1/pictures/unproven/%00",
    "admin/v1/refusals?team=%00",
    "admin/v1/callbacks?task=%00",
    "admin/v1/usage?team=%00",
    "admin/v1/teams/%00",
    "v1/tasks/%00",
    "openai/v1/models/%00",
    "team/v1/pictures?q=a%00b",
    "pictures/%00",
]


@pytest.mark.parametrize("path", ASKED)
async def test_addresses(shared_house: House, path: str) -> None:
    key = ADMIN_KEY if path.startswith("admin") else TEAM_KEY
    answer = await shared_house.client.get(f"/{path}", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code in (400, 404), answer.text


async def test_names_of_uploads_and_fields_of_forms(shared_house: House) -> None:
    key = {"Authorization": f"Bearer {TEAM_KEY}"}
    for name, value in (("file", NUL), ("file_name", NUL), (NUL, "x")):
        answer = await shared_house.client.post(
            "/api/v1/files/upload/stream",
            headers={**key, "Content-Type": "multipart/form-data; boundary=b"},
            content=form({name: value}),
        )
        assert answer.status_code == 400, answer.text
    for name in ("prompt", "user", NUL):
        answer = await shared_house.client.post(
            "/openai/v1/images/edits",
            headers={**key, "Content-Type": "multipart/form-data; boundary=b"},
            content=form({**WISH, name: NUL}),
        )
        assert answer.status_code == 400, answer.text


def form(fields: dict[str, str]) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return ("".join(parts) + "--b--\r\n").encode()


async def test_half_a_pair_is_refused_as_well(shared_house: House) -> None:
    body = json.dumps({**WISH, "prompt": "\ud800"}).encode()
    answer = await shared_house.client.post(
        "/v1/images/generations", content=body, headers={"Authorization": f"Bearer {TEAM_KEY}"}
    )
    assert answer.status_code == 400
