"""`image-gateway sandbox`: a simulated vendor alone, for developing and testing clients.

Reads the flags, serves until SIGTERM or SIGINT, exits 0. What the sandbox does is none of its
business. Heavy imports wait until the command runs, so that `image-gateway --help` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.sandbox import SandboxOptions
    from gateway.sandbox.magic import Word
    from gateway.sandbox.openai import OpenAIOptions

_GRACE_SECONDS = 3.0


# Flags that one kind of vendor has, and the other has not.
_EVOLINK_ONLY = frozenset(
    {"account_credits", "link_lifetime_seconds", "submits_per_minute", "allow_private_addresses"}
)
_OPENAI_ONLY = frozenset(
    {"requests_per_minute", "images_per_minute", "unverified_models", "deployments", "compatible"}
)


class _TeachingCommand(click.Command):
    """A command whose help ends in the tables of magic words."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from gateway.sandbox.magic import WORDS
        from gateway.sandbox.openai.words import WORDS as OPENAI_WORDS

        with formatter.section("Magic words in a prompt"):
            formatter.write_text(
                "They choose what happens; several may be combined. Where a call can be repeated, "
                "*N behind a word lets it act the first N times only: [sandbox:http=503*2] refuses "
                "a prompt twice and then accepts it."
            )
            formatter.write_paragraph()
            _write_words(formatter, WORDS)
        with formatter.section("Magic words with --kind openai"):
            _write_words(formatter, OPENAI_WORDS)
        with formatter.section("What --kind openai serves"):
            formatter.write_text(
                "One call makes the picture and is charged when the work is done, also when the "
                "client has gone. GET /sandbox/bill tells what each key owes."
            )
        with formatter.section("Try it"):
            _write_lines(formatter, _EXAMPLE)


def _write_words(formatter: click.HelpFormatter, words: Mapping[str, Word]) -> None:
    rows = [(f"[sandbox:{word.form}]", word.effect) for word in words.values()]
    formatter.write_dl(rows, col_max=36)


def _write_lines(formatter: click.HelpFormatter, lines: Iterable[str]) -> None:
    for line in lines:
        formatter.write(f"  {line}\n")


_EXAMPLE = (
    "image-gateway sandbox --rate http=0.1 --rate drop=0.01 &",
    "curl http://127.0.0.1:8090/v1/images/generations \\",
    "  -H 'Authorization: Bearer sk-any' -H 'Content-Type: application/json' \\",
    '  -d \'{"model": "gpt-image-1.5", "prompt": "a red bicycle [sandbox:delay=2]"}\'',
    "",
    "image-gateway sandbox --kind openai --port 8091 --rate late-http=0.05 &",
    "OPENAI_BASE_URL=http://127.0.0.1:8091/v1 OPENAI_API_KEY=sk-any python my_client.py",
    "curl http://127.0.0.1:8091/sandbox/bill",
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


class _Deployment(click.ParamType[tuple[str, str]]):
    """NAME=MODEL, as (name, model)."""

    name = "NAME=MODEL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, _, model = str(value).partition("=")
        if not name or not model:
            self.fail(f"{value!r} is not of the form pictures=gpt-image-2", param, ctx)
        return name, model


@click.command("sandbox", cls=_TeachingCommand, short_help="Run a simulated vendor alone.")
@click.option(
    "--kind",
    type=click.Choice(["evolink", "openai"]),
    default="evolink",
    show_default=True,
    help="The vendor: EvoLink, or OpenAI (and Azure OpenAI on the same port).",
)
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
@click.option(
    "--public-url", help="Base of links to pictures, when clients come by another address."
)
@click.option(
    "--seconds",
    "seconds_per_picture",
    type=click.FloatRange(0, 86_400),
    default=4.0,
    show_default=True,
    help="How long a task takes (openai: a medium picture), give or take a fifth.",
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
    help="evolink: credits of the account; when they are used up, submits answer 402.",
)
@click.option(
    "--link-lifetime",
    "link_lifetime_seconds",
    type=click.FloatRange(0),
    default=86_400.0,
    show_default=True,
    help="evolink: seconds until result links die.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A further name of a model; openai: the only names served. A name that is not known "
    "takes what gpt-image-2 takes. Repeatable.",
)
@click.option(
    "--deny-model",
    "denied_models",
    multiple=True,
    help="A model that answers 403 (openai: 404). Repeatable.",
)
@click.option(
    "--unverified-model",
    "unverified_models",
    multiple=True,
    help="openai: a model that answers 403, as to an organisation not verified. Repeatable.",
)
@click.option(
    "--deployment",
    "deployments",
    type=_Deployment(),
    multiple=True,
    help="openai: a further name of a model at Azure's addresses. Repeatable.",
)
@click.option(
    "--compatible",
    is_flag=True,
    help="openai: be another server that speaks this API: repeated image instead of image[], "
    "links unless response_format is b64_json, no usage, errors as detail.",
)
@click.option(
    "--submits-per-minute", type=click.IntRange(1), help="evolink: submits beyond it answer 429."
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(1),
    help="openai: calls of a key beyond it answer 429.",
)
@click.option(
    "--images-per-minute",
    type=click.IntRange(1),
    help="openai: pictures of a key beyond it answer 429.",
)
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
    help="evolink: let callbacks (http too) and uploads by URL reach this machine, as the real "
    "one cannot.",
)
@click.pass_context
def sandbox_command(ctx: click.Context, /, kind: str, host: str, port: int, **flags: Any) -> None:
    """Run a simulated vendor: no key to buy, nothing to pay, real pictures to look at.

    It answers on one port with the statuses, fields and errors of the real service: EvoLink's
    image API, file API and result links, or OpenAI's Images API, also as Azure serves it. Point
    any client at it by its base URL.
    """
    from gateway.serving import run

    _check_kind(ctx, kind)
    if kind == "openai":
        serving = _serve_openai(_openai_options(flags), host, port)
    else:
        serving = _serve(_options(flags), host, port)
    try:
        run(serving)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _check_kind(ctx: click.Context, kind: str) -> None:
    """Raises UsageError for a flag that only the other kind has."""
    foreign = _EVOLINK_ONLY if kind == "openai" else _OPENAI_ONLY
    for parameter in ctx.command.params:
        written = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in foreign and written is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"{parameter.opts[0]} does not go with --kind {kind}", ctx)


def _options(flags: dict[str, Any]) -> SandboxOptions:
    """The flags have the names of the options' fields."""
    from gateway.sandbox import SandboxOptions

    own = {name: value for name, value in flags.items() if name not in _OPENAI_ONLY}
    try:
        return SandboxOptions(
            rates=dict(own.pop("rates")),
            more_models=frozenset(own.pop("models")),
            denied_models=frozenset(own.pop("denied_models")),
            **own,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _openai_options(flags: dict[str, Any]) -> OpenAIOptions:
    """The same for the other kind."""
    from gateway.sandbox.openai import OpenAIOptions

    own = {name: value for name, value in flags.items() if name not in _EVOLINK_ONLY}
    try:
        return OpenAIOptions(
            rates=dict(own.pop("rates")),
            deployments=dict(own.pop("deployments")),
            denied_models=frozenset(own.pop("denied_models")),
            unverified_models=frozenset(own.pop("unverified_models")),
            **own,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


async def _serve(options: SandboxOptions, host: str, port: int) -> None:
    from gateway.sandbox import running_sandbox

    grace = _GRACE_SECONDS
    async with running_sandbox(options, host=host, port=port, grace_seconds=grace) as sandbox:
        await _until_stopped("EvoLink", sandbox.base_url, options.accepted_key)


async def _serve_openai(options: OpenAIOptions, host: str, port: int) -> None:
    from gateway.sandbox.openai import running_openai

    grace = _GRACE_SECONDS
    async with running_openai(options, host=host, port=port, grace_seconds=grace) as sandbox:
        await _until_stopped("OpenAI", sandbox.api_url, options.accepted_key)


async def _until_stopped(vendor: str, url: str, accepted_key: str | None) -> None:
    from gateway.serving import catch_stop_signals

    stop = catch_stop_signals()
    keys = "the key given" if accepted_key else "any key that begins with sk-"
    click.echo(f"{vendor} sandbox ready on {url} ({keys}; Ctrl+C stops it)")
    await stop.get()
