"""Three gateways that share a ledger and pictures: their settings, and each as a process.

What stands in their settings is what several gateways need, and no more: the same ledger and
pictures, the same address for links, a drain; a data folder each, for what need not be shared.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster.programs import Program, answers
from gateway.config.sandbox import ADMIN_KEY, TEAM_KEY, digest_of

TEAM: Final = "studio"
MODEL: Final = "gpt-image-1.5"
PRICE_USD: Final = 0.06
"""Of one picture, at medium quality."""
BUDGET_USD: Final = 20
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Stores:
    """What the gateways share: the values of `storage.ledger` and `storage.pictures`."""

    ledger: str
    pictures: str


@dataclass
class Replica:
    """One gateway among several, as a process that is killed and started again."""

    name: str
    port: int
    folder: Path
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "config.yaml"
        self.file.touch(mode=0o600)  # the ledger's password is in it
        self.file.write_text(json.dumps(self.settings, indent=2), "utf-8")  # JSON is YAML
        self._program = Program(
            self.name,
            (*self.command("serve"), "--port", str(self.port)),
            self.folder / "log",
            environment=self.environment_of_commands(),
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def pid(self) -> int | None:
        return self._program.pid

    def command(self, name: str) -> tuple[str, ...]:
        """A command of the program that reads this gateway's settings."""
        return (sys.executable, "-m", "gateway", name, "--config", str(self.file))

    def environment_of_commands(self) -> Mapping[str, str]:
        """This process's, and what a gateway has to know of the bucket.

        Without proxies: all that it talks to is on this machine.
        """
        own = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
        return {**own, **self.environment}

    def start(self) -> None:
        """Returns when it takes orders."""
        self._program.start(lambda: answers(f"{self.url}/readyz"))

    def kill(self) -> None:
        self._program.kill()

    def stop(self) -> None:
        self._program.stop()

    def runs(self) -> Mapping[str, str]:
        """The last state, as its log tells it, of each run that upstream took from this gateway."""
        states: dict[str, str] = {}
        for line in self._program.log.read_text("utf-8", errors="replace").splitlines():
            told = _fact(line)
            if told.get("event") == "run" and (
                told["run"] in states or told.get("happened") == "Accepted"
            ):
                states[told["run"]] = told["state"]
        return states


def _fact(line: str) -> Mapping[str, str]:
    """A line of the log; none of those that are for people."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def settings(folder: Path, *, stores: Stores, upstream: str, public_url: str) -> Mapping[str, Any]:
    """Those of one gateway; `folder` is its own."""
    return {
        "server": {
            "public_url": public_url,
            "admin_keys": [digest_of(ADMIN_KEY)],
            "drain": "1s",
            "shutdown_grace": "5s",
            "log": {"format": "json"},
        },
        "storage": {
            "data_dir": str(folder / "data"),
            "ledger": stores.ledger,
            "pictures": stores.pictures,
            "free_space_floor": 0,
        },
        "upstreams": {
            "sandbox": {
                "base_url": upstream,
                "api_key": "sk-sandbox",
                "poll": {"first": "300ms", "every": "500ms", "max": "1s"},
                "allow_private_addresses": True,
            }
        },
        "models": {
            MODEL: {
                "limits": {"sizes": ["1:1", "3:2", "2:3"], "qualities": ["low", "medium"]},
                "routes": [
                    {
                        "upstream": "sandbox",
                        "model": MODEL,
                        "price": [{"quality": "low", "usd": 0.012}, {"usd": PRICE_USD}],
                    }
                ],
            }
        },
        "teams": {
            TEAM: {
                "keys": [digest_of(TEAM_KEY)],
                "budgets": [{"usd": BUDGET_USD, "per": "day"}],
            }
        },
    }
