"""What the demo's stage says, as plain texts: JSON in short lines, short links, next commands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.cli.typed import typed
from gateway.config.sandbox import TEAM_KEY, sandbox_places
from gateway.config.schema import ServerSettings

DIGEST_SHOWN: Final = 12
"""Of 64 characters: enough to tell pictures apart."""


_BETWEEN_MEMBERS: Final = re.compile(r'(?<=,) (?="\w+": |\.\.\.)')
"""Never within a text: there, quotes are escaped."""


def short_link(link: str) -> str:
    """A picture's link with the middle of its long name left out."""
    head, _, name = link.rpartition("/")
    digest, _, extension = name.rpartition(".")
    return f"{head}/{digest[:DIGEST_SHOWN]}...{extension}"


def json_lines(value: Mapping[str, object], width: int, *, partly: bool = False) -> list[str]:
    """JSON in lines that break between members; `partly` says that there are more members."""
    text = json.dumps(value, ensure_ascii=False)
    if partly:
        text = f"{text.removesuffix('}')}, ...}}"
    first, *rest = _BETWEEN_MEMBERS.split(text)
    lines = [first]
    for member in rest:
        if len(lines[-1]) + 1 + len(member) <= width:
            lines[-1] += f" {member}"
        else:
            lines.append(f" {member}")
    return lines


def short_time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def next_commands() -> Sequence[tuple[str, Sequence[str]]]:
    """What to do next, and the lines to type for it."""
    base = f"http://127.0.0.1:{ServerSettings().port}"
    curl = (
        f"curl {base}/v1/images/generations \\",
        f"  -H 'Authorization: Bearer {TEAM_KEY}' \\",
        """  -d '{"model":"gpt-image-1.5","prompt":"a red bicycle","quality":"low"}'""",
    )
    places = [f"{name:<10} {place}" for name, place in sandbox_places(base).items()]
    return (
        (
            "Serve the same for as long as you like, and point your own client at it:",
            (typed("serve", "--sandbox"),),
        ),
        ("And in another terminal:", curl),
        ("Or in a browser:", places),
    )
