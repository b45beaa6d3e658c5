"""The settings of files and references reach the core."""

from __future__ import annotations

from gateway.config import convert, parse
from gateway.core.catalog import ReferenceMode
from gateway.wiring.kinds import KINDS

TEXT = """
server: {upload_limit: 5MB}
upstreams: {evolink: {base_url: https://api.example, api_key: k}}
models: {m: {routes: [{upstream: evolink, model: m, price: 0.01}]}}
teams: {a: {references: fetch}, b: {}}
"""


def test_they_reach_the_core() -> None:
    policy = convert.policy(parse(TEXT, {}), port=1, kinds=KINDS)
    assert policy.upload_limit_bytes == 5_000_000
    assert policy.teams["a"].references is ReferenceMode.FETCH
    assert policy.teams["b"].references is ReferenceMode.TRUST
