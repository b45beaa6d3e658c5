"""What is answered without asking upstream: hits, polls, pictures. Each beside its floor."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import installation
from benchmarks.rows import Row
from benchmarks.stand import ROOT, Server, Stand, call, stand
from benchmarks.windows import Contender, Options, Way, alternate

ORDERS: Final = "/v1/images/generations"
OPENAI: Final = "/openai/v1/images/generations"
ORDER: Final = {"model": "quick", "prompt": "the same again"}
HELD: Final = {"model": "model-0", "prompt": "held while it is asked after"}
CASES: Final = (
    "hit",
    "openai-hit",
    "poll",
    "poll-running",
    "join",
    "304",
    "picture",
    "picture-files",
)
WAIT: Final = {"Prefer": "wait=60"}


def measured(cases: Collection[str], options: Options) -> list[Row]:
    """The floors are measured in the same rounds."""
    with stand() as one:
        floor = one.module("floor", "orders", "PORT", str(one.folder))
        trees = (ROOT, *(Path(tree) for tree in options.trees))
        gateways = [one.add_gateway(_named(tree), tree=tree) for tree in trees]
        sent = {each: ways(each) for each in gateways}
        contenders = []
        if set(cases) - {"picture", "picture-files"}:
            contenders.append(_floor("floor", floor, Way(ORDERS, json.dumps(ORDER))))
        for case in (each for each in CASES if each in cases):
            if case == "picture-files":
                contenders += _in_front(one, gateways[0], sent[gateways[0]]["picture"])
                continue
            if case == "picture":
                contenders += _nginx(one, gateways[0])
            beside = "nginx" if case == "picture" else floor.name
            contenders += [Contender(case, each, sent[each][case], beside) for each in gateways]
        return alternate(one, contenders, options)


def _named(tree: Path) -> str:
    return "gateway" if tree == ROOT else f"gateway of {tree.name}"


def _floor(name: str, server: Server, way: Way) -> Contender:
    return Contender(name, server, way, is_floor=True)


def ways(gateway: Server) -> Mapping[str, Way]:
    """Of an order that is finished, and of one that is not."""
    task: dict[str, Any] = call(f"{gateway.url}{ORDERS}", ORDER, **WAIT)
    if task["status"] != "completed":
        raise RuntimeError(f"the first order is {task['status']}")
    running = call(f"{gateway.url}{ORDERS}", HELD)
    path = str(task["results"][0]).removeprefix(gateway.url)
    digest = path.rpartition("/")[2].partition(".")[0]
    key = f"Authorization: Bearer {installation.TEAM_KEY}"
    return {
        "hit": Way(ORDERS, json.dumps(ORDER)),
        "openai-hit": Way(OPENAI, json.dumps({**ORDER, "response_format": "url"})),
        "join": Way(ORDERS, json.dumps(HELD)),
        "poll": Way(f"/v1/tasks/{task['id']}"),
        "poll-running": Way(f"/v1/tasks/{running['id']}"),
        "304": Way(path, status=304, headers=(key, f'If-None-Match: "{digest}"')),
        "picture": Way(path, headers=()),
    }


def _nginx(one: Stand, gateway: Server) -> list[Contender]:
    """The same file by sendfile, where nginx is installed."""
    folder = one.folder / gateway.name / "data" / "pictures"
    file = next(folder.rglob("*.png"))
    server = one.add_nginx(file.parent)
    if server is None:
        return []
    return [_floor("picture", server, Way(f"/{file.name}", headers=()))]


def _in_front(one: Stand, gateway: Server, way: Way) -> list[Contender]:
    """nginx in front of it, as `deploy/nginx.conf` has it send pictures from their files."""
    server = one.add_nginx_in_front(gateway)
    return [] if server is None else [Contender("picture-files", server, way, "nginx")]
