"""The chapters of the surface: who may call, and what may come of every endpoint in them."""

from __future__ import annotations

from typing import Final

from gateway.errors import InvalidRequest, Unavailable
from gateway.web.operation import Caller, Chapter

_ASKED: Final = (InvalidRequest, Unavailable)

ORDERS: Final = Chapter("Orders and tasks", Caller.TEAM, errors=_ASKED)
ENQUIRIES: Final = Chapter("Enquiries", Caller.TEAM)
FILES: Final = Chapter("Reference files", Caller.TEAM, errors=(Unavailable,))
OPENAI: Final = Chapter("OpenAI's Images API", Caller.TEAM)
PICTURES: Final = Chapter("Pictures", Caller.ANYONE)

TEAMS: Final = Chapter("Teams and keys", Caller.OPERATOR, strict=True, errors=_ASKED)
USAGE: Final = Chapter("Usage and runs", Caller.OPERATOR, strict=True, errors=_ASKED)
STORES: Final = Chapter("Pictures, cache, callbacks", Caller.OPERATOR, strict=True, errors=_ASKED)
SETTINGS: Final = Chapter("Settings and health", Caller.OPERATOR, strict=True, errors=_ASKED)
OWN: Final = Chapter("A team's own reports", Caller.TEAM, strict=True, errors=_ASKED)

WATCHING: Final = Chapter("Watching", Caller.ANYONE)
SCRAPING: Final = Chapter("Watching", Caller.SCRAPER)

CONSOLE: Final = Chapter("The console", Caller.ANYONE, described=False)
"""Its pages are for people's browsers and speak for themselves."""
