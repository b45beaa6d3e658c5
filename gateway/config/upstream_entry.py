"""The settings of an upstream of any kind: what is told to it, how, and how long it may take.

One entry has the fields of all kinds, each with its default; which of them belong to which kind is
said here too. That a file names none of another kind, and what goes with what, is checked in
`upstream_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gateway import __version__
from gateway.config import units, words
from gateway.config.part import Part, yaml_name

WHOLE_SUBMIT: Final = "360s"
"""Of a submit that is the whole work: longer than pictures have been seen to take."""


class UpstreamKind(StrEnum):
    """What an upstream speaks. `wiring/kinds.py` has a row for each."""

    EVOLINK = "evolink"
    OPENAI = "openai"


class Style(StrEnum):
    """How addresses are made, how the key is shown, and who names the model."""

    OPENAI = "openai"
    AZURE = "azure"
    AZURE_V1 = "azure_v1"

    @property
    def is_azure(self) -> bool:
        return self is not Style.OPENAI


class ReferenceWay(StrEnum):
    """Whether reference pictures are sent along, or their links."""

    UPLOAD = "upload"
    LINK = "link"


class UsageTold(StrEnum):
    """Whether upstream counts tokens in its answers; without, a run is settled at its ceiling."""

    REQUIRED = "required"
    ABSENT = "absent"


class ImageField(StrEnum):
    """What the part with a reference picture is called."""

    MANY = "image[]"
    ONE = "image"


class ResponseFormat(StrEnum):
    """Whether `response_format` is said; the vendor's own models refuse it."""

    OMIT = "omit"
    B64_JSON = "b64_json"


OWN: Final[Mapping[UpstreamKind, frozenset[str]]] = {
    # The fields that only upstreams of this kind have.
    UpstreamKind.EVOLINK: frozenset(
        {
            "files_url",
            "poll",
            "usd_micros_per_credit",
            "resend_after_lost_answer",
            "not_taken",
            "callbacks",
        }
    ),
    UpstreamKind.OPENAI: frozenset(
        {
            "style",
            "api_version",
            "references",
            "usage",
            "image_field",
            "response_format",
            "usage_key",
            "organization",
            "project",
        }
    ),
}


def _word(kind: type[StrEnum]) -> tuple[BeforeValidator, PlainSerializer]:
    return BeforeValidator(words.choice(kind)), PlainSerializer(str)


class PollSettings(Part):
    first_seconds: units.Seconds = 3.0
    every_seconds: units.Seconds = 4.0
    max_seconds: units.Seconds = 15.0


class Timeout(Part):
    connect_seconds: units.Seconds = 5.0
    submit_seconds: units.Seconds = 25.0  # of kind openai: `WHOLE_SUBMIT`
    poll_seconds: units.Seconds = 20.0
    download_seconds: units.Seconds = 120.0


class UpstreamEntry(Part):
    kind: Annotated[UpstreamKind, *_word(UpstreamKind)] = UpstreamKind.EVOLINK
    base_url: words.Address
    files_url: words.Address | None = None
    api_key: words.Secret
    style: Annotated[Style, *_word(Style)] = Style.OPENAI
    api_version: words.VersionOrNone = None
    references: Annotated[ReferenceWay, *_word(ReferenceWay)] = ReferenceWay.UPLOAD
    usage: Annotated[UsageTold, *_word(UsageTold)] = UsageTold.REQUIRED
    image_field: Annotated[ImageField, *_word(ImageField)] = ImageField.MANY
    response_format: Annotated[ResponseFormat, *_word(ResponseFormat)] = ResponseFormat.OMIT
    usage_key: words.SecretOrNone = None
    organization: words.HeaderLineOrNone = None
    project: words.HeaderLineOrNone = None
    poll: PollSettings = PollSettings()
    timeout: Timeout = Timeout()
    allow_private_addresses: words.Flag = False
    usd_micros_per_credit: units.MoneyAboveZero | None = None
    resend_after_lost_answer: words.Flag = False
    not_taken: tuple[words.Text, ...] = ()
    max_connections: Annotated[int, units.an_int(1, 10_000)] = 100
    callbacks: words.Flag = False
    proxy: words.Proxy = None  # None: as the environment says, as in other sections
    user_agent: words.HeaderLine = f"image-gateway/{__version__}"

    @property
    def strange(self) -> frozenset[str]:
        """The fields that mean nothing to an upstream of this kind."""
        return frozenset[str]().union(*(own for kind, own in OWN.items() if kind is not self.kind))

    @model_validator(mode="before")
    @classmethod
    def _with_patience(cls, value: Any) -> Any:
        """The default of a submit follows from the kind: what is the whole work takes as long."""
        if not isinstance(value, Mapping) or value.get("kind") != UpstreamKind.OPENAI:
            return value
        timeout = value.get("timeout", {})
        if not isinstance(timeout, Mapping):
            return value
        return {**value, "timeout": {"submit": WHOLE_SUBMIT, **timeout}}

    @field_validator("base_url")
    @classmethod
    def _as_this_kind_has_it(cls, address: str, info: ValidationInfo) -> str:
        """An address of kind openai is the base as the vendor has it, version and all."""
        is_evolink = info.data.get("kind", UpstreamKind.EVOLINK) is UpstreamKind.EVOLINK
        return words.without_version(address) if is_evolink else address

    @model_serializer(mode="wrap")
    def _of_this_kind(self, shown: SerializerFunctionWrapHandler) -> dict[str, Any]:
        strange = {yaml_name(name) for name in self.strange}
        return {name: one for name, one in shown(self).items() if yaml_name(name) not in strange}
