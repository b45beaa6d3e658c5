"""The settings file that an installation begins with: short, commented, valid.

Its text is `first_settings.yaml` beside this file, where `@name@` is what was chosen. That of
`deploy/config.yaml`, which takes what differs from the environment, is made from it as well, and
that of `deploy/replicas/`. A line that begins with `#` and a word is for whom the word fits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from gateway.config.schema import ServerSettings
from gateway.config.words import MAKE_KEY
from gateway.core.addresses import is_loopback, parse_address

UPSTREAM_URL: Final = "https://api.evolink.ai"
FILES_URL: Final = "https://files-api.evolink.ai"
KEY_VARIABLE: Final = "EVOLINK_API_KEY"
ALERT_VARIABLE: Final = "ALERT_WEBHOOK"
METRICS_KEY_NAME: Final = "metrics.key"

_PLACE: Final = re.compile(r"@([a-z_]+)@")
_ONLY_FOR: Final = re.compile(r"^#(rehearsal|alone|replicas)(.*\n)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSettings:
    """What is chosen at the beginning. `api_key` and the digests stand as they do in the file."""

    public_url: str
    admin_key: str
    metrics_key: str
    data_dir: str
    api_key: str = f"${{{KEY_VARIABLE}}}"
    upstream_url: str = UPSTREAM_URL
    host: str = ServerSettings().host
    port: int = ServerSettings().port
    replicas: bool = False

    @property
    def rehearsal(self) -> bool:
        """Whether upstream is no vendor: a simulator on this machine, or nearby by plain http."""
        parts = urlsplit(self.upstream_url)
        return parts.scheme == "http" or is_loopback(parts.hostname or "")


def upstream_address(url: str) -> str:
    """The address as the settings have it: the vendor's in its one spelling, others as written.

    Raises ValueError for plain http beyond the own network: the vendor's key would go over it,
    and whoever answers there is no simulator.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not _nearby(host):
        raise ValueError(
            "over http:// everybody on the way could read the vendor's key: use https://, or for a"
            " rehearsal the address of 'image-gateway sandbox', such as http://127.0.0.1:8090"
        )
    plain = f"{parts.scheme}://{host}{parts.path}"
    return UPSTREAM_URL if plain == UPSTREAM_URL and parts.port in (None, 443) else url


def _nearby(host: str) -> bool:
    """Whether a host's name or address says that it is on this machine or in the own network."""
    try:
        return not parse_address(host).is_global
    except ValueError:
        return "." not in host or is_loopback(host)


def first_settings_yaml(first: FirstSettings, **references: str) -> str:
    """The text of the settings file; a reference stands there as it is, in place of a value."""
    vendor = first.upstream_url == UPSTREAM_URL
    chosen: dict[str, str] = {
        "public_url": _quoted(first.public_url),
        "host": _quoted(first.host),
        "port": str(first.port),
        "admin_key": f'"{first.admin_key}"',
        "make_key": MAKE_KEY,
        "metrics_key": f'"{first.metrics_key}"',
        "alert_variable": ALERT_VARIABLE,
        "metrics_place": METRICS_KEY_NAME,
        "data_dir": _quoted(first.data_dir),
        "base_url": _quoted(first.upstream_url),
        "files_url": _quoted(FILES_URL if vendor else first.upstream_url),
        "api_key": first.api_key,
        **references,
    }
    template = files(__package__).joinpath("first_settings.yaml").read_text("utf-8")
    true = {"rehearsal": first.rehearsal, "alone": not first.replicas, "replicas": first.replicas}
    template = _ONLY_FOR.sub(lambda found: found[2] if true[found[1]] else "", template)
    return _PLACE.sub(lambda found: chosen[found[1]], template)


def compose_settings_yaml(*, replicas: bool = False) -> str:
    """The text of `deploy/config.yaml`, whose values `deploy/compose.yaml` has from `.env`.

    With `replicas`, that of `deploy/replicas/config.yaml`: several gateways on shared stores.
    """
    first = FirstSettings(
        public_url="", admin_key="", metrics_key="", data_dir="/data", replicas=replicas
    )
    return first_settings_yaml(
        first,
        public_url="${PUBLIC_URL}",
        admin_key='"sha256:${ADMIN_KEY_SHA256}"',
        metrics_key='"sha256:${METRICS_KEY_SHA256}"',
        metrics_place=".env",
    )


def _quoted(text: str) -> str:
    """The text as a YAML scalar of one line; a dollar sign begins no reference."""
    return json.dumps(text, ensure_ascii=False).replace("$", "$$")
