"""Who may know whom, and what importing a package may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("probes", "router", "serving", "eval")
HEAVY = ("torch", "transformers", "vllm", "fastapi", "starlette", "sklearn", "pandas", "matplotlib", "polars")

MAY_IMPORT = {
    "probes": {"probes"},
    "router": {"probes", "router"},
    "serving": {"probes", "router", "serving"},
    "eval": {"probes", "router", "eval"},
}
"""The rule: probes <- router <- serving; eval uses probes and router; nothing imports eval."""

EXCEPTIONS = {
    "router/cli/": {"serving", "eval"},  # the command line puts everything together
}
"""Path prefixes that may import more."""


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported_packages(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names that a module imports anywhere, functions included, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0], node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in (ROOT / package).rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        allowed = MAY_IMPORT[package].union(
            *(more for prefix, more in EXCEPTIONS.items() if name.startswith(prefix))
        )
        wrong += [
            f"{name}:{line} imports {imported}"
            for imported, line in imported_packages(path)
            if imported in PACKAGES and imported not in allowed
        ]
    assert wrong == []


def test_no_package_imports_the_tests() -> None:
    assert [path for path in modules() if "tests" in dict(imported_packages(path))] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_light(package: str) -> None:
    code = f"import sys, {package}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_vllms_launcher_needs_nothing_but_vllm() -> None:
    launcher = ROOT / "serving" / "vllm" / "launch.py"
    foreign = {name for name, _ in imported_packages(launcher)} - set(sys.stdlib_module_names)
    assert foreign == {"vllm"}
