"""Real processes: killed, reloaded and stopped under load."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from probes.errors import ConfigError
from router.configuration.pool import Pool
from serving.assemble import make_gateway
from serving.backends.registry import make_backends
from serving.flow.gateway import Gateway
from serving.reload import Reloader
from serving.run import listening
from serving.settings import GatewaySettings
from serving.vllm.process import free_port
from tests.serving.conftest import gateway_over
from tests.serving.flow.test_gateway_faults import EASY, GOOD, metrics, post, until
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import answers, streams, upstream

ROOT = Path(__file__).resolve().parents[3]
FAST = ROOT / "eval" / "benchmarks" / "gateway" / "rig" / "upstream.py"
SERVE = """
import sys
from serving.run import serve
from serving.settings import GatewaySettings
from tests.serving.routing import pool_of, router_of
pool = pool_of({"far": {"kind": "openai", "url": sys.argv[1]}}, {"small": {"backend": "far"}})
serve(pool, router_of(pool), port=0, settings=GatewaySettings(drain_s=20))
"""

Http = aiohttp.ClientSession


@contextmanager
def fast_upstream(port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, str(FAST), str(port)]) as process:
        try:
            yield process
        finally:
            process.kill()


async def answering(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_a_backend_killed_under_load_loses_no_request_that_had_not_begun(http: Http) -> None:
    port = free_port()
    limits = {"breaker_failures": 5, "breaker_rest_s": 0.3, "retries": 0}
    async with upstream(streams(*GOOD)) as second:
        with fast_upstream(port) as first:
            await answering(port)
            async with gateway_over(f"http://127.0.0.1:{port}/v1", second.url, **limits) as url:
                paced = {"stream": True, "user": "paced"}
                asked = [asyncio.create_task(post(http, url, **paced)) for _ in range(100)]
                await asyncio.sleep(0.3)
                asked += [asyncio.create_task(post(http, url, **paced)) for _ in range(100)]
                first.kill()
                answered = await asyncio.gather(*asked)

                for status, _, body in answered:
                    assert status == 200
                    assert body.endswith(b"data: [DONE]\n\n") or b'"backend_cut"' in body
                text = await metrics(url)
                counted = sum(
                    float(line.split()[-1])
                    for line in text.splitlines()
                    if line.startswith("foresight_requests_total")
                )
                assert counted == len(answered)
                for _ in range(6):
                    assert (await post(http, url, stream=True))[1]["x-foresight-candidate"] == "large"
                assert await breaker(http, url) == "open"

                with fast_upstream(port):
                    await answering(port)
                    await closed(http, url)
                    assert (await post(http, url, stream=True))[1]["x-foresight-candidate"] == "small"


async def closed(http: Http, url: str) -> None:
    """Ask until the breaker has closed."""
    async with asyncio.timeout(40):
        while await breaker(http, url) != "closed":
            await post(http, url, stream=True)
            await asyncio.sleep(0.1)


async def breaker(http: Http, url: str) -> str:
    async with http.get(url.removesuffix("/v1") + "/ready") as response:
        return str((await response.json())["backends"]["at-small"]["breaker"])


async def test_sigterm_lets_a_stream_that_runs_come_to_its_end(http: Http) -> None:
    port = free_port()
    words = [sys.executable, "-c", SERVE, f"http://127.0.0.1:{port}/v1"]
    with fast_upstream(port):
        await answering(port)
        server = await asyncio.create_subprocess_exec(
            *words, cwd=ROOT, env=dict(os.environ), stderr=asyncio.subprocess.PIPE
        )
        assert server.stderr is not None
        told = b""
        while not told.endswith(b"Stop with Ctrl-C.\n"):
            told += await server.stderr.readline()
        url = next(word for word in told.decode().split() if word.startswith("http://"))
        streams_ = [
            await http.post(f"{url}/chat/completions", json={**EASY, "stream": True, "user": "paced"})
            for _ in range(20)
        ]
        server.send_signal(signal.SIGTERM)
        bodies = await asyncio.gather(*(response.read() for response in streams_))
        _, rest = await asyncio.wait_for(server.communicate(), 60)

    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    assert (server.returncode, rest) == (0, b"")


class TestReload:
    async def test_no_request_is_lost_and_old_backends_leave_when_theirs_are_over(self, http: Http) -> None:
        async with (
            upstream(streams(*GOOD, pause_s=0.1)) as old,
            upstream(answers()) as new,
            running(pool_at(old.url)) as (gateway, url),
        ):
            gone = gateway.fleet.backends["at-small"]
            slow = [asyncio.create_task(post(http, url, stream=True)) for _ in range(20)]
            await until(lambda: len(old.bodies) == 20)
            reloader = reloader_of(gateway, pool_at(new.url))
            await reloader.reload()

            status, _, body = await post(http, url)
            assert (status, b"four" in body) == (200, True)
            assert len(old.bodies) == 20
            done = await asyncio.gather(*slow)
            assert {body for _, _, body in done} == {b"".join(GOOD)}
            await until(lambda: gone._session is None)  # type: ignore[attr-defined]
            await reloader.close()

    async def test_what_did_not_change_is_kept(self, http: Http) -> None:
        async with upstream(answers()) as same, running(pool_at(same.url)) as (gateway, url):
            kept = gateway.fleet.backends["at-small"]
            breakers = dict(gateway._dispatcher.breakers)
            changed = pool_at(same.url, policies={"least": {"rule": "tolerance", "tolerance": 1.0}})
            reloader = reloader_of(gateway, changed)
            await reloader.reload()
            await asyncio.sleep(0.2)

            assert gateway.fleet.backends["at-small"] is kept
            assert gateway._dispatcher.breakers == breakers
            assert (await post(http, url, model="auto:least"))[0] == 200
            await reloader.close()

    async def test_what_cannot_be_served_changes_nothing(self, http: Http) -> None:
        async with upstream(answers()) as same, running(pool_at(same.url)) as (gateway, url):
            other = pool_at(same.url, scout={"model": "./another"})
            reloader = reloader_of(gateway, other)
            with pytest.raises(ConfigError, match="scout"):
                await reloader.reload()
            reloader.request()
            await asyncio.sleep(0.1)

            assert (await post(http, url))[0] == 200
            await reloader.close()


def pool_at(url: str, **more: Any) -> Pool:
    return pool_of({"at-small": {"kind": "openai", "url": url}}, {"small": {"backend": "at-small"}}, **more)


def reloader_of(gateway: Gateway, pool: Pool) -> Reloader:
    def load() -> tuple[Pool, Any]:
        return pool, router_of(pool)

    return Reloader(gateway, load, lambda some: make_backends(some, gateway.settings, Path("/tmp")))


@asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[tuple[Gateway, str]]:
    gateway = make_gateway(pool, router_of(pool), settings=GatewaySettings(port=0, drain_s=1))
    async with listening(gateway) as (_, url):
        await gateway.ready()
        yield gateway, url
