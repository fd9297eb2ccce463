"""A real PostgreSQL server of one's own, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from serving.vllm.process import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
MISSING = not BINARIES
REASON = "PostgreSQL is not installed"


class PostgresServer:
    """Started and stopped by its own process id; refuses to run as root, so another user is taken."""

    def __init__(self) -> None:
        self.bin = BINARIES[-1].parent
        self.folder = Path(tempfile.mkdtemp(prefix="foresight-pg-", dir="/tmp"))
        self.port = free_port()
        self.url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            found = pwd.getpwnam(self._user)
            os.chown(self.folder, found.pw_uid, found.pw_gid)
        subprocess.run(
            [str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "tester", "-A", "trust", "-N"],
            check=True,
            capture_output=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            command,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 30
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
