"""`image-gateway audit`: proves that the ledger adds up and that its pictures are there.

Reads beside a running gateway and writes nothing. What is checked in the ledger is the ledger's
own business (`Ledger.violations`); here each of its sentences is put under the invariant that
it breaks, so that people see what holds as well. The picture folder is checked by its own
provenance files and against the ledger's totals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.check import DEFAULT_PATH, EXIT_PROBLEMS, explain, load_settings
from gateway.config import Settings, SettingsError
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.ports import Ledger

EXIT_VIOLATED: Final = 1
EXTENSIONS: Final = ("png", "jpg", "webp")
READ_BYTES: Final = 1024 * 1024
"""Read at a time while a picture's digest is taken."""

MAX_SENTENCES: Final = 100
"""Told of one invariant of the folder: a broken one is known to be broken after the first few."""


# --- the invariants ------------------------------------------------------------------------------

INVARIANTS: Final[Sequence[tuple[str, str]]] = (
    # What holds, and how the ledger's sentences begin when it does not.
    (
        "Every account holds and has spent exactly what its runs hold and have spent.",
        r"The \w+ account of team ",
    ),
    ("No run that has ended still holds money.", r"Run \S+ is \w+ and still holds "),
    ("No run is forgotten: each live one is within its time.", r"Run \S+ is still \w+, though "),
    ("The usage reports say what the runs say.", r"The usage of team "),
    ("The usage of all days is the sum of the days.", r"The usage totals of team "),
    ("Every run that is done has all its pictures.", r"Run \S+ is done with \d+ kept pictures "),
    ("Every picture of a run is on record.", r"Run \S+ is done with picture "),
    ("Every run counts its own pictures and links right.", r"Run \S+ does not count "),
    ("No upstream task was paid by two runs.", r"\d+ runs of upstream "),
    ("No two live runs make the same order.", r"\d+ live shared runs "),
    ("Every task id leads to its run.", r"Job \S+ points to run "),
    ("Every task is listed as its run is.", r"Job \S+ is listed as "),
    ("Every task that wants a callback is owed one when it ends.", r"Job \S+ wants a callback "),
    ("No callback is forgotten.", r"The callback \S+ of job "),
    ("Every reference between records leads somewhere.", r"Row \S+ of \w+ points to "),
    ("The ledger's file is whole.", r"The ledger's file is damaged"),
)
UNNAMED: Final = "Nothing else is wrong with the ledger."
IN_FOLDER: Final = "Every picture with a provenance file is in the folder, in its full size."
ENOUGH: Final = "The folder has at least the pictures and bytes that the ledger counts."
DIGESTS: Final = "Every picture's bytes have the digest that names it."


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, and every sentence that says it is broken; none: it holds."""

    invariant: str
    violations: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.violations


@dataclass(frozen=True, slots=True)
class Totals:
    """What the ledger counts: runs, kept pictures and their bytes, money spent."""

    runs: int
    pictures: int
    picture_bytes: int
    spent_usd_micros: int


@dataclass(frozen=True, slots=True)
class Report:
    totals: Totals
    findings: Sequence[Finding]

    @property
    def adds_up(self) -> bool:
        return all(finding.holds for finding in self.findings)

    @property
    def closing(self) -> str:
        """The verdict in one line."""
        counted = (
            f"{_count(self.totals.runs, 'run')}, {_count(self.totals.pictures, 'picture')},"
            f" {_usd(self.totals.spent_usd_micros)} spent"
        )
        if self.adds_up:
            return f"{counted}: the ledger adds up."
        broken = sum(not finding.holds for finding in self.findings)
        return f"{counted}: {_count(broken, 'invariant')} violated."


# --- the command ---------------------------------------------------------------------------------


@click.command("audit", short_help="Prove that the ledger adds up.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The settings file.  [default: {DEFAULT_PATH}]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="The data folder, instead of storage.data_dir; alone it needs no settings file.",
)
@click.option("--deep", is_flag=True, help="Read every picture and compare its digest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def audit_command(path: Path | None, data_dir: Path | None, deep: bool, as_json: bool) -> None:
    """Prove that the ledger adds up and that its pictures are there.

    Reads the ledger of a running or a stopped gateway, changes nothing, and prints each
    invariant with every violation. Exits 0 when all hold, 1 when one is violated, 2 when the
    settings are wrong or the ledger cannot be read.

    \b
      image-gateway audit                          the installation of ./config.yaml
      image-gateway audit --data-dir data/sandbox  the one of 'serve --sandbox'
    """
    from gateway import serving

    try:
        settings = _settings(path, data_dir)
        report = serving.run(examine(settings, deep=deep))
    except SettingsError as error:
        click.echo(explain(error), err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    except Unavailable as error:
        click.echo(f"cannot audit: {error.message}", err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    click.echo(_as_json(report) if as_json else _as_text(report))
    if not report.adds_up:
        raise SystemExit(EXIT_VIOLATED)


def _settings(path: Path | None, data_dir: Path | None) -> Settings:
    if data_dir is not None and path is None:
        settings = Settings()
    else:
        settings = load_settings(path or DEFAULT_PATH)
    if data_dir is None:
        return settings
    storage = settings.storage.model_copy(update={"data_dir": str(data_dir)})
    return settings.model_copy(update={"storage": storage})


def _as_text(report: Report) -> str:
    return "\n".join([*_lines(report.findings), "", report.closing])


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{'ok      ' if finding.holds else 'VIOLATED'}  {finding.invariant}"
        for violation in finding.violations:
            yield f"            {violation}"


def _as_json(report: Report) -> str:
    totals = report.totals
    answer = {
        "ok": report.adds_up,
        "runs": totals.runs,
        "pictures": totals.pictures,
        "picture_bytes": totals.picture_bytes,
        "spent_usd": totals.spent_usd_micros / 1_000_000,
        "invariants": [
            {"invariant": one.invariant, "ok": one.holds, "violations": list(one.violations)}
            for one in report.findings
        ],
    }
    return json.dumps(answer, indent=2)


def _usd(micros: int) -> str:
    """Dollars with the decimals they need, at least two."""
    whole, _, fraction = f"{micros / 1_000_000:,.6f}".rstrip("0").partition(".")
    return f"${whole}.{fraction.ljust(2, '0')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- the examination -----------------------------------------------------------------------------


async def examine(settings: Settings, *, deep: bool) -> Report:
    """Checks ledger and picture folder. Raises `Unavailable` when the ledger cannot be read."""
    import asyncio

    from gateway.wiring import LEDGER_NAME, make_ledger

    data_dir = Path(settings.storage.data_dir)
    if settings.storage.ledger == "memory":
        raise Unavailable("storage.ledger is memory, which only the running gateway can see.")
    if not (data_dir / LEDGER_NAME).is_file():
        raise Unavailable(f"there is no {data_dir / LEDGER_NAME}; name the folder with --data-dir.")
    ledger = make_ledger(settings, read_only=True)
    await ledger.open()
    try:
        violations = await ledger.violations()
        totals = await _totals(ledger)
    finally:
        await ledger.close()
    # The ledger was read first: the folder only grows, so it cannot have less than that.
    in_folder = await asyncio.to_thread(_examine_folder, data_dir / "pictures", totals, deep=deep)
    return Report(totals, [*sorted_out(violations), *in_folder])


async def _totals(ledger: Ledger) -> Totals:
    pictures, picture_bytes = await ledger.picture_totals()
    usage = await ledger.usage()
    return Totals(
        runs=sum((await ledger.run_counts()).values()),
        pictures=pictures,
        picture_bytes=picture_bytes,
        spent_usd_micros=sum(row.spent_usd_micros for row in usage),
    )


def sorted_out(violations: Sequence[str]) -> Sequence[Finding]:
    """The ledger's sentences under their invariants; a sentence of no known kind under its own."""
    left = list(violations)
    findings = []
    for invariant, opening in INVARIANTS:
        broken = [sentence for sentence in left if re.match(opening, sentence)]
        left = [sentence for sentence in left if sentence not in broken]
        findings.append(Finding(invariant, broken))
    return [*findings, Finding(UNNAMED, left)] if left else findings


def _examine_folder(folder: Path, totals: Totals, *, deep: bool) -> Sequence[Finding]:
    sizes, wrong = _described(folder)
    findings = [Finding(IN_FOLDER, wrong[:MAX_SENTENCES])]
    missing = []
    if len(sizes) < totals.pictures or sum(sizes) < totals.picture_bytes:
        missing.append(
            f"{folder} has {_count(len(sizes), 'whole picture')} of {sum(sizes):,} bytes; the"
            f" ledger counts {totals.pictures:,} of {totals.picture_bytes:,} bytes."
        )
    findings.append(Finding(ENOUGH, missing))
    if deep:
        findings.append(Finding(DIGESTS, list(_misnamed(folder))[:MAX_SENTENCES]))
    return findings


def _described(folder: Path) -> tuple[list[int], list[str]]:
    """The sizes of the pictures that are as their provenance says, and what is not so."""
    sizes, wrong = [], []
    for sidecar in sorted(folder.glob("??/*.json")):
        try:
            told = json.loads(sidecar.read_bytes())
            picture, size_bytes = sidecar.parent / str(told["picture"]), int(told["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            wrong.append(f"{sidecar} cannot be read.")
            continue
        found = picture.stat().st_size if picture.is_file() else None
        if found == size_bytes:
            sizes.append(size_bytes)
        else:
            has = "is not there" if found is None else f"has {found:,} bytes"
            wrong.append(f"{picture} {has}; it should have {size_bytes:,} bytes.")
    return sizes, wrong


def _misnamed(folder: Path) -> Iterator[str]:
    for extension in EXTENSIONS:
        for picture in sorted(folder.glob(f"??/*.{extension}")):
            digest = hashlib.sha256()
            with picture.open("rb") as file:
                while block := file.read(READ_BYTES):
                    digest.update(block)
            if digest.hexdigest() != picture.stem:
                yield f"{picture} has the digest {digest.hexdigest()}."
