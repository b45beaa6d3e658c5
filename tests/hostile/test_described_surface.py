"""Requests made up from `/openapi.json`, right ones and wrong ones, by whoever has a key; ids that
answers have told lead them on to what there is."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
import requests
import schemathesis
from described import DOCUMENT, is_as_described, is_honest, key_for, make_plausible, tame
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from odd_headers import odd_headers
from schemathesis import Case, GenerationMode
from siege import Siege, besieged, examples, share

SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: Final = [one.ok() for one in SCHEMA.get_all_operations()]
EACH: Final = share(480, 500) // len(OPERATIONS) // len(GenerationMode)
NAMES: Final = ("id", "name", "digest", "model")


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("surface")) as one:
        yield one


class Known:
    """Names seen in answers, by what they are of: tasks, teams, runs, files and so on."""

    def __init__(self, chance: random.Random) -> None:
        self._seen: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=40))
        self._chance = chance

    def learn(self, path: str, value: Any) -> None:
        for one in value if isinstance(value, list) else [value]:
            for name, what in one.items() if isinstance(one, Mapping) else ():
                if isinstance(what, str) and name in NAMES:
                    self._seen[_about(path)].append(what)
                elif isinstance(what, list | Mapping):
                    self.learn(path, what)

    def fill(self, path: str, words: dict[str, Any]) -> None:
        """Most of the words in a path are made names of something that there is."""
        for name in words:
            if (seen := self._seen.get(_about(path))) and self._chance.random() < 0.7:
                words[name] = self._chance.choice(seen)


def _about(path: str) -> str:
    words = [word for word in path.split("/") if word not in ("v1", "api", "admin", "team", "")]
    return {"images": "tasks", "upload": "files"}.get(words[0], words[0]) if words else ""


class Sender:
    """Sends cases to a gateway, and holds each answer to what is promised of it."""

    def __init__(self, siege: Siege, session: requests.Session) -> None:
        self._siege, self._session = siege, session
        self._chance = random.Random(1)
        self._known = Known(self._chance)

    def send(self, case: Case, odd: Mapping[str, str]) -> None:
        self._known.fill(case.path, case.path_parameters or {})
        tame(case)
        make_plausible(case, self._chance)
        headers = {name: value.encode("latin-1") for name, value in odd.items()}
        answer = case.call(
            self._siege.url,
            session=self._session,
            headers={**headers, **key_for(case)},
            timeout=30,
            allow_redirects=False,
        )
        is_honest(answer)
        if not odd:
            is_as_described(case, answer)
        if answer.status_code == 200 and "json" in str(answer.headers.get("content-type")):
            self._known.learn(case.path, answer.json())


@pytest.mark.timeout(7200)
def test_no_request_of_the_document_breaks_it(siege: Siege) -> None:
    with requests.Session() as session:
        sender = Sender(siege, session)
        for mode in GenerationMode:
            for operation in OPERATIONS:
                cases = operation.as_strategy(generation_mode=mode)

                @examples(EACH)
                @given(cases, st.one_of(st.just({}), odd_headers()))
                def asked(case: Case, odd: dict[str, str]) -> None:
                    sender.send(case, odd)

                with suppress(Unsatisfiable):  # nothing about it can be wrong
                    asked()
