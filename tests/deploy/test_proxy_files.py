"""What nginx and Caddy are told agrees with the gateway's own limits, in both files alike."""

from __future__ import annotations

import re

import pytest
from deployed import DEPLOY

from gateway import serving
from gateway.config.schema import ServerSettings
from gateway.web.openai.edits import FILES_BYTES

NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
CADDY = (DEPLOY / "Caddyfile").read_text("utf-8")
SERVER = ServerSettings()


def told(text: str, directive: str) -> str:
    (value,) = re.findall(rf"^\s*{directive} +([^;\n]+);?$", text, re.MULTILINE)
    return str(value)


def seconds(text: str, directive: str) -> int:
    return int(told(text, directive).removesuffix("s"))


def test_they_wait_longer_than_the_gateway() -> None:
    for directive in ("proxy_read_timeout", "proxy_send_timeout"):
        assert seconds(NGINX, directive) > SERVER.openai_wait_seconds
    assert seconds(CADDY, "response_header_timeout") > SERVER.openai_wait_seconds
    assert seconds(CADDY, "keepalive") < serving._KEEP_ALIVE_SECONDS


def test_they_take_more_than_the_gateway_and_collect_nothing() -> None:
    most = max(FILES_BYTES, SERVER.upload_limit_bytes)
    assert int(told(NGINX, "client_max_body_size").removesuffix("m")) * 1024 * 1024 > most
    assert int(told(CADDY, "max_size").removesuffix("MB")) * 1000 * 1000 > most
    assert told(NGINX, "proxy_request_buffering") == "off"
    assert told(NGINX, "proxy_max_temp_file_size") == "0"
    assert "request_buffers" not in CADDY and "\tencode" not in CADDY


def test_no_order_is_sent_twice() -> None:
    assert told(NGINX, "proxy_next_upstream") == "off"
    assert (told(CADDY, "lb_try_duration"), told(CADDY, "lb_retries")) == ("0", "0")


@pytest.mark.parametrize("text", [NGINX, CADDY], ids=["nginx", "caddy"])
def test_both_go_to_the_gateways_port_and_say_the_same(text: str) -> None:
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) == {str(SERVER.port)}
    assert errors(text) == errors(NGINX)


def errors(text: str) -> set[str]:
    """The answers of the proxy itself."""
    return set(re.findall(r'\{"error":\{.*?\}\}', text))
