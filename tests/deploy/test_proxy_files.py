"""What nginx, Caddy and haproxy are told agrees with the gateway's own limits, in all alike."""

from __future__ import annotations

import re

import pytest
from deployed import DEPLOY

from gateway import serving
from gateway.config.schema import ServerSettings
from gateway.core.picture_errors import MEDIA_TYPES
from gateway.web.handed_over import ASKED_BY, INTERNAL
from gateway.web.openai.edits import FILES_BYTES

NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
CADDY = (DEPLOY / "Caddyfile").read_text("utf-8")
NGINX_THREE = (DEPLOY / "replicas" / "nginx.conf").read_text("utf-8")
CADDY_THREE = (DEPLOY / "replicas" / "Caddyfile").read_text("utf-8")
HAPROXY = (DEPLOY / "replicas" / "haproxy.cfg").read_text("utf-8")
THREE = {"nginx": NGINX_THREE, "caddy": CADDY_THREE, "haproxy": HAPROXY}
SERVER = ServerSettings()
KEPT_SECONDS = serving._KEEP_ALIVE_SECONDS


def told(text: str, directive: str) -> str:
    (value,) = re.findall(rf"^\s*{directive} +([^;\n]+);?$", text, re.MULTILINE)
    return str(value)


def seconds(text: str, directive: str) -> int:
    return int(told(text, directive).removesuffix("s"))


def test_they_wait_longer_than_the_gateway() -> None:
    for nginx in (NGINX, NGINX_THREE):
        for directive in ("proxy_read_timeout", "proxy_send_timeout"):
            assert seconds(nginx, directive) > SERVER.openai_wait_seconds
    for caddy in (CADDY, CADDY_THREE):
        assert seconds(caddy, "response_header_timeout") > SERVER.openai_wait_seconds
    for directive in ("timeout client", "timeout server"):
        assert seconds(HAPROXY, directive) > SERVER.openai_wait_seconds


def test_it_is_they_who_give_up_a_connection_that_nothing_is_on() -> None:
    assert seconds(NGINX_THREE, "keepalive_timeout") < KEPT_SECONDS
    assert seconds(CADDY, "keepalive") < KEPT_SECONDS
    assert seconds(CADDY_THREE, "keepalive") < KEPT_SECONDS
    purged = [int(delay) for delay in re.findall(r"pool-purge-delay (\d+)s", HAPROXY)]
    assert len(purged) == 2 and max(purged) < KEPT_SECONDS


def test_they_take_more_than_the_gateway_and_collect_nothing() -> None:
    most = max(FILES_BYTES, SERVER.upload_limit_bytes)
    for nginx in (NGINX, NGINX_THREE):
        assert int(told(nginx, "client_max_body_size").removesuffix("m")) * 1024 * 1024 > most
        assert told(nginx, "proxy_request_buffering") == "off"
        assert told(nginx, "proxy_max_temp_file_size") == "0"
    for caddy in (CADDY, CADDY_THREE):
        assert int(told(caddy, "max_size").removesuffix("MB")) * 1000 * 1000 > most
        assert "request_buffers" not in caddy and "\tencode" not in caddy
    [bound] = re.findall(r"content-length\) gt (\d+)", HAPROXY)
    assert int(bound) > most
    assert "http-buffer-request" not in HAPROXY and "compression" not in HAPROXY


def test_no_order_is_sent_twice() -> None:
    assert told(NGINX, "proxy_next_upstream") == "off"
    assert (told(CADDY, "lb_try_duration"), told(CADDY, "lb_retries")) == ("0", "0")
    assert told(NGINX_THREE, "proxy_next_upstream") == "error timeout"
    assert not re.search(r"^\s*lb_retry_match", CADDY_THREE, re.MULTILINE)
    assert told(HAPROXY, "retry-on") == "conn-failure"


def test_none_is_left_out_for_long() -> None:
    """Whoever asks finds out within half a second, which a drain of 5 s leaves room for."""
    assert NGINX_THREE.count("max_fails=0;") == NGINX_THREE.count(" server 10.") == 3
    assert re.findall(r"health_interval (.*)", CADDY_THREE) == ["500ms", "500ms"]
    assert HAPROXY.count("check inter 500ms fall 1 rise 1 ") == 2
    assert [seconds(HAPROXY, "timeout check")] * 2 == [
        int(patience) for patience in re.findall(r"health_timeout (\d+)s", CADDY_THREE)
    ]
    for text in (CADDY_THREE, HAPROXY):
        assert re.findall(r"/(?:readyz|healthz)$", text, re.MULTILINE) == ["/readyz", "/healthz"]
    assert all("server.drain to 5s" in text for text in THREE.values())


@pytest.mark.parametrize("text", [NGINX, CADDY], ids=["nginx", "caddy"])
def test_both_go_to_the_gateways_port_and_say_the_same(text: str) -> None:
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) == {str(SERVER.port)}
    assert errors(text) == errors(NGINX)


@pytest.mark.parametrize("text", THREE.values(), ids=THREE)
def test_those_for_three_know_three_and_say_the_same(text: str) -> None:
    addresses = re.findall(r"[\d.]+\.\d+:\d+", text)
    assert set(addresses) == {f"10.0.0.{last}:{SERVER.port}" for last in (11, 12, 13)}
    assert len(addresses) == (3 if text == NGINX_THREE else 6)
    assert errors(text) == errors(NGINX_THREE)
    for one in ("permission_denied", "request_too_large"):
        assert [told for told in errors(text) if one in told] == [
            told for told in errors(NGINX) if one in told
        ]


def test_nginx_for_three_is_nginx_for_one_but_for_how_many_there_are() -> None:
    for begins, ends in (("# Who may see", "# nginx judges"), ("server {", "    # An order is ne")):
        part = NGINX[NGINX.index(begins) : NGINX.index(ends)]
        assert part in NGINX_THREE


def test_both_send_kept_pictures_alone_where_they_send_them_themselves() -> None:
    """Not what is told of them, which lies beside them."""
    [kinds] = re.findall(r"kept-pictures/.*\(\?:(.*?)\)\)\$", NGINX)
    assert set(kinds.split("|")) == set(MEDIA_TYPES)
    assert f'location ~ "^{INTERNAL}/' in NGINX and f"X-Accel-Redirect {INTERNAL}/*" in CADDY
    assert f"proxy_set_header {ASKED_BY} X-Accel-Redirect;" in NGINX
    assert f"header_up {ASKED_BY} X-Accel-Redirect\n" in CADDY


def errors(text: str) -> set[str]:
    """The answers of the proxy itself."""
    return set(re.findall(r'\{"error":\{.*?\}\}', text))
