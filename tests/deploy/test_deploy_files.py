"""The files of deploy/ fit the server: metrics that exist, settings that exist, files that are there."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from settings import ENV_PREFIX, PROJECT, Settings

DEPLOY = PROJECT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "millwright.json"
RULES = DEPLOY / "prometheus" / "alerts.yml"
YAML_FILES = sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")])


@pytest.fixture(scope="module")
def sample_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of all samples that /metrics has, also of those without a value yet."""
    app = create_app(Settings(home=tmp_path_factory.mktemp("metrics"), sentence_model="none"))
    text = app.test_client().get("/metrics").text
    app.extensions["millwright"].close()
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {
        metric.name + ending
        for metric in text_string_to_metric_families(text)
        for ending in endings[metric.type]
    }


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_every_metric_that_is_named_exists(file: Path, sample_names: set[str]) -> None:
    named = set(re.findall(r"\bmillwright_\w+", file.read_text("utf-8")))
    assert named
    assert named - sample_names == set()


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_yaml_is_yaml(file: Path) -> None:
    assert all(yaml.safe_load_all(file.read_text("utf-8")))


def test_alerts_fire_at_the_thresholds_that_were_chosen() -> None:
    """Thresholds stand here again, so that nobody changes one by mistake."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    comparisons = {
        name: (re.findall(r"(?:[<>]=?|==) [\d.e*+ -]*\d", rule["expr"]), rule.get("for"))
        for name, rule in rules.items()
    }
    assert comparisons == {
        "MillwrightDown": (["== 0"], "5m"),
        "MillwrightErrors": (["> 0.05"], "10m"),
        "MillwrightSlowPredictions": (["> 2.5"], "15m"),
        "MillwrightTrainingsFail": (["> 0", "> 0"], None),
        "MillwrightModelFrozen": (["> 14 * 86400"], None),
        "MillwrightModelDamaged": (["> 0"], "5m"),
        "MillwrightStaleWorkers": (["> 0"], "10m"),
        "MillwrightQuarantine": (["> 0"], "3d"),
        "MillwrightBackupMissing": (["> 7 * 86400"], "1h"),
        "MillwrightBackupUnproven": (["> 30 * 86400"], "1h"),
        "MillwrightDiskNearlyFull": (["< 2e9"], "10m"),
    }


def test_settings_that_are_named_exist() -> None:
    # Telegraf reads the key from a variable of its own.
    known = {ENV_PREFIX + setting.name.upper() for setting in fields(Settings)} | {"MILLWRIGHT_KEY"}
    for file in (path for path in DEPLOY.rglob("*") if path.is_file()):
        named = re.findall(rf"\b{ENV_PREFIX}[A-Z_]+\b", file.read_text("utf-8"))
        assert {name.removesuffix("_FILE") for name in named} - known == set(), file


def test_containers_hold_no_rights_that_they_do_not_need() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    server = services["millwright"]
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])
    mounted = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())]
    assert [path for path in mounted if path.startswith("./") and not (DEPLOY / path).exists()] == []

    manifests = DEPLOY / "kubernetes"
    documents = [d for file in manifests.iterdir() for d in yaml.safe_load_all(file.read_text("utf-8"))]
    workloads = [d["spec"] for d in documents if d["kind"] in ("Deployment", "Job")]
    (deployment,) = [spec for spec in workloads if "strategy" in spec]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    for pod in (spec["template"]["spec"] for spec in workloads):
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_image_has_the_packages_and_files_that_it_names() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert "USER 10001:10001" in text
    assert "HEALTHCHECK" in text
    copied = [
        name for line in re.findall(r"^COPY ([^-].*) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    assert [name for name in copied if not (PROJECT / name).exists()] == []
    dynamic = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["dynamic"]
    extras = {file for extra in dynamic["optional-dependencies"].values() for file in extra["file"]}
    assert extras <= set(copied)


def test_every_panel_asks_for_something() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert all(target["expr"] for panel in panels for target in panel["targets"])
    assert len({panel["id"] for panel in panels}) == len(panels)
