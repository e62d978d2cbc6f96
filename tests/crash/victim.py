"""One life of the real agent, in a process of its own that kills itself at a named step.

Every call that changes something has a step before it and one after it, numbered as it occurs: "before ledger.apply
#7". The steps are written to a log as they are reached; at the one that is fatal the process is killed (SIGKILL,
on Windows TerminateProcess: nothing is flushed, no handler runs).
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.cli import retrying
from folder_agent.core import planning
from folder_agent.edges import durable, logs
from folder_agent.edges.gateway import qido
from folder_agent.edges.gateway.dimse.line import Line
from folder_agent.edges.gateway.wire import PromptStream, WireTransport
from folder_agent.edges.ledger import PeeweeLedger
from tests.crash import disk, enumeration
from tests.crash.recorder import Recorder

PATIENCE_S = 20.0
KILL = 9  # to Windows' os.kill the exit code of whoever is ended so
CHUNK = 1500  # bytes: so that a small file, too, is copied in several


@dataclass(frozen=True)
class Order:
    """What one life is to do, and where it ends."""

    command: str  # "run" (once) or "retry" (the operator's, of bundle CT1)
    config: str
    log: str
    journal: str  # the simulator's: tells when it has taken a request
    roots: tuple[str, ...]  # where the files are
    fatal: str | None = None
    record: str | None = None  # where to write down what is done to the disk
    disturb: tuple[str, str, str] | None = None  # at this step somebody writes that file anew, with that text

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def of(text: str) -> Order:
        given = json.loads(text)
        given["roots"] = tuple(given["roots"])
        given["disturb"] = None if given["disturb"] is None else tuple(given["disturb"])
        return Order(**given)


class Steps:
    """Counts the steps, and ends the process at one of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lock = threading.RLock()
        self._seen: Counter[str] = Counter()
        self._log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reach(self, name: str) -> None:
        with self._lock:
            self._seen[name] += 1
            step = f"{name} #{self._seen[name]}"
            os.write(self._log, (step + "\n").encode())
            if step == self._order.fatal:
                os.kill(os.getpid(), KILL)
            if self._order.disturb is not None and self._order.disturb[0] == name:
                _write_anew(Path(self._order.disturb[1]), self._order.disturb[2].encode())

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.reach(f"before {name}")
            result = function(*args, **kwargs)
            self.reach(f"after {name}")
            return result

        return stepped


def live(order: Order) -> None:
    """The life itself."""
    if order.record is not None:  # first: what is killed after a step has written it down
        Recorder(Path(order.record), [Path(root) for root in order.roots]).listen()
    steps = Steps(order)
    install(order, steps)
    planning.AGAIN_S = 0.1
    qido._PAUSES_S = ()
    if order.command == "retry":
        retrying.retry(Path(order.config), "CT1", failed=True, as_json=True, language="en")
        return
    with Assembly(settings.load(Path(order.config), {}), logs.LogPublisher()) as assembly:
        assembly.agent.run(until_idle=lambda: True)


def install(order: Order, steps: Steps) -> None:
    """Put a step around everything that changes something."""
    durable.CHUNK = CHUNK
    for part in enumeration.changing():
        put_everywhere(part, steps.around(part.step, getattr(part.owner, part.name)))
    PeeweeLedger.apply = _by_transition(PeeweeLedger.apply, steps)  # type: ignore[method-assign]
    PeeweeLedger.commit = _by_transition(PeeweeLedger.commit, steps)  # type: ignore[method-assign]
    durable._pump = _by_chunk(durable._pump, steps)
    _watch_wire(steps, Path(order.journal))
    disk.overhear([Path(root) for root in order.roots], lambda when, name, paths: steps.reach(f"{when} os.{name}"))


def put_everywhere(part: enumeration.Function, wrapped: Callable[..., Any]) -> None:
    """In the class or module itself, and wherever a module took a function of it by name."""
    original = getattr(part.owner, part.name)
    setattr(part.owner, part.name, wrapped)
    for module in [found for name, found in sys.modules.items() if name.startswith("folder_agent")]:
        if module.__dict__.get(part.name) is original:
            setattr(module, part.name, wrapped)


def _by_transition(apply: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def applied(ledger: Any, transitions: Any, *more: Any) -> Any:
        steps_of = dict.fromkeys(_named(one) for one in transitions)
        for name in steps_of:
            steps.reach(f"before {name}")
        result = apply(ledger, transitions, *more)
        for name in steps_of:
            steps.reach(f"after {name}")
        return result

    return applied


def _named(transition: Any) -> str:
    kind = "bundle" if hasattr(transition.after, "key") else "file"
    return f"{kind} {transition.before.state} {transition.event}"


def _by_chunk(pump: Callable[..., str], steps: Steps) -> Callable[..., str]:
    def pumped(reader: Any, writer: Any = None) -> str:
        if writer is None:
            return pump(reader)
        write = steps.around("chunk of a copy", writer.write)

        class Writer:
            def write(self, block: Any) -> None:
                write(block)
                writer.flush()

        return pump(reader, Writer())

    return pumped


def _watch_wire(steps: Steps, journal: Path) -> None:
    """Steps of each request: it is out; the gateway has taken it and its answer is on the way; the answer is read."""
    now = threading.local()
    handle, read, write = WireTransport.handle_request, PromptStream.read, PromptStream.write

    def handled(self: Any, request: Any) -> Any:
        now.path = request.url.path
        now.what, now.is_out = enumeration.REQUESTS.get(now.path, "other"), False
        now.taken = _taken(journal, now.path)
        return handle(self, request)

    def written(self: Any, buffer: bytes, timeout: float | None = None) -> None:
        write(self, buffer, timeout)
        if buffer:
            steps.reach(f"part of {now.what} out")
        now.is_out = True

    def answered(self: Any, max_bytes: int, timeout: float | None = None) -> bytes:
        if not now.is_out:
            return read(self, max_bytes, timeout)
        now.is_out = False
        steps.reach(f"{now.what} request out")
        end = time.monotonic() + PATIENCE_S
        while _taken(journal, now.path) == now.taken and time.monotonic() < end:
            time.sleep(0.002)
        steps.reach(f"{now.what} answer in")
        found = read(self, max_bytes, timeout)
        steps.reach(f"{now.what} answer read")
        return found

    send, receive = Line.send, Line.receive

    def sent(self: Any, data: bytes) -> None:
        send(self, data)
        steps.reach("part of an association out")

    def received(self: Any) -> tuple[int, bytes]:
        found = receive(self)
        steps.reach("answer in an association read")
        return found

    Line.send, Line.receive = sent, received  # type: ignore[method-assign,assignment]
    WireTransport.handle_request = handled  # type: ignore[method-assign]
    PromptStream.write = written  # type: ignore[method-assign]
    PromptStream.read = answered  # type: ignore[method-assign]


def _taken(journal: Path, path: str) -> int:
    """How many requests of that path the simulator has recorded: it does so before it answers."""
    return journal.read_bytes().count(json.dumps(path).encode()) if journal.exists() else 0


def _write_anew(path: Path, content: bytes) -> None:
    """Once, whatever becomes of this process."""
    if path.exists() and path.read_bytes() != content:
        path.write_bytes(content)
