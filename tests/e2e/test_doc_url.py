"""Every error of the gateway's own leads to its chapter in `/docs`; upstream's refusals do not."""

from __future__ import annotations

from typing import Any

import pytest
from house import TEAM_KEY, House

from gateway.web.remedies import REMEDIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = [
    # On each surface: without a key, or where nothing is.
    *("/v1/credits", "/v1/nothing", "/openai/v1/models", "/openai/v1/nothing", "/nothing"),
    *("/admin/v1/teams", "/admin/v1/nothing", "/team/v1/summary", f"/pictures/{'0' * 64}.png"),
]


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_leads_to_its_chapter(shared_house: House, path: str) -> None:
    error = (await shared_house.client.get(path)).json()["error"]
    page, _, code = error["doc_url"].partition("#")
    assert page == f"{shared_house.http.base_url}/docs"
    assert (await shared_house.client.get(page)).status_code == 200
    assert code == ("unauthorized" if error["code"] == "invalid_api_key" else error["code"])
    explained = (await shared_house.client.get("/openapi.json")).json()["x-error-codes"]
    assert explained[code]["cure"] == REMEDIES[code].cure


async def test_a_wrong_order_says_its_field_and_where_it_is_explained(shared_house: House) -> None:
    error = (await shared_house.post(quality="best")).json()["error"]
    assert (error["param"], error["doc_url"].partition("#")[2]) == ("quality", "invalid_request")


@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
async def test_upstreams_refusal_has_no_chapter(shared_house: House, base: str) -> None:
    answer = await shared_house.client.post(
        f"{base}/images/generations",
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
        json={"model": "gpt-image-1.5", "prompt": f"{base} [sandbox:http=422]"},
    )
    error: dict[str, Any] = answer.json()["error"]
    assert answer.status_code == 422
    assert "doc_url" not in error


async def test_the_file_api_keeps_upstreams_shape(shared_house: House) -> None:
    told = (await shared_house.client.get("/api/v1/files/list")).json()
    assert told.keys() == {"success", "code", "msg"}
