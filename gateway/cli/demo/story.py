"""The demo's story: seven scenes, each of which proves what it shows.

A scene sends real requests as a team would, shows them, and compares what came of them with
what had to: a `Surprise` ends the demo.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx

from gateway.cli.audit import examine
from gateway.cli.demo.client import Client, DemoReply, Spend, expect, total
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
HERON: Final = {**FOX, "prompt": "a heron in the morning mist, ink on paper"}
READING_SECONDS: Final = 0.9


@dataclass(frozen=True, slots=True)
class Scene:
    """What every scene plays with."""

    stage: Stage
    house: Installation
    client: Client
    folder: Path

    async def opens(self, title: str, text: str) -> None:
        """The next scene, after a pause for those who watch."""
        if self.stage.moves:
            await asyncio.sleep(READING_SECONDS)
        self.stage.step(title, text)

    def submits(self) -> int:
        """How many requests have reached a simulated upstream."""
        return self.house.sandbox.state.submits + self.house.openai.state.image_requests

    async def sums(self) -> Spend:
        """What has been spent and saved by now."""
        return total(await self.client.spend())


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
        elsewhere = await _ask_while_evolink_is_down(scene)
        await _look_at_the_books(scene, elsewhere)
    finally:
        await client.close()


def _introduce(scene: Scene) -> None:
    teams = (f"{team} (${usd} a day)" for team, usd in BUDGETS_USD.items())
    scene.stage.facts(
        {
            "gateway": scene.house.base_url,
            "EvoLink": f"{scene.house.sandbox.base_url}  (simulated)",
            "OpenAI": f"{scene.house.openai.base_url}  (simulated)",
            "teams": ", ".join(teams),
        }
    )


async def _ask(scene: Scene) -> Made:
    await scene.opens(
        "A team orders a picture",
        "The call that EvoLink's clients make; only base URL and key are the gateway's.",
    )
    request = scene.client.order(key_of(STUDIO), LIGHTHOUSE)
    first = await _sent(scene, request, status=200, key=True)
    expect("fwd=miss; stored" in first.cache_status, f"Cache-Status was {first.cache_status!r}")
    [(link, seconds)] = await _watch(scene, {STUDIO: first})
    cost = (await scene.sums()).spent_usd
    expect(cost > 0, "the picture cost nothing by /metrics")
    scene.stage.good(f"made in {seconds:.1f} s for [money]${cost:.2f}[/]")
    scene.stage.good(f"permanent link  {short_link(link)}")
    scene.stage.preview(await _save(scene, link, "lighthouse"))
    return Made(link, seconds, cost)


async def _ask_again(scene: Scene, made: Made) -> None:
    await scene.opens(
        "The same request again", "Same order, same picture: the answer is complete at once."
    )
    before = scene.submits()
    again = await _sent(scene, scene.client.order(key_of(STUDIO), LIGHTHOUSE), status=200)
    expect("; hit" in again.cache_status, f"Cache-Status was {again.cache_status!r}")
    expect(again.json.get("status") == "completed", "the hit was not complete")
    expect(again.json.get("results") == [made.link], "the hit named another picture")
    expect(scene.submits() == before, "the hit went upstream")
    saved = (await scene.sums()).saved_usd
    expect(saved == made.cost_usd, f"it saved ${saved}, not its price")
    scene.stage.good(
        f"answered in {again.seconds * 1000:.0f} ms instead of {made.seconds:.1f} s,"
        f" for [money]$0.00[/]: saved [money]${saved:.2f}[/]"
    )


async def _ask_together(scene: Scene) -> None:
    await scene.opens(
        "Two teams, one idea, the same moment",
        "Both send the same new prompt at once; the operator lets them share results.",
    )
    submits, before = scene.submits(), await scene.sums()
    requests = [scene.client.order(key_of(team), FOX) for team in BUDGETS_USD]
    scene.stage.request(requests[0])
    replies = await asyncio.gather(*(scene.client.send(request) for request in requests))
    answers = dict(zip(BUDGETS_USD, replies, strict=True))
    scene.stage.answers(answers)
    for reply in replies:
        expect(reply.status == 200, f"answered {reply.status}: {reply.json}")
    collapsed = ["collapsed" in reply.cache_status for reply in replies]
    expect(sorted(collapsed) == [False, True], "not exactly one of the two joined the other")
    links = {link for link, _ in await _watch(scene, answers)}
    expect(len(links) == 1, "the two teams got different pictures")
    expect(replies[0].task_id != replies[1].task_id, "the two teams got one task id")
    expect(scene.submits() == submits + 1, f"{scene.submits() - submits} submits went upstream")
    after = await scene.sums()
    cost = round(after.spent_usd - before.spent_usd, 6)
    gain = round(after.saved_usd - before.saved_usd, 6)
    expect(0 < cost == gain, f"it cost ${cost} and saved ${gain}")
    scene.stage.good(
        f"two tasks, [head]one[/] paid run: cost [money]${cost:.2f}[/], saved [money]${gain:.2f}[/]"
    )
    await _save(scene, links.pop(), "fox")


async def _ask_wrongly(scene: Scene) -> None:
    await scene.opens("A mistake", "A size that the model does not make: refused before it costs.")
    refused = await _refused(scene, WRONG_SIZE, status=400)
    expect(refused.get("param") == "size", f"the refusal named {refused.get('param')!r}")
    scene.stage.good("the answer names the field; upstream was not called, no money moved")


async def _ask_too_much(scene: Scene) -> None:
    await scene.opens(
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


async def _ask_while_evolink_is_down(scene: Scene) -> float:
    """What the picture cost that the other vendor made, in dollars."""
    await scene.opens(
        "EvoLink goes down",
        "The same model is to be had at OpenAI, for more: the order goes on to there.",
    )
    evolink, openai = scene.house.sandbox, scene.house.openai.state
    submits, before = evolink.state.submits, await scene.sums()
    await evolink.refuse_connections()
    order = await _sent(scene, scene.client.order(key_of(MARKETING), HERON), status=200)
    [(link, seconds)] = await _watch(scene, {MARKETING: order})
    await evolink.accept_connections()
    expect(evolink.state.submits == submits, "EvoLink got the order although it was down")
    expect(openai.image_requests == 1, f"OpenAI was asked {openai.image_requests} times, not once")
    spent = round((await scene.sums()).spent_usd - before.spent_usd, 6)
    billed = openai.bill.total.usd_micros
    expect(round(spent * 1e6) == billed > 0, f"${spent} was spent and {billed} millionths billed")
    scene.stage.good(f"made in {seconds:.1f} s by OpenAI, which was asked [head]once[/]")
    scene.stage.good(
        f"OpenAI's bill [money]${billed / 1e6:.6f}[/], in the ledger [money]${spent:.6f}[/]"
    )
    await _save(scene, link, "heron")
    return spent


async def _look_at_the_books(scene: Scene, elsewhere: float) -> None:
    await scene.opens("The books", "From /metrics, which reads the money from the ledger itself.")
    rows = await scene.client.spend()
    sums = total(rows)
    at_evolink = round(sums.spent_usd - elsewhere, 6)
    expect(at_evolink == sums.saved_usd, f"not as much was saved as was spent at EvoLink: {sums}")
    told = (sums.generated, sums.from_cache)
    expect(told == (3, 2), f"not three new pictures and two from the cache were told: {sums}")
    scene.stage.spend(rows)
    report = await examine(scene.house.settings, deep=True)
    broken = [sentence for finding in report.findings for sentence in finding.violations]
    expect(report.adds_up, f"the audit found: {' '.join(broken)}")
    expect(
        report.totals.runs == scene.submits(), "the ledger and the upstreams count different runs"
    )
    scene.stage.good(f"audit: {len(report.findings)} invariants hold")
    scene.stage.good(f"audit: {report.closing}")


# --- what scenes share ---------------------------------------------------------------------------


async def _sent(
    scene: Scene, request: httpx.Request, *, status: int, key: bool = False
) -> DemoReply:
    """Shows a request, with its key if asked, and its answer."""
    scene.stage.request(request, key=key)
    answer = await scene.client.send(request)
    scene.stage.answer(answer)
    expect(answer.status == status, f"answered {answer.status} and not {status}: {answer.json}")
    return answer


async def _refused(scene: Scene, body: Mapping[str, object], *, status: int) -> Mapping[str, Any]:
    """The `error` of an order that must cost nothing and reach nobody."""
    submits, before = scene.submits(), await scene.sums()
    answer = await _sent(scene, scene.client.order(key_of(STUDIO), body), status=status)
    expect(scene.submits() == submits, "the refused request went upstream")
    expect(await scene.sums() == before, "the refused request cost money")
    error: Mapping[str, Any] = answer.json.get("error") or {}
    return error


async def _watch(scene: Scene, answers: Mapping[str, DemoReply]) -> list[tuple[str, float]]:
    """Polls each team's task to its end: the picture's link and the seconds it took."""
    started = time.monotonic()
    with scene.stage.progress(list(answers)) as told:

        async def follow(team: str, answer: DemoReply) -> tuple[str, float]:
            task: Mapping[str, Any] = {}
            async for task in scene.client.progress(key_of(team), answer.task_id):
                told(team, str(task.get("status")), int(task.get("progress", 0)))
            expect(task.get("status") == "completed", f"the task failed: {task.get('error')}")
            links = task.get("results") or []
            expect(len(links) == 1, f"the task has {len(links)} pictures, not one")
            return str(links[0]), answer.seconds + time.monotonic() - started

        return await asyncio.gather(*(follow(team, one) for team, one in answers.items()))


async def _save(scene: Scene, link: str, name: str) -> Path:
    """Fetches the picture by its permanent link and puts it and its provenance into the folder."""
    digest, _, extension = link.rpartition("/")[2].rpartition(".")
    content = await scene.client.picture(link)
    expect(hashlib.sha256(content).hexdigest() == digest, f"{link} gives other bytes")
    path = scene.folder / f"{name}.{extension}"
    kept = Path(scene.house.settings.storage.data_dir, "pictures", digest[:2], f"{digest}.json")

    def write() -> Mapping[str, Any]:
        path.write_bytes(content)
        provenance = shutil.copyfile(kept, path.with_suffix(".json")).read_bytes()
        return dict(json.loads(provenance))

    told = await asyncio.to_thread(write)
    expect(told["bytes"] == len(content), "the provenance tells another size")
    facts = f"({told['width']} x {told['height']}, {len(content) / 1000:.0f} kB)"
    scene.stage.good(f"saved           {path}  [quiet]{facts}[/]")
    return path
