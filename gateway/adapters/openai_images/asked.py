"""An order as this API has it: where it goes, and the fields and pictures that go there.

Pure. Only fields that are known are sent, and never null: any other would be refused, and it is
not for us to leave a part of an order out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.adapters.openai_images.kind import KIND, wire_size
from gateway.adapters.outbound.vendor import BEARER
from gateway.core.model import Order, Run

OPENAI, AZURE, AZURE_V1 = "openai", "azure", "azure_v1"
UPLOAD, LINK = "upload", "link"
OMIT, B64_JSON = "omit", "b64_json"
REQUIRED, ABSENT = "required", "absent"

GENERATIONS: Final = "generations"
EDITS: Final = "edits"

_AZURES_OWN: Final = "api-key"
_AS_THEY_ARE: Final = (
    "prompt", "n", "quality", "background", "output_format", "output_compression", "moderation",
    "input_fidelity", "complexity",
)  # fmt: skip
_ONLY_OF_EDITS: Final = frozenset({"input_fidelity"})


@dataclass(frozen=True, slots=True)
class OpenAIDialect:
    """How a server of this kind is spoken to, in the words of the settings.

    `style` says how addresses are made, how the key is shown, and who names the model; `references`
    whether pictures are sent along or their links; `image_field` what the part of one is called;
    `usage` whether the server counts tokens.
    """

    style: str = OPENAI
    references: str = UPLOAD
    image_field: str = "image[]"
    response_format: str = OMIT
    usage: str = REQUIRED
    api_version: str | None = None

    @property
    def key_header(self) -> str:
        return BEARER if self.style == OPENAI else _AZURES_OWN


@dataclass(frozen=True, slots=True)
class WireOrder:
    """`fields` without pictures; these are links, by their places in the order."""

    path: str
    fields: Mapping[str, Any]
    references: Mapping[str, str]
    mask: str | None = None

    @property
    def places(self) -> Mapping[str, str]:
        """All links by their places in the order, the mask last."""
        mask = {} if self.mask is None else {"mask_url": self.mask}
        return {**self.references, **mask}


def wished(run: Run, dialect: OpenAIDialect) -> WireOrder | str:
    """The run's order in this dialect; where it does not fit, why."""
    body: dict[str, Any] = orjson.loads(run.request)
    order = Order(
        *(run.model, str(body.get("prompt") or ""), run.n, body.get("size"), body.get("quality")),
        body=body,
    )
    problem = KIND.of_style(dialect.style).misfit(order, run.upstream_model)
    if problem is not None:
        return problem
    links = body.get("image_urls") or []
    path = EDITS if links else GENERATIONS
    fields = {name: body[name] for name in _AS_THEY_ARE if body.get(name) is not None}
    if path == GENERATIONS:
        fields = {name: value for name, value in fields.items() if name not in _ONLY_OF_EDITS}
    if body.get("size") is not None:
        fields["size"] = wire_size(body["size"])
    if dialect.response_format == B64_JSON:
        fields["response_format"] = B64_JSON
    # Azure's old addresses have the deployment in them, and a model beside it breaks some.
    named = {} if dialect.style == AZURE else {"model": run.upstream_model}
    references = {f"image_urls[{index}]": link for index, link in enumerate(links)}
    return WireOrder(path, {**named, **fields}, references, body.get("mask_url"))


def address(base_url: str, wish: WireOrder, dialect: OpenAIDialect) -> str:
    """Where it is posted to."""
    url = f"{base_url.rstrip('/')}/images/{wish.path}"
    version = None if dialect.style == OPENAI else dialect.api_version
    return url if version is None else f"{url}?api-version={version}"


def as_json(wish: WireOrder) -> bytes:
    """The body where no picture is sent along: upstream fetches those that are linked."""
    body = dict(wish.fields)
    if wish.references:
        body["images"] = [{"image_url": link} for link in wish.references.values()]
    if wish.mask is not None:
        body["mask"] = {"image_url": wish.mask}
    return orjson.dumps(body)
