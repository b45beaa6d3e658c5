"""The addresses at which upstream calls about a run, made with this installation's secret."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Final

from gateway.core import callback_tokens
from gateway.core.model import Run
from gateway.core.policy import Current
from gateway.errors import Unavailable
from gateway.ports.replicas import Secrets

NAME: Final = "callbacks"
"""Of the secret in the ledger."""


class CallbackAddresses:
    """The secret is in the ledger: a call about a run may reach any gateway that shares it.

    `path` is the file in which a former version kept it. Before `load`, no address is ours.
    """

    def __init__(self, path: Path, current: Current, *, is_shared: bool = False) -> None:
        self._path = path
        self._current = current
        self._is_shared = is_shared
        self._key = b""

    async def load(self, ledger: Secrets) -> None:
        """Reads the secret, or makes it at the first start. Raises `OSError`, `Unavailable`.

        One of a file is taken over where the ledger has none. Where nobody shares the ledger the
        file stays as it was: a former version finds it, and so does a backup of one.
        """
        kept = await asyncio.to_thread(_kept_key, self._path)
        own = kept or secrets.token_bytes(callback_tokens.KEY_BYTES)
        settled = await ledger.settle_secret(NAME, own.hex())
        try:
            self._key = bytes.fromhex(settled)
        except ValueError:
            raise Unavailable(
                f"The ledger's secret {NAME!r} is not what a gateway wrote: delete its row of the"
                " table secrets; calls about runs that are under way are not known then."
            ) from None
        if kept != self._key and not self._is_shared:
            await asyncio.to_thread(_keep_key, self._path, self._key)

    @property
    def key(self) -> bytes:
        """What only the gateways of this ledger know."""
        return self._key

    def url(self, run: Run) -> str:
        """Where upstream calls about this run."""
        token = callback_tokens.token(self._key, run.id)
        return f"{self._current.policy.public_url}/callbacks/{token}"

    def run_of(self, token: str) -> str | None:
        """The id of the run that a call is about; None for an address that is not ours."""
        return callback_tokens.run_of(self._key, token)


def _kept_key(path: Path) -> bytes | None:
    try:
        return path.read_bytes() or None
    except FileNotFoundError:
        return None


def _keep_key(path: Path, key: bytes) -> None:
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    made.touch(mode=0o600)
    made.write_bytes(key)
    made.replace(path)
