"""The manifest agrees with the program, its image and its settings: ports, paths, users, names."""

from __future__ import annotations

import re
from typing import Any

import yaml
from deployed import DEPLOY, ROOT
from served import SERVED

from gateway import __version__
from gateway.config.schema import ServerSettings

TEXT = (DEPLOY / "kubernetes.yaml").read_text("utf-8")
OBJECTS: dict[str, Any] = {one["kind"]: one for one in yaml.safe_load_all(TEXT)}
SPEC = OBJECTS["Deployment"]["spec"]
POD = SPEC["template"]["spec"]
(CONTAINER,) = POD["containers"]
IMAGE = (ROOT / "Dockerfile").read_text("utf-8")
SERVER = ServerSettings()


def test_its_objects_belong_together() -> None:
    assert set(OBJECTS) == {"PersistentVolumeClaim", "Service", "Deployment"}
    labels = SPEC["template"]["metadata"]["labels"]
    assert labels == SPEC["selector"]["matchLabels"] == OBJECTS["Service"]["spec"]["selector"]
    (port,) = CONTAINER["ports"]
    assert [one["targetPort"] for one in OBJECTS["Service"]["spec"]["ports"]] == [port["name"]]
    assert port["containerPort"] == SERVER.port
    volumes = {one["name"]: one for one in POD["volumes"]}
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == set(volumes)
    claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
    assert claim == OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]


def test_only_one_gateway_opens_the_ledger_and_has_time_to_let_go() -> None:
    assert (SPEC["replicas"], SPEC["strategy"]) == (1, {"type": "Recreate"})
    assert POD["terminationGracePeriodSeconds"] > SERVER.shutdown_grace_seconds


def test_it_is_the_images_user_and_folders() -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE)[0]
    context = POD["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert context["fsGroup"] == int(group)
    mounts = {one["mountPath"]: one for one in CONTAINER["volumeMounts"]}
    assert set(mounts) == {"/data", "/etc/image-gateway", "/tmp"}
    assert "VOLUME /data" in IMAGE and '"/etc/image-gateway/config.yaml"' in IMAGE
    assert "TMPDIR=/tmp" in IMAGE
    assert CONTAINER["image"].endswith(f"/image-gateway:{__version__}")


def test_probes_ask_what_is_served() -> None:
    probes = [CONTAINER[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]
    for probe in probes:
        assert any(one.path == probe["httpGet"]["path"] and one.method == "GET" for one in SERVED)
        assert probe["httpGet"]["port"] == CONTAINER["ports"][0]["name"]
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_it_has_what_the_settings_ask_for_and_no_secret() -> None:
    settings = re.sub(r"#.*", "", (DEPLOY / "config.yaml").read_text("utf-8"))
    given = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in CONTAINER["env"]}
    assert set(given) == set(re.findall(r"\$\{(\w+)", settings))
    assert all(one["key"] == name for name, one in given.items())
    assert {name for name, one in given.items() if one.get("optional")} == set(
        re.findall(r"\$\{(\w+):-", settings)
    )
    assert "kind: Secret" not in TEXT


def test_it_may_do_little() -> None:
    context = CONTAINER["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
