"""The compose file of several gateways: what it names is there, and its stores are shut.

The S3 server is started with the very words that stand there, and its bucket made by them.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
from deployed import BOARDS, DEPLOY, read, tool
from processes import free_port
from test_compose import ASKED, made_secrets

from gateway.config import Settings, parse
from gateway.config.schema import Storage

HOME = DEPLOY / "replicas"
TEXT = (HOME / "compose.yaml").read_text("utf-8")
COMPOSE = read(HOME / "compose.yaml")
SERVICES = COMPOSE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway-")]
FROM_ELSEWHERE = {"postgres": "18.4", "chrislusf/seaweedfs": "4.48", "caddy": "2.11.7"}
"""Images that this compose file alone has, at the versions that the tests run."""
WAYS_TO_ROOT = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}


def mounts(service: str) -> dict[str, str]:
    """Where in the container → what it is."""
    found = [one.split(":") for one in SERVICES[service].get("volumes", ())]
    return {target: source for source, target, *_ in found}


def settings(**more: str) -> Settings:
    """As a gateway there reads them."""
    made = {**made_secrets("--replicas"), "EVOLINK_API_KEY": "sk-x", **more}
    given = SERVICES["gateway-1"]["environment"]
    filled = {
        name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: made[found[1]], value)
        for name, value in given.items()
    }
    return parse((HOME / "config.yaml").read_text("utf-8"), filled)


def test_every_path_is_there_and_every_volume_is_named() -> None:
    named = set()
    for name in SERVICES:
        for source in mounts(name).values():
            if source.startswith("."):
                assert (HOME / source).exists(), source
            else:
                named.add(source)
        for secret in SERVICES[name].get("secrets", ()):
            assert secret in COMPOSE["secrets"]
        assert set(SERVICES[name]["networks"]) <= set(COMPOSE["networks"])
    assert named == set(COMPOSE["volumes"])


def test_images_are_pinned_and_watched_over() -> None:
    alone = read(DEPLOY / "compose.yaml")["services"]
    for name, service in SERVICES.items():
        image, _, version = service["image"].partition(":")
        if name in GATEWAYS:
            assert (image, version, service["pull_policy"]) == ("image-gateway", "", "never")
        elif name in alone:
            assert service["image"] == alone[name]["image"]
        else:
            assert FROM_ELSEWHERE[image] == version
        assert service["cap_drop"] == ["ALL"]
        assert set(service.get("cap_add", ())) <= WAYS_TO_ROOT | {"NET_BIND_SERVICE"}
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name == "bucket":  # ends by itself
            assert "restart" not in service
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_nobody_reaches_more_than_the_balancer_and_on_this_machine_the_boards() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published.pop("balancer") == ["80:80", "443:443", "443:443/udp"]
    assert set(published) == {"prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "s3", "bucket"):
        assert SERVICES[name]["networks"] == ["stores"]
    for name in ("balancer", "prometheus", "grafana"):
        assert SERVICES[name]["networks"] == ["front"]


def test_three_gateways_are_alike_and_keep_nothing_of_each_others() -> None:
    assert len(GATEWAYS) == 3
    folders = {mounts(name)["/data"] for name in GATEWAYS}
    assert folders == set(GATEWAYS)
    for name in GATEWAYS:
        assert set(mounts(name)) == {"/data", "/etc/image-gateway/config.yaml"}
        assert SERVICES[name]["read_only"] is True
        other = {**SERVICES[name], "volumes": None}
        assert other == {**SERVICES["gateway-1"], "volumes": None}


def test_they_start_in_order() -> None:
    waits = {
        (name, other, how["condition"])
        for name, service in SERVICES.items()
        for other, how in service.get("depends_on", {}).items()
    }
    healthy, over = "service_healthy", "service_completed_successfully"
    assert waits == {
        *((name, "postgres", healthy) for name in GATEWAYS),
        *((name, "bucket", over) for name in GATEWAYS),
        ("bucket", "s3", healthy),
        ("balancer", "gateway-1", healthy),
        ("prometheus", "gateway-1", healthy),
        ("grafana", "prometheus", healthy),
    }


def test_no_secret_is_written_down() -> None:
    """All come from the environment, under names that `init` makes."""
    made = made_secrets("--replicas")
    said = re.sub(r"^ *#.*$", "", TEXT, flags=re.MULTILINE)
    asked = {*ASKED.findall(said), *(one["environment"] for one in COMPOSE["secrets"].values())}
    assert asked == set(made)
    assert made["EVOLINK_API_KEY"] == made["ALERT_WEBHOOK"] == ""


def test_the_settings_are_valid_and_name_the_stores_that_are_there() -> None:
    made = settings()
    text = (HOME / "config.yaml").read_text("utf-8")
    asked = {*ASKED.findall(re.sub("#.*", "", text))}
    given = set(SERVICES["gateway-1"]["environment"])
    assert given - asked == {one for one in given if one.startswith("AWS_")}
    assert asked <= given
    ledger = made.storage.ledger.get_secret_value()
    assert re.fullmatch(r"postgresql://gateway:[0-9a-f]{48}@postgres/gateway", ledger)
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == "gateway"
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == "gateway"
    bucket = re.fullmatch(r"s3://(\w+)/\w+", made.storage.pictures)
    assert bucket and f"s3.bucket.create -name {bucket[1]}'" in TEXT
    endpoint = SERVICES["gateway-1"]["environment"]["AWS_ENDPOINT_URL"]
    assert httpx.URL(endpoint).host in SERVICES


def test_it_differs_from_one_gateway_in_nothing_but_the_stores_and_the_drain() -> None:
    made = {**made_secrets(), "EVOLINK_API_KEY": "sk-x"}
    one = parse((DEPLOY / "config.yaml").read_text("utf-8"), made)
    keys = {name: made[name] for name in ("ADMIN_KEY_SHA256", "METRICS_KEY_SHA256")}
    several = settings(**keys)
    assert several.server.drain_seconds == 5
    alike = several.server.model_copy(update={"drain_seconds": 0.0})
    again = several.model_copy(update={"server": alike, "storage": one.storage})
    assert again == one
    stores = {"ledger", "pictures"}
    for name in set(Storage.model_fields) - stores:
        assert getattr(several.storage, name) == getattr(one.storage, name)


def test_they_have_time_to_let_go() -> None:
    server = settings().server
    for name in GATEWAYS:
        patience = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert patience > server.drain_seconds + server.shutdown_grace_seconds


def test_prometheus_scrapes_all_three_by_the_same_rules() -> None:
    alone = read(DEPLOY / "prometheus" / "prometheus.yml")
    several = read(HOME / "prometheus.yml")
    gateways = several["scrape_configs"][0].pop("static_configs")
    assert gateways == [{"targets": [f"{name}:8080" for name in GATEWAYS]}]
    alone["scrape_configs"][0].pop("static_configs")
    assert several == alone
    there = mounts("prometheus")
    assert (HOME / there["/etc/prometheus/rules"]).resolve() == DEPLOY / "prometheus" / "rules"
    config = HOME / there["/etc/prometheus/prometheus.yml"]
    command = [tool("promtool"), "check", "config", "--syntax-only", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_has_the_same_boards() -> None:
    alone = read(DEPLOY / "compose.yaml")["services"]["grafana"]
    assert SERVICES["grafana"]["environment"] == alone["environment"]
    assert (HOME / mounts("grafana")["/etc/grafana/dashboards"]).resolve() == BOARDS


def test_the_balancer_knows_all_three() -> None:
    given = SERVICES["balancer"]["environment"]
    assert given["GATEWAYS"].split() == [f"{name}:8080" for name in GATEWAYS]
    file = HOME / mounts("balancer")["/etc/caddy/Caddyfile"]
    command = [tool("caddy"), "adapt", "--adapter", "caddyfile", "--config", str(file)]
    environ = {**os.environ, "GATEWAYS": given["GATEWAYS"], "SITE": "https://pictures.example.net"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in GATEWAYS:
        assert f'"{name}:8080"' in done.stdout
    assert '"pictures.example.net"' in done.stdout
    assert "example.org" not in done.stdout and "10.0.0.1" not in done.stdout


# --- the S3 server, as it is started there ---------------------------------------------------

KEYS = {"AWS_ACCESS_KEY_ID": "gateway", "AWS_SECRET_ACCESS_KEY": "0123456789abcdef"}


def local(words: list[str], folder: Path, ports: dict[str, int]) -> list[str]:
    """The words of the file on this machine: its address, its folder, ports that are free."""
    here = [re.sub(r"^(-ip(?:\.bind)?)=.*", r"\1=127.0.0.1", word) for word in words]
    free = [f"-{name}={port}" for name, port in ports.items()]
    sockets = [f"-{name}.localSocket={folder / name}.sock" for name in ("filer", "s3")]
    return [*here, f"-dir={folder}", "-volume.max=8", *free, *sockets]


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[dict[str, int]]:
    ports = {f"{name}.port": free_port() for name in ("master", "volume", "filer", "s3")}
    ports |= {f"{name}.port.grpc": free_port() for name in ("master", "volume", "filer", "s3")}
    folder = tmp_path / "s3"
    folder.mkdir()
    words = local(SERVICES["s3"]["command"], folder, ports)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool("weed"), "-logtostderr=true", *words],
            env={**os.environ, **KEYS},
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 60
        while not healthy(ports["s3.port"]):
            assert process.poll() is None and time.monotonic() < until, (
                tmp_path / "log"
            ).read_text()
            time.sleep(0.1)
        yield ports
    finally:
        process.kill()
        process.wait()


def healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_bucket_is_made_and_only_keys_open_it(s3: dict[str, int], tmp_path: Path) -> None:
    import obstore
    from obstore.store import S3Store

    def store(secret: str) -> S3Store:
        return S3Store(
            "pictures",
            endpoint=f"http://127.0.0.1:{s3['s3.port']}",
            region="us-east-1",
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=secret,
            client_options={"allow_http": True, "timeout": timedelta(seconds=10)},
            retry_config={"max_retries": 0},
        )

    ours = store(KEYS["AWS_SECRET_ACCESS_KEY"])
    with pytest.raises(Exception, match="NoSuchBucket"):
        obstore.put(ours, "kept/a", b"a picture", use_multipart=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "weed").symlink_to(tool("weed"))
    [script] = SERVICES["bucket"]["command"]
    master = f"127.0.0.1:{s3['master.port']}.{s3['master.port.grpc']}"
    script = script.replace("$$", "$").replace("s3:9333", master)
    for _ in range(2):  # the second finds it there
        done = subprocess.run(
            ["/bin/sh", "-euc", script],
            env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    obstore.put(ours, "kept/a", b"a picture", use_multipart=False)
    assert bytes(obstore.get(ours, "kept/a").bytes()) == b"a picture"
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        obstore.get(store("another"), "kept/a")
    assert httpx.get(f"http://127.0.0.1:{s3['s3.port']}/pictures/kept/a").status_code == 403
