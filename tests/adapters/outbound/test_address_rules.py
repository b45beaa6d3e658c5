"""The one table of refused addresses, and the check of a URL's text before any resolving."""

# ruff: noqa: RUF001 - characters that look like others are the point here

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import UrlProblem, check_url, refusal

HTTPS = frozenset({"https"})
WEB = frozenset({"http", "https"})


def check(url: str, **kwargs: object) -> UrlProblem | None:
    return check_url(url, schemes=WEB, **kwargs)  # type: ignore[arg-type]


REFUSED_HOSTS = {
    "this machine": [
        "127.0.0.1",
        "127.0.0.1.",
        "127.0.0.1:8080",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0x7f.0.0.0x1",
        "0177.0.0.1",
        "0177.0.0.01",
        "00000177.0.0.1",
        "127.0x0.0.01",
        "１２７.0.0.1",
        "127。0。0。1",
        "127．0．0．1",
        "127｡0｡0｡1",
        "①②⑦.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::1]:443",
    ],
    "that wraps 127.0.0.1": [
        "[::ffff:127.0.0.1]",
        "[::FFFF:7F00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:5ef5:79fb:0:0:80ff:fffe]",
        "[2600::5efe:127.0.0.1]",
        "[2600::200:5efe:7f00:1]",
    ],
    "metadata": [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    ],
    "private": [
        "10.0.0.1",
        "10.1",
        "012.0.0.1",
        "010.0.0.1",  # 8.0.0.1 in C, 10.0.0.1 for a client that reads decimals
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.257",
        "3232235521",
        "100.64.0.1",
        "[fc00::1]",
        "[fd12:3456:789a::1]",
    ],
    "link-local": ["169.254.0.1", "[fe80::1]"],
    "unspecified": ["0.0.0.0", "0", "0x0", "0.1.2.3", "[::]"],
    "multicast": ["224.0.0.1", "239.255.255.255", "[ff02::1]"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.9", "[2001:db8::1]", "[3fff::1]"],
    "reserved": ["240.0.0.1", "192.0.0.1", "[2001:2::1]"],
    "broadcast": ["255.255.255.255", "4294967295", "0xffffffff"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "6to4": ["192.88.99.1", "[2002:808:808::1]"],
    "NAT64": ["[64:ff9b::8.8.8.8]", "[64:ff9b:1::1]"],
    "Teredo": ["[2001::1]"],
    "site-local": ["[fec0::1]"],
    "IPv4-mapped": ["[::ffff:8.8.8.8]"],
    "outside the global": ["[4000::1]", "[5f00::1]", "[100:0:0:1::1]"],
    "discard": ["[100::1]"],
    "internal name": [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost:3000",
        "ｌｏｃａｌｈｏｓｔ",
        "app.localhost",
        "localhost.localdomain",
        "printer.local",
        "metadata.google.internal",
        "router.home.arpa",
        "nas.lan",
        "db",
        "0x7f_1",
    ],
    "valid name or address": [
        "127.0.0.1%00",
        "%31%32%37.0.0.1",
        "127.0.0.%31",
        "loc%61lhost",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[127.0.0.1]",
        "[v1.fe80]",
        "[]",
        "256.256.256.256",
        "1.2.3.4.5",
        "4294967296",
        "08.8.8.8",
        "1..2.3",
        "example.123",
        "example.0x7f",
        "example..com",
        "-example.com",
        ".example.com",
        ".",
        "a" * 64 + ".com",
        "a." * 130 + "com",
        "exa$mple.com",
        "ex／ample.com",
    ],
}


@pytest.mark.parametrize(
    ("reason", "host"),
    [(reason, host) for reason, hosts in REFUSED_HOSTS.items() for host in hosts],
)
def test_a_host_that_must_not_be_reached_is_refused_with_its_reason(reason: str, host: str) -> None:
    for scheme in WEB:
        problem = check(f"{scheme}://{host}/picture.png?x=1")
        assert problem is not None
        assert reason in problem.message
        assert problem.message.endswith(".")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "https://"),
        ("example.com/x.png", "https://"),
        ("//example.com/x.png", "https://"),
        ("ftp://example.com/x.png", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://example.com/", "https://"),
        ("javascript:alert(1)", "https://"),
        ("data:image/png;base64,AAAA", "https://"),
        ("https:/example.com", "https://"),
        ("https:example.com", "https://"),
        ("https://", "https://"),
        ("https:///x.png", "https://"),
        ("https://?x", "https://"),
        ("https://user@example.com/", "password"),
        ("https://user:secret@example.com/", "password"),
        ("https://example.com@127.0.0.1/", "password"),
        ("https://@example.com/", "password"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:99999/", "port"),
        ("https://example.com:/", "port"),
        ("https://example.com:80:80/", "port"),
        ("https://example.com:-1/", "port"),
        ("https://example.com:8O/", "port"),
        ("https://example.com:٨٠/", "port"),
        ("https://::1/", "port"),
        ("https://[::1/", "port"),
        ("https://[::1]x/", "port"),
        ("https://exam ple.com/", "spaces"),
        ("https://example.com/a b", "spaces"),
        (" https://example.com/", "spaces"),
        ("https://example.com/\n", "spaces"),
        ("https://exa\tmple.com/", "spaces"),
        ("https://example.com/\x00", "spaces"),
        ("https://example.com/\x7f", "spaces"),
        ("https://example.com\\@127.0.0.1/", "backslashes"),
        ("https:\\\\example.com/", "backslashes"),
        ("https://local\u00adhost/", "spaces"),
        ("https://127.0.0\u200b.1/", "spaces"),
        ("https://example.com/\u2028", "spaces"),
        ("https://example.com/\ud800", "spaces"),
        ("https://example.com/" + "a" * 2048, "2048"),
    ],
)
def test_a_malformed_url_is_refused_with_what_to_change(url: str, words: str) -> None:
    problem = check(url)
    assert problem is not None
    assert words in problem.message


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/",
        "HTTPS://EXAMPLE.COM/x.png",
        "http://example.com:8080/a/b.png?x=1&y=%20#part",
        "https://example.com.",
        "https://files.example.com?x",
        "https://files.example.com#x",
        "https://a_b.example.com/",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/größe.png",
        "https://8.8.8.8/",
        "https://8.8.8.8:443/x",
        "https://172.32.0.1/",
        "https://100.128.0.1/",
        "https://[2606:4700:4700::1111]/",
        "https://[2606:4700:4700::1111]:443/x",
        "https://10.example.com/",
        "https://127.0.0.1.example.com/",
        "https://localhost.example.com/",
        "https://0x7f.example.com/",
        "https://example.com/" + "a" * (2048 - 20),
    ],
)
def test_a_public_url_is_allowed(url: str) -> None:
    assert check(url) is None


def test_the_schemes_and_the_length_are_the_callers() -> None:
    assert check_url("https://example.com/", schemes=HTTPS) is None
    problem = check_url("http://example.com/", schemes=HTTPS)
    assert problem is not None
    assert str(problem) == "The URL must start with https:// and a host."
    assert check_url("https://example.com/", schemes=HTTPS, max_length=19) is not None
    assert check_url("https://example.com/", schemes=HTTPS, max_length=20) is None


@pytest.mark.parametrize(
    "host", ["8.0.0.1", "010.8.8.8", "0x08080808", "134744072", "8.8", "8.8.", "8.0.0.1."]
)
def test_a_public_address_must_be_written_plainly(host: str) -> None:
    assert (check(f"https://{host}/") is None) == (host == "8.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9000",
        "10.0.0.1",
        "[::1]",
        "[fd00::1]",
        "100.64.0.1",
        "localhost",
        "db",
        "nas.lan",
    ],
)
def test_private_hosts_can_be_allowed(host: str) -> None:
    assert check(f"http://{host}/") is not None
    assert check(f"http://{host}/", allow_private=True) is None


@pytest.mark.parametrize("host", ["127.0.0.1.", "127.0.0.1\u3002", "10.0.0.1.:80"])
def test_an_address_ends_in_no_dot(host: str) -> None:
    """No client dials one: it would be tried again in vain."""
    problem = check(f"http://{host}/", allow_private=True)
    assert problem is not None and "must be written as" in problem.message


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "fd00:ec2::254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_allowing_private_addresses_allows_nothing_else(address: str) -> None:
    assert refusal(ip_address(address), allow_private=True) is not None


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_whatever_the_standard_library_calls_not_global_is_refused(
    address: IPv4Address | IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refusal(address) is not None


@given(st.integers(0x20000000, 0x3FFFFFFF), st.integers(0, 2**96 - 1))
def test_an_address_outside_2000_slash_3_is_never_allowed(high: int, low: int) -> None:
    inside = (high << 96) + low
    assert refusal(IPv6Address(inside ^ 1 << 127)) is not None
    assert refusal(IPv6Address(inside ^ 1 << 126)) is not None
    assert refusal(IPv6Address(inside ^ 1 << 125)) is not None


PRIVATE_V4 = st.one_of(
    *(
        st.ip_addresses(v=4, network=network)
        for network in (
            "10.0.0.0/8",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
        )
    )
)
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


@st.composite
def spelled(draw: st.DrawFn, addresses: st.SearchStrategy[IPv4Address]) -> tuple[str, IPv4Address]:
    """An IPv4 address in one of the spellings that C's resolvers accept."""
    address = draw(addresses)
    heads = draw(st.integers(0, 3))
    numbers = [*address.packed[:heads], int(address) & (256 ** (4 - heads) - 1)]
    form = st.sampled_from(["{}", "0{:o}", "000{:o}", "0x{:x}", "0X{:X}", "0x00{:x}"])
    text = ".".join(draw(form).format(number) for number in numbers)
    if draw(st.booleans()):
        text = text.translate(FULL_WIDTH)
    return text + draw(st.sampled_from(["", "."])), address


@given(spelled(PRIVATE_V4))
def test_a_private_address_is_refused_in_every_spelling(case: tuple[str, IPv4Address]) -> None:
    text, address = case
    problem = check(f"https://{text}/x.png")
    assert problem is not None
    assert str(address) in problem.message


@given(st.text("0123456789abcdefx.", min_size=1, max_size=20))
def test_no_text_that_c_reads_as_a_refused_address_passes(text: str) -> None:
    try:
        address = IPv4Address(socket.inet_aton(text))
    except OSError:
        return
    if check(f"https://{text}/") is None:
        assert refusal(address) is None
        assert text == str(address)


@given(st.text(max_size=60))
def test_any_text_at_all_gets_an_answer(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/x", f"https://[{text}]/"):
        problem = check(url)
        assert problem is None or problem.message
