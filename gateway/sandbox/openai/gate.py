"""By which address a request came, whose key it carries, and which model it means."""

import hmac
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from gateway.sandbox.openai.models import Model
from gateway.sandbox.openai.refusals import (
    FAILURES,
    RefusedError,
    Style,
    missing,
    no_model,
    unknown,
    wrong_type,
)
from gateway.sandbox.openai.state import OpenAIState

AZURE = "/openai/deployments/{deployment}"
AZURE_V1 = "/openai/v1"
OPENAI = "/v1"
_KEY_START, _ADMIN_START, _ENTRA_START = "sk-", "sk-admin-", "eyJ"


def style_of(path: str) -> Style:
    """The style of an address; what belongs to none is answered as OpenAI answers."""
    if path.startswith(AZURE_V1 + "/"):
        return Style.AZURE_V1
    return Style.AZURE if path.startswith("/openai/") else Style.OPENAI


def key_in(request: Request, style: Style) -> str | None:
    """The key that a request carries in the header of its style."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" and token.strip() else None
    if not style.is_azure:
        return bearer
    entra = bearer if bearer is not None and bearer.startswith(_ENTRA_START) else None
    return request.headers.get("api-key") or entra


def require_key(request: Request, state: OpenAIState, style: Style) -> str:
    """The accepted key. Raises RefusedError 401 without one."""
    key = key_in(request, style)
    accepted = state.options.accepted_key
    if key is None:
        raise RefusedError(FAILURES["invalid_api_key"])
    state.keys_seen.add(key)
    if accepted is not None:
        is_good = hmac.compare_digest(key.encode(), accepted.encode())
    else:
        is_good = style.is_azure or (key.startswith(_KEY_START) and len(key) > len(_KEY_START))
    if not is_good:
        raise RefusedError(FAILURES["invalid_api_key"])
    return key


def require_admin_key(request: Request) -> None:
    """Raises RefusedError without an admin key: 401 without any, 403 with another."""
    key = key_in(request, Style.OPENAI)
    if key is None:
        raise RefusedError(FAILURES["invalid_api_key"])
    if not key.startswith(_ADMIN_START):
        raise RefusedError(FAILURES["missing_scope"])


def model_of(
    request: Request, fields: Mapping[str, Any], state: OpenAIState, style: Style
) -> Model:
    """The model that is meant. Raises RefusedError."""
    if style is Style.AZURE:
        return _of_deployment(request, fields, state)
    name = fields.get("model")
    if name is None:
        raise missing("model")
    if not isinstance(name, str):
        raise wrong_type("model", "a string")
    if style is Style.AZURE_V1:
        return _deployed(name, state)
    if name in state.options.denied_models:
        raise RefusedError(FAILURES["model_not_found"])
    if name not in state.models:
        raise no_model(name)
    return state.models[name]


def _of_deployment(request: Request, fields: Mapping[str, Any], state: OpenAIState) -> Model:
    if not request.query_params.get("api-version"):
        raise RefusedError(FAILURES["resource_not_found"])
    model = _deployed(request.path_params["deployment"], state)
    # The second generation refuses the name that the address has said already.
    if "model" in fields and model.edges is not None:
        raise unknown("model")
    return model


def _deployed(name: str, state: OpenAIState) -> Model:
    meant = state.options.deployments.get(name, name)
    if meant not in state.models or meant in state.options.denied_models:
        raise RefusedError(FAILURES["DeploymentNotFound"])
    return state.models[meant]
