"""A real gateway process over the packaged ladder and its fitted router, and a browser for its page."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser, sync_playwright

from serving.vllm.process import free_port

ROOT = Path(__file__).resolve().parents[3]
LADDER = ROOT / "eval" / "ladder"
CHROMIUM = Path("/usr/bin/chromium")
MISSING = not CHROMIUM.exists()
REASON = "Chromium is not installed (Debian: apt install chromium)"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
MODELS = {"small": "ladder-s", "middle": "ladder-m", "large": "ladder-l"}


def write_pool(folder: Path, **serve: Any) -> Path:
    """The packaged pool with its models in the gateway's own process instead of vLLM servers."""
    pool = yaml.safe_load((LADDER / "pool.yaml").read_text())
    pool["router"] = str(LADDER / "router")
    pool["scout"]["model"] = str(LADDER / "models" / pool["scout"]["model"])
    pool["backends"] = {
        name: {"kind": "local", "model_path": str(LADDER / "models" / model)}
        for name, model in MODELS.items()
    }
    pool["serve"] = {"files": None, **serve}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(pool))
    return path


@contextmanager
def gateway(folder: Path, *options: str, **serve: Any) -> Iterator[str]:
    """A process `foresight serve`; gives its address (without `/v1`) once it can answer."""
    port = free_port()
    words = [str(Path(sys.executable).with_name("foresight")), "serve", str(write_pool(folder, **serve))]
    words += ["--scout-mode", "local", "--port", str(port), *options]
    log = folder / "gateway.log"
    with log.open("wb") as sink, subprocess.Popen(words, cwd=ROOT, stderr=sink, stdout=sink) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    last = time.monotonic() + 120
    while time.monotonic() < last and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
                if answer.read().count(b'"up"') == len(MODELS):
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"the gateway is not ready: {log.read_text()}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=FLAGS, chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            browser.close()


def post(url: str, path: str, body: dict[str, Any]) -> Any:
    """The JSON answer to a JSON question."""
    data, headers = json.dumps(body).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=60) as answer:
        return json.load(answer)
