"""Pictures as files: a name that tells the prompt; what was there is never overwritten."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import click

WORDS_CHARACTERS: Final = 40
DIGITS: Final = 8
"""Of a picture's digest: enough to tell a team's pictures apart."""


def ready_folder(folder: Path) -> Path:
    """The folder, made where it is not there. Raises `UsageError` where nothing can be saved."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except FileExistsError:
        raise click.UsageError(f"--output {folder} is a file: name a folder.") from None
    except OSError as error:
        raise click.UsageError(f"--output {folder}: {error.strerror}.") from None


def save(folder: Path, prompt: str, name: str, content: Iterable[bytes]) -> Path:
    """Writes a picture, called `name` by its link, and returns where it is. Raises `OSError`.

    A file of its bytes that is there already is the one that is returned.
    """
    digest, _, extension = name.partition(".")
    for path in _places(folder, f"{words_of(prompt)}-{digest[:DIGITS]}", extension):
        try:
            file = path.open("xb")
        except FileExistsError:
            if _is(path, digest):
                return path
            continue
        try:
            with file:
                file.writelines(content)
            return path
        except BaseException:
            path.unlink(missing_ok=True)  # half a picture is none
            raise
    raise AssertionError("places do not end")


def words_of(prompt: str) -> str:
    """The prompt's first words as a name of files: letters and digits, cut between words."""
    text = unicodedata.normalize("NFC", prompt).lower()
    words = re.findall(r"[^\W_]+", text)
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word
        if len(longer) > WORDS_CHARACTERS:
            break
        name = longer
    return name or "".join(words)[:WORDS_CHARACTERS] or "picture"


def _places(folder: Path, stem: str, extension: str) -> Iterator[Path]:
    yield folder / f"{stem}.{extension}"
    yield from (folder / f"{stem}-{number}.{extension}" for number in count(2))


def _is(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest
