"""The way out: a socket in a private folder that only this user's processes can open.

Results leave from a thread of their own, so that a slow gateway never holds up the engine. Several gateways
may listen; each gets every message and knows its own by unguessable ids.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SOCKET = "engine.sock"
"""Name of the socket in the private folder."""
CURRENT = "current"
"""Link in the private folder to the weights that are in force."""
SEND_TIMEOUT_S = 1.0
"""A listener that takes nothing for so long is dropped; it may connect again."""
MAX_WAITING = 4096
"""Steps whose results wait to be sent; beyond it they are dropped."""

Messages = Iterable[Mapping[str, Any]]


class Outlet:
    """Listens on a socket and sends messages to whoever is connected.

    Parameters
    ----------
    path
        Of the socket; its folder must belong to this user and be closed to others.
    complain
        Told what goes wrong.

    Raises
    ------
    PermissionError
        If somebody else could reach the folder.
    """

    def __init__(self, path: Path, complain: Callable[[str], object]) -> None:
        require_private(path.parent)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(16)
        self._complain = complain
        self._lock = threading.Lock()
        self._closing = False
        self._listeners: list[socket.socket] = []
        self._waiting: queue.Queue[Callable[[], Messages] | None] = queue.Queue(MAX_WAITING)
        self.n_dropped = 0
        for name, target in (("accept", self._accept), ("send", self._send)):
            threading.Thread(target=target, name=f"foresight-{name}", daemon=True).start()

    def put(self, messages: Callable[[], Messages]) -> None:
        """Send these messages soon; they are made in the sending thread, which may wait for a GPU."""
        try:
            self._waiting.put_nowait(messages)
        except queue.Full:
            self.n_dropped += 1

    def close(self) -> None:
        """Stop; what still waits is sent first."""
        with self._lock:
            self._closing = True
        self._waiting.put(None)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if peer_uid(connection) not in (os.geteuid(), 0):
                connection.close()
                continue
            connection.settimeout(SEND_TIMEOUT_S)
            with self._lock:
                if self._closing:  # nobody would close it any more
                    connection.close()
                    return
                self._listeners.append(connection)

    def _send(self) -> None:
        while (make := self._waiting.get()) is not None:
            try:
                lines = b"".join(json.dumps(message).encode() + b"\n" for message in make())
            except Exception as error:  # one step's failure must not silence the following ones
                self._complain(f"the results of a step are lost: {error!r}")
                continue
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                try:
                    listener.sendall(lines)
                except OSError:
                    self._drop(listener)
        with self._lock:
            for listener in self._listeners:
                listener.close()

    def _drop(self, listener: socket.socket) -> None:
        with self._lock:
            self._listeners.remove(listener)
        listener.close()


def require_private(folder: Path) -> None:
    """Refuse a folder that others could reach; `PermissionError`."""
    state = folder.stat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise PermissionError(f"{folder} must belong to this user and be closed to all others (mode 0700).")


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
