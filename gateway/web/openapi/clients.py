"""What client programs meet: orders, tasks, enquiries, files, OpenAI's endpoints, pictures.

Their JSON is upstream's and OpenAI's, validated where it is read; the bounds told here are taken
from there. What upstream may add to an object is allowed in it. Each part has a module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.web.openapi import enquiries, openai, orders, pictures, uploads
from gateway.web.openapi.operation import Operation, Schema

SCHEMAS: Final[Mapping[str, Schema]] = {
    **orders.SCHEMAS,
    **enquiries.SCHEMAS,
    **uploads.SCHEMAS,
    **openai.SCHEMAS,
}

QUERY_SCHEMAS: Final[Mapping[str, Schema]] = {
    # Path: query parameters of an endpoint that reads them as upstream does, without a model.
    **orders.QUERY_SCHEMAS,
    **uploads.QUERY_SCHEMAS,
}

OPERATIONS: Final[Sequence[Operation]] = (
    *orders.OPERATIONS,
    *enquiries.OPERATIONS,
    *uploads.OPERATIONS,
    *openai.OPERATIONS,
    *pictures.OPERATIONS,
)
