"""Makes the secrets of a deployment and prints them as the lines of an `.env` file.

docker run --rm --interactive --entrypoint python image-gateway - < keys.py > .env
"""

from __future__ import annotations

import hashlib
import secrets


def main() -> None:
    admin, metrics = secrets.token_hex(24), secrets.token_hex(24)
    lines = {
        "EVOLINK_API_KEY": "",
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "ADMIN_KEY": admin,
        "ADMIN_KEY_SHA256": _digest(admin),
        "METRICS_KEY": metrics,
        "METRICS_KEY_SHA256": _digest(metrics),
        "GRAFANA_PASSWORD": secrets.token_hex(12),
    }
    for name, value in lines.items():
        print(f"{name}={value}")  # noqa: T201


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


if __name__ == "__main__":
    main()
