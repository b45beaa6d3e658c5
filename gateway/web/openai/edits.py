"""Edits: the pictures that come with a request go up to upstream's file store, or into our own, and
their links take their place in the order.

Bytes come in on disk and are proven to be pictures before anything goes up. What is up already
does not go up again, so that a repeated edit is the same order and hits the cache.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import structlog
from starlette.requests import Request

from gateway.core.catalog import ImageModel, Team
from gateway.core.model import Picture, Upload
from gateway.core.orders.validation import read_order
from gateway.core.picture_errors import NotAPicture, PictureTooLarge, StoreFull, TooCostly
from gateway.core.policy import Policy
from gateway.errors import InvalidRequest, UpstreamError
from gateway.ports.clock import Clock
from gateway.ports.files import OWN_STORE, FormFile, FormPiece
from gateway.ports.pictures import Proof
from gateway.process.shares import Shares
from gateway.services.decisions import Room
from gateway.services.uploads import Uploads
from gateway.web.edge import add_upstream_seconds
from gateway.web.openai import wire
from gateway.web.openai.form import WHAT, FormLimits, SpooledFile, received_form
from gateway.web.openai.wire import FILE_PARTS, HOW_TO_SEND_PICTURES, PICTURES, Wish
from gateway.web.spool import no_room, read_pieces

log = structlog.get_logger("gateway.http")

FILE_BYTES: Final = 50_000_000
FILES_BYTES: Final = 200_000_000
"""OpenAI's limit for one picture; sixteen of that size are not one edit."""

FORM_FIELDS: Final = 64
FORM_SECONDS: Final = 300.0
"""Half of what OpenAI's clients wait for an answer: the picture has to be made as well."""

FORM_GRACE_SECONDS: Final = 10.0
FORM_BYTES_PER_SECOND: Final = 8_000
"""A form that comes in more slowly than a bad mobile connection keeps its place from others."""

FORMS_AT_ONCE: Final = 16
"""Bounds the disk that forms take: 16 times `FILES_BYTES`. More wait, unread, for their turn."""

FORMS_WAITING: Final = 64
"""Of one team; whoever comes then would wait for longer than a client does."""

UPLOADS_LOOKED_AT: Final = 2000
"""Upstream's usual quota of files for the whole organisation."""

SPARE_SECONDS: Final = 3600.0
"""A file that upstream forgets sooner might be gone before it is fetched."""


class Edits:
    """Reads edits. `folder` is where forms lie meanwhile."""

    def __init__(
        self, files: Uploads, *, proof: Proof, room: Room, folder: Path, clock: Clock
    ) -> None:
        self._files = files
        self._room = room
        self._proof = proof
        self._folder = folder
        self._clock = clock
        self._places = Shares(FORMS_AT_ONCE, waiting=FORMS_WAITING, what="edits")

    async def wish(self, request: Request, team: Team, policy: Policy) -> Wish:
        """The edit as an order with links, once its pictures are up."""
        if not self._room.enough():
            raise no_room(WHAT)
        limits = FormLimits(
            files=wire.MAX_PICTURES + 1,
            file_bytes=FILE_BYTES,
            files_bytes=FILES_BYTES,
            fields=FORM_FIELDS,
            fields_bytes=policy.body_limit_bytes,
            seconds=FORM_SECONDS,
            grace_seconds=FORM_GRACE_SECONDS,
            bytes_per_second=FORM_BYTES_PER_SECOND,
        )
        async with (
            self._places.place(team.name),
            received_form(request, self._folder, limits) as form,
        ):
            wish = wire.read_wish(wire.read_fields(form.fields), policy.catalog, team)
            order = read_order(  # what is refused anyway need not go up
                wish.body, policy.catalog, team, private_callbacks=policy.private_callbacks
            )
            pictures, mask = _sorted_out(form.files, policy.catalog.models[order.model])
            proven = [await self._proven(team, file) for file in (*pictures, *mask)]
            links = await self._links(request, team, policy.catalog.models[order.model], proven)
        wish.body["image_urls"] = links[: len(pictures)]
        if mask:
            wish.body["mask_url"] = links[-1]
        return wish

    async def _proven(self, team: Team, file: SpooledFile) -> tuple[Picture, Path]:
        try:
            picture = await self._proof.prove(
                read_pieces(file.path), max_bytes=FILE_BYTES, team=team.name
            )
        except (NotAPicture, PictureTooLarge) as problem:
            log.info("picture refused", team=team.name, part=file.part, reason=str(problem))
            raise InvalidRequest(
                f"'{file.part}' takes too long to decode: save it in an ordinary way."
                if isinstance(problem, TooCostly)
                else f"'{file.part}' must be a whole PNG, WebP or JPEG picture.",
                param=wire.parameter(file.part),
            ) from None
        except StoreFull:
            raise no_room(WHAT) from None
        return picture, file.path

    async def _links(
        self,
        request: Request,
        team: Team,
        model: ImageModel,
        proven: Sequence[tuple[Picture, Path]],
    ) -> list[str]:
        """The link of each picture. While upstream's file store is out of reach our own will do,
        if one of the model's upstreams gets its pictures from here."""
        store = self._files.usual
        try:
            return await self._links_in(request, team, store, proven)
        except UpstreamError as error:
            if store == OWN_STORE or not _takes_ours(model):
                raise
            log.warning("edit kept here", team=team.name, store=store, reason=error.message)
            return await self._links_in(request, team, OWN_STORE, proven)

    async def _links_in(
        self, request: Request, team: Team, store: str, proven: Sequence[tuple[Picture, Path]]
    ) -> list[str]:
        """The link of each picture in this store; what is not there yet goes up.

        Into our own all of them go each time: what lies there is not kept twice, and stays longer.
        """
        known = {} if store == OWN_STORE else await self._known(team)
        for picture, path in proven:
            if picture.digest not in known:
                answered = await self._files.upload_form(team, _form(picture, path), into=store)
                add_upstream_seconds(request, answered.upstream_seconds)
                known |= _by_digest([answered.upload] if answered.upload else [])
        try:
            return [known[picture.digest] for picture, _ in proven]
        except KeyError:
            message = "The file store upstream took a picture and named no link for it."
            raise UpstreamError(message) from None

    async def _known(self, team: Team) -> dict[str, str]:
        """The team's files upstream as digest → link, without those about to be forgotten."""
        until = self._clock() + SPARE_SECONDS
        uploads, _ = await self._files.page(team, 1, UPLOADS_LOOKED_AT)
        return _by_digest(
            [one for one in uploads if one.expires_at > until and one.upstream != OWN_STORE]
        )


def _takes_ours(model: ImageModel) -> bool:
    return any(route.kind.brings_references for route in model.routes)


def _by_digest(uploads: Sequence[Upload]) -> dict[str, str]:
    """Of equal files the newest, which is the first, counts: it lives longest."""
    return {upload.digest: upload.urls[0] for upload in reversed(uploads) if upload.urls}


def _sorted_out(
    files: Sequence[SpooledFile], model: ImageModel
) -> tuple[Sequence[SpooledFile], Sequence[SpooledFile]]:
    """The pictures in their order, and the mask if there is one."""
    for file in files:
        if wire.parameter(file.part) in PICTURES and file.part not in FILE_PARTS:
            message = f"'{file.part}': {HOW_TO_SEND_PICTURES}"
            raise InvalidRequest(message, param=wire.parameter(file.part))
        if file.part not in FILE_PARTS:
            raise InvalidRequest(
                f"'{file.part}' cannot be honoured here. Leave it out.",
                param=wire.parameter(file.part),
            )
    mask = [file for file in files if file.part == wire.MASK]
    pictures = [file for file in files if file.part != wire.MASK]
    most = min(wire.MAX_PICTURES, model.limits.max_image_urls)
    if not 1 <= len(pictures) <= most:
        raise InvalidRequest(f"An edit needs 1 to {most} pictures as 'image'.", param="image")
    if len(mask) > 1 or (mask and not wire.takes_mask(model)):
        raise InvalidRequest(
            f"The model {model.name} takes no mask here: say in the prompt what to change."
            if len(mask) == 1
            else "There can be one mask only.",
            param="mask",
        )
    return pictures, mask


async def _form(picture: Picture, path: Path) -> AsyncIterator[FormPiece]:
    """The file for upstream, under a name that ends as its bytes demand."""
    subtype = "jpeg" if picture.extension == "jpg" else picture.extension
    yield FormFile(f"{picture.digest[:32]}.{picture.extension}", f"image/{subtype}")
    async for piece in read_pieces(path):
        yield piece
