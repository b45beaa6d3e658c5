"""YAML as the gateway reads it: text stays text, references bring text and nothing else."""

from pathlib import Path

import pytest
from settings_samples import read

from gateway.config import SettingsError
from gateway.config.document import read_document


def value(text: str, **environ: str) -> object:
    document = read_document(text, environ, "a.yaml")
    assert document.problems == []
    return document.value


def problems(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in read_document(text, environ, "a.yaml").problems]


def test_scalars_stay_the_text_that_stands_there() -> None:
    assert value("a: [no, 010, 1:1, 12:30:00, 1e3, 1_000, 0x1f, 2020-01-01, .5, '7']") == {
        "a": ["no", "010", "1:1", "12:30:00", "1e3", "1_000", "0x1f", "2020-01-01", ".5", "7"]
    }


def test_nothing_behind_a_key_is_the_key_left_out() -> None:
    assert value("a:\nb: ''\nc: null\nd: 'null'\ne: ~") == {
        "b": "",
        "c": None,
        "d": "null",
        "e": None,
    }


def test_places_count_from_one_and_name_the_key() -> None:
    document = read_document("a:\n  b.c: 1\n  d:\n    - x\n    - e: 2\n", {}, "a.yaml")
    assert document.places[("a",)] == (1, 1)
    assert document.places[("a", "b.c")] == (2, 3)
    assert document.places[("a", "d", 1)] == (5, 7)
    assert document.places[("a", "d", 1, "e")] == (5, 7)


def test_references() -> None:
    text = "a: ${X}\nb: pre-${X}-${Y:-de fault}-post\nc: ${Y:-}\nd: '${X}'\ne: $$5 $6 $${X}"
    assert value(text, X="1") == {
        "a": "1",
        "b": "pre-1-de fault-post",
        "c": "",
        "d": "1",
        "e": "$5 $6 ${X}",
    }


def test_an_empty_variable_takes_the_default_as_in_the_shell() -> None:
    assert value("a: ${X:-d}\nb: ${X}", X="") == {"a": "d", "b": ""}


def test_references_stand_in_flow_mappings_and_keep_columns() -> None:
    text = "a: {b: ${X:-, c: [1]}, d: ${Y}, d: 1}"
    assert value("a: {b: ${X:-, c: [1]}, d: ${Y}}", Y="y") == {"a": {"b": ", c: [1]", "d": "y"}}
    assert problems(text, Y="y") == ["a.yaml:1:33 a.d: this key was already given in line 1"]


def test_what_a_reference_brings_is_not_searched_again_and_adds_no_structure() -> None:
    hostile = "${HOME}\nb: {c: 1}"
    assert value("a: ${X}", X=hostile) == {"a": hostile}


def test_keys_are_never_replaced() -> None:
    assert value("${X}: 1", X="a") == {"${X}": "1"}


def test_comments_hold_no_references() -> None:
    assert value("a: 1 # ${MISSING}\n# ${MISSING}\n") == {"a": "1"}


def test_secret_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    assert value(f"a: ${{file:{tmp_path}/key}}") == {"a": "sk-1"}
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    assert problems(f"a: ${{file:{tmp_path}/raw}}") == [
        f"a.yaml:1:1 a: {tmp_path}/raw is not UTF-8 text"
    ]
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    assert problems(f"a: ${{file:{tmp_path}/large}}") == [
        f"a.yaml:1:1 a: {tmp_path}/large is larger than 65536 bytes"
    ]


def test_a_number_from_outside_is_read_by_its_field_and_a_secret_stays_text() -> None:
    text = "server: {port: ${PORT}}\nupstreams:\n  evolink:\n    base_url: https://a.example\n"
    settings = read(text + "    api_key: ${KEY}\n", PORT="9000", KEY="0123")
    assert settings.server.port == 9000
    assert settings.upstreams["evolink"].api_key.get_secret_value() == "0123"


def test_free_values_from_outside_stay_text() -> None:
    models = """
models:
  m:
    defaults: {a: 1, b: '1', c: ${ONE}, d: true, e: 0.5, f: [1, {g: no}], h: null, i: -3}
    routes: [{upstream: evolink, model: m, price: 1}]
"""
    defaults = read(models, ONE="1").models["m"].defaults
    assert defaults == {
        "a": 1,
        "b": "1",
        "c": "1",
        "d": True,
        "e": 0.5,
        "f": [1, {"g": "no"}],
        "h": None,
        "i": -3,
    }
    assert type(defaults["b"]) is str
    assert type(defaults["c"]) is str


@pytest.mark.parametrize("text", ["a: " + "[" * 200_000, "a: " + "{b: " * 200_000])
def test_deep_nesting_ends_in_a_problem(text: str) -> None:
    (problem,) = problems(text)
    assert problem.endswith("not valid YAML: nested too deep")


def test_aliases_may_repeat_but_not_explode() -> None:
    assert value("a: &x [1]\nb: *x") == {"a": ["1"], "b": ["1"]}
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for name, inner in zip("bcdef", "abcde", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]\n"
    (problem,) = problems(bomb)
    assert "more than 100000 values" in problem


def test_an_entry_with_nothing_behind_it_is_an_entry() -> None:
    assert list(read("teams:\n  art:\n").teams) == ["art"]
    with pytest.raises(SettingsError, match="base_url: missing"):
        read("upstreams:\n  evolink:\n")
