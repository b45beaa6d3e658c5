"""`image-gateway demo`: what the gateway does, shown once by real requests.

Reads the flags, starts the gateway, has the story told on the stage, and exits: 0 when everything
happened as it should, 1 with what did not. Heavy imports wait until the command runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from gateway.cli.demo.stage import Stage

DEFAULT_FOLDER: Final = Path("image-gateway-demo")
LOG_NAME: Final = "gateway.log"
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


@click.command("demo", short_help="See it all work once, without key or config.")
@click.option(
    "--keep",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the pictures and the gateway's log are left.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 60),
    default=3.0,
    show_default=True,
    help="How long the simulated upstreams take for a picture.",
)
def demo_command(folder: Path, seconds: float) -> None:
    """See the gateway work once: no key, no settings, nothing paid, nothing leaves this machine.

    Starts a gateway, a simulated EvoLink and a simulated OpenAI on free ports in a temporary
    folder and sends real requests: a picture, the same one again from the cache, two at the same
    moment for the price of one, a wrong request, one beyond the budget, one while EvoLink is
    down, which OpenAI makes; then shows what was spent and audits it.

    The pictures and the gateway's log stay in the folder that --keep names. Exits 0 when
    everything happened as it should.
    """
    from gateway.cli.demo.stage import Stage

    stage = Stage()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        play(stage, folder, seconds=seconds)
    except KeyboardInterrupt:
        stage.interrupted()
        raise SystemExit(EXIT_INTERRUPTED) from None
    except OSError as error:
        stage.failed(f"{error.strerror or error}: {error.filename or folder}", None)
        raise SystemExit(EXIT_FAILED) from None


def play(stage: Stage, folder: Path, *, seconds: float) -> None:
    """Has the story told on the stage, from its opening to its last words."""
    from gateway import serving

    serving.run(_show(stage, folder, seconds))


async def _show(stage: Stage, folder: Path, seconds: float) -> None:
    from gateway.cli.demo.client import Surprise

    stage.open()
    from gateway.cli.demo.installation import open_house
    from gateway.cli.demo.story import tell

    log = folder / LOG_NAME
    with tempfile.TemporaryDirectory(prefix="image-gateway-demo-") as scratch:
        try:
            async with open_house(Path(scratch), log, seconds=seconds) as house:
                await tell(stage, house, folder)
        except Surprise as surprise:
            stage.failed(str(surprise), log)
            raise SystemExit(EXIT_FAILED) from None
    stage.close(folder)
