"""Files as nobody should send them: pictures that are none, base64 that is none, forms that end
in the middle."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final

import httpx2 as httpx
import pytest
from house import TEAM_KEY
from hypothesis import given
from hypothesis import strategies as st
from odd_answers import pictures
from odd_headers import TEXT
from siege import besieged, examples, share

AUTH: Final = {"Authorization": f"Bearer {TEAM_KEY}"}
EXAMPLES: Final = share(40, 30)
KINDS: Final = st.sampled_from(["image/png", "image/svg+xml", "text/html", "", ";", "image/" * 99])
PREFIXES: Final = st.sampled_from(
    ["", "data:image/png;base64,", "data:,", "data:;base64,,", "data:image/png;charset=x;base64,"]
)
FIELDS: Final = ("image", "image[]", "mask", "prompt", "model", "n", "size", "file", "", "user")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        besieged(tmp_path_factory.mktemp("uploads")) as siege,
        httpx.Client(base_url=siege.url, headers=AUTH, timeout=30) as one,
    ):
        yield one


def is_fine(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text


@st.composite
def base64_texts(draw: st.DrawFn) -> str:
    text = base64.b64encode(draw(pictures())).decode()
    place = draw(st.integers(0, len(text)))
    broken = [text, text[:place], text[:place] + draw(TEXT) + text[place:], text.replace("A", " ")]
    return draw(PREFIXES) + draw(st.sampled_from(broken))


def test_no_base64_breaks_it(client: httpx.Client) -> None:
    @examples(EXAMPLES)
    @given(base64_texts(), TEXT)
    def sent(text: str, name: str) -> None:
        body = {"base64_data": text, "file_name": name, "upload_path": name}
        is_fine(client.post("/api/v1/files/upload/base64", json=body))
        wish = {"model": "gpt-image-1.5", "prompt": "x", "image_urls": [text[:2000]]}
        is_fine(client.post("/v1/images/generations", json=wish))

    sent()


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, bytes]:
    """A boundary and a form, of which some lines are left out, doubled, or cut at the end."""
    boundary = draw(st.sampled_from(["b", "b" * 70, "b" * 300, "a b", "'(/", "--"]))
    lines = []
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=6)):
        quoted = json.dumps(draw(TEXT)).encode()
        disposition = b'Content-Disposition: form-data; name="%s"' % name.encode()
        is_file = draw(st.booleans())
        value = draw(pictures()) if is_file else draw(TEXT).encode()
        lines += [
            b"--" + boundary.encode(),
            disposition + (b"; filename=" + quoted if is_file else b""),
            b"Content-Type: " + draw(KINDS).encode(),
            *([b"Content-Length: 3"] if draw(st.integers(0, 5)) == 0 else []),
            b"",
            value,
        ]
    kept = [line for line in lines for _ in range(draw(st.sampled_from([1] * 30 + [0, 2])))]
    body = b"\r\n".join([*kept, b"--" + boundary.encode() + b"--", b""])
    return boundary, body[: draw(st.sampled_from([len(body)] * 4 + [len(body) // 2, 9]))]


def test_no_form_breaks_it(client: httpx.Client) -> None:
    @examples(EXAMPLES)
    @given(forms(), st.sampled_from(["/api/v1/files/upload/stream", "/openai/v1/images/edits"]))
    def sent(form: tuple[str, bytes], path: str) -> None:
        boundary, body = form
        for named in (boundary, f'"{boundary}"', ""):
            kind = f"multipart/form-data; boundary={named}"
            is_fine(client.post(path, content=body, headers={"Content-Type": kind}))

    sent()
