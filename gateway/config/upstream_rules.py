"""What is wrong with an upstream's settings: fields of another kind, and what goes with what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from gateway.config.document import Path
from gateway.config.part import yaml_name
from gateway.config.upstream_entry import (
    OWN,
    ReferenceWay,
    ResponseFormat,
    Style,
    UpstreamEntry,
    UpstreamKind,
)

Found = Iterator[tuple[Path, str]]

OPENAI_HOST: Final = "api.openai.com"
"""The vendor's own: a model's name means that model there."""

_DEPLOYMENT: Final = re.compile(r".*/openai/deployments/[^/]+")
_AZURE: Final = re.compile(r"\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)\.?$")
_CALL: Final = re.compile(r"/images(/generations|/edits)?$")


def is_openais_own(entry: UpstreamEntry) -> bool:
    return entry.kind is UpstreamKind.OPENAI and urlsplit(entry.base_url).hostname == OPENAI_HOST


def upstream_problems(path: Path, entry: UpstreamEntry) -> Found:
    yield from _of_another_kind(path, entry)
    for field, address in (("base_url", entry.base_url), ("files_url", entry.files_url)):
        if address and address.startswith("http://") and not entry.allow_private_addresses:
            rule = "plain http is only for test upstreams with allow_private_addresses: true"
            yield (*path, field), f"must start with https://; {rule}"
    poll = entry.poll
    if poll.every_seconds > poll.max_seconds and entry.kind is UpstreamKind.EVOLINK:
        yield (*path, "poll", "every"), "must not be longer than max"
    if entry.kind is UpstreamKind.OPENAI:
        yield from _address(path, entry)
        yield from _style(path, entry)


def _of_another_kind(path: Path, entry: UpstreamEntry) -> Found:
    for field in sorted(entry.strange & entry.model_fields_set):
        [kind] = (kind for kind, own in OWN.items() if field in own)
        default = " (the default)" if "kind" not in entry.model_fields_set else ""
        rule = f"only upstreams of kind {kind} have it; this one is of kind {entry.kind}{default}"
        yield (*path, yaml_name(field)), rule


def _address(path: Path, entry: UpstreamEntry) -> Found:
    """One base for both calls, such as the style has it."""
    at, base = (*path, "base_url"), urlsplit(entry.base_url).path
    if (call := _CALL.search(base)) is not None:
        yield at, f"must end before {call[0]}, which is added"
    elif entry.style is Style.AZURE and not _DEPLOYMENT.fullmatch(base):
        yield at, "must end in /openai/deployments/NAME with style: azure"
    elif entry.style is Style.AZURE_V1 and not base.endswith("/openai/v1"):
        yield at, "must end in /openai/v1 with style: azure_v1"
    elif entry.style is Style.OPENAI and _DEPLOYMENT.fullmatch(base):
        yield at, "leads to a deployment of Azure, which needs style: azure"
    elif entry.style is Style.OPENAI and _AZURE.search(urlsplit(entry.base_url).hostname or ""):
        ways = "azure_v1 and ends in /openai/v1, or azure and ends in /openai/deployments/NAME"
        yield at, f"is at Azure, where the key is shown in another way: its style is {ways}"
    elif is_openais_own(entry) and base != "/v1":
        yield at, f"must be https://{OPENAI_HOST}/v1"


def _style(path: Path, entry: UpstreamEntry) -> Found:
    if entry.style is Style.AZURE and entry.api_version is None:
        yield (*path, "api_version"), "missing; style: azure needs it, such as 2025-04-01-preview"
    if entry.style is Style.OPENAI and entry.api_version is not None:
        yield (*path, "api_version"), "is only told to Azure, with style: azure or azure_v1"
    if is_openais_own(entry) and entry.response_format is not ResponseFormat.OMIT:
        rule = "the vendor's models refuse it, and always answer as it would ask for"
        yield (*path, "response_format"), f"must be omit: {rule}"
    if not entry.style.is_azure:
        return
    if entry.references is ReferenceWay.LINK:
        yield (*path, "references"), "must be upload: Azure fetches no links"
    for field in ("organization", "project", "usage_key"):
        if getattr(entry, field) is not None:
            yield (*path, field), "is OpenAI's own: Azure has no such thing"
