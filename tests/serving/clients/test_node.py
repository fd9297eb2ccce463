"""OpenAI's official client for Node, unchanged, against the gateway.

It needs ``node`` and, once, ``npm ci`` in this folder. Tests use no network: elsewhere it is left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MISSING = shutil.which("node") is None or not (HERE / "node_modules" / "openai").is_dir()
REASON = f"needs node, and `npm ci --prefix {HERE.name}` in tests/serving"


@pytest.mark.skipif(MISSING, reason=REASON)
def test_the_official_node_client_works_unchanged(gateway_url: str) -> None:
    done = subprocess.run(
        ["node", str(HERE / "client.mjs"), gateway_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)

    assert {"auto", "small", "large"} <= set(seen["models"])
    assert seen["candidate"] == "small"
    assert seen["requestId"]
    assert seen["text"] == seen["streamed"] == seen["response"] != ""
    assert seen["usage"] == seen["streamedUsage"]
    assert seen["completion"]
    assert seen["error"] == {
        "kind": "NotFoundError",
        "status": 404,
        "code": "model_not_found",
        "param": "model",
    }
    assert seen["refused"] == {"kind": "BadRequestError", "param": "messages"}
