"""What a user might take instead, in the same rounds: LiteLLM's proxy, with `--peers` alone.

It is installed from the package index into an environment that is thrown away. It does less than
this gateway: it waits for the picture or passes its link on, keeps none, and counts no money
before it is spent. Its cache answers chats; so its hit is a chat's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cluster.ports import free_ports

from benchmarks import hot
from benchmarks.load import MARK
from benchmarks.rows import Row
from benchmarks.stand import Server, Stand, stand
from benchmarks.windows import Contender, Options, Way, alternate

CASES: Final = ("peers",)
PACKAGE: Final = "litellm[proxy]"
KEY: Final = "sk-bench-peer"
HEADERS: Final = (f"Authorization: Bearer {KEY}",)
CHAT: Final = {"model": "chat", "messages": [{"role": "user", "content": "the same again"}]}
IMAGE: Final = {"model": "picture", "prompt": f"held small {MARK}"}


def measured(cases: Collection[str], options: Options) -> list[Row]:
    with stand() as one:
        python = _installed(one.folder / "peer")
        peer = _litellm(one, python)
        gateway = one.add_gateway()
        ways = hot.ways(gateway)
        submit = Way(hot.ORDERS, json.dumps({"model": "model-0", "prompt": f"held small {MARK}"}))
        contenders = [
            _of(peer, "hit", Way("/v1/chat/completions", json.dumps(CHAT), headers=HEADERS)),
            Contender("peers, hit", gateway, ways["hit"], peer.name),
            _of(peer, "order", Way("/v1/images/generations", json.dumps(IMAGE), headers=HEADERS)),
            Contender("peers, order", gateway, submit, peer.name),
        ]
        few = Options(options.rounds, options.seconds, (16,))
        rows = [*alternate(one, contenders[:2], few), *alternate(one, contenders[2:], few)]
        one.release()
        return rows


def _of(peer: Server, case: str, way: Way) -> Contender:
    return Contender(f"peers, {case}", peer, way, is_floor=True)


def _installed(folder: Path) -> Path:
    """The interpreter of an environment that has it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


def _litellm(one: Stand, python: Path) -> Server:
    """One worker, its cache in memory, its key checked; no database."""
    assert one.upstream is not None
    (port,) = free_ports(1)
    api = {"api_base": f"{one.upstream.url}/openai/v1", "api_key": "sk-bench"}
    settings = {
        "model_list": [
            {"model_name": "chat", "litellm_params": {"model": "openai/chat", **api}},
            {"model_name": "picture", "litellm_params": {"model": "openai/dall-e-3", **api}},
        ],
        "litellm_settings": {"cache": True, "cache_params": {"type": "local"}, "telemetry": False},
        "general_settings": {"master_key": KEY},
    }
    file = one.folder / "litellm.yaml"
    file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    command = (str(python.parent / "litellm"), "--config", str(file), "--num_workers", "1")
    address = ("--host", "127.0.0.1", "--port", str(port))
    return one.start("LiteLLM", *command, *address, port=port)
