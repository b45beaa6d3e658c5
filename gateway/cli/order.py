"""`image-gateway order`: orders pictures as a team, waits for them, and saves them as files.

Paths, or one JSON object, go to standard output; everything else is said on standard error.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from gateway.cli.connection import EXIT_REFUSED, KEY_TEXT, Unanswered
from gateway.cli.formats import plain
from gateway.cli.operator import check_text, url_option
from gateway.cli.order_words import Progress, estimated, outcome
from gateway.cli.saved_pictures import ready_folder, save
from gateway.cli.tables import say
from gateway.cli.team_connection import KEY_VARIABLE, Taken, TeamConnection

EXIT_INTERRUPTED: Final = 130
STANDARD_INPUT: Final = "-"
WEB: Final = ("http://", "https://")


@click.command("order", short_help="Order pictures as a team, and save them.")
@click.argument("prompt", required=False)
@click.option("--model", help="One of the team's models.  [default: the first of them]")
@click.option("--quality", help="One of the model's qualities, e.g. low.")
@click.option("--size", help="One of the model's sizes, e.g. 1:1 or 1024x1024.")
@click.option("--n", "n", type=click.IntRange(1), help="How many pictures.")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE/URL",
    help="A reference picture; repeatable. A file is sent up first.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder for the pictures.  [default: the current one]",
)
@click.option("--open", "show", is_flag=True, help="Open the pictures in a viewer.")
@click.option("--dry-run", is_flag=True, help="Only say what it would cost; order nothing.")
@click.option("--no-cache", is_flag=True, help="Make a new one, though an identical one is there.")
@click.option("--task", "task_id", metavar="ID", help="In place of PROMPT: fetch a former order.")
@click.option("--idempotency-key", metavar="KEY", help="Order no more than once under this key.")
@url_option
@click.option("--key", envvar=KEY_VARIABLE, show_envvar=True, help="A team's key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of paths.")
def order_command(
    *, prompt: str | None, task_id: str | None, url: str, key: str | None, **given: Any
) -> None:
    """Orders pictures from a running gateway, waits, and saves them; nothing is overwritten.

    PROMPT may be '-', for standard input. It says what the order costs at most before it is
    sent, and whether it came from the cache. The paths of the pictures are alone on standard
    output. Ctrl-C stops the waiting and not the order: --task fetches it later.

    \b
      image-gateway order "a red bicycle" --quality low --open
      image-gateway order "a red bicycle" --n 4 --size 3:2 --output pictures
      image-gateway order "the same at night" --image bicycle.png
      image-gateway order --task task-unified-1767225600-a1b2c3d4
    """
    check_text([prompt, task_id, *given.values()])
    _check_options({"task": task_id, **given})
    if (prompt is None) is (task_id is None):
        raise click.UsageError("say what to draw: a PROMPT, or --task ID for a former order.")
    text = "" if prompt is None else _text(prompt)
    with TeamConnection(url=url, key=key) as team:
        desk = _Desk(team, given)
        if task_id is not None:
            desk.fetch(task_id, "", None)
            return
        order, headers = desk.prepared(text)
        told = team.estimate(order, headers)
        if given["dry_run"]:
            desk.tell_estimate(told)
            return
        with team.understood():
            if told["verdict"] != "deny":  # else the gateway's own refusal says it
                say(estimated(told), err=True)
        desk.order(order, headers)


class _Desk:
    """Where one order is made."""

    def __init__(self, team: TeamConnection, given: Mapping[str, Any]) -> None:
        """Raises `UsageError` where no picture could be saved: that is known before it is paid."""
        self._team = team
        self._given = given
        self._folder = given["output"] if given["dry_run"] else ready_folder(given["output"])
        self._progress = Progress()

    def prepared(self, prompt: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """The order, and the headers that it is sent with."""
        wish = self._given
        model = wish["model"] or next(iter(self._team.models()), None)
        if model is None:
            raise click.UsageError("this team may use no model at all.")
        links = [self._link(image) for image in wish["images"]]
        fields = {
            "model": model,
            "prompt": prompt,
            "quality": wish["quality"],
            "size": wish["size"],
            "n": wish["n"],
            "image_urls": links or None,
        }
        once = wish["idempotency_key"] or f"order-{secrets.token_hex(16)}"
        fresh = {"Cache-Control": "no-cache"} if wish["no_cache"] else {}
        order = {name: value for name, value in fields.items() if value is not None}
        return order, {"Idempotency-Key": once, **fresh}

    def tell_estimate(self, told: Any) -> None:
        """In place of an order. One that would be refused is no success."""
        with self._team.understood():
            said, refused = estimated(told), told["verdict"] == "deny"
        say(json.dumps(told) if self._given["as_json"] else said)
        if refused:
            raise SystemExit(EXIT_REFUSED)

    def order(self, order: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        try:
            taken = self._team.order(order, headers, self._progress.tell)
        except KeyboardInterrupt:
            self._progress.tell("whether the order was taken is not known. The same again, paid")
            self._progress.tell(f"once: --idempotency-key {headers['Idempotency-Key']}")
            raise SystemExit(EXIT_INTERRUPTED) from None
        self.fetch(taken.id, str(order["prompt"]), taken)

    def fetch(self, task_id: str, prompt: str, taken: Taken | None) -> None:
        """Waits for a task and saves its pictures."""
        try:
            task = self._ended(task_id, taken)
            links = self._links(task)
            saved = [self._saved(prompt, link) for link in links]
        except KeyboardInterrupt:
            self._go_on(task_id)
            raise SystemExit(EXIT_INTERRUPTED) from None
        except Unanswered:
            self._go_on(task_id)
            raise
        self._tell(task, taken, list(zip(saved, links, strict=True)))
        if self._given["show"]:
            _open([path for path in saved if path is not None])
        if task["status"] != "completed" or None in saved:
            raise SystemExit(EXIT_REFUSED)

    def _ended(self, task_id: str, taken: Taken | None) -> Any:
        progress = self._progress
        if taken is not None and taken.task["status"] in ("completed", "failed"):
            return taken.task
        with progress.shown():
            return self._team.ended(
                task_id, progress.wait_seconds, progress=progress.show, tell=progress.tell
            )

    def _links(self, task: Any) -> list[str]:
        with self._team.understood():
            return [str(link) for link in task.get("results") or ()]

    def _saved(self, prompt: str, link: str) -> Path | None:
        """Where a picture is now; None where it could not be saved, which is said."""
        try:
            with self._team.picture(link) as (name, content):
                return save(self._folder, prompt, name, content)
        except OSError as error:
            why = f"cannot be saved: {error.strerror}. It stays there."
        except click.ClickException as error:
            why = f"cannot be fetched: {error.message}"
        say(f"{plain(link)} {why}", err=True)
        return None

    def _link(self, image: str) -> str:
        if image.lower().startswith(WEB):
            return image
        path = Path(image)
        if not path.is_file():
            raise click.UsageError(f"--image {plain(image)!r} is no file, and no http(s) link.")
        try:
            return self._team.upload(path)
        except OSError as error:
            raise click.UsageError(f"--image {plain(image)!r}: {error.strerror}.") from None

    def _go_on(self, task_id: str) -> None:
        self._progress.tell(f"the order {plain(task_id)} goes on without us; fetch it later with:")
        self._progress.tell(f"  image-gateway order --task {plain(task_id)}")

    def _tell(
        self, task: Any, taken: Taken | None, pictures: list[tuple[Path | None, str]]
    ) -> None:
        with self._team.understood():
            said = outcome(task, taken, self._progress.seconds)
        say(said, err=True)
        if self._given["as_json"]:
            say(json.dumps(_as_json(task, taken, pictures)))
            return
        for path, link in pictures:
            if path is not None:
                say(str(path))
                say(f"  {plain(link)}", err=True)


def _as_json(
    task: Any, taken: Taken | None, pictures: list[tuple[Path | None, str]]
) -> Mapping[str, Any]:
    return {
        "task": task["id"],
        "status": task["status"],
        "verdict": None if taken is None else taken.verdict,
        "cost_usd": None if taken is None else taken.cost_usd,
        "saved_usd": None if taken is None else taken.saved_usd,
        "pictures": [
            {"path": None if path is None else str(path), "url": link} for path, link in pictures
        ],
        "error": task.get("error"),
    }


def _check_options(given: Mapping[str, Any]) -> None:
    """Raises UsageError for an empty value, which a script's unset variable leaves: the order
    would be another than was meant, and be paid. And for what no header can carry."""
    for name in ("task", "model", "quality", "size", "idempotency_key"):
        if given[name] == "":
            raise click.UsageError(f"--{name.replace('_', '-')} is empty: leave it out, or say it.")
    if not KEY_TEXT.fullmatch(given["idempotency_key"] or "-"):
        raise click.UsageError("--idempotency-key must be of visible ASCII characters, no spaces.")


def _standard_input() -> str:
    if sys.stdin is None:
        raise click.UsageError("standard input is closed: there is no prompt.")
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError:
        raise click.UsageError("what standard input gives is no valid UTF-8.") from None
    check_text([text])
    return text.removeprefix("\ufeff")  # what some editors put before a file's text


def _text(prompt: str) -> str:
    text = _standard_input() if prompt == STANDARD_INPUT else prompt
    if not text.strip():
        raise click.UsageError("the prompt is empty: say what to draw.")
    return text


def _open(paths: list[Path]) -> None:
    for path in paths:
        if click.launch(str(path)) != 0:
            say(f"no viewer could be started for {path}", err=True)
