"""The front-end machine as the agent knows it: the Gateway port over HTTPS (gateway.md).

`open_gateway` puts the parts together; nothing is connected before the first request.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from folder_agent.core.ports import Clock, Proof, Transport
from folder_agent.core.records import Answer, Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.allowance import Allowance
from folder_agent.edges.gateway.client import Link, make_client
from folder_agent.edges.gateway.encapsulate import Encapsulate
from folder_agent.edges.gateway.form import Form
from folder_agent.edges.gateway.lanes import Lanes
from folder_agent.edges.gateway.multipart import OpenFile, Reading, ShouldStop
from folder_agent.edges.gateway.proof import AskedProof
from folder_agent.edges.gateway.qido import Qido
from folder_agent.edges.gateway.signing import SignedHeaders
from folder_agent.edges.gateway.stow import Stow
from folder_agent.edges.gateway.study_add import StudyAdd
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.meters import Meters
from folder_agent.settings import Settings

DICOM_WEB_PATH = "/dicom-web/studies"


class HttpGateway:
    """The exam interface and the transports, over one pool of connections. Safe for many threads."""

    def __init__(
        self,
        link: Link,
        study_add: StudyAdd,
        images: Transport | None,
        reports: Transport | None,
        proof: AskedProof | None = None,
    ) -> None:
        self.proof: Proof | None = proof
        self._asked = proof
        self.address = study_add.url
        self.images = images
        self.reports = reports
        self._link = link
        self._study_add = study_add

    def for_exam(self, exam: Mapping[str, str | int], image: Outgoing | None = None) -> HttpGateway:
        """The same gateway, whose reports carry the exam's identity."""
        bound = copy.copy(self)
        if isinstance(self.reports, Form):
            bound.reports = self.reports.for_exam(exam)
        elif isinstance(self.reports, Encapsulate):
            bound.reports = self.reports.for_exam(exam, image)
            bound.proof = self._asked and self._asked.for_reports(bound.reports)
        return bound

    def commit(self, exam: Mapping[str, str | int]) -> Answer:
        """Post the exam information; see ports.Gateway."""
        return self._study_add.commit(exam)

    def close(self) -> None:
        """Give back every connection; nothing can be sent afterwards."""
        self._link.close()
        if self._asked is not None:
            self._asked.close()


def open_gateway(
    settings: Settings,
    token: str,
    clock: Clock,
    should_stop: ShouldStop,
    open_file: OpenFile = open_for_reading,
    meters: Meters | None = None,
) -> HttpGateway:
    """The gateway of the settings. Raises AgentError (FA-GW-TLS, HOLD) if the CA file cannot be used."""
    gateway = settings.gateway
    context = make_context(gateway.ca_file, gateway.fingerprint)
    auth = SignedHeaders(gateway.app_id, token, clock)
    client = make_client(auth, context, gateway.timeout_s, settings.sync.workers)
    lanes, meters = Lanes(settings.sync.workers, should_stop), meters or Meters()
    meters.under_way = lanes.state
    link = Link(client, clock, gateway.timeout_s, meters, lanes)
    allowance = Allowance(settings.sync.limit, clock) if settings.sync.limit else None
    reading = Reading(open_file, should_stop, allowance)
    images = _images(settings, link, reading, meters)
    study_add = StudyAdd(link, gateway.url + gateway.study_path)
    proof = _proof(settings, link, should_stop, meters)
    return HttpGateway(link, study_add, images, _reports(settings, link, reading, images), proof)


def _reports(settings: Settings, link: Link, reading: Reading, images: Transport | None) -> Transport | None:
    if settings.reports.transport == "form":
        return Form(link, settings.gateway.url, settings.form.path, reading)
    if settings.reports.transport == "encapsulate" and images is not None:  # the settings see to it that it is
        return Encapsulate(images, reading)
    return None


def _proof(settings: Settings, link: Link, should_stop: ShouldStop, meters: Meters) -> AskedProof | None:
    if settings.images.verify == "qido":
        return AskedProof(Qido(link, qido_url(settings), should_stop))
    if settings.images.verify == "stgcmt":
        # Imported where it is wanted, as below.
        from folder_agent.edges.gateway.dimse import Commitment, node_of, place_of

        node = node_of(settings.dimse, settings.gateway.timeout_s)
        place, wait_s = place_of(settings.dimse), settings.dimse.commitment_wait_s
        return AskedProof(Commitment(node, place, wait_s, should_stop, meters))
    return None


def stow_url(settings: Settings) -> str:
    """Where images go by STOW-RS."""
    return settings.stow.url or settings.gateway.url + DICOM_WEB_PATH


def qido_url(settings: Settings) -> str:
    """Where the receiver is asked for its studies."""
    return settings.images.qido_url or stow_url(settings)


def _images(settings: Settings, link: Link, reading: Reading, meters: Meters) -> Transport | None:
    if settings.images.transport == "dimse":
        # Imported where it is wanted: pynetdicom takes half a second, which every other site would pay for.
        from folder_agent.edges.gateway.dimse import Dimse, node_of

        return Dimse(node_of(settings.dimse, settings.gateway.timeout_s), reading, link.lanes, meters)
    if settings.images.transport == "stow":
        trusts_status = settings.stow.trust_status or settings.images.verify == "qido"  # which then asks
        return Stow(link, stow_url(settings), reading, trusts_status=trusts_status)
    return None
