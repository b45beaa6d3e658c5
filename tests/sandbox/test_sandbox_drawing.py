"""Pictures: any prompt is drawable, sizes are exact, and memory stays bounded."""

import asyncio
import io

import pytest
from PIL import Image

from gateway.sandbox.drawing import Picture, draw
from gateway.sandbox.lettering import fit_text, typeface_for
from gateway.sandbox.studio import Studio


def picture(prompt: str, *, seed: str = "1:1:0", scale: float = 0.25, **changes: object) -> Picture:
    fields: dict[str, object] = {
        "prompt": prompt,
        "caption": "gpt-image-1.5  ·  1:1  ·  high",
        "index": 0,
        "count": 1,
        "pixels": (1024, 1024),
        "scale": scale,
        "output_format": "png",
        "seed": seed,
    }
    return Picture(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a",
        "x" * 5000,
        "word " * 1000,
        "猫が窓辺で本を読んでいる",
        "жёлтый кот, ein Käfer, قطة صفراء, 🐈‍⬛",
        "tab\tnewline\nnull\x00bell\x07",
    ],
)
def test_any_prompt_is_drawn(prompt: str) -> None:
    image = Image.open(io.BytesIO(draw(picture(prompt))), formats=("PNG",))
    image.load()
    assert image.size == (256, 256)


@pytest.mark.parametrize("pixels", [(1024, 1536), (1536, 1024), (3840, 1280), (16, 16)])
def test_any_size_is_drawn(pixels: tuple[int, int]) -> None:
    drawn = draw(picture("a red bicycle", pixels=pixels, scale=1.0))
    assert Image.open(io.BytesIO(drawn), formats=("PNG",)).size == pixels


def test_the_prompt_is_lettered_over_the_scene() -> None:
    def white_pixels(prompt: str) -> int:
        image = Image.open(io.BytesIO(draw(picture(prompt, scale=0.5)))).convert("L")
        foot = image.crop((40, 300, 470, 430))
        return sum(foot.histogram()[250:])

    assert white_pixels("HHHHHHHHHHHHHHHHHHHH " * 3) > 2 * white_pixels(".")


def test_fitted_text_stays_in_its_box_and_keeps_short_prompts_large() -> None:
    short, long = "red bicycle", "a very long sentence about bicycles " * 40
    for text in (short, long):
        face = typeface_for(text)
        fitted = fit_text(text, face, width=800, height=600, sizes=(96, 22))
        assert fitted.height <= 600
        assert max(fitted.font.getlength(line) for line in fitted.lines) <= 800 * 1.03
    assert fit_text(short, face, width=800, height=600, sizes=(96, 22)).font.size == 96


async def test_the_studio_draws_again_what_its_cache_has_dropped() -> None:
    studio = Studio(threads=2, cache_bytes=0)
    try:
        wanted = picture("again", scale=0.05)
        assert await studio.picture(wanted) == await studio.picture(wanted)
    finally:
        studio.close()


async def test_one_who_gives_up_does_not_spoil_the_drawing_for_others() -> None:
    studio = Studio(threads=1, cache_bytes=1_000_000)
    try:
        wanted = picture("shared", scale=0.5)
        impatient = asyncio.create_task(studio.picture(wanted))
        patient = asyncio.create_task(studio.picture(wanted))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).startswith(b"\x89PNG")
    finally:
        studio.close()
