"""A team's connection to its gateway: what a client program asks, for a person at a terminal.

An order is sent under an Idempotency-Key and asked after by its task, so that a connection that is
cut, or a gateway that is started again meanwhile, costs patience and no money.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from gateway.cli.connection import Connection, Cut, RequestRefused, Unanswered, checked_key

KEY_VARIABLE: Final = "GATEWAY_KEY"
NO_KEY: Final = (
    f"this needs a team's key: set {KEY_VARIABLE}, or give --key. An operator makes one with"
    " 'image-gateway keys issue TEAM'; that of 'serve --sandbox' is team-demo-key."
)
ENDED: Final = ("completed", "failed")
AWAY_SECONDS: Final = 120.0
"""A gateway that is started again is back by then; what it has taken goes on without us."""

BETWEEN_SECONDS: Final = 1.0
"""Between two questions, where the first was answered at once."""

PICTURE: Final = re.compile(r"/pictures/([0-9a-f]{16,128}\.\w+)$")


@dataclass(frozen=True, slots=True)
class Taken:
    """An order that was taken: its task, and what the answer's headers say of it."""

    task: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def verdict(self) -> str:
        """hit, joined, started, or replayed by its Idempotency-Key."""
        told = self.headers.get("cache-status", "")
        if self.headers.get("idempotency-replayed") == "true":
            return "replayed"
        if "; hit" in told:
            return "hit"
        return "joined" if "; collapsed" in told else "started"

    @property
    def cost_usd(self) -> float | None:
        """The most that it costs; None where the gateway does not say."""
        return self._usd("x-gateway-cost-usd")

    @property
    def saved_usd(self) -> float | None:
        return self._usd("x-gateway-saved-usd")

    def _usd(self, header: str) -> float | None:
        told = self.headers.get(header, "")
        return float(told) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", told) else None

    @property
    def id(self) -> str:
        return str(self.task["id"])


class TeamConnection(Connection):
    """One team's connection to one gateway, for one command."""

    away_seconds = AWAY_SECONDS

    def __init__(self, *, url: str, key: str | None) -> None:
        option = f"--key (or {KEY_VARIABLE})"
        super().__init__(url=url, key=checked_key(key, option=option, missing=NO_KEY))

    def models(self) -> list[str]:
        """Those that the team may use."""
        answer = self._json("GET", "/v1/models")
        with self.understood():
            return [str(one["id"]) for one in answer["data"]]

    def estimate(self, order: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        return self._json("POST", "/v1/images/estimate", json=order, headers=headers)

    def upload(self, file: Path) -> str:
        """The link of a file of this machine, to be given as a reference."""
        with file.open("rb") as content:
            form = {"file": (file.name, content)}
            answer = self._json("POST", "/api/v1/files/upload/stream", files=form)
        with self.understood():
            return str(answer["data"]["file_url"])

    def order(
        self, order: Mapping[str, Any], headers: Mapping[str, str], tell: Callable[[str], None]
    ) -> Taken:
        """Sends an order, again under the same Idempotency-Key where its answer was lost."""

        def send() -> Taken:
            path = "/v1/images/generations"
            with self.opened("POST", path, json=order, headers=headers) as response:
                return Taken(self.read(self.whole(response)), dict(response.headers))

        try:
            taken = send()
        except Cut:
            tell("the answer was lost: the order is sent again, and is not paid twice")
            taken = self._patiently(send, _is_no_answer)
        with self.understood():
            str(taken.task["id"]), str(taken.task["status"])
        return taken

    def task(self, task_id: str, wait_seconds: int) -> Any:
        """A task once it has ended, or as it is after about so many seconds."""
        prefer = {"Prefer": f"wait={wait_seconds}"}
        return self._json("GET", f"/v1/tasks/{quote(task_id, safe='')}", headers=prefer)

    def ended(
        self,
        task_id: str,
        wait_seconds: int,
        *,
        progress: Callable[[Mapping[str, Any]], None],
        tell: Callable[[str], None],
    ) -> Any:
        """The task once it has ended. A gateway that is away for a while is waited for."""
        while True:
            asked = time.monotonic()
            try:
                task = self.task(task_id, wait_seconds)
            except click.ClickException as error:
                if not _is_away(error):
                    raise
                tell(f"no answer from {self.url}: asking on")
                task = self._patiently(lambda: self.task(task_id, 0), _is_away)
            with self.understood():
                if task["status"] in ENDED:
                    return task
                progress(task)
            time.sleep(max(0.0, BETWEEN_SECONDS - (time.monotonic() - asked)))

    @contextmanager
    def picture(self, link: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The name and the bytes behind a permanent link, asked of the gateway's own address:
        server.public_url may not be reachable from here."""
        found = PICTURE.search(link)
        if found is None:
            raise Unanswered(f"{self.url} gave a link that is none of its own.")
        with self.opened("GET", f"/pictures/{found[1]}") as response:
            yield found[1], response.iter_bytes()

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self.opened(method, path, **request) as response:
            return self.read(self.whole(response))

    def _patiently(self, ask: Callable[[], Any], worth: Callable[[Exception], bool]) -> Any:
        """Asks again and again until an answer comes, or nobody has answered for too long."""
        until = time.monotonic() + self.away_seconds
        while True:
            time.sleep(BETWEEN_SECONDS)
            try:
                return ask()
            except click.ClickException as error:
                if not worth(error) or time.monotonic() > until:
                    raise

    def _key_hint(self) -> str:
        return (
            f"\nIs --key or {KEY_VARIABLE} a team's key? An admin key orders nothing;"
            " 'image-gateway keys issue TEAM' makes one that does."
        )


def _is_no_answer(error: Exception) -> bool:
    return isinstance(error, Unanswered)


def _is_away(error: Exception) -> bool:
    """Whether it says nothing of the task: nobody answered, or a gateway that cannot just now."""
    return isinstance(error, Unanswered) or (
        isinstance(error, RequestRefused) and error.status in (429, 502, 503, 504)
    )
