"""Small settings to start from: each test changes the one thing that it is about."""

import re
from pathlib import Path

from gateway.config import Settings, parse

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "config.yaml"
SWITCHED_OFF = re.compile(r"^(\s*)#(?=[a-z])", re.MULTILINE)
SECRET = "sk-live-0123456789"
ENVIRON = {"EVOLINK_API_KEY": SECRET, "OPENAI_API_KEY": SECRET}
DIGEST = "sha256:" + "1a" * 32
UPSTREAMS = """
upstreams:
  evolink: {base_url: https://api.evolink.ai, api_key: ${EVOLINK_API_KEY}}
"""
MODELS = """
models:
  gpt-image-1.5:
    aliases: [gpt-image-1.5-lite]
    limits: {sizes: [1:1, 2:3], qualities: [low, high]}
    routes:
      - {upstream: evolink, model: gpt-image-1.5, price: 0.013}
"""


def read(text: str = "", **environ: str) -> Settings:
    """Reads YAML text, with an upstream and a model where it has none."""
    text += "" if "upstreams:" in text else UPSTREAMS
    text += "" if "models:\n" in text else MODELS
    return parse(text, ENVIRON | environ)


def everything_on() -> str:
    """The reference with every setting switched on, and digests where it shows their form."""
    digests = iter(f"{number:064x}" for number in range(9))
    text = SWITCHED_OFF.sub(r"\1", REFERENCE.read_text())
    for repeated in ("  admin_keys: []\n", "  metrics_keys: []\n"):
        text = text.replace(repeated, "")
    return re.sub("<64 hex>", lambda _: next(digests), text)
