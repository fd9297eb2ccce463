"""Run a gateway: as a server until a signal comes, in this event loop, or in a thread beside a script."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import uvicorn

from probes.errors import UsageError
from router.configuration.pool import Pool
from router.router import Router
from serving.assemble import default_logs, make_gateway
from serving.backends.registry import make_backends
from serving.flow.gateway import Gateway
from serving.http.app import create_app
from serving.memory import keep_for_good
from serving.reload import Reloader
from serving.settings import GatewaySettings

EXAMPLE = """
Foresight answers at {url}

  curl {url}/chat/completions -H 'content-type: application/json' \\
       -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is 17 + 25?"}}]}}'

Models: {models}
Dashboard: {dashboard}
Stop with Ctrl-C.
"""


def serve(
    pool: Pool,
    router: Router,
    *,
    host: str | None = None,
    port: int | None = None,
    scout_mode: Literal["engine", "dedicated", "local", "none"] | None = None,
    log_folder: Path | None = None,
    settings: GatewaySettings | None = None,
    reload: Callable[[], tuple[Pool, Router]] | None = None,
    announce: Callable[[str], object] = sys.stderr.write,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then drain, stop every managed server, and return.

    Parameters
    ----------
    pool, router
        What to serve.
    host, port
        Address to listen on; port 0 takes a free one, None is the settings' choice.
    scout_mode
        Where prompts are read; `none` sends every query to the safe candidate, None is the settings' choice
        or the pool's.
    log_folder
        For the logs of managed vLLM servers.
    settings
        Everything else that may be set; the arguments above win.
    reload
        Reads pool and router again; called at SIGHUP (see `serving.reload`).
    announce
        Told the address and an example, once every backend is up.

    Raises
    ------
    BackendError
        If a backend cannot start; everything is stopped again.
    UsageError
        If the port is taken.
    """
    wanted = {"host": host, "port": port, "scout_mode": scout_mode}
    given = {name: value for name, value in wanted.items() if value is not None}
    chosen = (settings or GatewaySettings()).model_copy(update=given)
    _allow_many_connections()
    logs = log_folder or default_logs()
    gateway = make_gateway(pool, router, settings=chosen, log_folder=logs)
    reloader = None
    if reload is not None:
        reloader = Reloader(gateway, reload, lambda changed: make_backends(changed, chosen, logs))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(gateway, reloader, announce))


def _allow_many_connections() -> None:
    """As many open files as the system lets this process have: a usual default is 1,024, two a request."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(gateway: Gateway, reloader: Reloader | None, announce: Callable[[str], object]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with listening(gateway) as (server, url), contextlib.AsyncExitStack() as stack:

        def halt() -> None:
            server.force_exit = stop.is_set()  # asked twice: do not wait for the requests in flight
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, halt)
        if reloader is not None:
            stack.push_async_callback(reloader.close)
            loop.add_signal_handler(signal.SIGHUP, reloader.request)
        announce(f"Starting {', '.join(gateway.fleet.backends)} ...\n")
        if gateway.ledger is not None:
            announce(f"Decisions are kept in {gateway.ledger.database.shown}\n")
        ready, stopped = asyncio.ensure_future(gateway.ready()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                keep_for_good()
                page = url.removesuffix("/v1") + "/dashboard"
                models = ", ".join(gateway.names.listed())
                announce(EXAMPLE.format(url=url, models=models, dashboard=page))
            await stopped
        finally:
            ready.cancel()
            stopped.cancel()


@asynccontextmanager
async def running_gateway(
    pool: Pool, router: Router, *, settings: GatewaySettings | None = None, log_folder: Path | None = None
) -> AsyncIterator[str]:
    """A gateway in this event loop; gives its base URL (ending in `/v1`) once every backend is up.

    `settings` decides the address; without them a free port on the loopback is taken.
    """
    chosen = settings or GatewaySettings(port=0)
    gateway = make_gateway(pool, router, settings=chosen, log_folder=log_folder)
    async with listening(gateway) as (_, url):
        await gateway.ready()
        yield url


@contextmanager
def background_gateway(
    pool: Pool, router: Router, *, settings: GatewaySettings | None = None, log_folder: Path | None = None
) -> Iterator[str]:
    """`running_gateway` for scripts without an event loop: the gateway runs in a thread.

    Examples
    --------
    >>> with background_gateway(pool, router) as url:  # doctest: +SKIP
    ...     client = openai.OpenAI(base_url=url, api_key="none")
    """
    ready: Future[str] = Future()
    halt: Future[Callable[[], object]] = Future()

    async def run() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        halt.set_result(lambda: loop.call_soon_threadsafe(task.cancel) if task else None)
        async with running_gateway(pool, router, settings=settings, log_folder=log_folder) as url:
            ready.set_result(url)
            await asyncio.Event().wait()

    thread = threading.Thread(target=_run_until_cancelled, args=(run, ready), name="gateway")
    thread.start()
    try:
        yield ready.result()
    finally:
        with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
            halt.result()()
        thread.join()


def _run_until_cancelled(run: Callable[[], object], ready: Future[str]) -> None:
    """Body of the background thread; a failure before the gateway is ready goes to whoever waits for it."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())  # type: ignore[arg-type]
    except asyncio.CancelledError:
        pass
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


@asynccontextmanager
async def listening(gateway: Gateway) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """Listen for as long as the context lasts; backends may still be starting."""
    settings = gateway.settings
    listener = _bind(settings.host, settings.port)
    url = f"http://{_in_url(settings.host)}:{listener.getsockname()[1]}/v1"
    server = _Server(_uvicorn_config(gateway))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        yield server, url
    finally:
        server.should_exit = True
        await task
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to whoever runs the gateway."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def _uvicorn_config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(gateway),
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks where a client sits
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(gateway.settings.drain_s)),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return uvicorn.Config("").get_loop_factory()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        message = f"The gateway cannot listen on {host}:{port} ({error.strerror})"
        raise UsageError(message, param="port", hint="Choose another port; 0 takes a free one.") from error
    return listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
