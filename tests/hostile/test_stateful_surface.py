"""Requests that follow the links of `/openapi.json`: what one answer names the next request is for,
so that what was made is read, changed, deleted and asked for again."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
from described import DOCUMENT, is_as_described, is_honest, key_for, make_plausible, tame
from hypothesis import settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import Case
from schemathesis.core.transport import Response
from siege import Siege, besieged, examples, share

STEPS: Final = 20
WALKS: Final = 50
"""At once: the more there are, the likelier it is that one goes a way again."""

REQUESTS: Final = share(160, 100)
OF_PICTURES: Final = {
    # What a tool for tests can read out of an address, and the standard's links cannot.
    "operationId": "get_pictures_by_name",
    "parameters": {"name": "$response.body#/data/0/url#regex:/pictures/(.+)"},
}


def linked() -> Any:
    shown = copy.deepcopy(DOCUMENT)
    for path in ("/team/v1/pictures", "/admin/v1/pictures"):
        answer = shown["paths"][path]["get"]["responses"]["200"]
        answer["links"]["picture"] = OF_PICTURES
    return schemathesis.openapi.from_dict(shown)


@dataclass
class Seen:
    """Operations that gave a right answer, answers that were wrong, and how many there were."""

    served: set[str] = field(default_factory=set)
    wrong: list[Exception] = field(default_factory=list)
    answers: int = 0


def walker(siege: Siege, session: requests.Session, seen: Seen) -> type[Any]:
    """Walks through the surface."""
    chance = random.Random(1)

    class Walk(linked().as_state_machine()):
        def before_call(self, case: Case) -> None:
            tame(case)
            make_plausible(case, chance)
            for name in tuple(case.query or ()):
                if name != "cursor" and chance.random() < 0.7:  # else hardly a list has anything
                    del case.query[name]
            case.headers.update(key_for(case))

        def call(self, case: Case, **_: Any) -> Response:
            return case.call(siege.url, session=session, timeout=30, allow_redirects=False)

        def validate_response(self, response: Response, case: Case, **_: Any) -> None:
            seen.answers += 1
            try:
                is_honest(response)
                is_as_described(case, response)
            except Exception as error:
                seen.wrong.append(error)
                raise
            if response.status_code == 200:
                seen.served.add(case.operation.label)

    return Walk


@pytest.mark.timeout(7200)
def test_no_walk_through_the_document_breaks_it(tmp_path: Path) -> None:
    seen = Seen()
    with besieged(tmp_path) as siege, requests.Session() as session:
        walk = walker(siege, session, seen)
        some = min(WALKS, REQUESTS // STEPS)
        once = settings(examples(some), stateful_step_count=STEPS)
        while seen.answers < REQUESTS and not seen.wrong:
            # Who goes a way again finds other answers there: what was made before is there by now.
            with suppress(FlakyStrategyDefinition):
                walk.run(settings=once)
    assert not seen.wrong
    led_to = {label for label in seen.served if "{" in label}
    assert len(led_to) >= 3, seen.served
