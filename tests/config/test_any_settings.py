"""Whatever is wrong, in whatever combination: settings, or problems that say so; nothing else."""

from copy import deepcopy
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from settings_samples import DIGEST, ENVIRON

from gateway.config import Settings, SettingsError, convert, parse
from gateway.config.build import build
from gateway.config.document import Document, Scalar, read_document
from gateway.config.notices import notices
from gateway.wiring.kinds import KINDS

WHOLE = f"""
server: {{host: 127.0.0.1, port: 80, public_url: "http://a.example", admin_keys: ["{DIGEST}"]}}
storage: {{data_dir: ./d, ledger: sqlite, retention: {{jobs: 30d}}}}
upstreams:
  a: {{base_url: "https://a.example", api_key: k, poll: {{first: 1s}}, usd_per_credit: 0.01}}
  b: {{base_url: "https://b.example", api_key: k, timeout: {{poll: 1s}}}}
  c: {{kind: openai, base_url: "https://c.example/v1", api_key: k, style: openai, usage: absent}}
models:
  m:
    aliases: [n]
    limits: {{max_n: 4, sizes: [1:1], qualities: [low]}}
    defaults: {{size: 1:1, quality: low, n: 2}}
    routes:
      - {{upstream: a, model: m, price: 1}}
      - {{upstream: b, model: m, price: [{{quality: low, usd: 1}}, {{usd: 2}}]}}
      - {{upstream: c, model: gpt-image-2, price: 1, another_model: true,
         rates: {{text_in: 1, image_in: 1, image_out: 1}}}}
cache: {{ttl: 1d, scope: team}}
callbacks: {{retries: [1s], signing_secret: s}}
alerts: {{webhook: "https://a.example/x", thresholds: [50%], signing_secret: s}}
worker: {{concurrency: 1, retry: {{first: 1s}}}}
teams:
  t:
    keys: ["sha256:{"2b" * 32}"]
    budgets: [{{usd: 1, per: day}}]
    limits: {{images: [{{count: 1, per: day}}], runs_per_minute: 1}}
    allow: {{models: [m], sizes: [1:1], qualities: [low], max_n: 1}}
"""
VALUE = read_document(WHOLE, {}, "whole.yaml").value
TEXTS = ["", "x", "0", "-1", "1s", "m", "low", "http://x", "sha256:", "null", "true", "day"]
ODD = st.sampled_from(
    [None, [], {}, [None], [[]], {"x": Scalar("y")}, *(Scalar(text, plain=True) for text in TEXTS)]
)


def spots(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    steps = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [path, *(spot for step, inner in steps for spot in spots(inner, (*path, step)))]


def change(value: object, path: tuple[str | int, ...], new: object) -> None:
    """Puts `new` at `path`; a path that an earlier change has cut off is left alone."""
    for step in path[:-1]:
        try:
            value = value[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(value, dict) or (isinstance(value, list) and path[-1] in range(len(value))):
        value[path[-1]] = new  # type: ignore[index]


CHANGES = st.lists(st.tuples(st.sampled_from(spots(VALUE)[1:]), ODD), min_size=1, max_size=5)


@settings(max_examples=400, deadline=None)
@given(CHANGES)
def test_odd_values_anywhere(changes: list[tuple[tuple[str | int, ...], object]]) -> None:
    value = deepcopy(VALUE)
    for path, new in changes:
        change(value, path, deepcopy(new))
    try:
        result = build(Document("odd.yaml", value), KINDS)
    except SettingsError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
    else:
        usable(result)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(WHOLE)), st.text("{}[]:,-'\"\n #$&*!|>~a1", max_size=3))
def test_odd_characters_anywhere(place: int, odd: str) -> None:
    try:
        result = parse(WHOLE[:place] + odd + WHOLE[place:], ENVIRON, kinds=KINDS)
    except SettingsError as error:
        assert error.problems
        assert all(problem.line is not None for problem in error.problems)
    else:
        usable(result)


def usable(result: Settings) -> None:
    assert convert.policy(result, port=1, kinds=KINDS).catalog.models
    assert result.shown()
    assert isinstance(notices(result, date(2026, 11, 29), KINDS), list)
