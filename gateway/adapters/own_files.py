"""The gateway's own file store, for settings whose upstreams have none: pictures alone.

What comes is proven and kept in the picture store; its link is that of any picture here, which
`own_links` reads where it lies. Equal bytes are one file of a team, and one picture of the store.

A record of the store's own, beside those of the teams, says for each picture that it was uploaded,
and when last. It is written before the bytes are kept and goes after they are gone, so that
`sweep` finds all of them, and removes those whose time is over and that no run has made as well.

A second record says which team has brought the picture, for as long as its bytes stay: by these
its share of the store is counted, whatever it has deleted from its list meanwhile. Nobody is
turned away within a share of the places, however many others have taken. Of bytes a team has at
most what the settings say, and where they fill a disk no more than it leaves to the others. All
together stop well above the room below which no order is taken: what is uploaded never stops what
is ordered.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import structlog

from gateway.core.model import Picture, Upload
from gateway.core.picture_errors import NotAPicture, PictureProblem, PictureTooLarge, StoreFull
from gateway.core.picture_names import media_type_of
from gateway.core.policy import Current
from gateway.core.references import MAX_BYTES, too_slow, unusable
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import InvalidRequest, RateLimited, Unavailable
from gateway.ports.clock import Clock
from gateway.ports.files import OWN_STORE, FormField, FormFile, FormPiece, StoredFile, file_time
from gateway.ports.ledger import UploadRecords
from gateway.ports.outbound import Links
from gateway.ports.pictures import Pictures, Proof

log = structlog.get_logger("gateway.files")

A = TypeVar("A")
T = TypeVar("T")

LIFETIME_SECONDS: Final = 72 * 3600.0
"""As long as a team has its file, and upstream's store keeps one."""

KEPT_SECONDS: Final = LIFETIME_SECONDS + 48 * 3600.0
"""The bytes stay for longer: an order that named them at the last moment may still wait."""

SWEEP_SECONDS: Final = 600.0
SWEPT_AT_ONCE: Final = 500

MAX_FILES: Final = 20_000
"""Of all teams together, but for those of teams that have less than their share of so many."""

FETCH_SECONDS: Final = 60.0
SCRATCH_BYTES: Final = 1_000_000
"""So many are written, or read, in one hop to a thread."""

THE_STORE: Final = ""
"""In the place of a team; no team has this name, nor one that begins like `_BROUGHT`."""

_BROUGHT: Final = ":"

_FOR_EVER: Final = 3650 * 86_400.0  # that record ends with its bytes, and never by itself
_MAX_NAME: Final = 120
_MAX_PARTS: Final = 4
_USUAL_FOLDER: Final = "uploads"
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class OwnFilesDeps:
    """`in_hand` keeps others off the pictures of these digests for the length of a block,
    `references` gives what fetches for a team. In `scratch` lies what comes in. `fills_disk` says
    that what is kept takes of the room that `pictures` tell."""

    ledger: UploadRecords
    pictures: Pictures
    proof: Proof
    in_hand: Callable[[Iterable[str]], AbstractAsyncContextManager[object]]
    references: Callable[[str], Links]
    current: Current
    clock: Clock
    scratch: Path
    fills_disk: bool


@dataclass(slots=True)
class _Draft:
    """A file that has come in, and what was said of it on the way."""

    path: Path
    sum: hashlib._Hash = field(default_factory=hashlib.sha256)
    size_bytes: int = 0

    async def fill(self, content: AsyncIterator[bytes]) -> None:
        batch = bytearray()
        async for chunk in content:
            batch += chunk
            if self.size_bytes + len(batch) > MAX_BYTES:
                raise PictureTooLarge(f"more than {MAX_BYTES} bytes")
            if len(batch) >= SCRATCH_BYTES:
                await self._add(batch)
                batch = bytearray()
        await self._add(batch)

    async def read(self) -> AsyncGenerator[bytes]:
        at = 0
        while piece := await _on_disk(_piece, self.path, at):
            yield piece
            at += len(piece)

    async def _add(self, batch: bytearray) -> None:
        self.sum.update(batch)
        self.size_bytes += len(batch)
        await _on_disk(_append, self.path, batch)


@dataclass(frozen=True, slots=True)
class _Share:
    """How many bytes a team may have here in all."""

    team: str
    most_bytes: int


class OwnFiles:
    """See gateway.ports.files.FileStore.

    Each gateway has one; those that share ledger and pictures share the files.
    """

    def __init__(self, deps: OwnFilesDeps) -> None:
        self._deps = deps
        self._ledger = deps.ledger
        self._pictures = deps.pictures
        self._clock = deps.clock

    async def upload_form(self, form: AsyncIterator[FormPiece], *, folder: str) -> StoredFile:
        said: dict[FormField, str] = {}
        sent_as = ""

        async def content() -> AsyncIterator[bytes]:
            nonlocal sent_as
            async for piece in form:
                if isinstance(piece, bytes):
                    yield piece
                elif isinstance(piece, FormFile):
                    sent_as = piece.name
                else:
                    said.setdefault(*piece)

        with self._draft("file") as draft:
            await draft.fill(content())
            return await self._stored(draft, said, sent_as, folder)

    async def upload_content(
        self,
        content: AsyncIterator[bytes],
        fields: Mapping[FormField, str],
        *,
        media_type: str,
        folder: str,
    ) -> StoredFile:
        with self._draft("file") as draft:
            await draft.fill(content)
            return await self._stored(draft, fields, "", folder)

    async def upload_link(
        self, url: str, fields: Mapping[FormField, str], *, folder: str
    ) -> StoredFile:
        """Fetched as a reference of the team would be, from where those may lie."""
        links = self._deps.references(_team(folder))
        with self._draft("file_url") as draft:
            try:
                async with (
                    asyncio.timeout(FETCH_SECONDS),
                    links.stream(url, max_bytes=MAX_BYTES, timeout_seconds=FETCH_SECONDS) as body,
                ):
                    await draft.fill(body)
            except TimeoutError:
                said = too_slow("file_url", FETCH_SECONDS)
                raise InvalidRequest(said, param="file_url") from None
            return await self._stored(draft, fields, unquote(urlsplit(url).path), folder)

    async def quota(self, *, folder: str) -> Mapping[str, object]:
        """Of the team: how many files it has brought, and for how many more there are places."""
        brought, left = await self._places(_team(folder))
        numbers = {
            "is_custom": False,
            "max_files": MAX_FILES,
            "quota_reason": "",
            "remain_files": left,
            "used_files": brought,
            "user_group": "default",
        }
        return {"code": 200, "data": numbers, "success": True}

    async def delete(self, file_id: str) -> Mapping[str, object]:
        """The team's record is the file; its bytes may be another team's file too, or be needed by
        an order, and are left to `sweep`."""
        return {"code": 200, "msg": "File deleted successfully", "success": True}

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def sweep(self) -> None:
        """Removes what was uploaded last so long ago that nothing can need it."""
        before = self._clock() - KEPT_SECONDS
        while True:
            last = -(-await self._count() // SWEPT_AT_ONCE)  # the oldest come last
            page, _ = await self._ledger.uploads(
                THE_STORE, now=self._clock(), page=max(last, 1), page_size=SWEPT_AT_ONCE
            )
            over = [one for one in page if one.created_at < before]
            if not over:
                return
            for one in over:
                try:
                    await self._drop(one, before)
                except (PictureProblem, Unavailable) as problem:
                    log.warning("uploaded picture not removed yet", reason=str(problem))
                    return

    async def _drop(self, one: Upload, before: float) -> None:
        """Others write that record with the picture in hand only, as runs make one their own."""
        async with self._deps.in_hand([one.digest]):
            known = await self._ledger.upload(THE_STORE, one.id)
            if known is None or known.created_at >= before:
                return
            keys = Keys(picture=one.digest)
            made = await self._ledger.transact(keys, lambda view: (view.pictures, Writes()))
            if all(picture.erased_at is not None for picture in made):
                await self._pictures.remove(_picture(known))
                log.info("uploaded picture removed", picture=known.name)
            await self._ledger.forget_upload(THE_STORE, one.id)

    async def _stored(
        self, draft: _Draft, said: Mapping[FormField, str], sent_as: str, folder: str
    ) -> StoredFile:
        name = await self._kept(draft, _team(folder))
        digest, now = draft.sum.hexdigest(), self._clock()
        link = f"{self._deps.current.policy.public_url}/pictures/{name}"
        shown = _last_part(said.get(FormField.NAME) or sent_as) or name
        file_id, expires_at = f"file_{digest[:32]}", now + LIFETIME_SECONDS
        data = {
            "download_url": link,
            "expires_at": file_time(expires_at),
            "file_id": file_id,
            "file_name": shown,
            "file_size": draft.size_bytes,
            "file_url": link,
            "mime_type": media_type_of(name),
            "original_name": _last_part(sent_as) or shown,
            "upload_path": _wished(said.get(FormField.FOLDER, "")),
            "upload_time": file_time(now),
        }
        answer = {"code": 200, "data": data, "msg": "File uploaded successfully", "success": True}
        return StoredFile(
            id=file_id,
            name=shown,
            size_bytes=draft.size_bytes,
            urls=(link,),
            expires_at=expires_at,
            answer=answer,
            digest=digest,
        )

    async def _kept(self, draft: _Draft, team: str) -> str:
        """The name of the picture, which lies in the picture store from now on."""
        digest = draft.sum.hexdigest()
        share: _Share | None = None
        if known := await self._ledger.upload(THE_STORE, digest):
            name = known.name
        else:
            share = await self._share(team)
            name = await self._proven(draft, share)
        async with self._deps.in_hand([digest]):
            if share is not None and await self._ledger.upload(THE_STORE, digest):
                share = None  # it came by another request meanwhile, and takes no more room
            await self._note(_record(digest, name, draft.size_bytes, self._clock()), team, share)
            found = await self._pictures.find(name)
            if found is None or found.size_bytes != draft.size_bytes:
                async with aclosing(draft.read()) as content:
                    await self._pictures.keep(content, max_bytes=MAX_BYTES)
        return name

    async def _proven(self, draft: _Draft, share: _Share) -> str:
        """Bytes that were not here lately. They are proven in the turns of what nobody pays for."""
        await self._require_place(share.team)
        await self._take(share, draft.size_bytes)
        async with aclosing(draft.read()) as content:
            proven = await self._deps.proof.prove(content, max_bytes=MAX_BYTES, team=share.team)
        if proven.digest != draft.sum.hexdigest():
            raise NotAPicture("it is a picture that is wrapped in something")
        return proven.name

    async def _share(self, team: str) -> _Share:
        """As things are: of a disk no more than the team would leave to others, if there are any,
        so that each finds room, however much one brings."""
        policy = self._deps.current.policy
        room = await self._pictures.free_bytes() - policy.spare_floor_bytes
        if room < 0:
            log.warning("uploads wait for room", team=team, floor_bytes=policy.spare_floor_bytes)
            raise _full()
        most = policy.uploads_per_team_bytes
        has_others = len(policy.teams) > 1
        return _Share(team, min(most, room) if self._deps.fills_disk and has_others else most)

    async def _take(self, share: _Share, size_bytes: int, uploads: tuple[Upload, ...] = ()) -> None:
        """Writes `uploads` where the team may bring so many bytes more; else it raises
        `RateLimited`, or `Unavailable` where the team has brought nothing that could go."""
        now, place = self._clock(), _BROUGHT + share.team

        def decide(view: View) -> tuple[int | None, Writes]:
            if view.uploaded_bytes + size_bytes > share.most_bytes:
                return view.uploaded_bytes, Writes()
            return None, Writes(uploads=uploads)

        brought = await self._ledger.transact(Keys(uploads=(place, now)), decide)
        if brought is None:
            return
        log.warning(
            "a team has its share of uploads",
            team=share.team,
            brought_bytes=brought,
            most_bytes=share.most_bytes,
        )
        if not brought:
            raise _full()
        count = await self._count(place)
        raise await self._has_its_share(
            share.team,
            count,
            f"This team has its share of the gateway's file store: {count} files, {brought} bytes "
            f"in all, where a team may have {share.most_bytes} as things are",
        )

    async def _places(self, team: str) -> tuple[int, int]:
        """How many files the team has brought, and how many more have a place: a team that has its
        share gets more only where the store as a whole has places."""
        share = -(-MAX_FILES // max(len(self._deps.current.policy.teams), 1))
        brought = await self._count(_BROUGHT + team)
        return brought, max(share - brought, MAX_FILES - await self._count(), 0)

    async def _require_place(self, team: str) -> None:
        brought, left = await self._places(team)
        if not left:
            raise await self._has_its_share(
                team,
                brought,
                "The gateway's file store is full, and this team has its share of it: "
                f"{brought} files",
            )

    async def _has_its_share(self, team: str, brought: int, said: str) -> RateLimited:
        """The refusal of a team that has brought so many files."""
        now, place = self._clock(), _BROUGHT + team
        oldest, _ = await self._ledger.uploads(place, now=now, page=brought, page_size=1)
        return RateLimited(
            f"{said}, each for five days from its last upload. Name pictures by links to where "
            "they lie already, wait until the oldest are gone, or ask the platform team.",
            retry_after_seconds=max((one.expires_at for one in oldest), default=now) - now,
        )

    async def _note(self, record: Upload, team: str, share: _Share | None) -> None:
        """Without a share where the store has these bytes already."""
        expires_at = record.created_at + KEPT_SECONDS
        both = (record, replace(record, team=_BROUGHT + team, expires_at=expires_at))
        if share is None:
            await self._ledger.transact(Keys(), lambda _: (None, Writes(uploads=both)))
        else:
            await self._take(share, record.size_bytes, both)

    async def _count(self, team: str = THE_STORE) -> int:
        return (await self._ledger.uploads(team, now=self._clock(), page=1, page_size=1))[1]

    @contextmanager
    def _draft(self, place: str) -> Iterator[_Draft]:
        """A file for what comes in, for the length of the block; `place` is where the request has
        it, for who is told that it cannot be used."""
        try:
            handle, path = tempfile.mkstemp(dir=self._deps.scratch)
        except OSError as error:
            raise _full() from error
        os.close(handle)
        try:
            yield _Draft(Path(path))
        except StoreFull as problem:
            log.warning("picture not kept", reason=str(problem))
            raise _full() from problem
        except PictureProblem as problem:
            raise InvalidRequest(unusable(place, problem), param=place) from problem
        finally:
            with suppress(OSError):
                Path(path).unlink()


def _full() -> Unavailable:
    return Unavailable(
        "The gateway has no room for this file just now: what its disk has left is for orders. "
        "Name pictures by links to where they lie already, try again later, or ask the platform "
        "team.",
        retry_after_seconds=30,
    )


def _team(folder: str) -> str:
    """Whose turn it is: the folder begins with the team's name, as a folder may spell it."""
    return folder.partition("/")[0]


def _record(digest: str, name: str, size_bytes: int, now: float) -> Upload:
    """The store's own."""
    return Upload(
        id=digest,
        team=THE_STORE,
        upstream=OWN_STORE,
        digest=digest,
        name=name,
        size_bytes=size_bytes,
        urls=(),
        created_at=now,
        expires_at=now + _FOR_EVER,
    )


def _picture(record: Upload) -> Picture:
    """By its name, which is all that a removal asks for."""
    extension = record.name.partition(".")[2]
    return Picture(record.digest, extension, record.size_bytes, width=1, height=1)


def _wished(folder: str) -> str:
    return "/".join(_parts(folder)[:_MAX_PARTS]) or _USUAL_FOLDER


def _last_part(name: str) -> str:
    return "".join(_parts(name)[-1:])[:_MAX_NAME]


def _parts(path: str) -> list[str]:
    """The parts of a path, of harmless characters, without those that are but dots."""
    parts = (_UNUSUAL.sub("_", part) for part in path.replace("\\", "/").split("/"))
    return [part for part in parts if part.strip("._")]


async def _on_disk(call: Callable[[Path, A], T], path: Path, what: A) -> T:
    try:
        return await asyncio.to_thread(call, path, what)
    except OSError as error:
        raise StoreFull(f"{type(error).__name__} where uploads come in") from error


def _append(path: Path, content: bytearray) -> None:
    with path.open("ab") as file:
        file.write(content)


def _piece(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(SCRATCH_BYTES)
