"""Whether the picture store of some settings is the one that their ledger knows.

Reads beside a running gateway and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config import Settings, SettingsError
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.ports.ledger import Upkeep


async def strangeness(ledger: Upkeep, settings: Settings) -> list[str]:
    """Why the pictures are not the ledger's store, as a sentence; empty when it is, or while the
    ledger knows none yet."""
    from gateway.core.picture_errors import PictureProblem
    from gateway.wiring import require_store

    store_id = await ledger.store_id()
    if store_id is None:
        return []
    try:
        await require_store(settings, store_id)
    except (PictureProblem, OSError) as problem:
        return [_sentence(problem)]
    return []


def store_notices(settings: Settings) -> Sequence[str]:
    """The same for who has no ledger open: nothing where there is no file of one, or none to be
    read; why a database cannot be used, which is for its operators to mend. Whether a bucket can
    be had is told in any case."""
    from gateway import serving

    found = [*_of_the_ledger(settings), *serving.run(_of_the_bucket(settings))]
    return list(dict.fromkeys(found))  # of a ledger that knows its bucket both say the same


def _of_the_ledger(settings: Settings) -> Sequence[str]:
    from gateway import serving
    from gateway.wiring import LEDGER_NAME

    in_database = settings.storage.postgres_url is not None
    if not in_database and not Path(settings.storage.data_dir, LEDGER_NAME).is_file():
        return []
    try:
        return serving.run(_looked_up(settings))
    except Unavailable as error:
        return [f"storage.ledger: {error.message}"] if in_database else []
    except SettingsError as error:
        return [str(problem) for problem in error.problems]


async def _of_the_bucket(settings: Settings) -> Sequence[str]:
    from gateway.core.picture_errors import PictureProblem
    from gateway.wiring import require_bucket

    try:
        await require_bucket(settings)
    except PictureProblem as problem:
        return [_sentence(problem)]
    except SettingsError as error:
        return [one.message for one in error.problems]
    return []


async def _looked_up(settings: Settings) -> Sequence[str]:
    from gateway.wiring import make_ledger, require_way_past_pooler

    ledger = make_ledger(settings, read_only=True)
    if settings.storage.postgres.direct is not None:
        await require_way_past_pooler(ledger)
    await ledger.open()
    try:
        return await strangeness(ledger, settings)
    finally:
        await ledger.close()


def _sentence(problem: Exception) -> str:
    said = str(problem)
    return f"{said[:1].upper()}{said[1:]}."
