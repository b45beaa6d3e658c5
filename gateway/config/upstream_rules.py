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
    ImageField,
    ReferenceWay,
    ResponseFormat,
    Style,
    UpstreamEntry,
    UpstreamKind,
)

Found = Iterator[tuple[Path, str]]

_OPENAI: Final = re.compile(r"(.+\.)?api\.openai\.com")
"""The vendor's own, those of its regions included: a model's name means that model there."""

_EVOLINK: Final = re.compile(r"(.+\.)?evolink\.ai")
_DEPLOYMENT: Final = re.compile(r".*/openai/deployments/[^/]+")
_AZURE: Final = re.compile(r".+\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)")
_CALL: Final = re.compile(r"/images(/generations|/edits)?$")


def is_openais_own(entry: UpstreamEntry) -> bool:
    return entry.kind is UpstreamKind.OPENAI and _OPENAI.fullmatch(host_of(entry)) is not None


def host_of(entry: UpstreamEntry) -> str:
    return (urlsplit(entry.base_url).hostname or "").removesuffix(".")


def has_vendors_models(entry: UpstreamEntry) -> bool:
    """Whether OpenAI's models are served there by itself or by Azure, and not by another server."""
    return is_openais_own(entry) or (entry.kind is UpstreamKind.OPENAI and entry.style.is_azure)


def upstream_problems(path: Path, entry: UpstreamEntry) -> Found:
    yield from _of_another_kind(path, entry)
    for field, address in (("base_url", entry.base_url), ("files_url", entry.files_url)):
        if address and address.startswith("http://") and not entry.allow_private_addresses:
            rule = "plain http is only for test upstreams with allow_private_addresses: true"
            yield (*path, field), f"must start with https://; {rule}"
    poll = entry.poll
    if poll.every_seconds > poll.max_seconds and entry.kind is UpstreamKind.EVOLINK:
        yield (*path, "poll", "every"), "must not be longer than max"
    yield from _another_vendor(path, entry)
    if (call := _CALL.search(urlsplit(entry.base_url).path)) is not None:
        yield (*path, "base_url"), f"must end before {call[0]}, which is added"
    elif entry.kind is UpstreamKind.OPENAI:
        yield from _address(path, entry)
    if entry.kind is UpstreamKind.OPENAI:
        yield from _style(path, entry)
        yield from _pictures(path, entry)
        yield from _usage_key(path, entry)


def _of_another_kind(path: Path, entry: UpstreamEntry) -> Found:
    for field in sorted(entry.strange & entry.model_fields_set):
        [kind] = (kind for kind, own in OWN.items() if field in own)
        default = " (the default)" if "kind" not in entry.model_fields_set else ""
        rule = f"only upstreams of kind {kind} have it; this one is of kind {entry.kind}{default}"
        yield (*path, yaml_name(field)), rule


def _another_vendor(path: Path, entry: UpstreamEntry) -> Found:
    """What one vendor is asked as if it were the other is refused there, order by order."""
    host = host_of(entry)
    if entry.kind is UpstreamKind.EVOLINK and (_OPENAI.fullmatch(host) or _AZURE.fullmatch(host)):
        yield (*path, "base_url"), f"{host} is no EvoLink: it needs kind: openai"
    elif entry.kind is UpstreamKind.OPENAI and _EVOLINK.fullmatch(host):
        yield (*path, "base_url"), f"{host} is EvoLink's own, which needs kind: evolink"


def _address(path: Path, entry: UpstreamEntry) -> Found:
    """One base for both calls, such as the style has it."""
    at, base = (*path, "base_url"), urlsplit(entry.base_url).path
    if entry.style is Style.AZURE and not _DEPLOYMENT.fullmatch(base):
        yield at, "must end in /openai/deployments/NAME with style: azure"
    elif entry.style is Style.AZURE_V1 and not base.endswith("/openai/v1"):
        yield at, "must end in /openai/v1 with style: azure_v1"
    elif entry.style is Style.OPENAI and _DEPLOYMENT.fullmatch(base):
        yield at, "leads to a deployment of Azure, which needs style: azure"
    elif entry.style is Style.OPENAI and _AZURE.fullmatch(host_of(entry)):
        ways = "azure_v1 and ends in /openai/v1, or azure and ends in /openai/deployments/NAME"
        yield at, f"is at Azure, where the key is shown in another way: its style is {ways}"
    elif is_openais_own(entry) and base != "/v1":
        yield at, f"must be https://{host_of(entry)}/v1"


def _style(path: Path, entry: UpstreamEntry) -> Found:
    if entry.style is Style.AZURE and entry.api_version is None:
        yield (*path, "api_version"), "missing; style: azure needs it, such as 2025-04-01-preview"
    if entry.style is Style.OPENAI and entry.api_version is not None:
        yield (*path, "api_version"), "is only told to Azure, with style: azure or azure_v1"
    if not entry.style.is_azure:
        return
    if entry.references is ReferenceWay.LINK:
        yield (*path, "references"), "must be upload: Azure fetches no links"
    for field in ("organization", "project", "usage_key"):
        if getattr(entry, field) is not None:
            yield (*path, field), "is OpenAI's own: Azure has no such thing"


def _pictures(path: Path, entry: UpstreamEntry) -> Found:
    """What the vendor's models refuse, and what is said of a part that is never sent."""
    vendors = has_vendors_models(entry)
    if vendors and entry.response_format is not ResponseFormat.OMIT:
        rule = "the vendor's models refuse it, and always answer as it would ask for"
        yield (*path, "response_format"), f"must be omit: {rule}"
    if "image_field" in entry.model_fields_set and entry.references is ReferenceWay.LINK:
        yield (*path, "image_field"), "nothing is uploaded with references: link"
    elif vendors and entry.image_field is not ImageField.MANY:
        yield (
            (*path, "image_field"),
            "must be image[]: the vendor refuses a second part of one name",
        )


def _usage_key(path: Path, entry: UpstreamEntry) -> Found:
    """It opens the whole organisation, so nobody else is shown it; a simulator may be."""
    is_another = not has_vendors_models(entry) and not entry.allow_private_addresses
    if entry.usage_key is not None and is_another:
        rule = f"is an admin key of OpenAI, and would go to {host_of(entry)}: leave it out"
        yield (*path, "usage_key"), rule
