"""The recipes of cluster/: each passes the validator there is for it, and says what a user must set."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tune.core.parsing import parse_options

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
SCHEMAS = ROOT / "tests" / "data" / "kuberay"
LAUNCHER = ["aws.yaml", "gcp.yaml", "ssh.yaml"]
MANIFESTS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml", "kuberay/mlflow.yaml"]
OTHERS = ["slurm/search.sbatch", "docker/compose.yaml"]


def text(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(name)))


@pytest.mark.parametrize("name", LAUNCHER)
def test_rays_cluster_launcher_takes_it(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(name)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("name", LAUNCHER)
def test_rays_cluster_launcher_would_refuse_a_typo(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(name)
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**config, "idle_timeout": 5}))


@pytest.mark.parametrize("name", LAUNCHER)
def test_a_launched_cluster_asks_for_the_token_and_shows_its_job_server_to_nobody(name: str) -> None:
    (config,) = documents(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    (head,) = [command for command in config["head_start_ray_commands"] if "ray start --head" in command]
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_spot_comes_before_the_fallback(name: str) -> None:
    (config,) = documents(name)
    first, second = sorted((set(config["available_node_types"]) - {"head"}), reverse=True)
    assert "spot" in first
    assert "demand" in second
    assert "spot" not in json.dumps(config["available_node_types"][second]).lower()
    assert "spot" in json.dumps(config["available_node_types"][first]).lower()


def strict(schema: Any) -> Any:
    """The schema, with every key refused that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


@cache
def validator(kind: str) -> jsonschema.Draft7Validator:
    file = SCHEMAS / f"{kind.lower()}-v1.schema.json.gz"
    return jsonschema.Draft7Validator(strict(json.loads(gzip.decompress(file.read_bytes()))))


def ray_object(name: str) -> dict[str, Any]:
    (found,) = [d for d in documents(name) if d["apiVersion"] == "ray.io/v1"]
    return found


@pytest.mark.parametrize("name", MANIFESTS[:2])
def test_kuberay_takes_it(name: str) -> None:
    document = ray_object(name)
    assert [str(error) for error in validator(document["kind"]).iter_errors(document)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("maxReplicas", "maxReplica"),
        ("mountPath", "mountpath"),
        ("enableInTreeAutoscaling: true", "enableInTreeAutoscaling: often"),
    ],
)
@pytest.mark.parametrize("name", MANIFESTS[:2])
def test_a_typo_in_a_manifest_would_be_found(name: str, old: str, new: str) -> None:
    broken = [d for d in yaml.safe_load_all(text(name).replace(old, new)) if d["apiVersion"] == "ray.io/v1"]
    assert broken != [ray_object(name)]
    assert not validator(broken[0]["kind"]).is_valid(broken[0])


def test_manifests_name_one_anothers_objects() -> None:
    made = {(d["kind"], d["metadata"]["name"]) for name in MANIFESTS for d in documents(name)}
    assert ("PersistentVolumeClaim", "dps-shared") in made
    for name in MANIFESTS:
        assert {("PersistentVolumeClaim", c) for c in re.findall(r"claimName: ([\w-]+)", text(name))} <= made
        assert {("Service", host) for host in re.findall(r"(?:@|//)(dps-[\w-]+)", text(name))} <= made


@pytest.mark.parametrize("name", MANIFESTS[:2])
def test_versions_are_those_of_this_project(name: str) -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = ray_object(name)["spec"]
    assert f"ray=={found.get('rayClusterSpec', found)['rayVersion']}\n" in constraints


def test_the_search_of_the_job_has_good_options() -> None:
    commands = re.findall(
        r"tune/search\.py ([^;]+);", ray_object("kuberay/rayjob.yaml")["spec"]["entrypoint"]
    )
    assert [parse_options(command.split()).task for command in commands] == ["cola", "cola"]


@pytest.mark.parametrize("name", [*LAUNCHER, *MANIFESTS, *OTHERS])
def test_what_a_user_must_set_is_marked(name: str) -> None:
    lines = text(name).splitlines()
    assert any("# SET" in line for line in lines)
    unmarked = [
        line
        for number, line in enumerate(lines)
        if re.search(r"SET-\w|\w-SET|\.SET\b", line)
        and not any("SET" in near for near in lines[number - 4 : number])
        and "# SET" not in line
    ]
    assert unmarked == []


def test_the_sbatch_script_is_sound_bash() -> None:
    script = str(CLUSTER / "slurm" / "search.sbatch")
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_containers_publish_ports_on_loopback_alone_and_hold_no_password() -> None:
    (compose,) = documents("docker/compose.yaml")
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:5000:5000", "127.0.0.1:8265:8265"]
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
        for name, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?.*\}", value), name


def test_the_image_is_built_of_what_is_there() -> None:
    dockerfile = text("docker/Dockerfile")
    copied = [
        word for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = set(re.findall(r"^!(.+)$", text("docker/Dockerfile.dockerignore"), re.MULTILINE))
    assert set(copied) == kept
    (compose,) = documents("docker/compose.yaml")
    targets = {s["build"]["target"] for s in compose["services"].values() if "build" in s}
    assert targets <= set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
