"""What an agent must hold to run, so that no second one works on the same ledger or drop folder by mistake.

    ledger, SQLite        a lock of the system beside its file
    drop folder           a lock of the system in a folder of this machine, by the folder's real path and identity
    ... on a share        and a lease in the drop folder, for agents on other machines
    drop's name           in a shared ledger (PostgreSQL): a lease in the ledger, for its rows bear that name

Touches those locks and leases. Reading commands hold nothing.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, Problem, problem
from folder_agent.core.ports import Publisher
from folder_agent.edges.drop_folder.names import LEASE_NAME
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.holder import Holder, Taken, this_process
from folder_agent.edges.holds import Hold, machine_folders, one_lies_in_the_other, others, registering, usable
from folder_agent.edges.keeper import Keeper, Kept
from folder_agent.edges.leases import PATIENCE_S, FilePlace, Lease, NotePlace
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.edges.paths import normal
from folder_agent.edges.volumes import is_remote
from folder_agent.settings import DropSettings, Settings

_MOST_WAIT_S = PATIENCE_S + 20.0  # for leases to be decided; a share that hangs counts as out of reach then


class Tenancy:
    """All that one agent holds, from construction on. Raises AgentError FA-IN-USE (FATAL) if another has any of it.

    `folders` are where locks are kept, `clock` the monotonic one that leases are watched on.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        folders: Sequence[Path] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._publisher, self._clock = settings, publisher, clock
        self._me = this_process(str(settings.file or ""))
        self._folders = [one for one in (machine_folders() if folders is None else folders) if usable(one)]
        self._holds: list[Kept] = []
        self._gone: dict[str, set[str]] = {}  # by drop: owners that held its lock, and so have ended
        self._leases: dict[str, Kept] = {}  # of drop folders, by name
        self._keepers: list[Keeper] = []
        self._changed = threading.Condition()
        try:
            self._hold_ledger()
            self._hold_drops()
            self._keep(self._holds)
            self._lease_drops()
        except BaseException:
            self.release()
            raise

    def hold_names(self, ledger: PeeweeLedger) -> None:
        """In a ledger that several agents share: the drops' names. Raises AgentError FA-IN-USE (FATAL)."""
        if (self._settings.ledger.url or "").startswith("sqlite:"):
            return  # the whole ledger is ours
        kept = []
        for drop in self._settings.drops:
            place, gone = NotePlace(ledger, f"hold:{drop.name}"), self._gone.get(drop.name, ())
            lease = Lease(place, self._me, gone, self._clock)
            kept.append(Kept(lease, f"账本中的投放目录名 {drop.name} ", f"the drop's name {drop.name} in the ledger"))
        self._keep(kept)
        self._decide(kept)
        unreached = next((one for one in kept if not one.item.is_held), None)
        if unreached is not None:
            raise failure(problem("FA-LEDGER", detail=unreached.trouble or "no answer"))

    def check(self) -> None:
        """Raises AgentError (FATAL) if another agent has taken over anything: then nothing may be touched any more."""
        for keeper in self._keepers:
            for one in keeper.kept:
                if one.taken is not None:
                    raise failure(self._refusal(one, one.taken))

    def admit(self, drop: str) -> None:
        """Raises AgentError (RETRY) while a drop folder's lease is not ours yet, because its share is out of reach."""
        one = self._leases.get(drop)
        if one is None or one.item.is_held:
            return
        watched = one.item.watched if isinstance(one.item, Lease) else None
        told = _waiting(one, watched) if watched else problem("FA-DROP-GONE", detail=one.trouble or "no answer")
        raise failure(told, Disposition.RETRY)

    def end_leases(self) -> None:
        """Give back what others can see, as long as the ledger is open."""
        for keeper in self._keepers:
            keeper.stop()

    def release(self) -> None:
        """Give everything back: when the ledger is closed, and last of all."""
        self.end_leases()
        with ExitStack() as stack:
            for one in self._holds:
                stack.callback(one.item.release)
        self._holds.clear()

    # --- taking ------------------------------------------------------------------------------------------------------

    def _hold_ledger(self) -> None:
        url = self._settings.ledger.url or ""
        if not url.startswith("sqlite:") or is_remote(path := path_of(url)):
            return  # shared, or about to be refused
        file = os.path.realpath(path)
        places = [Path(file + ".lock"), *(one / f"ledger-{_digest(normal(file))}.lock" for one in self._folders)]
        me, why = replace(self._me, place=file), ""
        for place in places:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._hold(place, me, f"账本 {path.name} ", f"the ledger {path.name}")
            except OSError as error:
                why = why or name_of(error)  # its folder denies it, or its file system knows no such locks
            else:
                return
        raise failure(problem("FA-LEDGER", detail=f"cannot be locked: {why}"))

    def _hold_drops(self) -> None:
        with ExitStack() as stack:
            for folder in self._folders:
                stack.enter_context(registering(folder))
            for drop in self._settings.drops:
                self._hold_drop(drop)
            self._check_overlaps()

    def _hold_drop(self, drop: DropSettings) -> None:
        me = replace(self._me, place=os.path.realpath(drop.path))
        for name in _lock_names(drop.path):
            for folder in self._folders:
                try:
                    hold = self._hold(folder / name, me, *_called(drop.name))
                except OSError:
                    continue  # of another account, and not for us: another folder, or a lease, does as well
                gone = self._gone.setdefault(drop.name, set())
                if hold.previous is not None:
                    gone.add(hold.previous.owner)

    def _hold(self, path: Path, me: Holder, zh: str, en: str) -> Hold:
        try:
            hold = Hold(path, me)
        except Taken as taken:
            raise self._in_use(zh, en, taken.holder) from None
        self._holds.append(Kept(hold, zh, en))
        return hold

    def _check_overlaps(self) -> None:
        """Another agent's drop folder must not lie inside one of ours, nor ours inside one of its."""
        ours = frozenset(one.item.path for one in self._holds if isinstance(one.item, Hold))
        for folder in self._folders:
            for other in others(folder, ours):
                for drop in self._settings.drops:
                    if other.place and one_lies_in_the_other(os.path.realpath(drop.path), other.place):
                        zh, en = _called(drop.name)
                        zh, en = f"{zh}(与 {other.place} 重叠)", f"{en}, which overlaps with {other.place},"
                        raise self._in_use(zh, en, other)

    def _lease_drops(self) -> None:
        for drop in self._settings.drops:
            on_share = is_remote(drop.path)
            # On a local disk only where no lock can be had, or where somebody has left a lease all the same.
            if on_share or drop.name not in self._gone or os.path.lexists(drop.path / LEASE_NAME):
                place = FilePlace(drop.path, on_share)
                lease = Lease(place, self._me, self._gone.get(drop.name, ()), self._clock)
                self._leases[drop.name] = kept = Kept(lease, *_called(drop.name))
                self._keep([kept])
        self._decide(list(self._leases.values()))

    # --- keeping -----------------------------------------------------------------------------------------------------

    def _keep(self, kept: Sequence[Kept]) -> None:
        if kept:
            self._keepers.append(Keeper(kept, self._wake, self._publisher.fault))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _decide(self, kept: Sequence[Kept]) -> None:
        """Wait until it is known of each how it stands. Raises AgentError FA-IN-USE."""
        told: set[Kept] = set()
        end = time.monotonic() + _MOST_WAIT_S
        while time.monotonic() < end and not all(one.is_settled for one in kept):
            self.check()
            for one in kept:
                watched = one.item.watched if isinstance(one.item, Lease) else None
                if watched is not None and one not in told:
                    told.add(one)
                    self._publisher.notice(_waiting(one, watched))
            with self._changed:
                self._changed.wait(1.0)
        self.check()

    def _refusal(self, one: Kept, taken: Taken) -> Problem:
        code = "FA-HOLD-LOST" if one.was_held else "FA-IN-USE"
        return _told(code, one.zh, one.en, taken.holder)

    def _in_use(self, zh: str, en: str, holder: Holder | None) -> AgentError:
        if holder is not None and holder.owner == self._me.owner:
            zh, en = (
                f"{zh}(与本设置中另一个投放目录是同一文件夹)",
                f"{en}, the same folder as another of these settings,",
            )
        return failure(_told("FA-IN-USE", zh, en, holder))


def claimant(settings: Settings) -> str:
    """The name under which an agent claims bundles: the same after a restart, wherever it runs, and nobody else's,
    because no two agents may hold one drop's name in a ledger."""
    return f"drops-{_digest(' '.join(sorted(drop.name for drop in settings.drops)))}"


def _lock_names(path: Path) -> list[str]:
    """By the real path, which links and other spellings lead to; on a local disk also by identity, which a second
    mount of the folder shares. A share's identity may change with a remount, and says nothing."""
    names = [f"path-{_digest(normal(os.path.realpath(path)))}.lock"]
    if not is_remote(path):
        try:
            found = path.stat()
        except OSError:
            return names
        if found.st_ino:
            names.append(f"id-{found.st_dev}-{found.st_ino}.lock")
    return names


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]


def _called(drop: str) -> tuple[str, str]:
    return f"投放目录 {drop} ", f"the drop folder {drop}"


def _told(code: str, zh: str, en: str, holder: Holder | None) -> Problem:
    if holder is None:
        return problem(code, zh=zh, en=en, host="?", pid="?", since="?", settings="?")
    return problem(code, zh=zh, en=en, host=holder.host, pid=holder.pid, since=holder.since, settings=holder.settings)


def _waiting(one: Kept, holder: Holder) -> Problem:
    return problem("FA-HOLD-WAIT", zh=one.zh, en=one.en, host=holder.host, pid=holder.pid, seconds=round(PATIENCE_S))
