"""Print requirements/lock.txt from what is installed: `make lock`.

The closure of `foresight-router[all]` and of the `dev` group, at the installed versions. What is installed
but not asked for stays out, and so do local version labels: `torch==2.13.0+cpu` is written `torch==2.13.0`,
which any index can satisfy.
"""

from __future__ import annotations

import importlib.metadata as metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OF_ONE_DEVICE = ("cuda-", "nvidia-", "triton")
"""Names that begin so come with a CUDA torch only; torch pins them itself."""

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def direct_requirements() -> list[Requirement]:
    """Everything that pyproject.toml names: core, all extras, the dev group."""
    content = tomllib.loads(PROJECT.read_text())
    own = canonicalize_name(content["project"]["name"])
    lines = [*content["project"]["dependencies"], *content["dependency-groups"]["dev"]]
    for extra in content["project"]["optional-dependencies"].values():
        lines += extra
    requirements = [Requirement(line) for line in lines]
    return [requirement for requirement in requirements if canonicalize_name(requirement.name) != own]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Name and installed version of each requirement and of all that it needs here."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name.startswith(OF_ONE_DEVICE):
            continue
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            distribution = metadata.distribution(name)
            versions[name] = distribution.version.partition("+")[0]
            waiting += [(Requirement(line), wanted) for line in distribution.requires or []]
    return versions


def main() -> int:
    """Write the lock to standard output."""
    try:
        versions = closure(direct_requirements())
    except metadata.PackageNotFoundError as error:
        sys.stderr.write(f"Not installed: {error.name}. Install it into .venv first.\n")
        return 1
    sys.stdout.write("# Exact versions for development and every extra. Made by `make lock`; do not edit.\n")
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(versions.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
