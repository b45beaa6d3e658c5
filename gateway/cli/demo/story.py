"""The demo's story: six scenes, each of which proves what it shows.

A scene sends real requests as a team would, shows them, and compares what came of them with
what had to: a `Surprise` ends the demo.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.cli.audit import examine
from gateway.cli.demo.client import Client, DemoReply, Request, Spend, expect
from gateway.cli.demo.installation import BUDGETS_USD, MARKETING, STUDIO, Installation, key_of
from gateway.cli.demo.stage import Stage
from gateway.cli.demo.text import short_link

LIGHTHOUSE: Final = {
    "model": "gpt-image-1.5",
    "prompt": "a lighthouse at dusk, oil on canvas",
    "size": "3:2",
    "quality": "medium",
}
FOX: Final = {
    "model": "gpt-image-2",
    "prompt": "a fox asleep in the first snow",
    "size": "1:1",
    "quality": "medium",
}
WRONG_SIZE: Final = {**LIGHTHOUSE, "size": "4:5"}
TOO_DEAR: Final = {**LIGHTHOUSE, "prompt": "a harbour at noon", "quality": "high"}
READING_SECONDS: Final = 0.9
"""A pause between scenes, for those who watch."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What every scene plays with."""

    stage: Stage
    house: Installation
    client: Client
    folder: Path

    def submits(self) -> int:
        """How many requests have reached the simulated upstream."""
        return self.house.sandbox.state.submits

    async def spent(self) -> float:
        return sum(row.spent_usd for row in await self.client.spend())

    async def saved(self) -> float:
        return sum(row.saved_usd for row in await self.client.spend())

    async def breathe(self) -> None:
        if self.stage.moves:
            await asyncio.sleep(READING_SECONDS)


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that a scene has made: its link, how long it took and what it cost."""

    link: str
    seconds: float
    cost_usd: float


async def tell(stage: Stage, house: Installation, folder: Path) -> None:
    """Plays all scenes. Raises `Surprise` at the first thing that is not as it should be."""
    client = Client(house.base_url)
    scene = Scene(stage, house, client, folder)
    try:
        _introduce(scene)
        made = await _ask(scene)
        await _ask_again(scene, made)
        await _ask_together(scene)
        await _ask_wrongly(scene)
        await _ask_too_much(scene)
        await _look_at_the_books(scene)
    finally:
        await client.close()


def _introduce(scene: Scene) -> None:
    teams = (f"{team} (${usd} a day)" for team, usd in BUDGETS_USD.items())
    scene.stage.facts(
        {
            "gateway": scene.house.base_url,
            "upstream": f"{scene.house.sandbox.base_url}  (simulated)",
            "teams": ", ".join(teams),
        }
    )


async def _ask(scene: Scene) -> Made:
    scene.stage.step(
        "A team orders a picture",
        "The call that EvoLink's clients make; only base URL and key are the gateway's.",
    )
    request = scene.client.order(key_of(STUDIO), LIGHTHOUSE)
    first = await _sent(scene, request, status=200, key=True)
    expect("fwd=miss; stored" in first.cache_status, f"Cache-Status was {first.cache_status!r}")
    [(link, seconds)] = await _watch(scene, {STUDIO: first})
    path, facts = await _save(scene, link, "lighthouse")
    cost = await scene.spent()
    expect(cost > 0, "the picture cost nothing by /metrics")
    scene.stage.good(f"made in {seconds:.1f} s for [money]${cost:.2f}[/]")
    scene.stage.good(f"permanent link  {short_link(link)}")
    scene.stage.good(f"saved           {path}  [quiet]{facts}[/]")
    scene.stage.preview(path)
    await scene.breathe()
    return Made(link, seconds, cost)


async def _ask_again(scene: Scene, made: Made) -> None:
    scene.stage.step(
        "The same request again", "Same order, same picture: the answer is complete at once."
    )
    before = scene.submits()
    again = await _sent(scene, scene.client.order(key_of(STUDIO), LIGHTHOUSE), status=200)
    expect("; hit" in again.cache_status, f"Cache-Status was {again.cache_status!r}")
    expect(again.json.get("status") == "completed", "the hit was not complete")
    expect(again.json.get("results") == [made.link], "the hit named another picture")
    expect(scene.submits() == before, "the hit went upstream")
    saved = await scene.saved()
    expect(round(saved, 6) == round(made.cost_usd, 6), f"it saved ${saved}, not its price")
    scene.stage.good(
        f"answered in {again.seconds * 1000:.0f} ms instead of {made.seconds:.1f} s,"
        f" for [money]$0.00[/]: saved [money]${saved:.2f}[/]"
    )
    await scene.breathe()


async def _ask_together(scene: Scene) -> None:
    scene.stage.step(
        "Two teams, one idea, the same moment",
        "Both send the same new prompt at once; the operator lets them share results.",
    )
    before, spent, saved = scene.submits(), await scene.spent(), await scene.saved()
    requests = [scene.client.order(key_of(team), FOX) for team in (STUDIO, MARKETING)]
    scene.stage.request(requests[0])
    answers = await asyncio.gather(*(scene.client.send(request) for request in requests))
    scene.stage.answers(dict(zip((STUDIO, MARKETING), answers, strict=True)))
    for answer in answers:
        expect(answer.status == 200, f"answered {answer.status}: {answer.json}")
    collapsed = ["collapsed" in answer.cache_status for answer in answers]
    expect(sorted(collapsed) == [False, True], "not exactly one of the two joined the other")
    ended = await _watch(scene, dict(zip((STUDIO, MARKETING), answers, strict=True)))
    expect(len({link for link, _ in ended}) == 1, "the two teams got different pictures")
    expect(answers[0].task_id != answers[1].task_id, "the two teams got one task id")
    expect(scene.submits() == before + 1, f"{scene.submits() - before} submits went upstream")
    cost, gain = await scene.spent() - spent, await scene.saved() - saved
    expect(cost > 0 and round(cost, 6) == round(gain, 6), f"it cost ${cost} and saved ${gain}")
    path, facts = await _save(scene, ended[0][0], "fox")
    scene.stage.good(
        f"two tasks, [head]one[/] paid run: cost [money]${cost:.2f}[/], saved [money]${gain:.2f}[/]"
    )
    scene.stage.good(f"saved           {path}  [quiet]{facts}[/]")
    await scene.breathe()


async def _ask_wrongly(scene: Scene) -> None:
    scene.stage.step("A mistake", "A size that the model does not make: refused before it costs.")
    refused = await _refused(scene, WRONG_SIZE, status=400)
    expect(refused.get("param") == "size", f"the refusal named {refused.get('param')!r}")
    scene.stage.good("the answer names the field; upstream was not called, no money moved")
    await scene.breathe()


async def _ask_too_much(scene: Scene) -> None:
    scene.stage.step(
        "The budget",
        f"The {STUDIO} may spend ${BUDGETS_USD[STUDIO]} a day, and now orders at high quality.",
    )
    refused = await _refused(scene, TOO_DEAR, status=402)
    expect(refused.get("code") == "insufficient_quota", f"the code was {refused.get('code')!r}")
    expect(bool(refused.get("resets_at")), "the refusal does not say when the budget resets")
    scene.stage.good(
        f"refused by [head]{refused.get('limit_scope')}[/];"
        f" the budget is fresh again at [head]{refused['resets_at']}[/]"
    )
    await scene.breathe()


async def _look_at_the_books(scene: Scene) -> None:
    scene.stage.step("The books", "From /metrics, which reads the money from the ledger itself.")
    rows = await scene.client.spend()
    _check_books(rows)
    scene.stage.spend(rows)
    report = await examine(scene.house.settings, deep=True)
    broken = [sentence for finding in report.findings for sentence in finding.violations]
    expect(report.adds_up, f"the audit found: {' '.join(broken)}")
    expect(report.totals.runs == scene.submits(), "the ledger and upstream count different runs")
    scene.stage.good(f"audit: {len(report.findings)} invariants hold")
    scene.stage.good(f"audit: {report.closing}")


def _check_books(rows: Sequence[Spend]) -> None:
    spent = sum(row.spent_usd for row in rows)
    saved = sum(row.saved_usd for row in rows)
    expect(round(spent, 6) == round(saved, 6), f"${spent} were spent and ${saved} saved")
    made, free = sum(row.generated for row in rows), sum(row.from_cache for row in rows)
    expect((made, free) == (2, 2), f"{made} pictures were made and {free} came from the cache")


# --- what scenes share ---------------------------------------------------------------------------


async def _sent(scene: Scene, request: Request, *, status: int, key: bool = False) -> DemoReply:
    """Shows a request, with its key if asked, and its answer."""
    scene.stage.request(request, key=key)
    answer = await scene.client.send(request)
    scene.stage.answer(answer)
    expect(answer.status == status, f"answered {answer.status} and not {status}: {answer.json}")
    return answer


async def _refused(scene: Scene, body: Mapping[str, object], *, status: int) -> Mapping[str, Any]:
    """The `error` of an order that must cost nothing and reach nobody."""
    before, spent = scene.submits(), await scene.spent()
    answer = await _sent(scene, scene.client.order(key_of(STUDIO), body), status=status)
    expect(scene.submits() == before, "the refused request went upstream")
    expect(await scene.spent() == spent, "the refused request cost money")
    error: Mapping[str, Any] = answer.json.get("error") or {}
    return error


async def _watch(scene: Scene, answers: Mapping[str, DemoReply]) -> list[tuple[str, float]]:
    """Polls each team's task to its end: the picture's link and the seconds it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    with scene.stage.progress(list(answers)) as bars:

        async def follow(team: str, answer: DemoReply) -> tuple[str, float]:
            def show(task: Mapping[str, Any]) -> None:
                bars.show(team, str(task.get("status")), int(task.get("progress", 0)))

            link = await _followed(scene.client, team, answer.task_id, show)
            return link, answer.seconds + loop.time() - started

        return await asyncio.gather(*(follow(team, one) for team, one in answers.items()))


async def _followed(
    client: Client, team: str, task_id: str, show: Callable[[Mapping[str, Any]], None]
) -> str:
    task: Mapping[str, Any] = {}
    async for task in client.progress(key_of(team), task_id):
        show(task)
    expect(task.get("status") == "completed", f"the task failed: {task.get('error')}")
    links = task.get("results") or []
    expect(len(links) == 1, f"the task has {len(links)} pictures, not one")
    return str(links[0])


async def _save(scene: Scene, link: str, name: str) -> tuple[Path, str]:
    """Fetches the picture by its permanent link and puts it and its provenance into the folder.

    Returns where it is, and its measures in words.
    """
    file_name = link.rpartition("/")[2]
    digest, _, extension = file_name.rpartition(".")
    content = await scene.client.picture(link)
    expect(hashlib.sha256(content).hexdigest() == digest, f"{link} gives other bytes")
    path = scene.folder / f"{name}.{extension}"
    kept = Path(scene.house.settings.storage.data_dir, "pictures", digest[:2], f"{digest}.json")

    def write() -> Mapping[str, Any]:
        provenance = kept.read_bytes()
        path.write_bytes(content)
        path.with_suffix(".json").write_bytes(provenance)
        told: Mapping[str, Any] = json.loads(provenance)
        return told

    told = await asyncio.to_thread(write)
    expect(told["bytes"] == len(content), "the provenance tells another size")
    return path, f"({told['width']} x {told['height']}, {len(content) / 1000:.0f} kB)"
