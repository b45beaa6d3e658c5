"""A run as JSON and back: how a run is written down wherever it is kept as one piece.

Reading is strict: what was not written by this very format raises `ValueError`, so that a
store of disposable copies can treat it as absent. `FORMAT` changes whenever the fields do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from gateway.core.model import Failure, FailureKind, Kept, Picture, Run, RunState, Trouble
from gateway.core.money.accounts import Amounts, Windows

FORMAT: Final = 4

_RUN_FIELDS: Final = tuple(field.name for field in fields(Run))


def encode_run(run: Run) -> bytes:
    """The whole run as compact UTF-8 JSON."""
    plain = {name: getattr(run, name) for name in _RUN_FIELDS}
    plain["windows"] = asdict(run.windows)
    plain["hold"] = plain_amounts(run.hold)
    plain["spent"] = plain_amounts(run.spent)
    plain["kept"] = plain_kept(run.kept)
    plain["failure"] = None if run.failure is None else plain_failure(run.failure)
    plain["trouble"] = None if run.trouble is None else asdict(run.trouble)
    plain["format"] = FORMAT
    return json.dumps(plain, separators=(",", ":")).encode()


def decode_run(data: bytes) -> Run:
    """The run that `encode_run` wrote; anything else raises `ValueError`."""
    try:
        plain = json.loads(data)
        if plain.pop("format") != FORMAT or plain.keys() != set(_RUN_FIELDS):
            raise ValueError("not a run of this format")
        plain["state"] = RunState(plain["state"])
        plain["windows"] = Windows(**plain["windows"])
        plain["hold"] = Amounts(*plain["hold"])
        plain["spent"] = Amounts(*plain["spent"])
        plain["joins"] = read_joins(plain["joins"])
        plain["tried"] = tuple(plain["tried"])
        plain["links"] = tuple(plain["links"])
        plain["kept"] = read_kept(plain["kept"])
        plain["failure"] = None if plain["failure"] is None else read_failure(plain["failure"])
        plain["trouble"] = None if plain["trouble"] is None else Trouble(**plain["trouble"])
        return Run(**plain)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a run") from error


def plain_amounts(amounts: Amounts) -> tuple[int, int, int]:
    return (amounts.usd_micros, amounts.images, amounts.runs)


_OF_PICTURES: Final = tuple(field.name for field in fields(Picture))


def plain_kept(kept: Sequence[Kept]) -> list[dict[str, object]]:
    """Each as one flat object: the link and the picture's five fields."""
    return [
        {"link": one.link, **{name: getattr(one.picture, name) for name in _OF_PICTURES}}
        for one in kept
    ]


def read_kept(plain: Sequence[Mapping[str, Any]]) -> tuple[Kept, ...]:
    return tuple(
        Kept(one["link"], Picture(**{name: one[name] for name in one if name != "link"}))
        for one in plain
    )


def read_joins(plain: Sequence[Sequence[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((team, count) for team, count in plain)


def plain_failure(failure: Failure) -> dict[str, object]:
    return asdict(failure)


def read_failure(plain: Mapping[str, Any]) -> Failure:
    return Failure(**{**plain, "kind": FailureKind(plain["kind"])})
