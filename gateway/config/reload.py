"""Which changes a running gateway can take over, and which need a restart."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.problems import Path, dotted
from gateway.config.schema import Part, Settings, yaml_name

# What ends up in the policy, a value that is looked up order by order, and the upstreams, which
# are connected anew. The rest has become folders, sockets or tasks by the time of a reload.
RELOADABLE: tuple[Path, ...] = (
    ("models",),
    ("teams",),
    ("server", "admin_keys"),
    ("server", "metrics_keys"),
    ("server", "timezone"),
    ("server", "public_url"),
    ("server", "body_limit"),
    ("server", "openai_wait"),
    ("server", "openai_sdk_on_v1"),
    ("server", "cors_origins"),
    ("server", "log", "prompts"),
    ("storage", "free_space_floor"),
    ("storage", "picture_limit"),
    ("storage", "retention"),
    ("upstreams",),
    ("cache", "scope"),
    ("cache", "client_control"),
    ("cache", "remember_lost"),
    ("cache", "ttl"),
    ("callbacks", "timeout"),
    ("callbacks", "retries"),
    ("callbacks", "signing_secret"),
    ("callbacks", "allow_private_addresses"),
    ("callbacks", "proxy"),
    ("alerts",),
    ("references",),
    ("worker", "retry"),
)


def restart_needed(old: Settings, new: Settings) -> list[str]:
    """The dotted paths of changed settings that only a restart brings into effect."""
    changed = _changes(old, new, ())
    return [dotted(path) for path in changed if not _is_reloadable(path)]


def differences(old: Settings, new: Settings) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What has changed, by dotted path: as it was, and as it is; secrets masked, None for none."""
    paths = _changes(old, new, ())
    before, after = old.shown(), new.shown()
    return (
        {dotted(path): _at(before, path) for path in paths},
        {dotted(path): _at(after, path) for path in paths},
    )


def _at(shown: object, path: Path) -> object:
    for step in path:
        shown = shown.get(str(step)) if isinstance(shown, Mapping) else None
    return shown


def _is_reloadable(path: Path) -> bool:
    return any(path[: len(prefix)] == prefix for prefix in RELOADABLE)


def _changes(old: object, new: object, path: Path) -> list[Path]:
    """Paths that differ, as deep as both sides have the same shape."""
    before, after = _fields(old), _fields(new)
    if before is None or after is None:
        return [] if old == new else [path]
    steps = dict.fromkeys((*before, *after))
    return [
        change
        for step in steps
        for change in _changes(before.get(step), after.get(step), (*path, step))
    ]


def _fields(value: object) -> dict[str, object] | None:
    if isinstance(value, Part):
        return {yaml_name(name): getattr(value, name) for name in type(value).model_fields}
    return value if isinstance(value, dict) else None
