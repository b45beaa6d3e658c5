"""`image-gateway audit`: proves that the ledger adds up and that its pictures are there.

Reads beside a running gateway and writes nothing. What is checked in the ledger is the ledger's
own business (`Ledger.violations`); here its violations are put under their invariants, so that
people see what holds as well. The picture folder is compared with the ledger picture by
picture, and with its own provenance files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.check import (
    EXIT_PROBLEMS,
    config_option,
    data_dir_option,
    explain,
    settings_of,
)
from gateway.cli.formats import counted
from gateway.cli.store import strangeness
from gateway.config import Settings, SettingsError
from gateway.core.money.invariants import Invariant, Violation
from gateway.core.money.usd import dollars, show_usd
from gateway.core.picture_errors import MEDIA_TYPES
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.core.model import Picture
    from gateway.ports.ledger import Reports, Upkeep

EXIT_VIOLATED: Final = 1
READ_BYTES: Final = 1024 * 1024
"""Read at a time while a picture's digest is taken."""

PAGE: Final = 1000
"""Pictures read from the ledger at a time: a fraction of a megabyte."""

MAX_SENTENCES: Final = 100
"""Told of one invariant of the folder: a broken one is known to be broken after the first few."""


# --- the invariants ------------------------------------------------------------------------------

STORE: Final = "The picture folder is the one that belongs to the ledger."
IN_FOLDER: Final = "Every picture on record is in the folder, in its full size."
PROVENANCE: Final = (
    "Every picture on record has its provenance file, and each of those its picture."
)
DIGESTS: Final = "Every picture's bytes have the digest that names it."
SIZES: Final = "Every picture is as wide and as high as its record says."


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
class AuditReport:
    totals: Totals
    findings: Sequence[Finding]

    @property
    def adds_up(self) -> bool:
        return all(finding.holds for finding in self.findings)

    @property
    def closing(self) -> str:
        """The verdict in one line."""
        totals = self.totals
        counts = (
            f"{counted(totals.runs, 'run')}, {counted(totals.pictures, 'picture')},"
            f" {show_usd(totals.spent_usd_micros, thousands=',')} spent"
        )
        if self.adds_up:
            return f"{counts}: the ledger adds up."
        broken = sum(not finding.holds for finding in self.findings)
        return f"{counts}: {counted(broken, 'invariant')} violated."


# --- the command ---------------------------------------------------------------------------------


@click.command("audit", short_help="Prove that the ledger adds up.")
@config_option
@data_dir_option
@click.option("--deep", is_flag=True, help="Read every picture: its digest, its width and height.")
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
        settings = settings_of(path, data_dir)
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


def _as_text(report: AuditReport) -> str:
    return "\n".join([*_lines(report.findings), "", report.closing])


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{'ok      ' if finding.holds else 'VIOLATED'}  {finding.invariant}"
        for violation in finding.violations:
            yield f"            {violation}"


def _as_json(report: AuditReport) -> str:
    totals = report.totals
    answer = {
        "ok": report.adds_up,
        "runs": totals.runs,
        "pictures": totals.pictures,
        "picture_bytes": totals.picture_bytes,
        "spent_usd": dollars(totals.spent_usd_micros),
        "invariants": [
            {"invariant": one.invariant, "ok": one.holds, "violations": list(one.violations)}
            for one in report.findings
        ],
    }
    return json.dumps(answer, indent=2)


# --- the examination -----------------------------------------------------------------------------


async def examine(settings: Settings, *, deep: bool) -> AuditReport:
    """Checks ledger and pictures. Raises `Unavailable` when one of the two cannot be read."""
    from gateway.core.picture_errors import PictureProblem
    from gateway.wiring import LEDGER_NAME, make_ledger

    data_dir = Path(settings.storage.data_dir)
    in_database = settings.storage.postgres_url is not None
    if not in_database and not (data_dir / LEDGER_NAME).is_file():
        raise Unavailable(f"there is no {data_dir / LEDGER_NAME}; name the folder with --data-dir.")
    ledger = make_ledger(settings, read_only=True)
    await ledger.open()
    try:
        violations = await ledger.violations()
        totals = await _totals(ledger)
        # The ledger is read before the pictures, which only grow: they cannot be less than that.
        of_pictures = await _pictures(ledger, settings, deep=deep)
    except PictureProblem as problem:
        raise Unavailable(f"the pictures cannot be looked at: {problem}.") from None
    finally:
        await ledger.close()
    told = by_invariant(violations)
    if in_database:
        told = [one for one in told if one.invariant is not Invariant.FILE]  # the server's own
    return AuditReport(totals, [*told, *of_pictures])


async def _pictures(ledger: Upkeep, settings: Settings, *, deep: bool) -> Sequence[Finding]:
    strange = Finding(STORE, await strangeness(ledger, settings))
    if settings.storage.bucket is None:
        folder = Path(settings.storage.data_dir) / "pictures"
        return [strange, *await _in_folder(ledger, folder, deep=deep)]
    if not strange.holds:
        return [strange]  # what lies in another bucket, or in none, says nothing of these pictures
    return [strange, *await _in_bucket(ledger, settings, deep=deep)]


async def _in_bucket(ledger: Upkeep, settings: Settings, *, deep: bool) -> Sequence[Finding]:
    from gateway.cli.audit_bucket import look
    from gateway.wiring import make_place

    place = make_place(settings)
    await place.open()
    try:
        looked = await look(ledger, place, deep=deep, most=MAX_SENTENCES)
    finally:
        await place.close()
    found = [Finding(IN_FOLDER, looked.lost), Finding(PROVENANCE, looked.bare)]
    if deep:
        found += [Finding(DIGESTS, looked.misnamed), Finding(SIZES, looked.unlike)]
    return found


async def _in_folder(ledger: Upkeep, folder: Path, *, deep: bool) -> Sequence[Finding]:
    import asyncio

    lost, bare, unlike = await _compare(ledger, folder, deep=deep)
    bare += await asyncio.to_thread(_first, _wrong_provenance(folder))
    found = [Finding(IN_FOLDER, lost), Finding(PROVENANCE, bare[:MAX_SENTENCES])]
    if deep:
        misnamed = await asyncio.to_thread(_first, _misnamed(folder))
        found += [Finding(DIGESTS, misnamed), Finding(SIZES, unlike)]
    return found


async def _totals(ledger: Reports) -> Totals:
    pictures, picture_bytes = await ledger.picture_totals()
    usage = await ledger.usage()
    return Totals(
        runs=sum((await ledger.run_counts()).values()),
        pictures=pictures,
        picture_bytes=picture_bytes,
        spent_usd_micros=sum(row.spent_usd_micros for row in usage),
    )


def by_invariant(violations: Iterable[Violation]) -> Sequence[Finding]:
    """One finding for each invariant of the ledger, also for those that hold."""
    broken: dict[Invariant, list[str]] = {invariant: [] for invariant in Invariant}
    for violation in violations:
        broken[violation.invariant].append(violation.sentence)
    return [Finding(invariant, sentences) for invariant, sentences in broken.items()]


# --- the folder ----------------------------------------------------------------------------------


async def _compare(
    ledger: Upkeep, folder: Path, *, deep: bool
) -> tuple[list[str], list[str], list[str]]:
    """Which pictures on record are not in the folder as they should, and which lack provenance.

    When `deep`, also which have another width or height.
    """
    import asyncio

    lost: list[str] = []
    bare: list[str] = []
    unlike: list[str] = []
    after = ""
    while page := await ledger.pictures(after=after, limit=PAGE):
        after = page[-1].digest
        lost += await asyncio.to_thread(_first, _lost(folder, page))
        bare += await asyncio.to_thread(_first, _bare(folder, page))
        if deep:
            unlike += await asyncio.to_thread(_first, _unlike(folder, page))
        del lost[MAX_SENTENCES:], bare[MAX_SENTENCES:], unlike[MAX_SENTENCES:]
    return lost, bare, unlike


def _first(sentences: Iterator[str]) -> list[str]:
    """As many as are told; the rest is not looked for."""
    return list(islice(sentences, MAX_SENTENCES))


def _lost(folder: Path, pictures: Iterable[Picture]) -> Iterator[str]:
    for picture in pictures:
        yield from _wrong_size(folder / picture.digest[:2] / picture.name, picture.size_bytes)


def _bare(folder: Path, pictures: Iterable[Picture]) -> Iterator[str]:
    for picture in pictures:
        sidecar = folder / picture.digest[:2] / f"{picture.digest}.json"
        if not sidecar.is_file():
            yield f"{sidecar} is not there."


def _unlike(folder: Path, pictures: Iterable[Picture]) -> Iterator[str]:
    """Reads the head of each; one that is not there or no picture is found elsewhere."""
    from PIL import Image

    for one in pictures:
        path = folder / one.digest[:2] / one.name
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        if (width, height) != (one.width, one.height):
            recorded = f"{one.width}x{one.height}"
            yield f"{path} is {width}x{height} large; its record says {recorded}."


def _wrong_provenance(folder: Path) -> Iterator[str]:
    for sidecar in sorted(folder.glob("??/*.json")):
        try:
            told = json.loads(sidecar.read_bytes())
            picture, size_bytes = sidecar.parent / str(told["picture"]), int(told["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            yield f"{sidecar} cannot be read."
            continue
        yield from _wrong_size(picture, size_bytes)


def _wrong_size(picture: Path, size_bytes: int) -> Iterator[str]:
    found = picture.stat().st_size if picture.is_file() else None
    if found != size_bytes:
        has = "is not there" if found is None else f"has {found:,} bytes"
        yield f"{picture} {has}; it should have {size_bytes:,} bytes."


def _misnamed(folder: Path) -> Iterator[str]:
    for extension in MEDIA_TYPES:
        for picture in sorted(folder.glob(f"??/*.{extension}")):
            try:
                digest = _digest(picture)
            except OSError as error:
                yield f"{picture} cannot be read: {error.strerror}."
                continue
            if digest != picture.stem:
                yield f"{picture} has the digest {digest}."


def _digest(picture: Path) -> str:
    digest = hashlib.sha256()
    with picture.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
