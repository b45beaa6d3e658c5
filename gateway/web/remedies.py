"""What each error code means and what to do about it, decided once.

An error's `doc_url` leads to its code in the chapter *Errors* of `/docs`, which is made of this
table. The pages in `docs/` are compared with it. A code is an anchor and keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Remedy:
    """`cause` and `cure` are sentences. `page` is the one of `docs/` that has the code."""

    page: str
    status: int
    cause: str
    cure: str
    openai_status: int | None = None
    """Where OpenAI's clients are told another one."""


_ALLOWANCE: Final = "Ask the platform team if your team needs more."
_PAY_AGAIN: Final = (
    "Tell the platform team: `image-gateway runs retry` may still get the pictures, for nothing, "
    "or says why it cannot. "
    "`Cache-Control: no-cache` pays for a new try at once."
)
_OTHER_REQUEST: Final = "Change the prompt or the pictures: the message says what upstream found."

_CLIENTS: Final[Mapping[str, Remedy]] = {
    "invalid_request": Remedy(
        "clients",
        400,
        "Something in the request is wrong, or not allowed to your team. `param` names the field.",
        "Change what the message names, and send it again.",
    ),
    "invalid_task_id": Remedy(
        "clients",
        400,
        "The path holds no task id.",
        "Use the `id` of the answer to your order as it came.",
    ),
    "unauthorized": Remedy(
        "clients",
        401,
        "No key came, or one that is unknown or was revoked. OpenAI's SDKs are told "
        "`invalid_api_key`.",
        "Send `Authorization: Bearer <key>`: your team's key, or on `/admin` an admin key. A "
        "revoked one is replaced by the platform team.",
    ),
    "insufficient_quota": Remedy(
        "clients",
        402,
        "The order's price does not fit into a money budget of your team. `limit_scope` says "
        "which, and `resets_at` when it renews.",
        "Order fewer or cheaper pictures (`POST /v1/images/estimate` says what fits), or wait for "
        f"`resets_at`. {_ALLOWANCE}",
        openai_status=429,
    ),
    "model_access_denied": Remedy(
        "clients",
        403,
        "Your team may not use that model.",
        "Use one that `GET /v1/models` lists, or ask the platform team to allow it.",
    ),
    "task_not_found": Remedy(
        "clients",
        404,
        "Your team has no task with this id, or it is older than tasks are remembered.",
        "Ask with the id as it came, and with a key of the team that ordered.",
    ),
    "not_found": Remedy(
        "clients",
        404,
        "There is no such path, picture or file.",
        "Compare the address with this page. A base URL ends before `/v1`, for OpenAI's SDKs in "
        "`/openai/v1`.",
    ),
    "method_not_allowed": Remedy(
        "clients",
        405,
        "The path takes other methods.",
        "Use one that the answer's `Allow` names.",
    ),
    "idempotency_conflict": Remedy(
        "clients",
        409,
        "This `Idempotency-Key` came before, with another order.",
        "Make a key for each order, and send it again with the very same order only.",
    ),
    "request_too_large": Remedy(
        "clients",
        413,
        "The body, or a file in it, is larger than the gateway takes.",
        "Send less: the message names the bound. Large pictures go as links, or through the file "
        "API as a stream.",
    ),
    "unsupported_media_type": Remedy(
        "clients",
        415,
        "The body is compressed in a way that is not undone here, or a file is compressed at all.",
        "Send JSON plain or in a coding that the answer's `Accept-Encoding` names, and files as "
        "they are.",
    ),
    "result_lost": Remedy(
        "clients",
        424,
        "Upstream made this order and its pictures could not be kept. It counts as spent, and for "
        "a while identical orders are told so instead of being paid again.",
        _PAY_AGAIN,
    ),
    "generation_timeout": Remedy(
        "clients",
        424,
        "Upstream took this order and did not end it before its deadline. It counts as spent, and "
        "for a while identical orders are told so instead of being paid again.",
        _PAY_AGAIN,
    ),
    "rate_limit_exceeded": Remedy(
        "clients",
        429,
        "Your team has reached a limit of pictures, of runs a minute or of runs at a time, "
        "sends too many edits or uploads at once, or has its share of the gateway's file store. "
        "Nothing was ordered.",
        f"Wait as long as `Retry-After` says, and send it again. {_ALLOWANCE}",
    ),
    "internal_error": Remedy(
        "clients",
        500,
        "The gateway failed on this request.",
        "Tell the platform team the answer's `X-Request-Id`: the log says more. An order is safe "
        "to send again under its `Idempotency-Key`.",
    ),
    "upstream_error": Remedy(
        "clients",
        502,
        "Upstream refuses the organisation's key or balance, its file store is down, or a task "
        "failed there. Your request is fine, and nothing was charged.",
        "Send it again later, and tell the platform team if it lasts.",
    ),
    "service_unavailable": Remedy(
        "clients",
        503,
        "The gateway takes no orders now: it stops, its store is away, its disk is nearly full, "
        "or upstream declines. Nothing was charged.",
        "Wait as long as `Retry-After` says, and send it again. `/readyz` says why.",
    ),
    "outcome_unknown": Remedy(
        "clients",
        504,
        "The order was sent upstream and the answer was lost, so it may have been paid. The "
        "gateway does not send it again by itself.",
        "Wait: until it is known, an identical order gets this answer. `Cache-Control: no-cache` "
        "starts a new one, which may be paid a second time.",
    ),
    "not_cached": Remedy(
        "clients",
        504,
        "`Cache-Control: only-if-cached` was asked, and there is no stored answer.",
        "Leave it out to have the picture made.",
    ),
}

_OPENAI: Final[Mapping[str, Remedy]] = {
    "wrong_base_url": Remedy(
        "openai",
        400,
        "An SDK of OpenAI's ordered at `/v1`, where the answer is a task and has no picture. "
        "Nothing was ordered.",
        "Set its base URL to the address that the message names: it ends in `/openai/v1`.",
    ),
    "model_not_found": Remedy(
        "openai",
        404,
        "There is no such model, or your team may not use it.",
        "Use one that `GET /openai/v1/models` lists.",
    ),
    "moderation_blocked": Remedy(
        "openai",
        400,
        "Upstream will not make this picture because of what it would show.",
        _OTHER_REQUEST,
    ),
    "generation_failed_no_content": Remedy(
        "openai", 400, "Upstream's model answered without a picture.", _OTHER_REQUEST
    ),
    "image_dimension_mismatch": Remedy(
        "openai",
        400,
        "The size of a picture does not go with the order or with its mask.",
        "Send a picture and a mask of one size that the model takes.",
    ),
    "image_processing_error": Remedy(
        "openai", 400, "Upstream could not read a picture of the order.", _OTHER_REQUEST
    ),
    "invalid_parameters": Remedy(
        "openai",
        400,
        "Upstream found while making it that a field does not fit.",
        "Change what the message names.",
    ),
    "still_running": Remedy(
        "openai",
        504,
        "The pictures were not there after the longest wait. They are being made, and are kept.",
        "Send the identical request again: it joins them, and costs nothing.",
    ),
}

_ADMIN: Final[Mapping[str, Remedy]] = {
    "permission_denied": Remedy(
        "admin",
        403,
        "`/metrics` wants a key when it is asked from elsewhere.",
        "Send `Authorization: Bearer <key>` with one of `server.metrics_keys`.",
    ),
    "invalid_settings": Remedy(
        "admin",
        400,
        "The settings file has mistakes. Those in force before stay.",
        "Mend what the message lists; `image-gateway check` shows the same with lines.",
    ),
    "team_not_found": Remedy(
        "admin", 404, "No team has this name.", "`GET /admin/v1/teams` lists them."
    ),
    "key_not_found": Remedy(
        "admin",
        404,
        "The team has no key with this id.",
        "`GET /admin/v1/teams/{team}/keys` lists them.",
    ),
    "picture_not_found": Remedy(
        "admin",
        404,
        "No picture has this digest.",
        "`GET /admin/v1/pictures` finds it by team, task or prompt.",
    ),
    "run_not_found": Remedy(
        "admin",
        404,
        "No run, task, refusal or request has this id.",
        "Take the id from `GET /admin/v1/runs` or `GET /admin/v1/refusals`.",
    ),
    "callback_not_found": Remedy(
        "admin", 404, "No callback has this id.", "`GET /admin/v1/callbacks` lists them."
    ),
    "team_exists": Remedy(
        "admin", 409, "A team of this name exists.", "Change that one, or take another name."
    ),
    "provisioned": Remedy(
        "admin",
        409,
        "The team or key stands in the settings file, and is changed there only.",
        "Edit the file and reload it.",
    ),
    "key_not_active": Remedy(
        "admin",
        409,
        "The key has ended: it was revoked, or its grace period is over.",
        "Issue a new one.",
    ),
    "rotation_under_way": Remedy(
        "admin",
        409,
        "The last rotation of this key has left an old one that still works.",
        "Wait until its grace period is over, or revoke it.",
    ),
    "run_under_way": Remedy(
        "admin", 409, "The run has not ended.", "Erase it when it is done or has failed."
    ),
    "run_not_retriable": Remedy(
        "admin",
        409,
        "The run has nothing that could be tried again; the message says why.",
        "Order it anew if its picture is wanted.",
    ),
    "no_settings_file": Remedy(
        "admin",
        409,
        "This gateway was started without a settings file.",
        "Start it with `--config` to be able to reload.",
    ),
    "no_alert_webhook": Remedy(
        "admin",
        409,
        "No address for alerts is set.",
        "Name one in `alerts.webhook` of the settings file and reload it.",
    ),
}

REMEDIES: Final[Mapping[str, Remedy]] = {**_CLIENTS, **_OPENAI, **_ADMIN}


def doc_url(error: GatewayError, public_url: str) -> str | None:
    """Where the error is explained; None for upstream's refusals, whose codes are its own."""
    return f"{public_url}/docs#{error.code}" if error.explained else None
