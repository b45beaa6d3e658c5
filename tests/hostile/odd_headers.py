"""Headers as nobody should send them: of the kinds that the gateway reads, with values near and
far from what is right."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

VISIBLE: Final = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
TEXT: Final = st.text(VISIBLE, max_size=40).map(str.strip)
NUMBERS: Final = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "60",
        "61",
        "1e3",
        "0x1",
        "1.5",
        "٣",
        "²",
        "9" * 400,
        "18446744073709551616",
        "",
    ]
).filter(lambda one: one.isascii() or one == "²")
WORDS: Final[dict[str, list[str]]] = {
    "Cache-Control": ["no-cache", "no-store", "max-age", "only-if-cached", "max-stale", "private"],
    "Prefer": ["wait", "respond-async", "return", "handling"],
    "Range": ["bytes", "seconds", "none"],
    "If-Range": ['"x"', "W/"],
    "If-None-Match": ["*", '"x"', 'W/"x"', '"'],
    "If-Modified-Since": ["Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 31 Feb 1970", "0"],
    "Idempotency-Key": ["one", "two", "x" * 255, "x" * 256, "x" * 5000],
    "Accept": ["application/json", "text/html", "*/*", "image/*", "application/openmetrics-text"],
    "Accept-Encoding": ["gzip", "identity", "br", "*"],
    "Content-Encoding": ["gzip", "identity", "deflate", "br", "x-gzip"],
    "Content-Type": ["application/json", "multipart/form-data", "text/plain", "charset"],
    "Forwarded": ["for", "proto", "by"],
    "X-Forwarded-For": ["127.0.0.1", "::1", "unknown", "[", "999.1.1.1"],
    "X-Forwarded-Proto": ["https", "javascript", "wss"],
    "X-Request-Id": ["one", "<b>", "x" * 129],
    "Last-Event-ID": ["1"],
    "Host": ["x", "[", "a:b:c", "..", "x:99999", "a@b"],
    "Origin": ["null", "https://example.org", "http://["],
    "Expect": ["100-continue", "200-ok"],
    "traceparent": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0"],
}


@st.composite
def one_value(draw: st.DrawFn, words: list[str]) -> str:
    """Words with and without arguments, joined as lists are, and now and then anything at all."""
    if draw(st.integers(0, 4)) == 0:
        return draw(TEXT)
    parts = []
    for word in draw(st.lists(st.sampled_from(words), min_size=1, max_size=3)):
        argument = draw(st.one_of(NUMBERS, TEXT))
        shape = draw(st.sampled_from(["{0}", "{0}={1}", '{0}="{1}"', "{0}={1}-{1}", "{0}; a={1}"]))
        parts.append(shape.format(word, argument))
    return draw(st.sampled_from([", ", ",", ";", ",,"])).join(parts).strip()


@st.composite
def odd_headers(draw: st.DrawFn) -> dict[str, str]:
    names = draw(st.lists(st.sampled_from(sorted(WORDS)), max_size=3, unique=True))
    return {name: draw(one_value(WORDS[name])) for name in names}
