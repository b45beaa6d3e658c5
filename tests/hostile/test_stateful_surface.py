"""Requests that follow the links of `/openapi.json`: what one answer names the next request is for,
so that what was made is read, changed, deleted and asked for again."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
from described import DOCUMENT, is_as_described, is_honest, key_for, make_plausible, tame
from hypothesis import settings
from schemathesis import Case
from schemathesis.core.transport import Response
from siege import Siege, besieged, examples, share

STEPS: Final = 20
WALKS: Final = share(160, 100) // STEPS
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


def walker(siege: Siege, session: requests.Session, served: set[str]) -> type[Any]:
    """Walks through the surface; operations that gave a right answer are noted in `served`."""
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
            is_honest(response)
            is_as_described(case, response)
            if response.status_code == 200:
                served.add(case.operation.label)

    return Walk


@pytest.mark.timeout(7200)
def test_no_walk_through_the_document_breaks_it(tmp_path: Path) -> None:
    served: set[str] = set()
    with besieged(tmp_path) as siege, requests.Session() as session:
        walk = walker(siege, session, served)
        walk.run(settings=settings(examples(WALKS), stateful_step_count=STEPS))
    led_to = {label for label in served if "{" in label}
    assert len(led_to) >= 3, served
