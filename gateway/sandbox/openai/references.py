"""Links to references: which the simulator was asked to fetch, and those few that it does fetch.

It never calls another machine. A link on this one is fetched when the options say so; of any
other it takes for granted that there is a picture of usual size.
"""

from collections import deque

import httpx2 as httpx

from gateway.sandbox.openai.refusals import RefusedError, invalid
from gateway.sandbox.options import MIB

_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_BYTES = 50 * MIB
_SECONDS = 10.0
_MOST_NOTED, _KEPT_CHARACTERS = 10_000, 2_048


class Links:
    """Notes links, and fetches those on this machine if `fetch_local`."""

    def __init__(self, *, fetch_local: bool) -> None:
        self.noted: deque[str] = deque(maxlen=_MOST_NOTED)
        """Every link that came in a request, oldest first."""
        self._fetch_local = fetch_local

    async def asked(self, link: str, param: str) -> bytes | None:
        """The bytes behind a link; None where it is not fetched. Raises RefusedError."""
        self.noted.append(link[:_KEPT_CHARACTERS])
        try:
            host = httpx.URL(link).host
        except httpx.InvalidURL as error:
            raise invalid(param, "invalid_value", f"'{param}' is no URL.") from error
        if not self._fetch_local or host not in _THIS_MACHINE:
            return None
        try:
            return await _fetched(link, param)
        except httpx.HTTPError as error:
            raise _not_fetched(param, "no answer") from error


async def _fetched(link: str, param: str) -> bytes:
    content = bytearray()
    # No proxy of the environment: a link on this machine is never anyone else's business.
    async with (
        httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client,
        client.stream("GET", link, headers={"User-Agent": "OpenAI-Sandbox"}) as answer,
    ):
        if answer.status_code != 200:
            raise _not_fetched(param, str(answer.status_code))
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _MOST_BYTES:
                raise invalid(param, "invalid_value", f"'{param}' is larger than 50 MB.")
    return bytes(content)


def _not_fetched(param: str, status: str) -> RefusedError:
    message = f"Error while downloading file. Upstream status code: {status}."
    return invalid(param, "invalid_value", message)
