"""`init` as people, scripts and accidents meet it: all of an installation or nothing of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.config import Settings, load
from gateway.config.first_settings import compose_settings_yaml

ROOT = Path(__file__).resolve().parents[2]
INIT = (sys.executable, "-m", "gateway", "init")
URL = "https://images.example.org"
KEY = re.compile(r"iga_[0-9a-f]{48}")
PLACE = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
VENDOR = {"EVOLINK_API_KEY": "sk-of-the-vendor"}


def init(folder: Path, *words: str, url: str | None = URL, **environ: str) -> Result:
    where = () if url is None else ("--public-url", url)
    given = {"EVOLINK_API_KEY": None, "EVOLINK_URL": None, **environ}
    return CliRunner().invoke(main, ["init", "--dir", str(folder), *where, *words], env=given)


def run(folder: Path, *words: str, **given: Any) -> subprocess.Popen[bytes]:
    """As a process of its own, with an empty environment."""
    command = [*INIT, "--dir", str(folder), "--public-url", URL, *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=PLACE, **{**streams, **given})


def settings_of(folder: Path, environ: Mapping[str, str] = VENDOR) -> Settings:
    return load(folder / "config.yaml", environ)


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "of mine: ü, $HOME, ${X} #1"


def test_the_key_is_shown_once_and_only_its_digest_is_written(folder: Path) -> None:
    before = os.umask(0)
    try:
        result = init(folder / "inner")
    finally:
        os.umask(before)
    folder = folder / "inner"
    assert result.exit_code == 0, result.stderr
    key = result.stdout.removesuffix("\n")
    assert KEY.fullmatch(key) and key not in result.stderr
    settings = settings_of(folder)
    assert [one.sha256 for one in settings.server.admin_keys] == [digest(key)]
    assert settings.server.metrics_keys == (digest((folder / "metrics.key").read_text().strip()),)
    assert settings.storage.data_dir == str(folder / "data")
    assert (settings.server.public_url, settings.teams) == (URL, {})
    assert left(folder) == ["config.yaml", "metrics.key"]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert key not in path.read_text("utf-8")
    for made in (folder, folder.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_check_takes_it_without_a_word_of_warning(folder: Path) -> None:
    init(folder)
    path = str(folder / "config.yaml")
    checked = CliRunner().invoke(main, ["check", "--config", path], env=VENDOR)
    assert (checked.exit_code, checked.stderr) == (0, "")
    unset = CliRunner().invoke(main, ["check", "--config", path], env={"EVOLINK_API_KEY": None})
    assert (unset.exit_code, "variable EVOLINK_API_KEY is not set" in unset.stderr) == (2, True)


def test_what_it_says_can_be_typed(folder: Path) -> None:
    result = init(folder, "--port", "9000", "--upstream-key", "VENDOR_KEY")
    said = result.stderr.split("Next:\n")[1]
    commands = [line.strip() for line in said.splitlines() if not line.strip().startswith("#")]
    assert commands[0].startswith("read -rs VENDOR_KEY && export VENDOR_KEY")
    shown = subprocess.run(
        ["bash", "-c", "python() { printf '%s\\n' \"$@\"; }\n" + "\n".join(commands[1:])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[:5] == ["-m", "gateway", "serve", "--config", str(folder / "config.yaml")]
    assert shown[-2:] == ["--url", "http://127.0.0.1:9000"]
    assert "--budget" in shown
    assert "read -rs" not in init(folder / "2", EVOLINK_API_KEY="sk-x").stderr


def test_an_installation_is_never_touched(folder: Path) -> None:
    first = init(folder)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    again = init(folder, url=None)  # nobody is asked in vain
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists, and was not touched" in again.stderr and "--dir" in again.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to("nowhere")
    assert init(folder).exit_code == 1
    (folder / "config.yaml").unlink()
    anew = init(folder)
    assert (anew.exit_code, anew.stdout != first.stdout) == (0, True)
    assert (folder / "metrics.key").read_bytes() == kept[folder / "metrics.key"]


@pytest.mark.parametrize("found", ["", "short\n", "\0" * 40])
def test_what_is_no_key_for_prometheus_is_told(folder: Path, found: str) -> None:
    folder.mkdir()
    (folder / "metrics.key").write_text(found)
    result = init(folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "metrics.key is there and holds no key" in result.stderr
    assert (left(folder), (folder / "metrics.key").read_text()) == (["metrics.key"], found)


@pytest.mark.parametrize(
    ("words", "url", "said"),
    [
        ((), None, "say --public-url"),
        ((), "images.example.org", "did you mean https://images.example.org?"),
        ((), "", "--public-url: must"),
        ((), "ftp://images.example.org", "starts with https://"),
        ((), "https://me:secret@images.example.org", "no user name"),
        ((), "https://images.example.org/?a=b", "query"),
        ((), "https://images.example.org\n", "--public-url: must"),
        ((), "https://\udcff.example", "as a browser shows it"),
        ((), 'https://images".example', "as a browser shows it"),
        ((), "https://images.example.org:", "as a browser shows it"),
        ((), "https://${HOST}", "as a browser shows it"),
        ((), "https://images.example.org:port", "starts with https://"),
        (("--upstream-key", "sk-1234567890abc"), URL, "--upstream-key: neither"),
        (("--upstream-key", "./evolink.key"), URL, "absolute path"),
        (("--upstream-key", "/run/a}b"), URL, "--upstream-key"),
        (("--upstream-key", ""), URL, "--upstream-key"),
        (("--upstream", "http://api.evolink.ai"), URL, "could read the vendor's key"),
        (("--upstream", "http://8.8.8.8:8090"), URL, "could read the vendor's key"),
        (("--upstream", "sandbox"), URL, "--upstream (or EVOLINK_URL): must be an address"),
        (("--host", " "), URL, "server.host must not be empty"),
        (("--port", "0"), URL, "--port"),
        (("--data-dir", "\udcff"), URL, "no valid UTF-8"),
        (("--compose", "--port", "9"), URL, "--compose: leave port out: deploy/config.yaml"),
        (("--replicas", "--port", "9"), URL, "--replicas: leave port out: deploy/replicas/"),
        (("--replicas",), f"{URL}/images", "--replicas: its balancer serves a name of its own"),
        (("--replicas",), f"{URL}:8443", "--replicas: its balancer serves a name of its own"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_made(
    folder: Path, words: tuple[str, ...], url: str | None, said: str
) -> None:
    result = init(folder, *words, url=url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "sk-1234567890abc" not in result.stderr and "secret" not in result.stderr
    assert not folder.exists()


def test_a_folder_that_is_a_file_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for below in ("file", "file/inner"):
        result = init(tmp_path / below)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{tmp_path / 'file'} is a file" in result.stderr
    result = init(Path("/proc/image-gateway"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "/proc/image-gateway" in result.stderr and "Nothing was set up" in result.stderr
    result = init(tmp_path / ("n" * 300))
    assert (result.exit_code, "File name too long" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("url", "kept", "said"),
    [
        (f"{URL}/", URL, ""),
        (f"{URL}/v1/", URL, ""),
        ("https://bücher.example:8443", "https://bücher.example:8443", ""),
        (f"{URL}/pictures-of/us/", f"{URL}/pictures-of/us", "take /pictures-of/us off"),
        ("http://images.example.org", "http://images.example.org", "use https://"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ""),
    ],
)
def test_addresses_are_kept_as_they_are_meant(folder: Path, url: str, kept: str, said: str) -> None:
    result = init(folder, url=url)
    assert settings_of(folder).server.public_url == kept
    assert ("warning" in result.stderr) == bool(said)
    assert said in result.stderr


def test_where_the_vendors_key_stands(folder: Path) -> None:
    key = folder / "evolink.key"
    result = init(folder, "--upstream-key", str(key).replace("}", ")"))
    assert result.exit_code == 0 and "first put the vendor's key into" in result.stderr
    folder = folder.parent / "plain"
    init(folder, "--upstream-key", str(folder / "evolink.key"))
    (folder / "evolink.key").write_text("sk-in-a-file\n")
    upstream = settings_of(folder, {}).upstreams["evolink"]
    assert upstream.api_key.get_secret_value() == "sk-in-a-file"


def test_a_rehearsal_reaches_this_machine_and_the_real_thing_does_not(folder: Path) -> None:
    result = init(folder, EVOLINK_URL="http://127.0.0.1:8090/v1")
    settings = settings_of(folder)
    upstream = settings.upstreams["evolink"]
    assert (upstream.base_url, upstream.files_url) == ("http://127.0.0.1:8090",) * 2
    assert upstream.allow_private_addresses and settings.alerts.allow_private_addresses
    assert "nothing is paid" in result.stderr
    init(folder / "real")
    settings = settings_of(folder / "real")
    upstream = settings.upstreams["evolink"]
    assert upstream.base_url == "https://api.evolink.ai"
    assert not (upstream.allow_private_addresses or settings.alerts.allow_private_addresses)


@pytest.mark.parametrize("url", ["http://sandbox:8090", "http://10.0.0.7", "http://[fd00::7]:80"])
def test_a_rehearsal_elsewhere_does_not_say_that_nothing_is_paid(folder: Path, url: str) -> None:
    result = init(folder, "--upstream", url)
    assert settings_of(folder).upstreams["evolink"].allow_private_addresses
    assert "nothing is paid" not in result.stderr
    assert f"upstream is {url}; make sure that it is a simulator" in result.stderr


@pytest.mark.parametrize(
    "url", ["https://API.evolink.ai", "HTTPS://api.evolink.ai/v1/", "https://api.evolink.ai:443"]
)
def test_the_vendor_is_known_in_every_spelling(folder: Path, url: str) -> None:
    assert init(folder, "--upstream", url).exit_code == 0
    assert settings_of(folder).upstreams == load(ROOT / "config.yaml", VENDOR).upstreams


def test_a_key_that_is_set_and_empty_is_still_asked_for(folder: Path) -> None:
    assert "read -rs EVOLINK_API_KEY" in init(folder, EVOLINK_API_KEY="").stderr


def test_a_question_ends_as_one(folder: Path) -> None:
    said = init(folder, url="images.example.org").stderr
    assert said.endswith("did you mean https://images.example.org?\n")


def test_its_model_and_prices_are_those_of_the_reference(folder: Path) -> None:
    init(folder)
    reference = load(ROOT / "config.yaml", VENDOR)
    settings = settings_of(folder)
    assert settings.models.items() <= reference.models.items()
    assert settings.upstreams == reference.upstreams


def test_it_serves_compose_too(folder: Path) -> None:
    """Whose settings are the same, with what differs in `.env`."""
    result = init(folder, "--compose")
    assert result.exit_code == 0, result.stderr
    assert left(folder) == [".env"]
    text = (folder / ".env").read_text()
    made = dict(line.split("=", 1) for line in text.splitlines())
    assert made["ADMIN_KEY_SHA256"] == digest(result.stdout.strip())
    assert made["METRICS_KEY_SHA256"] == digest(made["METRICS_KEY"])
    assert made["PUBLIC_URL"] == URL
    assert result.stdout.strip() not in text
    assert (ROOT / "deploy/config.yaml").read_text("utf-8") == compose_settings_yaml()
    assert init(folder, "--compose").exit_code == 1


def test_it_serves_several_gateways_too(folder: Path) -> None:
    """With the secrets of their stores besides; the password can stand in an address."""
    result = init(folder, "--replicas")
    assert result.exit_code == 0, result.stderr
    made = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())
    assert made["ADMIN_KEY_SHA256"] == digest(result.stdout.strip())
    stores = {"POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert stores <= set(made) and made["POSTGRES_PASSWORD"].isalnum()
    assert made["POSTGRES_PASSWORD"] != made["AWS_SECRET_ACCESS_KEY"]
    written = (ROOT / "deploy/replicas/config.yaml").read_text("utf-8")
    assert written == compose_settings_yaml(replicas=True)


def test_its_models_and_prices_are_those_of_the_explained_settings(folder: Path) -> None:
    assert init(folder).exit_code == 0
    explained = settings_of(ROOT).models
    for name, model in settings_of(folder).models.items():
        assert model == explained[name]


# --- accidents -----------------------------------------------------------------------------------


def test_a_key_that_cannot_be_shown_leaves_nothing(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        one = run(folder, stdout=full)
        told = one.communicate(timeout=30)[1]
    assert (one.returncode, b"the admin key could not be shown" in told) == (1, True), told
    here, there = os.pipe()
    os.close(here)
    one = run(folder, stdout=there)
    os.close(there)
    told = one.communicate(timeout=30)[1]
    assert (one.returncode, b"the admin key could not be shown" in told) == (1, True), told
    one = run(folder, stdout=None, preexec_fn=lambda: os.close(1))
    told = one.communicate(timeout=30)[1]
    assert (one.returncode, b"standard output is closed" in told) == (1, True), told
    assert b"Traceback" not in told
    assert not folder.exists()


def test_a_full_disk_leaves_nothing(folder: Path) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # the metrics key still fits

    one = run(folder, preexec_fn=no_room)
    told, why = one.communicate(timeout=30)
    assert (one.returncode, told) == (1, b""), why
    assert b"File too large" in why and b"Nothing was set up" in why
    assert not folder.exists()


def test_killed_while_it_shows_the_key_it_has_written_no_settings(folder: Path) -> None:
    here, there = os.pipe()
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, 4096)
    os.write(there, b"x" * 4096)  # nobody reads: the key waits at a full pipe
    one = run(folder, stdout=there)
    until = time.monotonic() + 30
    while ".config.yaml.new" not in left(folder):
        assert one.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    one.kill()
    one.communicate(timeout=30)
    os.close(here)
    os.close(there)
    assert "config.yaml" not in left(folder)
    result = init(folder)
    assert result.exit_code == 0
    keys = settings_of(folder).server.admin_keys
    assert [one.sha256 for one in keys] == [digest(result.stdout.strip())]
    assert left(folder) == ["config.yaml", "metrics.key"]


def test_from_a_folder_that_is_gone_it_still_says_what_to_type(folder: Path) -> None:
    gone = folder.parent / "gone"
    gone.mkdir()
    program = Path(sys.executable).with_name("image-gateway")
    script = f'rmdir "$PWD"; exec "{program}" init --public-url {URL} --dir "$1"'
    one = subprocess.run(
        ["bash", "-c", script, "-", str(folder)], cwd=gone, env=PLACE, capture_output=True
    )
    assert one.returncode == 0, one.stderr
    assert b"image-gateway teams create" in one.stderr


def test_of_several_at_once_one_sets_it_up(folder: Path) -> None:
    several = [run(folder) for _ in range(4)]
    shown = [(one.communicate(timeout=60)[0], one.returncode) for one in several]
    [(key, _)] = [(told, code) for told, code in shown if code == 0]
    assert sorted(shown)[:3] == [(b"", 1)] * 3
    keys = settings_of(folder).server.admin_keys
    assert [one.sha256 for one in keys] == [digest(key.decode().strip())]
    assert left(folder) == ["config.yaml", "metrics.key"]


def test_on_a_terminal_it_asks_until_it_knows(tmp_path: Path) -> None:
    """Standard output is the key's alone, so that a shell can take it."""
    leader, follower = pty.openpty()
    one = subprocess.Popen(
        [*INIT, "--dir", "here"],
        cwd=tmp_path,
        env=PLACE,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, f"images.example.org\n{URL}\nsk-not-here\n\n".encode())
    told = one.communicate(timeout=30)[0].decode()
    shown = os.read(leader, 65_536).decode()
    os.close(leader)
    assert one.returncode == 0, shown
    assert KEY.fullmatch(told.strip()) and told.count("\n") == 1
    assert "did you mean" in shown and "neither the name of a variable" in shown
    assert yaml.safe_load((tmp_path / "here/config.yaml").read_text())["upstreams"]["evolink"][
        "api_key"
    ] == ("${EVOLINK_API_KEY}")
