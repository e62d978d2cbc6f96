"""An association that the receiver asks us for, as bytes: what it proposes, accepted or not (DICOM PS3.8 7.1). Pure.

One thing only is accepted: that the receiver, as the provider of storage commitment, reports on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from folder_agent.edges.gateway.dimse import messages
from folder_agent.edges.gateway.dimse.messages import EXPLICIT, IMPLICIT, LEAST_BYTES
from folder_agent.edges.gateway.dimse.pledges import PUSH_MODEL

REQUESTED = 1  # the PDU's type
_ACCEPTED, _NO_SUCH_KIND, _NO_SUCH_ENCODING = 0, 3, 4  # of a presentation context (PS3.8 Table 9-18)
CALLING_UNKNOWN, CALLED_UNKNOWN = 3, 7  # why an association is rejected (PS3.8 Table 9-21)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the receiver would like."""

    called: str
    calling: str
    most_bytes: int  # of a P-DATA PDU's contents; 0: no bound
    contexts: Mapping[int, tuple[str, tuple[str, ...]]]  # what is about, and in which transfer syntaxes
    provides: bool  # whether it says that it is the one who provides storage commitment (PS3.7 D.3.3.4)

    def taken(self) -> dict[int, str]:
        """The contexts that we take, with the transfer syntax of each."""
        return {
            number: IMPLICIT if IMPLICIT in syntaxes else EXPLICIT
            for number, (about, syntaxes) in self.contexts.items()
            if about == PUSH_MODEL and not {IMPLICIT, EXPLICIT}.isdisjoint(syntaxes)
        }


def proposal(pdu: bytes) -> Proposal:
    """Read an A-ASSOCIATE-RQ. Raises AgentError (FA-GW-ANSWER) if it is none."""
    try:
        decoded = A_ASSOCIATE_RQ()
        decoded.decode(pdu)
        asked = decoded.to_primitive()
        contexts = {
            one.context_id or 0: (str(one.abstract_syntax), tuple(str(syntax) for syntax in one.transfer_syntax))
            for one in asked.presentation_context_definition_list
        }
        roles = [item for item in asked.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
        provides = any(item.sop_class_uid == PUSH_MODEL and item.scp_role for item in roles)
        titles = str(asked.called_ae_title).strip(), str(asked.calling_ae_title).strip()
        found = Proposal(*titles, asked.maximum_length_received or 0, contexts, provides)
    except Exception:  # noqa: BLE001 - whatever a library raises over what came is the sender's fault
        raise messages.not_understood() from None
    if 0 < found.most_bytes < LEAST_BYTES:
        raise messages.not_understood()
    return found


def acceptance(asked: Proposal) -> bytes:
    """An A-ASSOCIATE-AC, with a word on each context."""
    taken, results = asked.taken(), []
    for number, (about, syntaxes) in asked.contexts.items():
        result = PresentationContext()
        result.context_id = number
        result.transfer_syntax = [taken.get(number) or next(iter(syntaxes), IMPLICIT)]
        refused = _NO_SUCH_ENCODING if about == PUSH_MODEL else _NO_SUCH_KIND
        result.result = _ACCEPTED if number in taken else refused
        results.append(result)
    answer = A_ASSOCIATE()
    answer.application_context_name = messages.APPLICATION_CONTEXT
    answer.called_ae_title, answer.calling_ae_title = asked.called, asked.calling
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = results
    answer.user_information = messages.about_us()
    if asked.provides:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = PUSH_MODEL, False, True
        answer.user_information.append(role)
    return A_ASSOCIATE_AC(answer).encode()


def refusal(reason: int) -> bytes:
    """An A-ASSOCIATE-RJ, for good, by its user."""
    return bytes((messages.REJECTED, 0, 0, 0, 0, 4, 0, 1, 1, reason))
