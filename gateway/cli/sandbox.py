"""`image-gateway sandbox`: the simulated EvoLink alone, for developing and testing clients.

Reads the flags, serves until SIGTERM or SIGINT, exits 0. What the sandbox does is none of its
business. Heavy imports wait until the command runs, so that `image-gateway --help` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.sandbox import SandboxOptions

_GRACE_SECONDS = 3.0


class _TeachingCommand(click.Command):
    """A command whose help ends in the table of magic words."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from gateway.sandbox.magic import WORDS

        rows = [(f"[sandbox:{word.form}]", word.effect) for word in WORDS.values()]
        with formatter.section("Magic words in a prompt"):
            formatter.write_text(
                "They choose what happens; several may be combined. Where a call can be repeated, "
                "*N behind a word lets it act the first N times only: [sandbox:http=503*2] refuses "
                "a prompt twice and then accepts it."
            )
            formatter.write_paragraph()
            formatter.write_dl(rows, col_max=36)
        with formatter.section("Try it"):
            for line in _EXAMPLE:
                formatter.write(f"  {line}\n")


_EXAMPLE = (
    "image-gateway sandbox --rate http=0.1 --rate drop=0.01 &",
    "curl http://127.0.0.1:8090/v1/images/generations \\",
    "  -H 'Authorization: Bearer sk-any' -H 'Content-Type: application/json' \\",
    '  -d \'{"model": "gpt-image-1.5", "prompt": "a red bicycle [sandbox:delay=2]"}\'',
)


class _Chance(click.ParamType[tuple[str, float]]):
    """WORD=CHANCE, as (word, chance)."""

    name = "WORD=CHANCE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        word, _, chance = str(value).partition("=")
        try:
            return word, float(chance)
        except ValueError:
            self.fail(f"{value!r} is not of the form drop=0.05", param, ctx)


@click.command("sandbox", cls=_TeachingCommand, short_help="Run the simulated EvoLink alone.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--key", "accepted_key", help="The only key to accept. Default: any that begins with sk-."
)
@click.option("--public-url", help="Base of result links, when clients come by another address.")
@click.option(
    "--seconds",
    "seconds_per_picture",
    type=click.FloatRange(0, 86_400),
    default=4.0,
    show_default=True,
    help="How long a task takes, give or take a fifth.",
)
@click.option(
    "--rate",
    "rates",
    type=_Chance(),
    multiple=True,
    help="Chance (0 to 1) of a magic word acting unasked, e.g. drop=0.01. Repeatable.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other chances.")
@click.option(
    "--credits",
    "account_credits",
    type=click.FloatRange(0),
    default=10_000_000.0,
    show_default=True,
    help="Credits of the account; when they are used up, submits answer 402.",
)
@click.option(
    "--link-lifetime",
    "link_lifetime_seconds",
    type=click.FloatRange(0),
    default=86_400.0,
    show_default=True,
    help="Seconds until result links die.",
)
@click.option(
    "--model",
    "more_models",
    multiple=True,
    help="A further name of a model; it takes what gpt-image-2 takes. Repeatable.",
)
@click.option(
    "--deny-model", "denied_models", multiple=True, help="A model that answers 403. Repeatable."
)
@click.option("--submits-per-minute", type=click.IntRange(1), help="Submits beyond it answer 429.")
@click.option(
    "--picture-scale",
    type=click.FloatRange(0, 2, min_open=True),
    default=1.0,
    show_default=True,
    help="Scales the pictures' sides; small ones make quick tests.",
)
@click.option(
    "--allow-private-addresses",
    is_flag=True,
    help="Let callbacks (http too) and uploads by URL reach this machine, as the real one cannot.",
)
def sandbox_command(host: str, port: int, **flags: Any) -> None:
    """Run a simulated EvoLink: no key to buy, nothing to pay, real pictures to look at.

    It answers the image API, the file API and the result links on one port, with the statuses,
    fields and errors of the real service. Point any EvoLink client at it by its base URL.
    """
    from gateway.serving import run

    options = _options(flags)
    try:
        run(_serve(options, host, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _options(flags: dict[str, Any]) -> SandboxOptions:
    """The flags have the names of the options' fields."""
    from gateway.sandbox import SandboxOptions

    try:
        return SandboxOptions(
            rates=dict(flags.pop("rates")),
            more_models=frozenset(flags.pop("more_models")),
            denied_models=frozenset(flags.pop("denied_models")),
            **flags,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


async def _serve(options: SandboxOptions, host: str, port: int) -> None:
    from gateway.sandbox import running_sandbox
    from gateway.serving import catch_stop_signals

    stop = catch_stop_signals()
    async with running_sandbox(
        options, host=host, port=port, grace_seconds=_GRACE_SECONDS
    ) as sandbox:
        keys = "the key given" if options.accepted_key else "any key that begins with sk-"
        click.echo(f"EvoLink sandbox ready on {sandbox.base_url} ({keys}; Ctrl+C stops it)")
        await stop.get()
