"""A DICOM node that commits itself to keep what it stored (PS3.4 J), by pynetdicom, and does what a test scripts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt

from tests.servers.storescp import PLAIN, Event, ScriptedScp

PUSH, PUSH_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


def report(transaction: str, kept: Sequence[tuple[str, str]], lost: Sequence[tuple[str, str]] = ()) -> Dataset:
    """The data set of an N-EVENT-REPORT, of pairs of SOP class and instance."""
    content = Dataset()
    content.TransactionUID = transaction
    content.ReferencedSOPSequence = [_item(*pair) for pair in kept]
    if lost:
        content.FailedSOPSequence = [_item(*pair, reason=0x0112) for pair in lost]
    return content


def _item(sop_class: str, sop_instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    if reason is not None:
        item.FailureReason = reason
    return item


@dataclass
class CommittingScp(ScriptedScp):
    """Reports on the same association, or, with `calls`, on one that it opens to that port."""

    calls: int | None = None
    as_title: str = "GATEWAY"
    to_title: str = "FOLDERAGENT"
    has_role: bool = True  # whether it says that it is the provider
    syntaxes: tuple[str, ...] = PLAIN
    tls: ssl.SSLContext | None = None
    action_status: int = 0
    is_silent: bool = False
    reports_first: bool = False  # before it answers the request
    leaves: bool = False  # ends the association instead of reporting
    lost: list[str] = field(default_factory=list)  # SOPInstanceUIDs, once for each time
    held_back: list[Dataset] = field(default_factory=list)  # what it would have reported, had it not been silent
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)  # to its reports: a status, or why there is none

    def lose(self, uid: str) -> None:
        """It takes that instance, and does not keep it."""
        self.lost.append(uid)

    def keeps(self, uid: str) -> bool:
        return sum(one.SOPInstanceUID == uid for one in self.stored) > self.lost.count(uid)

    def call(self, content: Dataset, port: int | None = None) -> int | str:
        """Open an association to that port, and report."""
        caller = AE(self.as_title)
        caller.add_requested_context(PUSH, [UID(syntax) for syntax in self.syntaxes])
        caller.acse_timeout = caller.dimse_timeout = caller.network_timeout = 10
        roles = [build_role(PUSH, scp_role=True)] if self.has_role else []
        secured = {} if self.tls is None else {"tls_args": (self.tls, "127.0.0.1")}
        handlers = [(evt.EVT_CONN_OPEN, self._opened)]
        made = caller.associate(
            "127.0.0.1",
            port or self.calls or 0,
            ae_title=self.to_title,
            ext_neg=roles,
            evt_handlers=handlers,
            **secured,
        )
        if not made.is_established:
            return "rejected" if made.is_rejected else "no association"
        status = self._report(made, content)
        made.release()
        return status

    def _more(self, ae: AE) -> list[Any]:
        ae.add_supported_context(PUSH, [UID(syntax) for syntax in PLAIN])
        return [(evt.EVT_N_ACTION, self._action), (evt.EVT_DIMSE_SENT, self._sent)]

    def _sent(self, event: Event) -> None:
        if type(event.message).__name__ == "N_ACTION_RSP":
            self._has_answered.set()

    def _action(self, event: Event) -> tuple[int, None]:
        asked = event.action_information
        self.asked.append(asked)
        if self.action_status:
            return self.action_status, None
        pairs = [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in asked.ReferencedSOPSequence]
        kept = [pair for pair in pairs if self.keeps(pair[1])]
        content = report(asked.TransactionUID, kept, [pair for pair in pairs if pair not in kept])
        if self.is_silent:
            self.held_back.append(content)
        else:
            self._go(event.assoc, content)
        return 0, None

    def _go(self, association: Any, content: Dataset) -> None:
        def tell() -> None:
            if self.leaves:
                self._has_answered.wait(10)
                association.abort()
            else:
                self.answers.append(self.call(content) if self.calls else self._report(association, content))

        thread = threading.Thread(target=tell, daemon=True)
        self._tellers.append(thread)
        thread.start()
        if self.reports_first and self.calls:
            thread.join(10)

    def _report(self, association: Any, content: Dataset) -> int | str:
        event_type = 2 if "FailedSOPSequence" in content else 1
        status, _ = association.send_n_event_report(content, event_type, PUSH, PUSH_INSTANCE)
        return int(status.Status) if "Status" in status else "no answer"

    def __enter__(self) -> CommittingScp:
        self._tellers: list[threading.Thread] = []
        self._has_answered = threading.Event()
        super().__enter__()
        return self

    def stop(self) -> None:
        for thread in self._tellers:
            thread.join(15)
        super().stop()
