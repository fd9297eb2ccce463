"""The engine's socket and the gateway's end of it: private, whole messages, nobody waits for ever."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.errors import BackendError
from serving.engine.channel import Channel
from serving.engine.plugin.outlet import SOCKET, Outlet


@pytest.fixture
def room(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def outlet(room: Path) -> Iterator[Outlet]:
    complaints: list[str] = []
    outlet = Outlet(room / SOCKET, complaints.append)
    yield outlet
    outlet.close()


def message(key: str, scores: Any = (1.0, 2.5), **more: Any) -> dict[str, Any]:
    packed = base64.b64encode(np.asarray(scores, "<f4").tobytes()).decode()
    return {"id": key, "n_tokens": 7, "weights": "w", "scores": packed, **more}


async def listeners(outlet: Outlet, n: int) -> None:
    while len(outlet._listeners) != n:
        await asyncio.sleep(0.005)


async def test_numbers_arrive_under_their_key_alone(outlet: Outlet, room: Path) -> None:
    first, second = Channel(room / SOCKET), Channel(room / SOCKET)
    await first.connect()
    await second.connect()
    await listeners(outlet, 2)
    (a, at_first), (b, at_second) = first.expect(), second.expect()
    outlet.put(lambda: [message(b, [3.0]), message("unknown")])
    outlet.put(lambda: [message(a, np.arange(100_000))])  # far more than a socket's buffer
    one, two = await asyncio.wait_for(asyncio.gather(at_first, at_second), 5)
    assert one.scores.tolist() == list(range(100_000))
    assert (two.scores.tolist(), two.n_tokens, two.weights, two.features.size) == ([3.0], 7, "w", 0)
    await first.close()
    await second.close()


def test_nobody_else_can_reach_the_socket(outlet: Outlet, room: Path) -> None:
    assert stat.S_IMODE((room / SOCKET).stat().st_mode) == 0o600
    room.chmod(0o755)
    with pytest.raises(PermissionError, match="closed to all others"):
        Outlet(room / "another.sock", print)


async def test_a_gateway_refuses_a_folder_that_others_can_write(outlet: Outlet, room: Path) -> None:
    room.chmod(0o777)
    with pytest.raises(BackendError, match="closed to all others"):
        await Channel(room / SOCKET).connect()


async def test_who_waits_is_told_when_the_engine_goes(outlet: Outlet, room: Path) -> None:
    channel = Channel(room / SOCKET)
    await channel.connect()
    await listeners(outlet, 1)
    _, waiting = channel.expect()
    outlet.close()
    with pytest.raises(BackendError, match="closed"):
        await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(channel.closed(), 5)
    assert not channel.connected
    await channel.close()


async def test_an_engine_that_comes_back_is_found_again(room: Path) -> None:
    channel = Channel(room / SOCKET)
    for turn in range(2):  # the second one finds the first one's socket still lying there
        outlet = Outlet(room / SOCKET, print)
        await channel.connect()
        await listeners(outlet, 1)
        key, waiting = channel.expect()
        outlet.put(lambda key=key, turn=turn: [message(key, [turn])])  # type: ignore[misc]
        assert (await asyncio.wait_for(waiting, 5)).scores.tolist() == [turn]
        outlet.close()
    await channel.close()


async def test_a_given_up_key_leaves_nothing_behind(outlet: Outlet, room: Path) -> None:
    channel = Channel(room / SOCKET)
    await channel.connect()
    _, waiting = channel.expect()
    waiting.cancel()
    await asyncio.sleep(0)
    assert channel._expected == {}
    await channel.close()


async def test_one_failing_step_does_not_silence_the_next(outlet: Outlet, room: Path) -> None:
    channel = Channel(room / SOCKET)
    await channel.connect()
    await listeners(outlet, 1)
    key, waiting = channel.expect()

    def fails() -> Any:
        raise RuntimeError("no such event")

    outlet.put(fails)
    outlet.put(lambda: [message(key)])
    assert (await asyncio.wait_for(waiting, 5)).scores.tolist() == [1.0, 2.5]
    await channel.close()


async def test_a_listener_that_takes_nothing_is_dropped(
    outlet: Outlet, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.plugin.outlet.SEND_TIMEOUT_S", 0.5)
    stuck = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stuck.connect(str(room / SOCKET))
    channel = Channel(room / SOCKET)
    await channel.connect()
    await listeners(outlet, 2)
    key, waiting = channel.expect()
    outlet.put(lambda: [message("large", np.zeros(1_000_000)), message(key)])
    assert (await asyncio.wait_for(waiting, 5)).n_tokens == 7
    await listeners(outlet, 1)
    stuck.close()
    await channel.close()


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[]\n", b"no json\n", b'{"id": "KEY", "n_tokens": 1}\n', b"\xff\n"]
)
async def test_a_stranger_at_the_other_end_is_left(line: bytes, room: Path) -> None:
    server = await asyncio.start_unix_server(lambda _, writer: writers.append(writer), room / SOCKET)
    writers: list[asyncio.StreamWriter] = []
    channel = Channel(room / SOCKET)
    await channel.connect()
    key, waiting = channel.expect()
    while not writers:
        await asyncio.sleep(0.005)
    writers[0].write(line.replace(b"KEY", key.encode()))
    with pytest.raises(BackendError):
        await asyncio.wait_for(waiting, 5)
    await channel.close()
    writers[0].close()
    server.close()
    assert os.path.exists(room)
