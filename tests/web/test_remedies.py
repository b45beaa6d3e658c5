"""Each error code has its cause and its cure, and no other has."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import gateway
from gateway.core.runs.failures import CALLERS_TO_MEND
from gateway.errors import Conflict, GatewayError, UpstreamRefusal
from gateway.web.openai.errors import NotMakeable, Relayed
from gateway.web.remedies import REMEDIES, doc_url

NO_CODE = (Conflict, NotMakeable, Relayed, UpstreamRefusal)
"""One stands for others, the rest take their codes from upstream."""


def kinds(of: type[GatewayError]) -> Iterator[type[GatewayError]]:
    if of not in NO_CODE:
        yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


@pytest.fixture(scope="module")
def errors() -> list[type[GatewayError]]:
    for found in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    return [one for one in kinds(GatewayError) if one.__module__.startswith("gateway.")]


def test_every_code_is_explained_and_no_other(errors: list[type[GatewayError]]) -> None:
    told = {(one.status, one.code) for one in errors}
    told |= {(NotMakeable.status, code) for code in (*CALLERS_TO_MEND, "moderation_blocked")}
    assert told == {(one.status, code) for code, one in REMEDIES.items()}


@pytest.mark.parametrize("code", REMEDIES)
def test_it_is_told_in_sentences(code: str) -> None:
    for told in (REMEDIES[code].cause, REMEDIES[code].cure):
        assert told.endswith(".")
        assert told.count("`") % 2 == 0


def test_an_error_leads_to_its_code_and_a_refusal_of_upstreams_nowhere() -> None:
    url = "https://images.example.org/below"
    assert doc_url(GatewayError("x"), url) == f"{url}/docs#internal_error"
    assert doc_url(NotMakeable("content_filter", "x"), url) == f"{url}/docs#moderation_blocked"
    assert doc_url(UpstreamRefusal(400, "{}"), url) is None
    assert doc_url(Relayed("x"), url) is None
