"""The usage report: what was made, in buckets of time, grouped as asked. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from gateway.sandbox.openai.bill import Charge
from gateway.sandbox.openai.refusals import missing, wrong_type, wrong_value

# width → (seconds, buckets if none are asked for, buckets at most)
_WIDTHS = {"1m": (60, 60, 1440), "1h": (3_600, 24, 168), "1d": (86_400, 7, 31)}
_GROUPS = ("project_id", "user_id", "api_key_id", "model", "size", "source")
# A filter's name → the member that it looks at.
_FILTERS = {"api_key_ids": "api_key_id", "models": "model", "sizes": "size", "sources": "source"}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a report. `first` and `end` are Unix seconds on the edges of buckets."""

    first: int
    end: int
    width: int
    limit: int
    groups: tuple[str, ...]
    only: dict[str, tuple[str, ...]]


def read_query(params: QueryParams, now: float) -> Query:
    """Raises RefusedError for what a report does not take."""
    if "start_time" not in params:
        raise missing("start_time")
    name = params.get("bucket_width", "1d")
    if name not in _WIDTHS:
        raise wrong_value("bucket_width", ", ".join(_WIDTHS))
    width, usual, most = _WIDTHS[name]
    limit = _whole(params, "limit", usual)
    if not 1 <= limit <= most:
        raise wrong_value("limit", f"1 to {most}")
    groups = _several(params, "group_by")
    if not set(groups) <= set(_GROUPS):
        raise wrong_value("group_by", ", ".join(_GROUPS))
    # The page is the start of its first bucket.
    start = _whole(params, "page", _whole(params, "start_time", 0))
    return Query(
        first=start // width * width,
        end=min(_whole(params, "end_time", int(now) + 1), int(now) + 1),
        width=width,
        limit=limit,
        groups=groups,
        only={member: _several(params, name) for name, member in _FILTERS.items()},
    )


def report(lines: Iterable[Charge], query: Query) -> dict[str, Any]:
    """The page of buckets that is asked for; a bucket without work has no results."""
    last = min(query.end, query.first + query.limit * query.width)
    buckets: dict[int, dict[tuple[str, ...], list[int]]] = {
        start: {} for start in range(query.first, last, query.width)
    }
    for line in lines:
        start = int(line.at) // query.width * query.width
        if start in buckets and line.at < query.end and _is_asked(line, query):
            group = tuple(str(getattr(line, name, "")) for name in query.groups)
            count = buckets[start].setdefault(group, [0, 0])
            count[0] += line.images
            count[1] += 1
    has_more = last < query.end
    return {
        "object": "page",
        "data": [_bucket(start, results, query) for start, results in buckets.items()],
        "has_more": has_more,
        "next_page": str(last) if has_more else None,
    }


def _bucket(start: int, results: dict[tuple[str, ...], list[int]], query: Query) -> dict[str, Any]:
    return {
        "object": "bucket",
        "start_time": start,
        "end_time": start + query.width,
        "results": [
            {
                "object": "organization.usage.images.result",
                "images": images,
                "num_model_requests": calls,
                **dict.fromkeys(_GROUPS),
                **{name: value or None for name, value in zip(query.groups, group, strict=True)},
            }
            for group, (images, calls) in results.items()
        ],
    }


def _is_asked(line: Charge, query: Query) -> bool:
    return all(
        not allowed or getattr(line, member) in allowed for member, allowed in query.only.items()
    )


def _several(params: QueryParams, name: str) -> tuple[str, ...]:
    """Values written `name=a,b`, `name=a&name=b` or `name[]=a&name[]=b`."""
    texts = [*params.getlist(name), *params.getlist(f"{name}[]")]
    return tuple(value for text in texts for value in text.split(",") if value)


def _whole(params: QueryParams, name: str, usual: int) -> int:
    text = params.get(name)
    if text is None:
        return usual
    if not text.isdecimal() or len(text) > 12:
        raise wrong_type(name, "an integer")
    return int(text)
