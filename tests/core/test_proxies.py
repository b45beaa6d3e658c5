"""Which proxy a call takes, by the settings and by the environment's spellings."""

from __future__ import annotations

import pytest

from gateway.core.proxies import DIRECT, always, masked, of_environment, proxy_problem

A, B = "http://a.example:3128", "http://b.example:8080"


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://api.example/x", None),
        ({"HTTPS_PROXY": A}, "https://api.example/x", A),
        ({"https_proxy": A}, "https://api.example/x", A),
        ({"HTTPS_PROXY": A, "https_proxy": B}, "https://api.example/x", B),
        ({"HTTPS_PROXY": A, "https_proxy": ""}, "https://api.example/x", None),
        ({"HTTPS_PROXY": A}, "http://api.example/x", None),
        ({"HTTP_PROXY": A}, "http://api.example/x", A),
        ({"HTTP_PROXY": A}, "https://api.example/x", None),
        ({"ALL_PROXY": A}, "https://api.example/x", A),
        ({"all_proxy": A, "HTTPS_PROXY": B}, "https://api.example/x", B),
        ({"all_proxy": A, "HTTPS_PROXY": B}, "http://api.example/x", A),
        ({"HTTPS_PROXY": "a.example:3128"}, "https://api.example/x", A),
        ({"HTTPS_PROXY": A}, "HTTPS://API.example/x", A),
        ({"HTTPS_PROXY": A}, "https://localhost/x", None),
        ({"HTTPS_PROXY": A}, "https://127.0.0.9:8/x", None),
        ({"HTTPS_PROXY": A}, "https://[::1]/x", None),
    ],
)
def test_the_environment_says_it_by_scheme(
    environ: dict[str, str], url: str, proxy: str | None
) -> None:
    assert of_environment(environ).for_url(url) == proxy


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("*", "https://api.example/", True),
        ("api.example", "https://api.example/", True),
        ("API.Example", "https://api.example/", True),
        ("api.example", "https://api.example./", True),
        ("example", "https://api.example/", True),
        (".example", "https://api.example/", True),
        (".api.example", "https://api.example/", True),
        ("*.example", "https://api.example/", True),
        ("pi.example", "https://api.example/", False),
        ("api.example.org", "https://api.example/", False),
        ("other.example, api.example", "https://api.example/", True),
        ("other.example api.example", "https://api.example/", True),
        (" , ,", "https://api.example/", False),
        ("api.example:443", "https://api.example/", True),
        ("api.example:8443", "https://api.example/", False),
        ("api.example:8443", "https://a.api.example:8443/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://ten.example/", False),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.1.2.3:8443", "https://10.1.2.3/", False),
        ("fd00::/8", "https://[fd00::1]/", True),
        ("[fd00::1]", "https://[fd00::1]/", True),
        ("[fd00::1]:8443", "https://[fd00::1]:8443/", True),
        ("fd00:0::1", "https://[fd00::1]/", True),
        ("10.0.0.0/99", "https://10.1.2.3/", False),
        (":443", "https://api.example/", False),
        (".", "https://api.example/", False),
    ],
)
@pytest.mark.parametrize("spelling", ["NO_PROXY", "no_proxy"])
def test_who_is_exempt(exempt: str, url: str, direct: bool, spelling: str) -> None:
    proxies = of_environment({"HTTPS_PROXY": A, spelling: exempt})
    assert proxies.for_url(url) == (None if direct else A)


def test_a_proxy_of_the_settings_takes_everything() -> None:
    for url in ("https://api.example/", "http://127.0.0.1:9/", "https://localhost/"):
        assert always(A).for_url(url) == A
        assert DIRECT.for_url(url) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("socks5://a.example:1080", "SOCKS"),
        ("socks5h://a.example:1080", "SOCKS"),
        ("ftp://a.example", "must be an address"),
        ("http://", "must be an address"),
        ("http://a.example:99999", "must be an address"),
        ("http://a b.example", "must be an address"),
        ("http://a..büro.example:3128", "must be an address"),
        ("http://\u200d.example:3128", "must be an address"),
        ("http://a.example/path", "nothing behind"),
        ("http://a.example?x=1", "nothing behind"),
    ],
)
def test_what_cannot_be_a_proxy(value: str, problem: str) -> None:
    said = proxy_problem(value)
    assert said is not None and problem in said
    environment = of_environment({"HTTPS_PROXY": value, "HTTP_PROXY": A})
    assert environment.for_url("https://api.example") is None
    assert environment.for_url("http://api.example") == A
    [told] = environment.problems
    assert told == f"HTTPS_PROXY {said}" and "a.example:1080" not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (A, A),
        ("http://me:pa%40ss@a.example:3128", "http://me:********@a.example:3128"),
        ("http://token@a.example:3128", "http://********@a.example:3128"),
        ("http://token:@a.example:3128", "http://********@a.example:3128"),
        ("https://[fd00::1]:3128/", "https://[fd00::1]:3128"),
    ],
)
def test_what_lets_us_through_a_proxy_is_never_shown(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert proxy_problem(url) is None
