"""The console's files: what is served, how, and that nothing in them reaches outside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.model import RunState
from gateway.core.teams.changes import Action
from gateway.errors import NotFound
from gateway.serving import InProcessServer
from gateway.web.app import routes
from gateway.web.console_files import FOLDER, MEDIA_TYPES, POLICY, Console, read_assets
from gateway.web.operation import endpoints_of

ASSETS = sorted(read_assets(FOLDER))
OWN = [name for name in ASSETS if not name.startswith("vendor/")]
SCRIPTS = [name for name in OWN if name.endswith(".js")]
PAGES = [name for name in OWN if name.endswith(".html")]
NAMESPACES = (
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/1998/Math/MathML",
)
"""Names that look like addresses; no browser fetches them."""


def text_of(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


async def not_found(_: Request, __: Exception) -> Response:
    return Response(status_code=404)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=routes(endpoints_of(Console())), exception_handlers={NotFound: not_found}
    )
    app.router.redirect_slashes = False
    server = InProcessServer(app)
    await server.start()
    async with httpx.AsyncClient(base_url=server.base_url) as one:
        yield one
    await server.stop(1)


# --- how it is served ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *ASSETS])
async def test_every_asset_is_served_as_what_it_is(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/console/{name}" if name else "/console")
    file = FOLDER / (name or "index.html")
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == f"{MEDIA_TYPES[file.suffix]}; charset=utf-8".replace(
        "svg+xml; charset=utf-8", "svg+xml"
    )
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


async def test_an_asset_that_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/console/app.js")
    etag = first.headers["etag"]
    again = await client.get("/console/app.js", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert again.headers["content-security-policy"] == POLICY
    other = await client.get("/console/app.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
    assert (await client.head("/console/app.js")).headers["etag"] == etag


def test_policy_allows_nothing_inline_and_no_other_origin() -> None:
    directives = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize(
    "path",
    [
        "../console.py",
        "..%2fconsole.py",
        "%2e%2e/console.py",
        "..%2f..%2f..%2fpyproject.toml",
        "%2fetc%2fpasswd",
        "vendor/../../console.py",
        "..\\console.py",
        "app.js%00.html",
        "README.md",
        "vendor/README.md",
        "vendor",
        "pages/",
        "app.js/",
        "nothing.js",
    ],
)
async def test_no_path_leads_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    request = client.build_request("GET", "/console/x")
    request.url = request.url.copy_with(raw_path=f"/console/{path}".encode())
    answer = await client.send(request)
    assert answer.status_code == 404


async def test_a_slash_too_many_leads_to_the_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/console/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../console")
    assert (await client.get("/console/", follow_redirects=True)).url.path == "/console"


# --- what is in it -------------------------------------------------------------------------------


def test_vendored_files_are_those_that_were_bundled() -> None:
    listed = dict(
        re.findall(
            r"^\| `([\w.]+)` \|.*\| `([0-9a-f]{64})` \|$", text_of("vendor/README.md"), re.MULTILINE
        )
    )
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (FOLDER / "vendor").iterdir()
        if path.name != "README.md"
    }
    assert listed == there


@pytest.mark.parametrize("name", ASSETS)
def test_no_address_outside(name: str) -> None:
    found = re.findall(r"""(?:https?:|wss?:|["'(=]\s*)//[\w.-]+[^\s"'`<>)]*""", text_of(name))
    assert [one for one in found if not one.startswith(NAMESPACES)] == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_script_or_style_of_their_own(name: str) -> None:
    page = text_of(name)
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style\b|\sstyle\s*=|\son\w+\s*=|javascript:", page) == []
    for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", page):
        assert address == "openapi.json" or address.removeprefix("console/") in ASSETS


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_write_text_as_text(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write\b"
        r"|\beval\(|new Function\b|srcdoc|createContextualFragment"
        r"|\sstyle=[\"']|(?:localStorage\.setItem|browser\.set)\(ROLES"
    )
    assert re.findall(forbidden, text_of(name)) == []


def imports_of(name: str) -> list[str]:
    """The assets that a script imports as it loads."""
    found = []
    for target in re.findall(r"""^import\b[^;]*?from "([^"]+)";""", text_of(name), re.MULTILINE):
        assert target.startswith("."), target
        resolved = (FOLDER / name).parent.joinpath(target).resolve()
        found.append(resolved.relative_to(FOLDER).as_posix())
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_what_is_there(name: str) -> None:
    assert set(imports_of(name)) <= set(ASSETS)


def test_no_import_of_scripts_goes_in_a_circle() -> None:
    TopologicalSorter({name: imports_of(name) for name in SCRIPTS}).prepare()


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_opens_by_saying_what_it_is(name: str) -> None:
    assert text_of(name).startswith("// ")


@pytest.mark.parametrize(
    ("name", "listed", "kind"),
    [
        ("pages/changes.js", r"const ACTIONS = \[(.*?)\]", Action),
        ("pages/run_state.js", r"const STATES = \{(.*?)\n\}", RunState),
    ],
)
def test_a_list_of_words_is_the_gateways(name: str, listed: str, kind: type[StrEnum]) -> None:
    [words] = re.findall(listed, text_of(name), re.DOTALL)
    found = re.findall(r'"([a-z]+\.[a-z]+)"|\b([a-z]+): \[', words)
    assert sorted("".join(one) for one in found) == sorted(kind)


def test_every_icon_is_there_and_used() -> None:
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', text_of("icons.svg")))
    sources = "\n".join(text_of(name) for name in SCRIPTS)
    words = set(re.findall(r"""["'`]([a-z][a-z0-9-]*)["'`]""", sources))
    named = set(re.findall(r'(?:<\$\{Icon\} name|\bicon)="([\w-]+)"', sources))
    assert drawn - words == set(), "drawn and never used"
    assert named - drawn == set(), "used and not drawn"


def test_only_known_kinds_of_files_lie_there() -> None:
    kinds = {path.suffix for path in FOLDER.rglob("*") if path.is_file()}
    assert kinds == {*MEDIA_TYPES, ".md"}


def test_folder_is_part_of_the_package() -> None:
    assert Path(__file__).parents[2] / "gateway" / "web" / "console" == FOLDER
