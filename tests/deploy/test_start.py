"""docs/start.md, walked word for word: from a bare folder to a picture through TLS.

The commands of the page are typed into a shell with an empty environment, one after the other.
Around them is what the page takes for granted: a clone, a machine that trusts the certificate,
Caddy as its package runs it. `in_words_of_here` is all that differs: names and ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from deployed import ROOT, tool
from PIL import Image
from processes import free_port
from receivers import Receiver

PAGE: Final = (ROOT / "docs/start.md").read_text("utf-8")
BLOCKS: Final = dict(re.findall(r"<!-- tested: (\w+) -->\n```sh\n(.*?)```", PAGE, re.DOTALL))
TO_THE_PICTURE: Final = ("install", "settings", "serve", "picture")
PASTED: Final = "sk-of-a-rehearsal"
SECONDS: Final = 60
CLONED: Final = (
    *("Makefile", "pyproject.toml", "requirements.lock", "requirements-build.lock"),
    *("config.yaml", "deploy/Caddyfile"),
)
ENDED: Final = re.compile(r"^ended (\d+)\n", re.MULTILINE)


def commands(block: str) -> list[str]:
    """The commands of a block: a line that ends in a backslash or a pipe goes on."""
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    return re.findall(r"(?:.*[\\|]\n)*.*\n", "\n".join(lines) + "\n")


def test_the_first_picture_takes_eight_commands() -> None:
    walked = [one for name in TO_THE_PICTURE for one in commands(BLOCKS[name])]
    assert 1 <= len(walked) <= 8
    assert next(iter(BLOCKS)) == "install"


def test_what_cannot_be_typed_here_agrees_with_the_files_it_names() -> None:
    """The service and nginx want root: their commands parse, and mean what `deploy/` has."""
    shown = re.findall(r"^```sh\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    for block in shown:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    [service] = [block for block in shown if "systemctl enable" in block]
    unit = (ROOT / "deploy/image-gateway.service").read_text("utf-8")
    user = re.findall(r"^(?:User|Group|StateDirectory|ConfigurationDirectory)=(.+)$", unit, re.M)
    assert set(user) == {"image-gateway"}
    assert re.findall(r"useradd .+$", unit, re.M)[0] in service
    [program, settings] = re.findall(r"^ExecStart=(\S+) serve --config (\S+)$", unit, re.M)[0]
    assert f"{program} init" in service and f"--dir {Path(settings).parent} " in service
    [state] = re.findall(r"^WorkingDirectory=(.+)$", unit, re.M)
    assert f"--data-dir {state}\n" in service
    assert re.findall(r"^EnvironmentFile=-(.+)$", unit, re.M)[0] in service
    [sed] = re.findall(r"^sudo (sed .*?) \| sudo tee", PAGE, re.DOTALL | re.MULTILINE)
    made = subprocess.run(["bash", "-c", sed], cwd=ROOT, capture_output=True, text=True).stdout
    assert "/etc/nginx/tls" not in made and made.count("/etc/letsencrypt/live/") == 2


@dataclass
class Walker:
    """A person at a shell, with an empty environment."""

    folder: Path
    ports: dict[str, int]

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.clone = self.folder / "clone"
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self.clone,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        # As anybody does whose port is another.
        self.line(f"export GATEWAY_URL=http://127.0.0.1:{self.ports['gateway']}\n")

    def types(self, name: str, pasted: str = "") -> str:
        """All commands of a block; gives what they said. `pasted` is what one of them waits for."""
        said = ""
        for command in commands(BLOCKS[name]):
            command = in_words_of_here(command, self.ports)
            waits = f"{pasted}\n" if command.startswith("read ") else ""
            said += self.line(f"{command}{waits}")
        return said

    def line(self, text: str) -> str:
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{text}printf '\\nended %s\\n' $?\n")
        self._shell.stdin.flush()
        said = ""
        while not (ended := ENDED.search(said)):
            line = self._shell.stdout.readline()
            assert line, said
            said += line
        assert ended[1] == "0", f"{text}{said}"
        return said[: ended.start()]

    def leaves(self) -> None:
        """Ends what was started in the shell, as its terminal would."""
        try:
            self._shell.communicate("kill $(jobs -p); wait\n", SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a clone in which `make install` has been, a home, and the programs' folder."""
    clone, home, programs = (tmp_path / name for name in ("clone", "home", "bin"))
    for name in CLONED:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    (clone / ".venv").mkdir()
    (clone / ".venv/bin").symlink_to(Path(sys.executable).parent)
    (clone / ".venv/.installed-runtime").touch()
    home.mkdir()
    programs.mkdir()
    (programs / "caddy").symlink_to(tool("caddy"))
    for name in ("curl", "make"):
        tool(name)
    return tmp_path


@contextlib.contextmanager
def caddy(machine: Path, ports: dict[str, int]) -> Iterator[None]:
    """Caddy as its package runs it, with nothing to serve yet; its authority is the machine's.

    What stands at the top of the settings keeps it to loopback and to free ports.
    """
    home, site = machine / "home", machine / "clone/deploy/Caddyfile"
    around = (
        f"{{\n\tadmin localhost:{ports['admin']}\n\tauto_https disable_redirects\n"
        "\tskip_install_trust\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n}\n"
    )
    (machine / "Caddyfile").write_text(around)
    site.write_text(around + in_words_of_here(site.read_text(), ports))
    authority = home / ".local/share/caddy/pki/authorities/local/root.crt"
    (home / ".curlrc").write_text(f"cacert = {authority}\n")
    with (machine / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [tool("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            cwd=machine,
            env={"HOME": str(home)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for("admin endpoint started", machine / "caddy.log")
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def in_words_of_here(text: str, ports: dict[str, int]) -> str:
    """With the names and ports of this machine in the place of those that are written."""
    for there, here in {
        "8081": str(ports["restored"]),
        "images.example.org": f"localhost:{ports['tls']}",
        "127.0.0.1:8080": f"127.0.0.1:{ports['gateway']}",
        "127.0.0.1:8090": f"127.0.0.1:{ports['sandbox']}",
        "https://hooks.example.org": f"http://127.0.0.1:{ports['chat']}",
        "image-gateway sandbox": f"image-gateway sandbox --seconds 0.2 --port {ports['sandbox']}",
        "image-gateway init": f"image-gateway init --port {ports['gateway']}",
    }.items():
        text = text.replace(there, here)
    return text


def wait_for(words: str, file: Path) -> None:
    until = time.monotonic() + SECONDS
    while not (file.exists() and words in file.read_text()):
        assert time.monotonic() < until, file.read_text() if file.exists() else file
        time.sleep(0.05)


async def test_the_page_walked(machine: Path) -> None:
    chat = await Receiver(None).start()
    ports = {name: free_port() for name in ("tls", "gateway", "sandbox", "admin", "restored")}
    ports["chat"] = chat.port
    try:
        with caddy(machine, ports), walking(machine, ports) as person:
            await asyncio.to_thread(to_the_picture, person)
            await asyncio.to_thread(person.types, "alerts")
            [call] = await chat.called()
            assert call.target == "/services/your-own"
            await asyncio.to_thread(back_and_forth, person)
    finally:
        await chat.stop()


@contextlib.contextmanager
def walking(machine: Path, ports: dict[str, int]) -> Iterator[Walker]:
    person = Walker(machine, ports)
    try:
        yield person
    finally:
        person.leaves()


def to_the_picture(person: Walker) -> None:
    person.types("install")
    person.types("rehearse")
    wait_for("sandbox ready on", person.clone / "sandbox.log")
    person.types("alert")
    person.types("settings", PASTED)
    assert person.line("printenv GATEWAY_ADMIN_KEY\n").startswith("iga_")
    person.types("serve")
    wait_for("image-gateway is ready on", person.home / "gateway/log")
    person.types("picture")
    order = json.loads((person.clone / "order.json").read_text())
    assert order["status"] == "completed", order
    assert order["results"][0].startswith(f"https://localhost:{person.ports['tls']}/pictures/")
    with Image.open(person.clone / "first.png") as picture:
        assert picture.size == (1024, 1024)
    everything = "".join(path.read_text() for path in (person.home / "gateway").glob("*.*"))
    assert PASTED not in everything


def back_and_forth(person: Walker) -> None:
    """A backup, restored into an empty folder, answers the same order from the cache."""
    person.types("backup")
    person.types("restored")
    wait_for("image-gateway is ready on", person.home / "restored.log")
    said = person.types("hit")
    assert "HTTP/1.1 200" in said
    assert re.search(r"^cache-status: image-gateway; hit\b", said, re.MULTILINE | re.IGNORECASE)
