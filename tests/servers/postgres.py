"""A private PostgreSQL server for tests: its own cluster in a folder of its own, on 127.0.0.1, fsync on.

One for each test process, started at first need and stopped at its end; databases are made fresh for each test.
"""

from __future__ import annotations

import atexit
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

import pg8000.dbapi
import pytest

_USER, _PASSWORD = "agent", "p@ss/wörd: %41"  # as awkward in a url as passwords are
_START_S = 30


class PostgresServer:
    """A running server."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self._numbers = count(1)
        self._root = Path(tempfile.mkdtemp(prefix="folder-agent-pg-"))
        self._account = _account()
        atexit.register(shutil.rmtree, self._root, ignore_errors=True)  # also where starting fails
        if self._account:
            shutil.chown(self._root, self._account)
        self._make_cluster()
        self.port = _free_port()
        self._process = self._start()

    def new_database(self) -> str:
        """The url of a new, empty database."""
        name = f"ledger_{os.getpid()}_{next(self._numbers)}"
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str, password: str = _PASSWORD) -> str:
        """The url of a database on this server."""
        quoted = "".join(f"%{byte:02X}" for byte in password.encode())
        return f"postgresql://{_USER}:{quoted}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as the superuser."""
        connection = pg8000.dbapi.connect(
            _USER, password=_PASSWORD, host="127.0.0.1", port=self.port, database="postgres", timeout=30
        )
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop the server, and remove all that it kept."""
        self._process.send_signal(signal.SIGINT)  # "fast": what is open is cut off
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=20)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._root, ignore_errors=True)

    def _make_cluster(self) -> None:
        secret = self._root / "password"
        secret.write_text(_PASSWORD, encoding="utf-8")
        if self._account:
            shutil.chown(secret, self._account)
        # A Chinese collation, as a hospital's server may have: the ledger must not depend on it.
        self._call(
            *("initdb", "--pgdata", str(self._root / "data"), "--username", _USER, "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "icu", "--icu-locale", "zh", "--no-sync"),
        )

    def _start(self) -> subprocess.Popen[bytes]:
        settings = ("-h", "127.0.0.1", "-p", str(self.port), "-c", "unix_socket_directories=", "-c", "fsync=on")
        with (self._root / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._root / "data"), *settings],
                stdout=log,
                stderr=log,
                user=self._account,
                cwd=self._root,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                self.run("SELECT 1")
            except pg8000.dbapi.Error:
                time.sleep(0.1)
            else:
                return process
        process.kill()
        process.wait()
        raise RuntimeError("PostgreSQL did not start:\n" + (self._root / "log").read_text(errors="replace"))

    def _call(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            capture_output=True,
            user=self._account,
            cwd=self._root,
            env=environment,
        )


@cache
def shared_server() -> PostgresServer:
    """The server of this test process. Skips the test where PostgreSQL is not installed, but never in CI."""
    if os.name == "nt":
        pytest.skip("PostgreSQL runs on the Linux side")
    folder = _bin_folder()
    if folder is None:
        reason = "PostgreSQL's server (initdb, postgres) is not installed"
        if os.environ.get("FOLDER_AGENT_CI") == "1":
            pytest.fail(reason + ", but CI must have it")
        pytest.skip(reason)
    server = PostgresServer(folder)
    atexit.register(server.stop)
    return server


def _bin_folder() -> Path | None:
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


def _account() -> str | None:
    """Whom to run the server as: PostgreSQL refuses to be root."""
    if os.name == "nt" or os.geteuid() != 0:
        return None
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), getpass.getuser())


def _free_port() -> int:
    for _ in range(50):
        port = 20_000 + secrets.randbelow(12_000)  # below the ephemeral range: nobody is handed it by chance
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")
