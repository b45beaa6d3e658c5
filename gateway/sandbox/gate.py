"""Who is let in: the bearer key check of every API route."""

import hmac

from starlette.requests import Request

from gateway.sandbox.answers import RefusedError
from gateway.sandbox.state import SandboxState

_KEY_START = "sk-"


def has_key(request: Request, state: SandboxState) -> bool:
    """Whether the request carries an accepted bearer key."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    accepted = state.options.accepted_key
    if accepted is None:
        return key.startswith(_KEY_START) and len(key) > len(_KEY_START)
    return hmac.compare_digest(key.encode(), accepted.encode())


def require_key(request: Request, state: SandboxState, *, of_task: bool = False) -> None:
    """Raises RefusedError 401 without an accepted key."""
    if not has_key(request, state):
        raise RefusedError(401, of_task=of_task)
