"""The deployment files agree with the program: options, ports, paths, metrics, settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from router.cli.app import app
from router.configuration.pool import Pool
from serving.keys.file import parse_keys
from serving.metrics import Metrics
from serving.settings import GatewaySettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving" / "deploy"
YAML = sorted(DEPLOY.rglob("*.yaml"))
SUFFIX = re.compile(r"_(total|bucket|sum|count|created)$")


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object of the folder."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return [one for one in found if "apiVersion" in one]


def containers(app_name: str) -> dict[str, Any]:
    """The one container of a Deployment."""
    (found,) = [
        m for m in manifests() if m["kind"] == "Deployment" and m["metadata"]["name"].startswith(app_name)
    ]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return dict(container)


def pool() -> Pool:
    """The example pool."""
    return Pool.load(DEPLOY / "kubernetes" / "pool.yaml")


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_file_is_yaml(path: Path) -> None:
    assert list(yaml.safe_load_all(path.read_text()))


def test_the_gateway_is_started_with_options_that_exist() -> None:
    helped = CliRunner().invoke(app, ["serve", "--help"]).stdout
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for words in (containers("gateway")["args"], compose["services"]["gateway"]["command"]):
        assert words[0] == "serve"
        assert [word for word in words if word.startswith("--")] == ["--router", "--host"]
        assert all(word in helped for word in words if word.startswith("--"))


def test_the_example_pool_is_one_that_the_packaged_router_knows() -> None:
    fitted = json.loads((ROOT / "eval/ladder/router/router.json").read_text())
    assert set(pool().names) <= set(fitted["fitted"]["candidates"])


def test_the_example_pool_needs_just_the_secrets_that_are_given() -> None:
    settings = GatewaySettings.of_section(pool().serve, DEPLOY)
    assert settings.ledger is not None
    assert settings.keys is not None
    wanted = {settings.ledger.url_env, settings.keys.env}
    assert {entry["name"] for entry in containers("gateway")["env"]} == wanted
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]["gateway"]["environment"]) == wanted
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "example.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert parse_keys(example["FORESIGHT_KEYS"], "example.env").keys == ()


def test_backends_of_the_pool_are_services_beside_it() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = {m["metadata"]["name"]: m for m in manifests() if m["kind"] == "Service"}
    for backend in pool().backends.values():
        host, port = re.fullmatch(r"http://([\w-]+):(\d+)/v1", backend.url).groups()  # type: ignore[union-attr]
        assert host in compose["services"]
        assert services[host]["spec"]["ports"][0]["port"] == int(port)


def test_probes_ask_for_paths_that_the_gateway_has() -> None:
    container = containers("gateway")
    asked = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    source = (ROOT / "serving/http/app.py").read_text()
    assert asked == {"/health", "/ready"}
    assert all(f'"{path}"' in source for path in asked)
    assert container["ports"] == [{"name": "http", "containerPort": GatewaySettings().port}]


def test_a_pod_outlives_the_requests_in_flight() -> None:
    (gateway,) = [m for m in manifests() if m["kind"] == "Deployment" and m["metadata"]["name"] == "gateway"]
    assert gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > GatewaySettings().drain_s


def test_every_metric_that_is_drawn_or_watched_is_one_of_the_gateways() -> None:
    known = {family.name for family in Metrics().registry.collect()}
    board = (DEPLOY / "grafana/board.json").read_text()
    alerts = (DEPLOY / "prometheus/alerts.yaml").read_text()
    for text in (board, alerts):
        named = set(re.findall(r"foresight_[a-z_]+[a-z]", text))
        assert named
        assert {SUFFIX.sub("", name) for name in named} <= known


def test_every_panel_has_its_own_place_and_a_question() -> None:
    panels = json.loads((DEPLOY / "grafana/board.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
        taken |= cells


def test_images_are_pinned() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    images = [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":v?\d", image) for image in images)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_manifests_build() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=True
    )
    kinds = [one["kind"] for one in yaml.safe_load_all(built.stdout)]
    assert kinds.count("Deployment") == 4
    assert "ConfigMap" in kinds
