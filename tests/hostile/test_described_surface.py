"""Requests made up from `/openapi.json`, right ones and wrong ones, by whoever has a key; ids that
answers have told lead them on to what there is."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
import requests
import schemathesis
from house import ADMIN_KEY, TEAM_KEY
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from odd_headers import odd_headers
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import SERVED
from siege import NOWHERE, SCRAPER_KEY, Siege, besieged, examples, share

from gateway.web.openapi.document import document

SCHEMA: Final = schemathesis.openapi.from_dict(json.loads(json.dumps(document(SERVED))))
OPERATIONS: Final = [one.ok() for one in SCHEMA.get_all_operations()]
EACH: Final = share(480, 600) // len(OPERATIONS) // len(GenerationMode)
KEYS: Final = {"teamKey": TEAM_KEY, "adminKey": ADMIN_KEY, "metricsKey": SCRAPER_KEY}
HONEST: Final = {503, 504}
"""It is not ready, or has nothing cached for who wants nothing else."""
AS_DESCRIBED: Final = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
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


def tame(case: Case) -> None:
    """What upstream is told to fetch is nowhere: these requests leave no machine."""
    if case.path.endswith("/upload/url") and isinstance(case.body, dict):
        url = case.body.get("file_url")
        if isinstance(url, str):
            case.body["file_url"] = re.sub(r"^(https?)://[^/]*", NOWHERE, url, count=1)


def make_plausible(case: Case, chance: random.Random) -> None:
    """Most orders are for a model that there is: otherwise none would come far."""
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str) and chance.random() < 0.7:
        body["model"] = chance.choice(["gpt-image-1.5", "gpt-image-1.5-lite"])
        for name in ("size", "quality"):
            if chance.random() < 0.7:
                body.pop(name, None)


def key_for(case: Case) -> Mapping[str, str]:
    wanted = case.operation.definition.raw.get("security", [])
    keys = [KEYS[name] for one in wanted for name in one]
    return {"Authorization": f"Bearer {keys[0]}"} if keys else {}


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
        assert answer.status_code < 500 or answer.status_code in HONEST, answer.text
        if not odd:
            case.validate_response(answer, checks=AS_DESCRIBED)
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
