"""The manifests are put together and hold: with the program, its image, its settings, a cluster."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner
from deployed import DEPLOY, ROOT, read, tool
from served import SERVED

from gateway import __version__
from gateway.cli import main
from gateway.config import parse
from gateway.config.first_settings import compose_settings_yaml
from gateway.config.schema import ServerSettings

HOME = DEPLOY / "kubernetes"
WAYS = ("alone", "replicas")
IMAGE = (ROOT / "Dockerfile").read_text("utf-8")
SERVER = ServerSettings()
SERVES = {("GET", one.path) for one in SERVED}
STORES = {
    "LEDGER_URL": "postgresql://gateway:secret@postgres.example.org/gateway",
    "PICTURES_URL": "s3://pictures/kept",
}
SECRETS = {
    "PUBLIC_URL": "https://images.example.org",
    "EVOLINK_API_KEY": "sk-x",
    "ADMIN_KEY_SHA256": "a" * 64,
    "METRICS_KEY_SHA256": "b" * 64,
    **STORES,
}


def kustomized(folder: Path) -> str:
    done = subprocess.run(
        [tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=WAYS)
def made(request: pytest.FixtureRequest) -> Made:
    return Made(request.param)


class Made:
    """What `kubectl apply --kustomize` would send, by kind."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.text = kustomized(HOME / way)
        self.objects: dict[str, Any] = {
            one["kind"]: one for one in yaml.safe_load_all(self.text) if one is not None
        }
        self.spec = self.objects["Deployment"]["spec"]
        self.pod = self.spec["template"]["spec"]
        (self.container,) = self.pod["containers"]

    @property
    def settings(self) -> str:
        (text,) = self.objects["ConfigMap"]["data"].values()
        return str(text)

    @property
    def asked(self) -> dict[str, Any]:
        """The environment, all of it from the secret."""
        return {one["name"]: one["valueFrom"]["secretKeyRef"] for one in self.container["env"]}


def test_a_cluster_takes_every_word(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "made.yaml"
    file.write_text(made.text)
    command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", "1.31", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") == len(made.objects)


def test_a_slip_in_a_word_is_found(tmp_path: Path) -> None:
    file = tmp_path / "made.yaml"
    text = kustomized(HOME / "replicas")
    for word in ("maxUnavailable", "secretKeyRef", "readinessProbe", "averageUtilization"):
        file.write_text(text.replace(word, f"{word}s", 1))
        command = [tool("kubernetes-validate"), "--strict", "-k", "1.31", str(file)]
        assert subprocess.run(command, capture_output=True, timeout=60).returncode == 1, word


def test_its_objects_belong_together(made: Made) -> None:
    several = {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
    more = several if made.way == "replicas" else {"PersistentVolumeClaim"}
    assert set(made.objects) == {"ConfigMap", "Service", "Deployment", *more}
    labels = made.spec["template"]["metadata"]["labels"]
    service = made.objects["Service"]["spec"]
    assert labels == made.spec["selector"]["matchLabels"] == service["selector"]
    (port,) = made.container["ports"]
    assert [one["targetPort"] for one in service["ports"]] == [port["name"]]
    assert port["containerPort"] == SERVER.port
    annotations = made.spec["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(SERVER.port)
    assert ("GET", annotations["prometheus.io/path"]) in SERVES
    volumes = {one["name"]: one for one in made.pod["volumes"]}
    assert {one["name"] for one in made.container["volumeMounts"]} == set(volumes)
    named = made.objects["ConfigMap"]["metadata"]["name"]
    assert volumes["settings"]["configMap"]["name"] == named != "image-gateway"


def test_its_settings_are_those_of_compose_and_valid(made: Made, tmp_path: Path) -> None:
    """And it has what they ask for, under the same names; what may be missing may be here too."""
    assert made.settings == compose_settings_yaml(replicas=made.way == "replicas")
    text = re.sub(r"#.*", "", made.settings)
    ours = {name: one for name, one in made.asked.items() if not name.startswith("AWS_")}
    assert set(ours) == set(re.findall(r"\$\{(\w+)", text))
    assert {name for name, one in ours.items() if one.get("optional")} == set(
        re.findall(r"\$\{(\w+):-", text)
    )
    assert all(one["key"] == name for name, one in made.asked.items())
    assert "kind: Secret" not in made.text
    file = tmp_path / "config.yaml"
    file.write_text(made.settings)
    told = CliRunner().invoke(main, ["check", "--quiet", "--config", str(file)], env=SECRETS)
    assert told.exit_code == 0, told.output


def test_it_has_time_to_let_go(made: Made) -> None:
    server = parse(made.settings, SECRETS).server
    assert (server.drain_seconds > 0) == (made.way == "replicas")
    stop = server.drain_seconds + server.shutdown_grace_seconds
    assert made.pod["terminationGracePeriodSeconds"] > stop


def test_it_is_the_images_user_and_folders(made: Made) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE)[0]
    context = made.pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert context["fsGroup"] == int(group)
    mounts = {one["mountPath"]: one for one in made.container["volumeMounts"]}
    assert set(mounts) == {"/data", "/etc/image-gateway", "/tmp"}
    assert "VOLUME /data" in IMAGE and '"/etc/image-gateway/config.yaml"' in IMAGE
    assert "TMPDIR=/tmp" in IMAGE
    assert made.container["image"].endswith(f"/image-gateway:{__version__}")


def test_probes_ask_what_is_served(made: Made) -> None:
    for kind in ("startup", "liveness", "readiness"):
        asked = made.container[f"{kind}Probe"]["httpGet"]
        assert ("GET", urlsplit(asked["path"]).path) in SERVES
        assert asked["port"] == made.container["ports"][0]["name"]
    for kind in ("startup", "liveness"):  # a restart mends neither a ledger nor a bucket
        assert made.container[f"{kind}Probe"]["httpGet"]["path"] == "/healthz"


def test_it_may_do_little(made: Made) -> None:
    context = made.container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert made.pod["securityContext"]["runAsNonRoot"] is True
    assert made.pod["automountServiceAccountToken"] is False


def test_alone_only_one_opens_the_ledger() -> None:
    made = Made("alone")
    assert (made.spec["replicas"], made.spec["strategy"]) == (1, {"type": "Recreate"})
    assert made.container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    (claim,) = [one for one in made.pod["volumes"] if one["name"] == "data"]
    named = made.objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert claim["persistentVolumeClaim"]["claimName"] == named


def test_replicas_are_replaced_one_by_one_and_never_missed() -> None:
    made = Made("replicas")
    assert made.spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in made.spec, "the autoscaler says how many"
    scaler = made.objects["HorizontalPodAutoscaler"]["spec"]
    assert scaler["minReplicas"] == 3 < scaler["maxReplicas"]
    assert [one["resource"]["name"] for one in scaler["metrics"]] == ["cpu"]
    assert scaler["scaleTargetRef"]["name"] == made.objects["Deployment"]["metadata"]["name"]
    assert "cpu" in made.container["resources"]["requests"]
    labels = made.spec["selector"]
    assert made.objects["PodDisruptionBudget"]["spec"]["selector"] == labels
    assert made.objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert made.objects["NetworkPolicy"]["spec"]["podSelector"] == labels
    spread = made.pod["topologySpreadConstraints"]
    assert all(one["labelSelector"] == labels for one in spread) and len(spread) == 2
    probe = made.container["readinessProbe"]
    assert probe["httpGet"]["path"] == "/readyz?local"
    noticed = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed < parse(made.settings, SECRETS).server.drain_seconds


def test_replicas_keep_nothing_of_their_own_and_take_the_stores_from_the_secret() -> None:
    made = Made("replicas")
    volumes = {one["name"]: one for one in made.pod["volumes"]}
    assert set(volumes["data"]) == {"name", "emptyDir"}
    assert set(STORES) <= set(made.asked)
    names = {name for name in made.asked if name.startswith("AWS_")}
    assert names == {
        *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    }
    assert all(made.asked[name]["optional"] for name in names)


def test_the_scrape_finds_its_pods() -> None:
    """Read as YAML: a promtool of a distribution may have been built without Kubernetes."""
    (job,) = read(HOME / "replicas" / "prometheus.yml")["scrape_configs"]
    (whole, _) = read(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert job["job_name"] == whole["job_name"]
    (found,) = job["kubernetes_sd_configs"][0]["selectors"]
    made = Made("replicas")
    labels = made.spec["selector"]["matchLabels"]
    assert found["label"] == ",".join(f"{name}={value}" for name, value in labels.items())
    keep = job["relabel_configs"][0]
    assert (keep["action"], keep["regex"]) == ("keep", made.container["ports"][0]["name"])
