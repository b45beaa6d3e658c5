"""A gateway that reaches nothing but a proxy: by the settings, and by the environment."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import shared_servers
import stores
import trustme
from egress_proxy import EgressProxy, answering
from house import FAST, TEAM_KEY, House, opened, settings_text
from PIL import Image
from processes import GATEWAY, free_port, process
from receivers import Receive, Receiver

from gateway.core.addresses import Address, parse_address
from gateway.sandbox import RunningSandbox, running_sandbox
from gateway.wiring import Outside

API, FILES, LINKS = "evolink.test", "files.evolink.test", "pictures.test"
HOOKS, ALERTS = "hooks.test", "alerts.test"
CREDENTIALS = "me:s3cret-word"


def unknown(name: str) -> Sequence[Address]:
    """Only the proxy knows names."""
    raise OSError("Name or service not known")


def around(**names: str) -> Mapping[str, str]:
    """The environment of a gateway, in which the keys to a bucket stand too."""
    return {**(shared_servers.s3() if stores.are_shared() else {}), **names}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


async def terminator(authority: trustme.CA, place: tuple[str, int]) -> asyncio.Server:
    """Speaks TLS for the sandbox, under all of its names."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(API, FILES, LINKS).configure_cert(tls)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*place)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    return await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)


@dataclass
class Company:
    """A network with one way out."""

    sandbox: RunningSandbox
    proxy: EgressProxy
    hooks: Receiver
    alerts: Receiver
    tls_port: int

    def settings(self, **changes: Any) -> dict[str, Any]:
        upstream = {
            "base_url": f"https://{API}",
            "files_url": f"https://{FILES}",
            "allow_private_addresses": False,
        }
        return {"upstreams": {"evolink": {**upstream, **changes.pop("evolink", {})}}, **changes}


@pytest.fixture
async def company(
    authority: trustme.CA, receive: Receive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    hooks, alerts = await receive(name=HOOKS), await receive(name=ALERTS)
    options = replace(FAST, public_url=f"https://{LINKS}")
    async with running_sandbox(options) as sandbox:
        url = httpx.URL(sandbox.base_url)
        server = await terminator(authority, (url.host, url.port or 80))
        port = server.sockets[0].getsockname()[1]
        places = dict.fromkeys((API, FILES, LINKS), ("127.0.0.1", port))
        places |= {HOOKS: ("127.0.0.1", hooks.port), ALERTS: ("127.0.0.1", alerts.port)}
        proxy = await EgressProxy(places, credentials=CREDENTIALS).start()
        yield Company(sandbox, proxy, hooks, alerts, port)
        await proxy.stop()
        server.close()


async def everything(home: House, company: Company) -> None:
    """An order, its pictures, its callback, a file and a reference, all by the proxy alone."""
    task = await home.made(callback_url=f"https://{HOOKS}/done")
    assert (await home.client.get(task["results"][0])).status_code == 200
    [call] = await company.hooks.called(1)
    assert call.task["id"] == task["id"]
    answer = await home.client.post(
        "/api/v1/files/upload/stream",
        files={"file": ("a.png", picture(), "image/png")},
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )
    assert answer.status_code == 200, answer.text
    refused = await home.post("looked at", image_urls=["https://nobody.test/a.png"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image_urls[0]")
    hosts = {one.removeprefix("CONNECT ").removesuffix(":443") for one in company.proxy.asked}
    assert hosts == {API, FILES, LINKS, HOOKS, "nobody.test"}
    await home.settled()
    assert await home.violations() == []


async def test_what_the_environment_names(
    tmp_path: Path, company: Company, trust: ssl.SSLContext
) -> None:
    outside = Outside(unknown, around(HTTPS_PROXY=company.proxy.url(CREDENTIALS)))
    changes = company.settings(teams={"blue": {"references": "fetch"}})
    home = await opened(company.sandbox, tmp_path, callback_tls=trust, outside=outside, **changes)
    try:
        await everything(home, company)
    finally:
        await home.stop()


async def test_what_the_settings_name(
    tmp_path: Path, company: Company, trust: ssl.SSLContext
) -> None:
    other = await EgressProxy(company.proxy.places).start()
    proxy = {"proxy": company.proxy.url(CREDENTIALS)}
    elsewhere = around(HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="*")
    changes = company.settings(
        evolink=proxy,
        callbacks=proxy,
        references=proxy,
        alerts={"webhook": f"https://{ALERTS}/x", "proxy": other.url(), "thresholds": ["5%"]},
        teams={"blue": {"references": "fetch", "budgets": [{"usd": 0.3, "per": "day"}]}},
    )
    outside = Outside(unknown, elsewhere)
    home = await opened(company.sandbox, tmp_path, callback_tls=trust, outside=outside, **changes)
    try:
        await everything(home, company)
        await company.alerts.called(1)
        assert other.asked == [f"CONNECT {ALERTS}:443"]
    finally:
        await home.stop()
        await other.stop()


async def test_no_proxy_goes_straight_there(tmp_path: Path, company: Company) -> None:
    names = {API: "127.0.0.1", LINKS: "127.0.0.1"}
    outside = Outside(
        ask=lambda name: [parse_address(names[name])],
        environ=around(https_proxy=company.proxy.url(CREDENTIALS), no_proxy=".test"),
    )
    company.sandbox.state.public_url = f"https://{LINKS}:{company.tls_port}"
    evolink = {
        "base_url": f"https://{API}:{company.tls_port}",
        "allow_private_addresses": True,
    }
    changes = company.settings(evolink=evolink)
    home = await opened(company.sandbox, tmp_path, outside=outside, **changes)
    try:
        await home.made()
        assert company.proxy.asked == []
    finally:
        await home.stop()


async def test_a_proxy_that_refuses_burns_no_budget(tmp_path: Path, company: Company) -> None:
    """The order waits with its price held, and is made once the proxy lets it through."""
    company.proxy.refuse = answering(503)
    outside = Outside(unknown, around(ALL_PROXY=company.proxy.url(CREDENTIALS)))
    home = await opened(company.sandbox, tmp_path, outside=outside, **company.settings())
    try:
        waiting = await home.post()
        assert (waiting.status_code, waiting.json()["status"]) == (200, "pending")
        company.proxy.refuse = None
        assert (await home.ended(waiting.json()["id"]))["status"] == "completed"
        assert len(company.sandbox.state.tasks) == 1
    finally:
        await home.stop()


async def test_a_process_says_at_its_start_where_it_goes_out(
    tmp_path: Path, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", company.proxy.url(CREDENTIALS))
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1" if stores.are_shared() else "")  # the bucket's
    port = free_port()
    changes = company.settings(server={"port": port})
    text = settings_text(company.sandbox.base_url, tmp_path / "data", **changes)
    (tmp_path / "config.yaml").write_text(text)
    async with (
        process(*GATEWAY, "serve", cwd=tmp_path),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False
        ) as client,
    ):
        answer = await client.post(
            "/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": "a red bicycle"},
            headers={"Authorization": f"Bearer {TEAM_KEY}", "Prefer": "wait=20"},
        )
        assert answer.json()["status"] == "completed", answer.text
        told = "upstreams.evolink: goes through the proxy http://"
        async with asyncio.timeout(10):  # lines are written by a thread of their own
            while told not in (log := (tmp_path / "process.log").read_text()):
                await asyncio.sleep(0.02)
    assert {f"CONNECT {API}:443", f"CONNECT {LINKS}:443"} <= set(company.proxy.asked)
    assert f"127.0.0.1:{company.proxy.port} of the environment" in log
    assert "HTTP_PROXY names a SOCKS proxy" in log
    assert "s3cret-word" not in log
