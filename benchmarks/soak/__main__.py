"""`python -m benchmarks.soak --minutes 5`: the table, or JSON; exit 1 when something failed.

With `--keep DIR` ledger, pictures and logs are left there; without it they are where the line about
a failure says, and are removed when all was well.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy"))

import click

from benchmarks.soak.running import Plan, soaked
from benchmarks.soak.telling import as_json, as_table

EXIT_FAILED: Final = 1
MOST_MINUTES: Final = 30 * 24 * 60.0


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(0.25, MOST_MINUTES), default=5.0, show_default=True
)
@click.option("--clients", type=click.IntRange(1, 500), default=16, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other chances.")
@click.option("--json", "wants_json", is_flag=True, help="JSON instead of the table.")
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder for all its files.")
def main(minutes: float, clients: int, seed: int, wants_json: bool, keep: Path | None) -> None:
    """Run a gateway under load and faults, and look whether anything grows, drifts or is lost."""
    if not minutes <= MOST_MINUTES or not Path("/proc/self/fd").is_dir():
        raise click.UsageError("this needs a number of minutes, and /proc, as on Linux")
    folder = _made(keep) if keep else Path(tempfile.mkdtemp(prefix="image-gateway-soak-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends what it started
    click.echo(f"all files are in {folder}", err=True)
    plan = Plan(seconds=minutes * 60, clients=clients, seed=seed)
    outcome = asyncio.run(soaked(folder.resolve(), plan, lambda line: click.echo(line, err=True)))
    click.echo(json.dumps(as_json(outcome), indent=2) if wants_json else as_table(outcome))
    if outcome.failed:
        click.echo(f"failed: {', '.join(outcome.failed)}; see {folder}", err=True)
        raise SystemExit(EXIT_FAILED)
    if keep is None:
        shutil.rmtree(folder)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise click.UsageError(f"--keep {folder}: {error.strerror}") from None
    return folder


if __name__ == "__main__":
    main()
