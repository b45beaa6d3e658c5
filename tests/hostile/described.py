"""The surface as `/openapi.json` describes it, and how requests that are made up from it are sent:
with the right key, plausible here and there, and to no other machine."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any, Final

from house import ADMIN_KEY, TEAM_KEY
from schemathesis import Case
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import SERVED
from siege import NOWHERE, SCRAPER_KEY

from gateway.web.openapi.document import document

DOCUMENT: Final[Any] = json.loads(json.dumps(document(SERVED)))
KEYS: Final = {"teamKey": TEAM_KEY, "adminKey": ADMIN_KEY, "metricsKey": SCRAPER_KEY}
HONEST: Final = {503, 504}
"""It is not ready, or has nothing cached for who wants nothing else."""
AS_DESCRIBED: Final = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


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


def is_honest(answer: Response) -> None:
    assert answer.status_code < 500 or answer.status_code in HONEST, answer.text


def is_as_described(case: Case, answer: Response) -> None:
    case.validate_response(answer, checks=AS_DESCRIBED)


def key_for(case: Case) -> Mapping[str, str]:
    wanted = case.operation.definition.raw.get("security", [])
    keys = [KEYS[name] for one in wanted for name in one]
    return {"Authorization": f"Bearer {keys[0]}"} if keys else {}
