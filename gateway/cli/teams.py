"""`image-gateway teams`: the teams, their budgets and limits, and who changed what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.differences import differences
from gateway.cli.formats import NOTHING, instant, listed, minute, money, number, plain
from gateway.cli.lists import Listing, filters, list_options
from gateway.cli.operator import Operator, confirm, confirmed, connected, path_of
from gateway.cli.tables import Column, Table, facts, money_column
from gateway.cli.team_settings import read_settings, settings_options, with_budgets, without_absent

if TYPE_CHECKING:
    from gateway.web.admin.changes import ChangeShape
    from gateway.web.admin.teams import TeamShape, TeamsShape
    from gateway.web.shown import StandingShape

NO_TEAM_YET: Final = (
    "there is no team yet. One is made with 'image-gateway teams create NAME --budget 50/month'."
)


@click.group("teams")
def teams_command() -> None:
    """Teams: who may order, and for how much.

    Teams of the settings file are shown, and changed there.

    \b
      image-gateway teams create marketing --budget 50/day --budget 500/month
      image-gateway teams change marketing --budget 80/day
      image-gateway teams show marketing
    """


@teams_command.command("list", short_help="All teams, and how near they are to a limit.")
@filters(search="Only teams with this in their name or description.")
@connected
def list_command(operator: Operator, search: str | None) -> None:
    """All teams by name, with what they spent and the limit that they are nearest to.

    \b
      image-gateway teams list
      image-gateway teams list --search market --json
    """
    nothing = "there is no such team." if search else NO_TEAM_YET
    operator.show(operator.get("teams", {"q": search}), partial(_overview, nothing=nothing))


@teams_command.command("show", short_help="One team: its settings, and what is left.")
@click.argument("team")
@connected
def show_command(operator: Operator, team: str) -> None:
    """One team: its settings, what it spent, and what is left of each limit.

    \b
      image-gateway teams show marketing
      image-gateway teams show marketing --json > marketing.json
    """
    operator.show(operator.get(f"teams/{path_of(team)}"), _whole)


@teams_command.command("create", short_help="A new team.")
@click.argument("team")
@settings_options
@connected
def create_command(operator: Operator, team: str, **given: Any) -> None:
    """A new team. It has no key yet: 'image-gateway keys issue TEAM' makes one.

    It needs a budget, or the word that it shall have none: --budget none lets it spend without
    end. On a terminal it is asked for.

    \b
      image-gateway teams create marketing --budget 50/day --budget 500/month
      image-gateway teams create interns --budget 5/day --images 20/day --max-n 1 --mode shadow
      image-gateway teams create blog --budget 50/month --default quality=low --default size=3:2
      image-gateway teams create design --file design.yaml
      image-gateway teams create trial --budget none --images 10/total
    """
    path_of(team)
    settings = with_budgets(read_settings(team, given), given["budgets"])
    body = {"name": team, **without_absent(settings)}
    operator.show(operator.send("POST", "teams", body), _whole)


@teams_command.command("change", short_help="Other budgets, limits, or permissions.")
@click.argument("team")
@settings_options
@connected
def change_command(operator: Operator, team: str, **given: Any) -> None:
    """Changes what is given and nothing else, with effect on the next request.

    What was spent stays spent: a changed cap counts it. --file replaces all settings.

    \b
      image-gateway teams change marketing --budget 80/day --budget 800/month
      image-gateway teams change marketing --budget none --mode shadow
      image-gateway teams change marketing --allow-model gpt-image-1.5 --allow-quality any
      image-gateway teams change marketing --file marketing.json
    """
    patch = read_settings(team, given)
    if not patch:
        raise click.UsageError("nothing to change: say what, for example --budget 50/day.")
    operator.show(operator.send("PATCH", f"teams/{path_of(team)}", patch), _whole)


@teams_command.command("delete", short_help="End a team and its keys.")
@click.argument("team")
@confirmed
@connected
def delete_command(operator: Operator, team: str, yes: bool) -> None:
    """Ends a team: its keys open nothing any more. Its pictures and its past numbers stay.

    \b
      image-gateway teams delete marketing
      image-gateway teams delete marketing --yes
    """
    path = f"teams/{path_of(team)}"
    confirm(f"End team {plain(team)} and all its keys?", yes=yes)
    operator.show(operator.send("DELETE", path), lambda gone: f"{plain(gone['name'])} is deleted.")


@teams_command.command("changes", short_help="Who changed what, and when.")
@click.argument("team", required=False)
@list_options(
    action="Only one kind, e.g. team.change.",
    actor="Only those of one admin key: its name, or digits.",
)
def changes_command(operator: Operator, team: str | None, **given: Any) -> None:
    """Who changed what, and when: of one team with its keys, or everything that operators did.

    Operators are told by the name of their admin key, or by the first digits of its digest. In the
    place of TEAM may stand a key, as team/id, or a picture's digest.

    \b
      image-gateway teams changes marketing
      image-gateway teams changes marketing/3f9a0c1b
      image-gateway teams changes --action key.revoke --all
    """
    about = team if team and re.fullmatch(r"[^/]{1,63}", team) else None  # and no picture, no key
    listing = Listing("audit", {**given, "subject": team}, {"team": about})
    listing.show(operator, CHANGES, nothing="nothing was changed.")


# --- the list ------------------------------------------------------------------------------------


def _overview(answer: TeamsShape, *, nothing: str) -> Iterator[str]:
    return Table(*TEAMS).lines_or(answer["data"], nothing)


def _nearest(team: TeamShape) -> str:
    """The limit that is used up most, as `82% of $50.00 a day`."""
    used = [
        ((one["spent"] + one["held"]) / one["limit"], one)
        for one in team["standing"]
        if one["limit"] > 0
    ]
    if not used:
        return NOTHING
    share, one = max(used, key=lambda pair: pair[0])
    return f"{share:.0%} of {_amount(one, one['limit'])} {_what(one)}"


def _amount(standing: StandingShape, amount: float) -> str:
    return money(amount) if standing["measure"] == "usd" else number(amount)


def _what(standing: StandingShape) -> str:
    """`a day` of money, `pictures a day`, `runs at a time`."""
    noun = {"usd": "", "images": "pictures ", "live": "runs at a time"}.get(
        standing["measure"], f"{standing['measure']} "
    )
    if standing["measure"] == "live":
        return noun
    return f"{noun}in total" if standing["window"] == "total" else f"{noun}a {standing['window']}"


TEAMS: tuple[Column[TeamShape], ...] = (
    Column("team", lambda one: one["name"]),
    Column("mode", lambda one: one["settings"].get("mode", NOTHING), spare=3),
    Column("keys", lambda one: number(one["keys"]), right=True, spare=2),
    money_column("this month", lambda one: one["spent_month_usd"]),
    money_column("ever", lambda one: one["spent_usd"], spare=4),
    Column("nearest limit", _nearest),
    Column("made in", lambda one: "settings" if one["provisioned"] else "API", spare=5),
    Column("description", lambda one: one["description"] or NOTHING, cut=True, spare=1),
)


# --- one team ------------------------------------------------------------------------------------


def _whole(team: TeamShape) -> Iterator[str]:
    yield click.style(plain(team["name"]), bold=True)
    settings = team["settings"]
    made = f"{instant(team['created_at'])}, changed {instant(team['changed_at'])}"
    pairs = [
        ("description", team["description"]),
        ("mode", settings.get("mode")),
        ("spent", f"{money(team['spent_month_usd'])} this month, {money(team['spent_usd'])} ever"),
        ("live keys", number(team["keys"])),
        ("allowed", _allowed(settings.get("allow") or {})),
        ("defaults", _defaults(settings.get("defaults") or {})),
        ("cache", _scope(settings.get("cache") or {})),
        ("references", settings.get("references")),
        ("made", "in the settings file: change it there" if team["provisioned"] else made),
    ]
    yield from facts(pairs)
    yield ""
    if team["standing"]:
        yield from Table(*STANDING).lines(team["standing"])
    else:
        yield "  no budget and no limit"


def _allowed(allow: Mapping[str, Any]) -> str:
    most = allow.get("max_n")
    parts = [
        f"models {listed(allow.get('models'), 'any')}",
        f"sizes {listed(allow.get('sizes'), 'any')}",
        f"qualities {listed(allow.get('qualities'), 'any')}",
        "n as the model has it" if most is None else f"n up to {most}",
    ]
    return "; ".join(parts)


def _defaults(defaults: Mapping[str, Any]) -> str | None:
    """What orders get that leave it out, as `quality low, size 3:2`."""
    return ", ".join(f"{name} {plain(str(value))}" for name, value in defaults.items()) or None


def _scope(cache: Mapping[str, Any]) -> str:
    shared = {"team": "within the team", "organization": "with all teams of that scope"}
    scope = cache.get("scope")
    return f"shared {shared.get(str(scope), str(scope))}" if scope else "as cache.scope has it"


def _used(title: str, of: Callable[[StandingShape], float]) -> Column[StandingShape]:
    """Amounts of money among counts."""
    return Column(
        title,
        lambda one: number(of(one)),
        usd=lambda one: of(one) if one["measure"] == "usd" else None,
        right=True,
    )


STANDING: tuple[Column[StandingShape], ...] = (
    Column("limit", lambda one: f"{_amount(one, one['limit'])} {_what(one)}"),
    _used("spent", lambda one: one["spent"]),
    _used("held", lambda one: one["held"]),
    _used("left", lambda one: one["left"]),
    Column("renews (UTC)", lambda one: minute(one["resets_at"])),
)


# --- changes -------------------------------------------------------------------------------------


CHANGES: tuple[Column[ChangeShape], ...] = (
    Column("at (UTC)", lambda one: minute(one["at"])),
    Column("by", lambda one: one["actor"]),
    Column("action", lambda one: one["action"]),
    Column("subject", lambda one: one["subject"]),
    Column("what", lambda one: differences(one["before"], one["after"]), cut=True),
)
