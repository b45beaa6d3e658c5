"""The operator's commands against a running gateway: the whole life of a team, and what is left."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from house import ADMIN_KEY, PRICE_USD, House
from structlog.testing import capture_logs

from gateway.cli import main

PROMPT = "a red bicycle in front of a blue house"


class Desk:
    """Where an operator types commands. They block, so they run beside the gateway's loop."""

    def __init__(self, house: House) -> None:
        self._environ = {
            "GATEWAY_URL": house.http.base_url,
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "COLUMNS": "120",
        }

    async def type(self, *words: str) -> Result:
        """How it went, whatever that was."""
        result = await asyncio.to_thread(CliRunner().invoke, main, words, env=self._environ)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    async def run(self, *words: str) -> str:
        """What a command prints that succeeds."""
        result = await self.type(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def json(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(await self.run(*words, "--json"))
        return found


@pytest.fixture
def desk(a_house: House) -> Iterator[Desk]:
    # The gateway runs in this process: its log would stand in what the commands print.
    with capture_logs():
        yield Desk(a_house)


async def test_the_life_of_a_team(a_house: House, desk: Desk) -> None:
    budgets = ("--budget", "0.12/total", "--allow-quality", "low")
    created = await desk.run("teams", "create", "marketing", *budgets, "--description", "For ads")
    assert "$0.12 in total  $0.00  $0.00  $0.12  -" in created

    key = (await desk.run("keys", "issue", "marketing", "--label", "website")).strip()
    assert re.fullmatch(r"igw_[a-z0-9]+_[\w-]+", key)
    task = await a_house.made(PROMPT, key=key, quality="low", n=2)
    again = await a_house.made(PROMPT, key=key, quality="low", n=2)
    assert (task["status"], again["results"]) == ("completed", task["results"])

    # What was spent is in the table, to the cent, and the same in the CSV.
    table = (await desk.run("usage", "--by", "team,model")).splitlines()
    assert table[2:] == [
        "team       model          new  from cache  joined  failed  made  reused  spent  saved",
        "marketing  gpt-image-1.5    1           1       0       0     2       2  $0.10  $0.10",
        "-" * 85,
        "total                       1           1       0       0     2       2  $0.10  $0.10",
    ]
    rows = list(csv.DictReader((await desk.run("usage", "--csv", "--by", "team")).splitlines()))
    spent = f"{2 * PRICE_USD:.6f}"
    assert [(row["team"], row["spent_usd"]) for row in rows] == [("marketing", spent)]

    # The budget holds, and the refusal can be explained by its request's id.
    denied = await a_house.post("another", key=key, quality="low")
    assert denied.status_code == 402
    why = await desk.run("runs", "show", denied.headers["x-request-id"])
    assert "It was denied by the rule usd_total" in " ".join(why.split())
    assert "  verdict  denied\n" in why
    assert denied.headers["x-request-id"] in await desk.run(
        "runs", "refusals", "--team", "marketing"
    )

    # A changed cap keeps what was spent and counts at once.
    changed = await desk.run("teams", "change", "marketing", "--budget", "0.20/total")
    assert "$0.20 in total  $0.10  $0.00  $0.10  -" in changed
    assert (await a_house.made("another", key=key, quality="low"))["status"] == "completed"

    # Rotated: both work; revoked: the next request is refused.
    key_id = key.split("_")[1]
    rotated = await desk.type("keys", "rotate", "marketing", key_id, "--grace", "1h")
    assert f"Key {key_id}, which it replaces, works until 20" in rotated.stderr
    new_key = rotated.stdout.strip()
    for one in (key, new_key):
        assert (await a_house.poll(task["id"], key=one)).status_code == 200
    await desk.run("keys", "revoke", "marketing", key_id)
    assert (await a_house.poll(task["id"], key=key)).status_code == 401
    assert (await a_house.poll(task["id"], key=new_key)).status_code == 200
    states = {
        row[0]: row[1]
        for row in map(str.split, (await desk.run("keys", "list", "marketing")).splitlines())
    }
    assert states == {"id": "state", new_key.split("_")[1]: "active", key_id: "revoked"}

    # Everything is on record.
    acts = (await desk.json("teams", "changes"))["data"]
    assert isinstance(acts, list)
    assert [act["action"] for act in acts] == [
        "key.revoke", "key.rotate", "team.change", "key.issue", "team.create",
    ]  # fmt: skip
    assert key not in json.dumps(acts)
    deleted = await desk.run("teams", "delete", "marketing", "--yes")
    assert deleted == "marketing is deleted.\n"
    assert (await a_house.poll(task["id"], key=new_key)).status_code == 401
    assert (await desk.type("teams", "show", "marketing")).exit_code == 1
    assert await a_house.violations() == []


async def test_a_run_is_explained_by_any_of_its_ids(a_house: House, desk: Desk) -> None:
    task = await a_house.made(PROMPT, quality="low", size="1:1")
    await a_house.made(PROMPT, quality="low", size="1:1")
    runs = (await desk.json("runs", "list", "--team", "blue", "--state", "done"))["data"]
    assert isinstance(runs, list)
    [run] = runs
    told = await desk.run("runs", "show", task["id"])
    assert told == await desk.run("runs", "show", run["id"])
    masked = re.sub(r"\d\d:\d\d:\d\d\.\d{1,3}", "TIME", re.sub(r"\d{4}-\d\d-\d\d", "DAY", told))
    facts = masked[masked.index(f"run {run['id']}") : masked.index("timings")]
    assert re.sub(r"task-unified-\S+", "TASK", facts).splitlines()[1:-1] == [
        "  state          done",
        "  team           blue",
        "  order          gpt-image-1.5, low, 1:1, n=1",
        f"  prompt         {PROMPT}",
        "  route          evolink/gpt-image-1.5",
        "  attempts       1",
        "  upstream task  TASK",
        "  cost           $0.05 spent; at most $0.05",
        *[line for line in facts.splitlines() if line.startswith("  credits ")],
        "  created        DAY TIME UTC",
        "  finished       DAY TIME UTC",
    ]
    steps = masked[masked.index("steps\n") : masked.index("2 tasks\n")]
    assert [line.split()[:3] for line in steps.splitlines()[2:-1]] == [
        ["TIME", "Started", "submitting"],
        ["TIME", "Accepted", "running"],
        ["TIME", "Finished", "keeping"],
        ["TIME", "PicturesKept", "done"],
    ]
    assert task["results"][0] in told
    assert re.search(rf"{task['id']}  blue  started\n.*  blue  hit\n", told)


async def test_a_picture_is_erased_and_a_cache_purged(a_house: House, desk: Desk) -> None:
    first, second = await a_house.made(PROMPT), await a_house.made("a green boat")
    [link] = first["results"]
    listed = await desk.run("pictures", "list", "--query", "bicycle")
    digest = link.rpartition("/")[2].partition(".")[0]
    assert [line.split()[2] for line in listed.splitlines()[1:]] == [digest]

    assert (await desk.type("pictures", "erase", link)).exit_code == 2
    assert (await a_house.client.get(link)).status_code == 200
    assert "is erased" in await desk.run("pictures", "erase", link, "--yes")
    assert (await a_house.client.get(link)).status_code == 404
    assert "bicycle" not in await desk.run("pictures", "list")

    assert (await a_house.made("a green boat"))["results"] == second["results"]
    assert "forgotten" in await desk.run("cache", "purge", "--team", "blue", "--yes")
    assert (await a_house.made("a green boat"))["results"] != second["results"]
    stats = await desk.run("cache", "stats")
    assert re.search(r"^  had an answer +\d", stats, re.MULTILINE)
    usage = (await desk.json("usage", "--by", "team"))["totals"]
    assert isinstance(usage, dict)
    assert (usage["started"], round(usage["spent_usd"] / PRICE_USD, 9)) == (3, 3)
    assert await a_house.violations() == []


async def test_lists_follow_the_gateways_cursors(a_house: House, desk: Desk) -> None:
    for number in range(5):
        await a_house.made(f"picture {number}")
    two = await desk.type("runs", "list", "--limit", "2")
    assert (len(two.stdout.splitlines()), two.stderr) == (3, "more: --all\n")
    everything = await desk.type("runs", "list", "--all")
    assert (len(everything.stdout.splitlines()), everything.stderr) == (6, "")
    prompts = re.findall(r"picture \d", everything.stdout)
    assert prompts == [f"picture {number}" for number in (4, 3, 2, 1, 0)]


async def test_a_team_of_the_settings_is_changed_there(desk: Desk) -> None:
    refused = await desk.type("teams", "change", "blue", "--mode", "shadow")
    assert refused.exit_code == 1
    assert "comes from the settings file" in refused.stderr
    taken = await desk.type("teams", "create", "blue", "--budget", "none")
    assert taken.exit_code == 1
    assert "a team 'blue' already" in taken.stderr


async def test_settings_go_out_and_come_back(desk: Desk, tmp_path: Path) -> None:
    limits = ("--budget", "1.5/day", "--images", "7/week", "--allow-size", "1:1", "--max-n", "2")
    await desk.run("teams", "create", "design", *limits, "--description", "null")
    file = tmp_path / "design.json"
    file.write_text(await desk.run("teams", "show", "design", "--json"))
    before = json.loads(file.read_text())
    assert before["settings"]["allow"]["sizes"] == ["1:1"]
    await desk.run(
        "teams", "change", "design", "--budget", "none", "--max-n", "any", "--mode", "shadow"
    )
    after = await desk.json("teams", "show", "design")
    assert after["standing"] != before["standing"]
    await desk.run("teams", "change", "design", "--file", str(file))
    restored = await desk.json("teams", "show", "design")
    for part in ("description", "settings", "standing"):
        assert restored[part] == before[part], part


async def test_a_script_takes_a_key_from_a_real_process(a_house: House, desk: Desk) -> None:
    await desk.run("teams", "create", "scripts", "--budget", "none")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "keys", "issue", "scripts"),
        *("--url", a_house.http.base_url, "--key", ADMIN_KEY),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0
    assert re.fullmatch(rb"igw_\S+\n", out)
    assert b"It is shown this once" in errors
    assert (await a_house.made(key=out.decode().strip()))["status"] == "completed"
