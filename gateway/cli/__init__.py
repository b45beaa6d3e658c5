"""The `image-gateway` command: its help, and a table of the commands it can load.

A command's module is imported when that command runs, so that help stays instant. Commands are
the only place that reads arguments and exits; what they run lives elsewhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

import click

from gateway import __version__


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is (`module:attribute`) and what it does, in one line."""

    target: str
    help: str


COMMANDS = {
    "init": Entry("gateway.cli.init:init_command", "Write the settings of a new installation."),
    "serve": Entry("gateway.cli.serve:serve_command", "Run the gateway."),
    "sandbox": Entry("gateway.cli.sandbox:sandbox_command", "Run the simulated upstream alone."),
    "demo": Entry(
        "gateway.cli.demo.command:demo_command", "See it all work once, without key or config."
    ),
    "check": Entry("gateway.cli.check:check_command", "Validate the settings and show them."),
    "order": Entry("gateway.cli.order:order_command", "Order pictures as a team, and save them."),
    "teams": Entry(
        "gateway.cli.teams:teams_command", "Create teams, give them budgets, change them."
    ),
    "keys": Entry("gateway.cli.keys:keys_command", "Issue, rotate and revoke the teams' keys."),
    "usage": Entry("gateway.cli.usage:usage_command", "Where the money went."),
    "runs": Entry("gateway.cli.runs:runs_command", "What was ordered, and why it went as it did."),
    "pictures": Entry("gateway.cli.pictures:pictures_command", "Find pictures, and erase them."),
    "cache": Entry("gateway.cli.cache:cache_command", "Look at the response cache, and purge it."),
    "callbacks": Entry(
        "gateway.cli.callbacks:callbacks_command", "See which callbacks failed, and repeat them."
    ),
    "health": Entry(
        "gateway.cli.health:health_command", "Can the gateway take orders, and why not."
    ),
    "settings": Entry(
        "gateway.cli.settings:settings_command", "The settings in force, or read them again."
    ),
    "alerts": Entry("gateway.cli.alerts:alerts_command", "Try whether an alert would arrive."),
    "reconcile": Entry(
        "gateway.cli.reconcile:reconcile_command", "Compare the ledger with upstream."
    ),
    "audit": Entry("gateway.cli.audit:audit_command", "Prove that the ledger adds up."),
    "backup": Entry("gateway.cli.backup:backup_command", "Back up the ledger and the pictures."),
    "restore": Entry("gateway.cli.backup:restore_command", "Make a backup an installation again."),
    "migrate": Entry(
        "gateway.cli.migrate:migrate_command", "Move to PostgreSQL and S3, or back to files."
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'image-gateway COMMAND --help' says more about each. Completion in bash (or zsh, fish):"
    ' eval "$(_IMAGE_GATEWAY_COMPLETE=bash_source image-gateway)"',
)
@click.version_option(
    __version__,
    "--version",
    prog_name="image-gateway",
    message=f"%(prog)s %(version)s (Python {sys.version.split(maxsplit=1)[0]})",
)
def main() -> None:
    """A self-hosted gateway in front of EvoLink's image API.

    Your teams change only the base URL and the key in their clients. You get one upstream key,
    budgets that hold, no picture paid for twice, and picture links that never die.

    \b
    First steps:
      image-gateway demo              watch it work once, in a temporary folder
      image-gateway serve --sandbox   try your own client; no key and no config needed
      image-gateway init              write the settings of an installation, make its admin key
      image-gateway check             validate ./config.yaml
      image-gateway serve             run it for real
    """
