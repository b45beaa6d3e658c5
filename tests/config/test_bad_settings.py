"""Every mistake has its own file in `bad/`, and beside it the exact text that answers it."""

from pathlib import Path

import pytest
from settings_samples import ENVIRON, SECRET

from gateway.config import SettingsError, load

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
HIDDEN = (SECRET, "my-own-secret-admin-key", "my-own-callback-secret", "pg-password", "me:password")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_says_what_is_wrong_and_where(path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(path, ENVIRON)
    assert str(caught.value) + "\n" == path.with_suffix(".txt").read_text()
    assert not any(secret in f"{caught.value!r} {caught.value}" for secret in HIDDEN)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_every_expectation_has_its_file() -> None:
    folder = Path(__file__).parent / "bad"
    assert {path.stem for path in folder.glob("*.txt")} == {path.stem for path in BAD}
    assert len(BAD) > 70
