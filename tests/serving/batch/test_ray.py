"""The engine `ray`: the answers of `local`, also when a worker dies.

Ray binds the machine's own address whatever it is told, so it runs in a network namespace that has nothing
but a loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

OWN_NETWORK = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def own_network_is_allowed() -> bool:
    try:
        return subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not own_network_is_allowed(), reason="unshare -n is not permitted: Ray would leave the loopback"
)
def test_ray_answers_as_local_does_and_a_worker_may_die(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short:  # its sockets need a short path
        done = subprocess.run(
            [*OWN_NETWORK, sys.executable, "-m", "tests.serving.batch.ray_world", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "RAY_TMPDIR": short},
            cwd=Path(__file__).parents[3],
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["same"]
    assert told["answered"] == [300, 300]
    assert told["cost_usd"][0] == pytest.approx(told["cost_usd"][1])
    again, same = told["rechecked"]
    assert 0 < again == same < 150
    assert told["asked"][0] == 300 + again
    assert (
        300 + again <= told["asked"][1] <= 300 + again + 4
    )  # those in flight at the dead worker were asked again
