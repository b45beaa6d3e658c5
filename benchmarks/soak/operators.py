"""What operators do while orders come in: read, make teams and keys, purge, erase."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from benchmarks.soak.asking import Client

SERIAL: Final = itertools.count(1)
READ: Final = (
    "teams", "usage", "usage?by=day,team,model&format=csv", "runs", "runs?state=failed", "refusals",
    "pictures", "callbacks", "cache", "audit", "settings", "replicas", "health", "summary",
)  # fmt: skip
GUEST_NAMES: Final = 3
"""Teams of the same few names come and go, so that metrics have no more labels at the end."""


async def look(client: Client) -> None:
    for path in client.chance.sample(READ, 2):
        await client.admin("GET", path)
    if client.promises.finished:
        await client.admin("GET", f"runs/{client.chance.choice(client.promises.finished).task}")


async def guest(client: Client) -> None:
    """A team is made, changed, ordered by, its key turned and revoked, and it goes again."""
    name = f"guest-{next(SERIAL) % GUEST_NAMES}"
    made = await client.admin("POST", "teams", json={"name": name}, may={201, 200, 409})
    if made is None or made.status_code == 409:
        return
    path = f"teams/{name}"
    may = {200, 201, 404}  # nobody else deletes it; a restart in between may have
    issued = await client.admin("POST", f"{path}/keys", json={"label": "soak"}, may=may)
    budgets = [{"usd": 5, "per": "day"}]
    await client.admin("PATCH", path, json={"budgets": budgets}, may=may)
    if issued is not None and "key" in issued.json():
        key, key_id = issued.json()["key"], issued.json()["id"]
        await _opens(client, key, may={200})
        grace = {"grace": "0s"}
        await client.admin("POST", f"{path}/keys/{key_id}/rotate", json=grace, may=may)
    await client.admin("DELETE", path, may={200, 204, 404})
    if issued is not None and "key" in issued.json():
        await _opens(client, key, may={200, 401})


async def _opens(client: Client, key: str, may: set[int]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    await client.ask("GET", "/team/v1/summary", headers=headers, may=may)


async def purge(client: Client) -> None:
    await client.admin("POST", "cache/purge", json={"team": "blue"})


async def erase(client: Client) -> None:
    """The oldest of what is finished; while a copy is being read it is put off (503)."""
    if client.promises.finished:
        names = client.promises.finished[0].pictures
        client.promises.erase(names)
        for name in names:
            digest = name.partition(".")[0]
            await client.admin("DELETE", f"pictures/{digest}", may={200, 204, 404})


async def reload(client: Client) -> None:
    """By a signal; every fourth time settings are tried first that cannot be used."""
    site = client.site
    async with site.turning:
        if site.reloads % 4 == 3:
            site.write_settings("server: {port: many}")
            await client.admin("POST", "settings/reload", may={400})
        site.write_settings()
        site.gateway.signal(signal.SIGHUP)


Act = Callable[[Client], Awaitable[None]]

OPERATING: Final[Sequence[tuple[float, str, Act]]] = (
    (2, "read by an operator", look),
    (1, "team and key", guest),
    (0.2, "purge", purge),
    (0.5, "erasure", erase),
    (0.5, "reload", reload),
)
