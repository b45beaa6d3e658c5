"""The addresses at which upstream calls about a run, made with this installation's secret."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from gateway.core import callback_tokens
from gateway.core.model import Run
from gateway.core.policy import Current


class CallbackAddresses:
    """`path` is the file of the secret; before `load`, no address is ours."""

    def __init__(self, path: Path, current: Current) -> None:
        self._path = path
        self._current = current
        self._key = b""

    async def load(self) -> None:
        """Reads the secret, or makes it at the first start. Raises `OSError`."""
        self._key = await asyncio.to_thread(_kept_key, self._path)

    def url(self, run: Run) -> str:
        """Where upstream calls about this run."""
        token = callback_tokens.token(self._key, run.id)
        return f"{self._current.policy.public_url}/callbacks/{token}"

    def run_of(self, token: str) -> str | None:
        """The id of the run that a call is about; None for an address that is not ours."""
        return callback_tokens.run_of(self._key, token)


def _kept_key(path: Path) -> bytes:
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(callback_tokens.KEY_BYTES))
        made.replace(path)
    return path.read_bytes()
