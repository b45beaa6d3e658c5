"""The register of pictures and the teams' galleries in SQL: kept, erased, found.

Plain blocking functions on any connection, as in `store`. They begin and end no transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway.adapters.ledger import rows
from gateway.adapters.ledger.database import Database, Row, Statement, every, first
from gateway.adapters.ledger.listing import VERDICT_BITS, Where, page
from gateway.adapters.ledger.picture_rows import (
    KEPT_COLUMNS,
    PICTURE_COLUMNS,
    PICTURE_FACTS,
    kept_from,
    picture_rows,
)
from gateway.adapters.ledger.statements import PUT_RUN, RUN_BY_ID, insert
from gateway.core.model import Job, KeptPicture, Run
from gateway.core.prompt_search import folded, sought
from gateway.core.runs.history import OUR_DETAILS
from gateway.core.runs.redaction import wordless
from gateway.core.transaction import ConstraintViolation
from gateway.ports.ledger import Mark, PictureFilter

TO_REMOVE: Final = "erased_at IS NOT NULL AND removed_at IS NULL"

_SHOWN_BY: Final = (
    "(SELECT job_id FROM gallery"
    " WHERE gallery.team = pictures.team AND gallery.run_id = pictures.run_id)"
)
_KEPT: Final = f"{', '.join(KEPT_COLUMNS)}, {_SHOWN_BY}"

ONCE: Final = "erased_at IS NULL AND again = 0"
"""Of equal bytes one row, whoever made them: those that are counted."""

PUT_PICTURE: Final = (
    f"INSERT INTO pictures ({', '.join(PICTURE_COLUMNS)}, again)"
    f" SELECT {', '.join('?' * len(PICTURE_COLUMNS))}, COUNT(*) FROM pictures"
    f" WHERE digest = ? AND {ONCE} ON CONFLICT (id) DO NOTHING"
)
ERASE_PICTURE: Final = (
    "UPDATE pictures SET prompt = ?, searched = ?, erased_at = ?, removed_at = ? WHERE id = ?"
)
LEFT_OF_RUN: Final = "SELECT COUNT(*) FROM pictures WHERE run_id = ? AND erased_at IS NULL"
UNSHARE: Final = "UPDATE runs SET shared = 0 WHERE id = ?"
_OF_ITS_JOBS: Final = "job_id IN (SELECT id FROM jobs WHERE run_id = ?)"
WORDS_BESIDE: Final = (
    "UPDATE steps SET detail = '' WHERE run_id = ? AND event NOT IN"
    f" ({', '.join(repr(event) for event in sorted(OUR_DETAILS))})",
    f"UPDATE deliveries SET body = NULL WHERE {_OF_ITS_JOBS}",
    f"UPDATE refusals SET message = '', param = NULL, asked = '{{}}' WHERE {_OF_ITS_JOBS}",
)
"""What lies beside a run and may repeat its words."""

SHOW: Final = (
    f"{insert('gallery', ('team', 'run_id', 'job_id', 'at', 'noted'))}"
    " ON CONFLICT (team, run_id) DO UPDATE SET noted = gallery.noted + excluded.noted"
    " WHERE (gallery.noted & excluded.noted) = 0"
)
NOTE_VERDICT: Final = "UPDATE runs SET verdicts = verdicts + ? WHERE id = ? AND (verdicts & ?) = 0"

MADE_BY: Final = f"SELECT {_KEPT} FROM pictures WHERE digest = ? ORDER BY created_at, run_id"
PICTURE_TOTALS: Final = f"SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM pictures WHERE {ONCE}"
PICTURES: Final = (
    f"SELECT {', '.join(PICTURE_FACTS)} FROM pictures WHERE digest > ? AND {ONCE}"
    " ORDER BY digest LIMIT ?"
)
UNREMOVED: Final = f"SELECT {_KEPT} FROM pictures WHERE {TO_REMOVE} ORDER BY erased_at, id LIMIT ?"


# --- writing -------------------------------------------------------------------------------------


def kept_rows(run: Run) -> list[Row]:
    """For `PUT_PICTURE`: the pictures of a run that is done, also where another made the same."""
    return [(*row, row[1]) for row in picture_rows(run)]


def first_of_each(jobs: Iterable[Job]) -> Sequence[Job]:
    """Without those that tell the gallery and the run what one before them does."""
    first: dict[tuple[str, str, str], Job] = {}
    for job in jobs:
        first.setdefault((job.team, job.run_id, job.verdict), job)
    return [*first.values()]


def shown_row(job: Job) -> Row:
    """For `SHOW`: the run is in the gallery of the job's team from its first job on."""
    return (job.team, job.run_id, job.id, job.created_at, _bit(job))


def verdict_row(job: Job) -> tuple[int, str, int]:
    """For `NOTE_VERDICT`, which has nothing to do where the gallery has the verdict already."""
    return (_bit(job), job.run_id, _bit(job))


def _bit(job: Job) -> int:
    """None for a verdict that the jobs' table refuses."""
    return VERDICT_BITS.get(job.verdict, 0)


def erase(db: Database, one: KeptPicture) -> None:
    """Takes the times of erasure and the prompt over; the run answers nobody any more.

    With the last of its pictures it forgets its words, and keeps its numbers.
    """
    values = (one.prompt, folded(one.prompt), one.erased_at, one.removed_at)
    if db.execute(ERASE_PICTURE, (*values, one.key)).rowcount != 1:
        raise ConstraintViolation(f"there is no picture {one.picture.digest} of run {one.run_id}")
    if one.erased_at is None:
        return
    db.execute(UNSHARE, (one.run_id,))
    if not db.execute(LEFT_OF_RUN, (one.run_id,)).fetchall()[0][0]:
        take_words(db, one.run_id)


def take_words(db: Database, run_id: str) -> None:
    """From the run, which is nobody's else from the first statement on, and whatever lies beside
    it."""
    db.execute(UNSHARE, (run_id,))
    run = first(db, (RUN_BY_ID, (run_id,)), rows.run_from)
    if run is None:
        raise ConstraintViolation(f"there is no run {run_id}")
    db.execute(PUT_RUN, rows.run_row(wordless(run)))
    for statement in WORDS_BESIDE:
        db.execute(statement, (run_id,))


# --- reads ---------------------------------------------------------------------------------------


def made_by(db: Database, digest: str) -> tuple[KeptPicture, ...]:
    """The records of these bytes, one for each run that made them, the oldest first."""
    return tuple(every(db, (MADE_BY, (digest,)), kept_from))


def picture_totals(db: Database) -> tuple[int, int]:
    count, size_bytes = db.execute(PICTURE_TOTALS).fetchall()[0]
    return int(count), int(size_bytes)


def find_statement(asked: PictureFilter, after: Mark | None, limit: int) -> Statement:
    where = Where()
    where.equal("run_id", asked.run_id)
    where.equal("digest", asked.digest)
    if asked.task_id is not None:
        task = "run_id IN (SELECT run_id FROM jobs WHERE id = ? UNION ALL {})"
        seen = "SELECT run_id FROM gallery WHERE job_id = ?"
        where.add(task.format(seen), asked.task_id, asked.task_id)
    where.equal("team", asked.team, indexed=not _is_narrow(asked))
    _contains(where, "searched", asked.text)
    where.between("created_at", asked.since, asked.until)
    where.behind(("created_at", "id"), after)
    return page("pictures", _KEPT, ("created_at", "id"), where, limit)


_GALLERY: Final = ", ".join(
    "gallery.at" if name == "created_at" else f"pictures.{name}" for name in KEPT_COLUMNS
)


def gallery_statement(
    team: str, asked: PictureFilter, *, after: Mark | None, limit: int
) -> Statement:
    """CROSS JOIN, so that it reads the team's part alone and stops when the page is full."""
    where = Where()
    where.equal("gallery.team", team)
    where.equal("gallery.run_id", asked.run_id)
    if asked.digest is not None:
        made_by = "gallery.run_id IN (SELECT run_id FROM pictures WHERE digest = ?)"
        where.add(f"{made_by} AND COALESCE(pictures.digest, '') = ?", asked.digest, asked.digest)
    at = "COALESCE(gallery.at, 0)" if _is_narrow(asked) else "gallery.at"  # no index for the time
    if asked.task_id is not None:
        task = "gallery.run_id IN (SELECT run_id FROM jobs WHERE id = ? AND team = ? UNION ALL {})"
        seen = "SELECT run_id FROM gallery WHERE job_id = ? AND COALESCE(team, '') = ?"
        where.add(task.format(seen), asked.task_id, team, asked.task_id, team)
    _contains(where, "pictures.searched", asked.text)
    where.between(at, asked.since, asked.until)
    if after is not None:
        where.add(f"{at} <= ?", after[0])
        where.add("(gallery.at < ? OR pictures.id < ?)", *after)
    sql = (
        f"SELECT {_GALLERY}, gallery.job_id FROM gallery CROSS JOIN pictures"
        f" WHERE pictures.run_id = gallery.run_id AND pictures.erased_at IS NULL AND {where.sql}"
        f" ORDER BY {at} DESC, pictures.id DESC LIMIT ?"
    )
    return sql, (*where.values, limit)


def _is_narrow(asked: PictureFilter) -> bool:
    """Few pictures can be meant, whosever and from whenever they are."""
    return any(one is not None for one in (asked.run_id, asked.task_id, asked.digest))


def _contains(where: Where, column: str, text: str | None) -> None:
    """COALESCE, so that nobody guesses how few have it and reads all there are for them: the list
    is gone through in its order, until the page is full."""
    for part in sought(text or ""):
        literal = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.add(f"COALESCE({column} LIKE ? ESCAPE '\\', 1 = 0)", f"%{literal}%")


def read_as_asked(asked: PictureFilter, row: Row) -> KeptPicture:
    """A row of one of these lists; of all tasks that show it, the one that was asked for."""
    one = kept_from(row)
    return one if asked.task_id is None else replace(one, task_id=asked.task_id)
