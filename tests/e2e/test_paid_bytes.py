"""What was paid is kept: odd pictures, odd links, odd codings; what is no picture is set aside."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import struct
import zlib
from pathlib import Path

from PIL import Image
from test_attack_upstream import answer, deceived, png


def drawn(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 9)).save(file, form)
    return file.getvalue()


def with_long_text(size_bytes: int) -> bytes:
    whole, data = png(), b"note\0\0" + zlib.compress(b"x" * size_bytes)
    sum_of_both = zlib.crc32(b"zTXt" + data)
    length = struct.pack(">I", len(data))
    return whole[:33] + length + b"zTXt" + data + struct.pack(">I", sum_of_both) + whole[33:]


BODIES: dict[str, tuple[bytes, bytes, str]] = {
    # What the link answers, what is to be kept of it, and under which media type.
    "AVIF": (answer(drawn("AVIF")), drawn("AVIF"), "image/avif"),
    "GIF": (answer(drawn("GIF")), drawn("GIF"), "image/gif"),
    "BMP": (answer(drawn("BMP")), drawn("BMP"), "image/bmp"),
    "TIFF": (answer(drawn("TIFF")), drawn("TIFF"), "image/tiff"),
    "long text": (answer(with_long_text(2_000_000)), with_long_text(2_000_000), "image/png"),
    **{
        f"coding {name!r}": (
            answer(png(number + 10), f"Content-Encoding: {name}"),
            png(number + 10),
            "image/png",
        )
        for number, name in enumerate(("aws-chunked", "UTF-8", "", "gzip", "br", "gzip, gzip"))
    },
    "zipped": (
        answer(gzip.compress(png(30)), "Content-Encoding: gzip"),
        png(30),
        "image/png",
    ),
    "zipped untold": (answer(gzip.compress(png(31))), png(31), "image/png"),
    "a length that is too long": (answer(png(40), length=len(png(40)) + 9), png(40), "image/png"),
    "an answer of a proxy": (answer(png(41), status=203), png(41), "image/png"),
    "a part that is all": (answer(png(42), status=206), png(42), "image/png"),
    "zipped twice": (
        answer(gzip.compress(gzip.compress(png(32))), "Content-Encoding: gzip"),
        png(32),
        "image/png",
    ),
}


async def test_what_decodes_is_kept_as_it_is(tmp_path: Path) -> None:
    async with deceived(tmp_path, "20s") as (one, liar):
        for name, (sent, kept, media_type) in BODIES.items():
            liar.link = lambda _, sent=sent: sent  # type: ignore[misc]
            task = await one.made(name)
            assert task["status"] == "completed", (name, task)
            found = await one.client.get(task["results"][0])
            assert (found.content, found.headers["content-type"]) == (kept, media_type), name
            assert found.headers["x-content-type-options"] == "nosniff"
        assert liar.asked["link"] == len(BODIES)
        assert await one.violations() == []


LINKS = {
    "a blank within": "{base}/f/a b.png",
    "blanks around": "  {base}/f/x.png\n",
    "a long signature": "{base}/f/x.png?k=" + "v" * 6000,
    "a scheme in capitals": "HTTP{rest}/f/x.png",
    "no ASCII": "{base}/f/süß.png?q=ü",
    "a path alone": "/f/x.png",
    "written out": "data:image/png;base64," + base64.b64encode(png(77)).decode(),
}


async def test_links_are_read_as_browsers_read_them(tmp_path: Path) -> None:
    async with deceived(tmp_path, "20s") as (one, liar):
        for number, (name, form) in enumerate(LINKS.items()):
            link = form.format(base=liar.base_url, rest=liar.base_url.removeprefix("http"))
            liar.poll = lambda _, link=link: answer(  # type: ignore[misc]
                liar.task(status="completed", results=[link])
            )
            liar.link = lambda _, number=number: answer(png(number + 50))  # type: ignore[misc]
            task = await one.made(name)
            assert task["status"] == "completed", (name, task)
            assert "/pictures/" in task["results"][0], name
        paths = [head.split(" ")[1] for head in liar.heads if " /f/" in head]
        assert paths[0] == "/f/a%20b.png" and len(paths) == len(LINKS) - 1
        assert "%C3%BC" in paths[4]


async def test_a_link_that_is_refused_here_says_so(tmp_path: Path) -> None:
    async with deceived(tmp_path) as (one, liar):
        liar.poll = lambda _: answer(liar.completed("http://169.254.169.254/latest/x.png"))
        task = await one.made("inside")
        assert task["error"]["code"] == "result_lost"
        assert "refused here" in task["error"]["message"]
        assert "169.254" not in task["error"]["message"] and liar.asked["link"] == 0


async def test_what_does_not_decode_is_set_aside_and_named(tmp_path: Path) -> None:
    cut = png(5)[:-20]
    async with deceived(tmp_path, "20s") as (one, liar):
        liar.link = lambda _: answer(cut, "Content-Type: image/png")
        task = await one.made("cut")
        assert task["error"]["code"] == "result_lost" and liar.asked["link"] == 3
        assert "operator can fetch" in task["error"]["message"]
        assert str(tmp_path) not in task["error"]["message"]
        listed = (await one.admin("GET", "pictures/unproven")).json()["data"]
        assert [(row["kind"], row["host"], row["media_type"]) for row in listed] == [
            ("PNG", "127.0.0.1", "image/png")
        ]
        name = listed[0]["name"]
        found = await one.admin("GET", f"pictures/unproven/{name}")
        assert found.content == cut
        assert found.headers["content-disposition"] == f'attachment; filename="{name}.bin"'
        assert found.headers["x-content-type-options"] == "nosniff"
        told = (await one.admin("GET", f"runs/{task['id']}")).json()
        assert name in told["summary"] and told["set_aside"][0]["name"] == name
        refused = await one.admin("GET", f"pictures/unproven/{name}", key="wrong")
        assert refused.status_code == 401
        assert (await one.admin("GET", "pictures/unproven/run_x-0")).status_code == 404
        for team, count in (("green", 0), ("blue", 1)):
            rows = (await one.admin("GET", "pictures/unproven", params={"team": team})).json()
            assert len(rows["data"]) == count


async def test_pictures_that_came_beside_a_lost_one_are_named(tmp_path: Path) -> None:
    """Nobody is shown them, and they were paid: the operator reads where they are."""
    async with deceived(tmp_path, "20s") as (one, liar):
        liar.poll = lambda _: answer(liar.completed("/f/1.png", "/f/2.png"))
        liar.link = lambda nth: answer(png(8) if nth == 1 else png(9)[:-20])
        task = await one.made("a pair", n=2)
        assert task["error"]["code"] == "result_lost"
        assert "1 of 2 are kept all the same" in task["error"]["message"]
        told = (await one.admin("GET", f"runs/{task['id']}")).json()["summary"]
        link = f"/pictures/{hashlib.sha256(png(8)).hexdigest()}.png"
        assert f"1 of 2 pictures came all the same: {link}." in told
        assert (await one.client.get(link)).content == png(8)
        assert (await one.admin("DELETE", f"runs/{task['id']}")).status_code == 200
        assert (await one.client.get(link)).status_code == 404
        told = (await one.admin("GET", f"runs/{task['id']}")).json()["summary"]
        assert "all the same" not in told
        assert await one.violations() == []


async def test_a_page_is_waited_out(tmp_path: Path) -> None:
    """A maintenance page, the same each time, is dead by count and by time, and not before."""
    async with deceived(tmp_path, "20s") as (one, liar):
        page = answer(b"<html>back soon</html>")
        liar.link = lambda nth: page if nth <= 6 else answer(png(6))
        assert (await one.made("patience"))["status"] == "completed"
        async with asyncio.timeout(10):  # taken away after the task is told
            while (await one.admin("GET", "pictures/unproven")).json()["data"]:
                await asyncio.sleep(0.02)
        liar.link = lambda _: page
        before = liar.asked["link"]
        lost = await one.made("in vain")
        assert lost["error"]["code"] == "result_lost" and liar.asked["link"] - before >= 8
        (row,) = (await one.admin("GET", "pictures/unproven")).json()["data"]
        assert row["kind"] == ""
