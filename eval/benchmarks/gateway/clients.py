"""Somebody else's client, unchanged, against the gateway: LiteLLM's, from the environment of its proxy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from eval.benchmarks.gateway.rig.peers import LITELLM, environment
from eval.benchmarks.gateway.rig.upstream import TEXT
from eval.benchmarks.gateway.traffic import Server
from eval.benchmarks.row import Row, Setting
from probes.errors import BackendError

ASK = """
import json, sys
import litellm

url, key = sys.argv[1:]
asked = {
    "model": "openai/auto",
    "api_base": url + "/v1",
    "api_key": key,
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
}
whole = litellm.completion(**asked)
chunks = list(litellm.completion(**asked, stream=True))
try:
    litellm.completion(**{**asked, "model": "openai/nobody"})
    kind = "none"
except litellm.NotFoundError as error:
    kind = type(error).__name__
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
print(json.dumps([whole.choices[0].message.content, whole.usage.total_tokens, len(streamed) > 0, kind]))
"""


def rows(gateway: Server, setting: Setting) -> Iterator[Row]:
    """One row."""
    what, reach = "LiteLLM's client: whole, streamed, an unknown model", "works unchanged"
    try:
        python = environment(LITELLM, setting.work / "peers")
    except BackendError as error:
        yield Row(what, reach, f"unmeasured: {error}", None)
        return
    seen = _asked(python, gateway)
    works = seen == [TEXT, 52, True, "NotFoundError"]
    yield Row(what, reach, "works" if works else f"saw {seen}", works)


def _asked(python: Path, gateway: Server) -> object:
    done = subprocess.run(
        [str(python), "-c", ASK, gateway.process.url, gateway.key or "none"],
        capture_output=True,
        text=True,
        timeout=300,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else done.stderr[-300:]
