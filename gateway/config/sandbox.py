"""The settings of `serve --sandbox`: no file, no key, simulated upstreams on loopback.

The keys are for trying things out and are written in the help: they open nothing but a gateway
whose upstream is a simulator.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.config.build import build
from gateway.config.document import Document
from gateway.config.schema import Settings

TEAM = "demo"
TEAM_KEY = "team-demo-key"
ADMIN_KEY = "admin-demo-key"
UPSTREAM = "sandbox"
OPENAI = "sandbox-openai"
SIZES = ["1:1", "2:3", "3:2", "1024x1024", "1024x1536", "1536x1024"]
WIDE_SIZES = [
    "auto", *SIZES, "1:2", "2:1", "1:3", "3:1", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "9:21",
    "21:9", "1024x1792", "1792x1024", "2048x2048",
]  # fmt: skip
RESOLUTIONS = ["1K", "2K", "4K"]
LARGE = [
    {"size": "2048x2048", "usd": "0.6"},
    {"resolution": "4K", "usd": "1.2"},
    {"resolution": "2K", "usd": "0.6"},
]


def sandbox_settings(
    base_url: str,
    data_dir: Path,
    *,
    port: int = 8080,
    public_url: str | None = None,
    openai_url: str | None = None,
) -> Settings:
    """Settings for the simulated upstream at `base_url`; all state goes into `data_dir`.

    With a simulated OpenAI at `openai_url`, `gpt-image-2` is to be had there too, for more.
    """
    value: dict[str, Any] = {
        "server": {
            "host": "127.0.0.1",
            "port": port,
            "public_url": public_url,
            "admin_keys": [digest_of(ADMIN_KEY)],
        },
        "storage": {"data_dir": str(data_dir), "free_space_floor": "100MB"},
        "upstreams": {UPSTREAM: _upstream(base_url)},
        "models": _models(),
        "teams": {
            TEAM: {
                "description": "The team of the first steps",
                "keys": [digest_of(TEAM_KEY)],
                "budgets": [{"usd": "5", "per": "day"}],
                "limits": {"images": [{"count": 50, "per": "day"}]},
            }
        },
    }
    if openai_url is not None:
        _add_openai(value, openai_url)
    return build(Document("the sandbox's settings", value))


def sandbox_places(base_url: str) -> dict[str, str]:
    """What there is to see at the base of its links, and the keys that open it."""
    return {
        "console": f"{base_url}/console",
        "team key": TEAM_KEY,
        "admin key": ADMIN_KEY,
        "API docs": f"{base_url}/docs",
    }


def digest_of(key: str) -> str:
    """How a key stands in the settings: `sha256:<64 hex>`."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def _upstream(base_url: str) -> dict[str, object]:
    return {
        "base_url": base_url,
        "files_url": base_url,
        "api_key": "sk-sandbox",
        "poll": {"first": "300ms", "every": "500ms", "max": "2s"},
        "allow_private_addresses": True,
    }


def _add_openai(value: dict[str, Any], api_url: str) -> None:
    """A second way to `gpt-image-2`. An order that leaves out what the two kinds would choose
    differently gets it from the model's defaults."""
    value["upstreams"][OPENAI] = {
        "kind": "openai",
        "base_url": api_url,
        "api_key": "sk-sandbox",
        "allow_private_addresses": True,
    }
    model = value["models"]["gpt-image-2"]
    model["defaults"] = {"size": "1:1", "quality": "medium"}
    large = {"size": "2048x2048", "usd": "0.65"}
    route = _route("gpt-image-2", large, low="0.03", medium="0.09", high="0.75", upstream=OPENAI)
    model["routes"].append(route)


def _models() -> dict[str, Any]:
    qualities = ["low", "medium", "high"]
    return {
        "gpt-image-1.5": {
            "aliases": ["gpt-image-1.5-lite"],
            "limits": {"prompt_tokens": 2000, "sizes": SIZES, "qualities": qualities},
            "routes": [_route("gpt-image-1.5", low="0.012", medium="0.06", high="0.36")],
        },
        "gpt-image-2": {
            "limits": {
                "prompt_characters": 32_000,
                "sizes": WIDE_SIZES,
                "qualities": qualities,
                "resolutions": RESOLUTIONS,
            },
            "routes": [_route("gpt-image-2", *LARGE, low="0.02", medium="0.08", high="0.4")],
        },
    }


def _route(
    model: str,
    *first: dict[str, str],
    low: str,
    medium: str,
    high: str,
    upstream: str = UPSTREAM,
) -> dict[str, object]:
    """A route whose last price also covers orders that name no quality: the dearest."""
    price = [
        *first,
        {"quality": "low", "usd": low},
        {"quality": "medium", "usd": medium},
        {"usd": high},
    ]
    return {"upstream": upstream, "model": model, "price": price}
