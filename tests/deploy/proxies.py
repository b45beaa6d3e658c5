"""A real nginx, Caddy and haproxy in front of one gateway or of three, as `deploy/` sets them up.

The files are taken word for word, but for what their first lines say is to be changed: names,
certificates, addresses. Around them stands what a test needs: temporary folders, and a header
that says where a request comes from, since all that a test sends comes from this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme
from deployed import DEPLOY, tool
from processes import free_port

from gateway.config.schema import ServerSettings

OUTSIDE: Final = "203.0.113.7"
NEIGHBOUR: Final = "10.3.2.1"
FROM: Final = "X-Tested-From"
"""The header that says where a request of a test comes from; without it: this machine."""

BELOW: Final = "/images"
READY_SECONDS: Final = 20
GATEWAY: Final = f"127.0.0.1:{ServerSettings().port}"
REPLICAS: Final = tuple(f"10.0.0.{n}:{ServerSettings().port}" for n in (11, 12, 13))
"""What stands in the files for three gateways."""
PICTURES: Final = "/var/lib/image-gateway/data/pictures"


@dataclass(frozen=True)
class Site:
    """Where a gateway is to be reached: behind which proxy, and below which path."""

    proxy: str
    path: str = ""
    port: int = field(default_factory=free_port)
    pictures: Path | None = None
    """The folder of pictures that the proxy sends itself."""
    asks: bool = True
    """Whether it asks the gateway before it does."""

    @property
    def base(self) -> str:
        """What `server.public_url` has to be."""
        return f"https://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True)
class Front:
    """A proxy that runs, and what a client needs to trust it."""

    site: Site
    trust: ssl.SSLContext

    async def raw(self, request: bytes, *, seconds: float = 20) -> bytes:
        """Everything that is answered to these bytes, until the other side closes."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(seconds):
            answer = await reader.read()
        writer.close()
        return answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.site.port, ssl=self.trust)


@dataclass(frozen=True)
class Behind:
    """What the proxy has to be told: the gateways (host:port), and its own certificate."""

    gateways: Sequence[str]
    certificate: Path
    key: Path

    @property
    def one(self) -> Mapping[str, str]:
        return {GATEWAY: self.gateways[0]}

    @property
    def three(self) -> Mapping[str, str]:
        """Where there are fewer, each is all three of them."""
        return {name: self.gateways[at % len(self.gateways)] for at, name in enumerate(REPLICAS)}


def changed(text: str, changes: Mapping[str, str]) -> str:
    """With each of these replaced, every one of which has to be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def uncommented(text: str, first: str, last: str) -> str:
    """With the lines from `first` to `last`, which are switched off by a '#', switched on."""
    found = re.search(
        rf"^\s*#{re.escape(first)}.*?^\s*#{re.escape(last)}$", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    lines = re.sub(r"^(\s*)#", r"\1", found[0], flags=re.MULTILINE)
    return text.replace(found[0], lines)


def moved_inside(text: str, before: str) -> str:
    """nginx's settings, from `if` on, and its `error_page` inside the location of a path."""
    before = re.findall(rf"^ *{re.escape(before)}", text, re.MULTILINE)[-1]
    settings = re.findall(r"^    if .*?(?=^    # Below a path)", text, re.DOTALL | re.MULTILINE)
    pages = re.findall(r"^ *error_page .*\n", text, re.MULTILINE)
    inside = "".join([*settings, *pages])
    assert len(settings) == 1 and len(pages) > 1
    for part in (*settings, *pages):
        text = text.replace(part, "")
    return text.replace(before, inside + before)


def nginx_files(site: Site, behind: Behind, folder: Path) -> list[str]:
    """Writes what nginx needs, and gives its command."""
    text = changed((DEPLOY / "nginx.conf").read_text("utf-8"), behind.one)
    if site.path:
        root = "    location / {\n        proxy_pass http://image_gateway;\n    }\n"
        text = changed(text, {root: ""})
        text = uncommented(text, "location = /images {", "}\n    #location /images/ {")
        text = uncommented(text, "    proxy_pass http://image_gateway/;", "}")
        text = moved_inside(text, "proxy_pass http://image_gateway/;")
    if site.pictures and not site.asks:
        text = uncommented(text, 'location ~ "^/pictures/', "}")
        text = uncommented(text, "location @image_gateway_asked {", "}")
        text = changed(text, {PICTURES: str(site.pictures)})
    elif site.pictures:
        text = changed(text, {"#proxy_set_header X-Send": "proxy_set_header X-Send"})
        text = uncommented(text, 'location ~ "^/kept-pictures/', "}")
        text = uncommented(text, "location @image_gateway_unread {", "}")
        text = changed(text, {PICTURES: str(site.pictures)})
    return _nginx(text, site, behind, folder)


def nginx_files_for_three(site: Site, behind: Behind, folder: Path) -> list[str]:
    text = (DEPLOY / "replicas" / "nginx.conf").read_text("utf-8")
    return _nginx(changed(text, behind.three), site, behind, folder)


def _nginx(text: str, site: Site, behind: Behind, folder: Path) -> list[str]:
    text = changed(
        text,
        {
            "    listen 80;\n    listen [::]:80;\n": f"    listen 127.0.0.1:{free_port()};\n",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 443 ssl http2": f"listen 127.0.0.1:{site.port} ssl http2",
            "/etc/nginx/tls/images.example.org.pem": str(behind.certificate),
            "/etc/nginx/tls/images.example.org.key": str(behind.key),
        },
    )
    (folder / "site.conf").write_text(text)
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{_as_the_gateway()}daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; {folders} set_real_ip_from 127.0.0.1; real_ip_header {FROM};\n"
        f"include {folder}/site.conf; }}"
    )
    return [tool("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]


def _as_the_gateway() -> str:
    """Started by root, nginx's workers are another user's, who may not read a test's folders."""
    return "user root; " if os.geteuid() == 0 else ""


def caddy_files(site: Site, behind: Behind, folder: Path) -> list[str]:
    """Writes what Caddy needs, and gives its command."""
    text = changed((DEPLOY / "Caddyfile").read_text("utf-8"), behind.one)
    name = "images.example.org {"
    if site.path:
        root = "images.example.org {\n\timport image_gateway\n\timport image_gateway_errors\n}\n"
        text = changed(text, {root: ""})
        text = uncommented(text, "www.example.org {", "}")
        name = "www.example.org {"
    if site.pictures:
        text = uncommented(text, "header_up X-Sendfile-Type", "}")
        text = changed(text, {PICTURES: str(site.pictures)})
    return _caddy(text, name, site, behind, folder)


def caddy_files_for_three(site: Site, behind: Behind, folder: Path) -> list[str]:
    text = (DEPLOY / "replicas" / "Caddyfile").read_text("utf-8")
    name = "{$SITE:images.example.org} {"
    return _caddy(changed(text, behind.three), name, site, behind, folder)


def _caddy(text: str, name: str, site: Site, behind: Behind, folder: Path) -> list[str]:
    tls = f"https://127.0.0.1:{site.port} {{\n\ttls {behind.certificate} {behind.key}"
    text = changed(text, {name: tls})
    around = (
        "{\n\tadmin off\n\tauto_https disable_redirects\n\tpersist_config off\n"
        f"\tstorage file_system {folder}/storage\n\tservers {{\n\t\tprotocols h1 h2\n"
        f"\t\ttrusted_proxies static 127.0.0.1/32\n\t\tclient_ip_headers {FROM}\n\t}}\n}}\n"
    )
    (folder / "Caddyfile").write_text(around + text)
    return [tool("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def haproxy_files_for_three(site: Site, behind: Behind, folder: Path) -> list[str]:
    """Writes what haproxy needs, and gives its command."""
    both = folder / "both.pem"
    both.write_bytes(behind.certificate.read_bytes() + behind.key.read_bytes())
    secure = "    http-request redirect scheme https code 308 unless { ssl_fc }\n"
    text = changed(
        (DEPLOY / "replicas" / "haproxy.cfg").read_text("utf-8"),
        {
            **behind.three,
            "    user haproxy\n    group haproxy\n": "",
            "    bind :80\n": f"    bind 127.0.0.1:{free_port()}\n",
            "bind :443 ": f"bind 127.0.0.1:{site.port} ",
            "/etc/haproxy/tls/images.example.org.pem": str(both),
            secure: f"{secure}    http-request set-src hdr({FROM}) if {{ hdr({FROM}) -m found }}\n",
        },
    )
    (folder / "haproxy.cfg").write_text(text)
    return [tool("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


Files = Callable[[Site, Behind, Path], list[str]]
FOR_ONE: Final[Mapping[str, Files]] = {"nginx": nginx_files, "caddy": caddy_files}
FOR_THREE: Final[Mapping[str, Files]] = {
    "nginx-three": nginx_files_for_three,
    "caddy-three": caddy_files_for_three,
    "haproxy": haproxy_files_for_three,
}
PROXIES: Final[Mapping[str, Files]] = {**FOR_ONE, **FOR_THREE}


@contextlib.asynccontextmanager
async def proxy(
    site: Site, gateways: Sequence[str], folder: Path, authority: trustme.CA
) -> AsyncIterator[Front]:
    """Runs the site's proxy in front of `gateways` (host:port) for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    issued = authority.issue_cert("127.0.0.1", "localhost")
    behind = Behind(gateways, folder / "site.pem", folder / "site.key")
    issued.private_key_pem.write_to_path(str(behind.key))
    behind.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    command = PROXIES[site.proxy](site, behind, folder)
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, cwd=folder, env={"HOME": str(folder)}
        )
    try:
        front = Front(site, trust)
        await _ready(front, process, folder)
        yield front
    finally:
        if process.returncode is None:
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(front: Front, process: asyncio.subprocess.Process, folder: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            _, writer = await front.connect()
            writer.close()
            return
        told = (folder / "output").read_text()
        assert process.returncode is None and time.monotonic() < until, told
        await asyncio.sleep(0.05)
