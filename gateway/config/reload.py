"""Which changes a running gateway can take over, and which need a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import SecretStr

from gateway.config.document import Path, dotted
from gateway.config.part import Part, yaml_name
from gateway.config.schema import RELOADABLE, Settings

OWN_SETTINGS: Final = (("server", "host"), ("server", "port"), ("storage", "data_dir"))
"""What differs between gateways that share all else."""


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


def digest(settings: Settings, key: bytes) -> str:
    """Names what a gateway runs by: those that share a ledger should have it the same.

    Not counted is where it listens, which folder is its own, and by what address it reaches the
    stores. Secrets count, and nobody can try out which they are without the `key`, which is known
    to gateways alone.
    """
    shown = settings.model_dump(by_alias=True, exclude_none=True, warnings=False)
    for section, own in OWN_SETTINGS:
        found = shown.get(section)
        if isinstance(found, Mapping):
            shown[section] = {name: value for name, value in found.items() if name != own}
    sections = (
        getattr(settings, name) for name in type(settings).model_fields if name != "storage"
    )
    told = json.dumps([shown, list(_secrets(list(sections)))], sort_keys=True, default=str)
    return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()[:16]


def _secrets(value: object) -> Iterator[str]:
    """All that are in it, in the order of the settings."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case Part():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for name in sorted(value, key=str):
                yield from _secrets(value[name])
        case list() | tuple():
            for one in value:
                yield from _secrets(one)


def _at(shown: object, path: Path) -> object:
    for step in path:
        shown = shown.get(str(step)) if isinstance(shown, Mapping) else None
    return shown


def _is_reloadable(path: Path) -> bool:
    """Whether the setting at `path`, or a section that it is in, is marked so in the schema."""
    section: type[Part] = Settings
    for step in path:
        field = next(f for name, f in section.model_fields.items() if yaml_name(name) == step)
        if RELOADABLE in field.metadata:
            return True
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, Part)):
            return False
        section = field.annotation
    return False


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
