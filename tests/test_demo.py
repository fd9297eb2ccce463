"""`make demo` with fewer questions: real models, real vLLM servers, the official client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
WAYS = {"routed", "cheapest", "best", "oracle"}
CANDIDATES = {f"ladder-{size}{way}" for size in "sml" for way in ("", ":think")}


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_asks_vllm_and_writes_its_totals(tmp_path: Path) -> None:
    target = tmp_path / "demo.json"
    command = [BIN / "foresight", "ladder", "demo", "-n", "16", "--exit", "--json", target, "--port", "0"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True).stdout
    totals = json.loads(target.read_text())

    assert totals["questions"] == 16
    assert set(totals["accuracy"]) == set(totals["cost_usd"]) == WAYS
    assert set(totals["served_by"]) == CANDIDATES
    assert sum(totals["served_by"].values()) == 16
    assert totals["accuracy"]["oracle"] >= max(totals["accuracy"][way] for way in ("cheapest", "best"))
    assert totals["backend"] == "vllm"
    assert totals["vllm_version"]
    # Every candidate by name, two of them a server, and the routed answers on top.
    assert sum(totals["vllm_requests"].values()) == 16 * (len(CANDIDATES) + 1)
    assert "held-out questions" in shown
