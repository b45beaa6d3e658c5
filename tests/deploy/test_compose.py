"""The compose file, read with care: what it names is there, what it must not say it does not."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from click.testing import CliRunner
from deployed import BOARDS, DEPLOY, ROOT, read

from gateway.cli import main
from gateway.config import parse

COMPOSE = read(DEPLOY / "compose.yaml")
SERVICES = COMPOSE["services"]
ASKED = re.compile(r"\$\{(\w+)")


def made_secrets(option: str = "--compose") -> dict[str, str]:
    """The lines of `.env` as `image-gateway init --compose` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["init", option, "--dir", folder, "--public-url", "https://images.example.org"]
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0, told.stderr
        lines = Path(folder, ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def mounts(service: str) -> dict[str, str]:
    """Where in the container → what it is."""
    found = [one.split(":") for one in SERVICES[service]["volumes"]]
    return {target: source for source, target, *_ in found}


def test_every_path_is_there_and_every_volume_is_named() -> None:
    for name in SERVICES:
        for source in mounts(name).values():
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]
        for secret in SERVICES[name].get("secrets", ()):
            assert secret in COMPOSE["secrets"]
    assert (DEPLOY / SERVICES["gateway"]["build"]["context"] / "Dockerfile").is_file()


def test_images_are_pinned_and_watched_over() -> None:
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        if name != "gateway":
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
        for other in service.get("depends_on", ()):
            assert other in SERVICES
    assert SERVICES["gateway"]["read_only"] is True
    assert set(mounts("gateway")) == {"/data", "/etc/image-gateway/config.yaml"}


def test_no_secret_is_written_down() -> None:
    """All come from the environment, under names that `init` makes."""
    made = made_secrets()
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    asked = {*ASKED.findall(text), *(one["environment"] for one in COMPOSE["secrets"].values())}
    assert asked == set(made)
    assert made["EVOLINK_API_KEY"] == made["ALERT_WEBHOOK"] == ""
    assert made_secrets()["METRICS_KEY"] != made["METRICS_KEY"]


def test_the_settings_are_valid_and_let_prometheus_in() -> None:
    made = {**made_secrets(), "EVOLINK_API_KEY": "sk-x"}
    text = (DEPLOY / "config.yaml").read_text("utf-8")
    settings = parse(text, made)
    given = set(SERVICES["gateway"]["environment"])
    assert {*ASKED.findall(re.sub("#.*", "", text))} == given
    assert settings.storage.data_dir == "/data"
    assert settings.server.metrics_keys == (made["METRICS_KEY_SHA256"],)
    assert [one.sha256 for one in settings.server.admin_keys] == [made["ADMIN_KEY_SHA256"]]


def test_prometheus_finds_its_files_and_the_gateway() -> None:
    config = read(DEPLOY / "prometheus" / "prometheus.yml")
    there = mounts("prometheus")
    assert Path(there["/etc/prometheus/prometheus.yml"]).name == "prometheus.yml"
    assert config["rule_files"] == ["rules/*.yml"]
    assert (DEPLOY / there["/etc/prometheus/rules"]).is_dir()
    gateway, itself = config["scrape_configs"]
    assert gateway["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    assert gateway["static_configs"] == [{"targets": ["gateway:8080"]}]
    assert SERVICES["gateway"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "EXPOSE 8080" in (ROOT / "Dockerfile").read_text("utf-8")
    assert itself["job_name"] == "prometheus"


def test_grafana_finds_prometheus_and_the_boards() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = read(DEPLOY / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = read(provisioning / "dashboards" / "image-gateway.yml")["providers"]
    there = mounts("grafana")
    assert DEPLOY / there[provider["options"]["path"]] == BOARDS
    assert DEPLOY / there["/etc/grafana/provisioning"] == provisioning
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/platform.json"
    assert (BOARDS / Path(home).name).is_file()
