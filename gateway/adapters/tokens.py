"""Counts the tokens of a prompt offline, with the o200k_base vocabulary that the package carries.

Rule: importing this module reads nothing, and counting never runs on the event loop.
It must not know what a limit is for: it is told a text and answers with a number.
The provider does not publish its tokenizer, so a count near a limit is advice, not proof.
"""

from __future__ import annotations

import asyncio
import gzip
from binascii import a2b_base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from gateway.process.shares import Shares

if TYPE_CHECKING:
    from tiktoken import Encoding

PIECE_CHARACTERS = 32_768
"""Longer texts are counted in pieces of this length, since the tokenizer's regular expression runs
out of stack on several hundred thousand spaces, and its time grows faster than the text. A piece
takes some milliseconds at worst. Texts up to this length are counted exactly; each cut in a longer
one can change the sum by a few tokens."""

# How o200k_base splits a text before merging, as tiktoken defines it: the alternatives in order.
_SPLIT_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


class TiktokenCounter:
    """Counts tokens on one thread of its own; the vocabulary is loaded there once and kept.

    One thread is the bound: counting is pure CPU work, more threads would only compete for it.
    That thread alone touches the tokenizer, so any number of callers may count at once; the teams
    take turns with each piece of a text.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")
        self._turns = Shares(1)
        self._encoding: Encoding | None = None

    @property
    def is_loaded(self) -> bool:
        return self._encoding is not None

    async def load(self) -> None:
        """Loads the vocabulary now (about 0.3 s of CPU, 60 MB); a second call does nothing.

        Call it before taking requests: the tokenizer is built by one native call that holds the
        interpreter for about 0.2 s, so nothing else runs meanwhile, whichever thread makes it.
        Raises FileNotFoundError if the package was installed without its vocabulary.
        """
        await self._on_thread("")

    async def count(self, text: str, *, team: str = "") -> int:
        """The number of tokens in `text`; special tokens are counted as the plain text they are.

        The time is linear in the text, a few milliseconds per 32,768 characters; the caller bounds
        the text. Loads the vocabulary if `load` was not called. Nothing is counted after `close`.
        """
        tokens = 0
        for piece in pieces(text):
            async with self._turns.place(team):
                tokens += await self._on_thread(piece)
        return tokens

    def close(self) -> None:
        """Ends the thread after the count that is running; counts that wait are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _on_thread(self, text: str) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._count, text)

    def _count(self, text: str) -> int:
        if self._encoding is None:
            self._encoding = _build_encoding()
        return len(self._encoding.encode_ordinary(text))


def pieces(text: str) -> Iterator[str]:
    """The text in lengths that the tokenizer stands; one that is empty has none."""
    for start in range(0, len(text), PIECE_CHARACTERS):
        yield text[start : start + PIECE_CHARACTERS]


@cache
def _build_encoding() -> Encoding:
    """One for the process: it takes half a second and 56 MB."""
    # Imported here so that a command which counts nothing does not load a native library.
    from tiktoken import Encoding

    folder = resources.files("gateway.adapters") / "vocabulary"
    packed = (folder / "o200k_base.tiktoken.gz").read_bytes()
    words = gzip.decompress(packed).split()
    ranks = dict(zip(map(a2b_base64, words[::2]), map(int, words[1::2]), strict=True))
    encoding = Encoding(
        "o200k_base", pat_str=_SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={}
    )
    # The native tokenizer has its own copy by now; counting never looks at ours again (30 MB).
    ranks.clear()
    return encoding
