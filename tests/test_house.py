"""House rules that a linter does not know."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("probes", "router", "serving", "eval")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IN_VLLMS_ENVIRONMENT = {"vllm"}
PARTS = {"markupsafe", "pydantic_core", "starlette"}
"""Inseparable from Jinja, pydantic and FastAPI, which are declared."""
MAX_LINES = 600

FORBIDDEN = {
    r"trust_remote_code\s*=\s*True": "runs a model's own code",
    r"\bpickle\.loads?\b|\bjoblib\.load\b|weights_only\s*=\s*False": "runs code when it loads",
    r"(?m)^\s*import eval\b": "shadows the builtin: write `from eval.x import y`",
    r"(?m)^\s*except\s*:": "hides every error",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def direct_requirements() -> list[Requirement]:
    content = project()
    lines = [*content["project"]["dependencies"], *content["dependency-groups"]["dev"]]
    for extra in content["project"]["optional-dependencies"].values():
        lines += extra
    own = content["project"]["name"]
    return [requirement for line in lines if (requirement := Requirement(line)).name != own]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))  # type: ignore[misc]


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_no_module_is_too_long_to_read() -> None:
    assert [name_of(path) for path in MODULES if len(path.read_text().splitlines()) > MAX_LINES] == []


@pytest.mark.parametrize(("pattern", "reason"), FORBIDDEN.items())
def test_forbidden_calls_are_nowhere(pattern: str, reason: str) -> None:
    guilty = [name_of(path) for path in MODULES if re.search(pattern, path.read_text())]
    assert guilty == [], reason


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_all_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in direct_requirements()}
    owners = importlib.metadata.packages_distributions()
    known = set(sys.stdlib_module_names) | set(PACKAGES) | IN_VLLMS_ENVIRONMENT | PARTS
    undeclared = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.partition(".")[0] for name in names} - known:
                if not {canonicalize_name(owner) for owner in owners.get(top, [])} & declared:
                    undeclared.add(f"{name_of(path)} imports {top}")
    assert undeclared == set()


def test_every_dependency_has_a_floor() -> None:
    assert [
        str(requirement) for requirement in direct_requirements() if ">=" not in str(requirement.specifier)
    ] == []


def test_the_lock_meets_every_requirement() -> None:
    versions = locked()
    unmet = [
        f"{requirement}: locked {versions.get(canonicalize_name(requirement.name))}"
        for requirement in direct_requirements()
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unmet == [], "run `make lock`"


def test_the_same_torch_is_locked_for_both_environments() -> None:
    listed = (ROOT / "requirements" / "vllm-cpu.txt").read_text()
    assert f"torch=={locked()['torch']}\n" in listed


def test_what_belongs_in_every_repository_is_there() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"):
        assert (ROOT / name).is_file(), name
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert f"[{project()['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()
