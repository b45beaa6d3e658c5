"""The token counter: known counts, the bounds that spare counting, and a free event loop."""

import asyncio
import gzip
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters import tokens
from gateway.adapters.tokens import PIECE_CHARACTERS, TiktokenCounter

VOCABULARY = Path(tokens.__file__).parent / "vocabulary" / "o200k_base.tiktoken.gz"


@pytest.fixture(scope="module")
def counter() -> Iterator[TiktokenCounter]:
    counter = TiktokenCounter()
    yield counter
    counter.close()


@pytest.fixture(scope="module")
def official() -> dict[str, object]:
    """What tiktoken itself says about o200k_base, its download replaced by a note of the hash."""
    from tiktoken_ext import openai_public

    said: dict[str, object] = {}

    def load(_address: str, expected_hash: str) -> dict[bytes, int]:
        said["hash"] = expected_hash
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", load)
        said["pattern"] = openai_public.o200k_base()["pat_str"]
    return said


KNOWN_COUNTS = [
    ("", 0),
    ("a", 1),
    ("Hello, world!", 4),
    ("hello world", 2),
    ("tiktoken is great!", 6),
    ("antidisestablishmentarianism", 6),
    ("2 + 2 = 4", 7),
    ("お誕生日おめでとう", 8),
    ("A cat in a red hat, oil painting, soft light", 12),
    ("a" * 20_000, 2_500),
    (" " * 128, 1),
    ("<|endoftext|>", 7),
]


@pytest.mark.parametrize(("text", "expected"), KNOWN_COUNTS)
async def test_known_counts(counter: TiktokenCounter, text: str, expected: int) -> None:
    assert await counter.count(text) == expected


def test_vocabulary_is_the_one_that_tiktoken_expects(official: dict[str, object]) -> None:
    content = gzip.decompress(VOCABULARY.read_bytes())
    assert hashlib.sha256(content).hexdigest() == official["hash"]
    assert official["hash"] in VOCABULARY.with_name("README.md").read_text("utf-8")


def test_split_pattern_is_tiktokens(official: dict[str, object]) -> None:
    assert official["pattern"] == tokens._SPLIT_PATTERN


def test_no_text_has_more_tokens_than_bytes(counter: TiktokenCounter) -> None:
    @given(st.text(max_size=300))
    def holds(text: str) -> None:
        count = counter._count(text)
        assert count <= len(text.encode())

    holds()


@pytest.mark.parametrize(
    "character", [" ", "\n", "\t", "a", "A", "^", "1", "😀", "\u0301", "\x00", "\u0627"]
)
async def test_hostile_megabyte_is_counted_quickly(
    counter: TiktokenCounter, character: str
) -> None:
    text = character * (2**20 // len(character.encode()))
    await counter.load()
    started = time.thread_time()
    count = sum(counter._count(piece) for piece in tokens.pieces(text))
    # About 0.2 s on one core; a quadratic tokenizer needs minutes.
    assert time.thread_time() - started < 5
    # The longest token of the vocabulary is a run of 128 spaces.
    assert len(text.encode()) / 128 <= count <= len(text.encode())


async def test_cutting_a_long_text_changes_the_count_little(counter: TiktokenCounter) -> None:
    sentence = "The quick brown fox jumps over the lazy dog, and then it rests. "
    text = sentence * (4 * PIECE_CHARACTERS // len(sentence))
    in_pieces = await counter.count(text)
    assert counter._encoding is not None
    assert abs(in_pieces - len(counter._encoding.encode_ordinary(text))) <= 2 * 3


async def test_many_callers_share_one_thread_and_get_their_own_answers() -> None:
    counter = TiktokenCounter()
    try:
        counts = await asyncio.gather(*(counter.count("a " * size) for size in range(1, 51)))
        own = [t for t in threading.enumerate() if t in counter._thread._threads]
        assert len(own) == 1
        assert counts == [await counter.count("a " * size) for size in range(1, 51)]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]
    finally:
        counter.close()


async def test_counting_leaves_the_event_loop_free(counter: TiktokenCounter) -> None:
    await counter.load()
    turns = 0

    async def turn_round() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    turning = asyncio.create_task(turn_round())
    await counter.count("a" * 2**20)
    turning.cancel()
    # The count takes over 100 ms; a loop that it blocked would have turned once or twice.
    assert turns > 20


async def test_nothing_is_counted_after_close() -> None:
    counter = TiktokenCounter()
    assert await counter.count("one") == 1
    counter.close()
    with pytest.raises(RuntimeError):
        await counter.count("two")
