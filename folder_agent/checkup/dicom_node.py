"""Checks of the gateway's DICOM node: does it answer, is it trusted, does it know our AE titles? By C-ECHO.

Touches the network; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from folder_agent.checkup.findings import Check, Outcome, of_problem, ok, warning
from folder_agent.core.errors import AgentError, Problem
from folder_agent.core.status import Phrase
from folder_agent.edges.gateway.dimse import Node, echo, node_of
from folder_agent.edges.gateway.probe import certificate_of
from folder_agent.settings import Settings

_NAME = "images"


def examine(settings: Settings) -> Iterator[Check]:
    """One association and one C-ECHO. Raises AgentError where the settings' certificates cannot be used."""
    node = node_of(settings.dimse, settings.gateway.timeout_s)
    try:
        status = echo(node)
    except AgentError as error:
        yield _failed(node, error.problem)
        return
    zh, en = f"影像以 C-STORE 发往 {node.address}", f"images go to {node.address} by C-STORE"
    if node.context is None:
        zh, en = f"{zh}(未加密)", f"{en} (not encrypted)"
    if status == 0:
        yield ok(_NAME, f"{zh};C-ECHO 成功", f"{en}; it answers C-ECHO")
        return
    why = "不提供 C-ECHO" if status is None else f"C-ECHO 状态 0x{status:04X}"
    why_en = "does not offer C-ECHO" if status is None else f"answers C-ECHO with status 0x{status:04X}"
    yield warning(
        _NAME,
        f"{zh};对方{why}",
        f"{en}; the node {why_en}",
        "请发送一个测试检查确认",
        "Make sure with a test exam.",
    )


def _failed(node: Node, problem: Problem) -> Check:
    """What is wrong; of a certificate that is not trusted also how it would be pinned."""
    check = of_problem(_NAME, problem, Outcome.FAULT)
    if problem.code != "FA-GW-TLS":
        return check
    with suppress(OSError, ValueError):
        pin = f'fingerprint = "sha256:{certificate_of(node.host, node.port, node.timeout_s).sha256}"'
        zh = f"请在该节点上核对其证书的指纹;一致则在 [dimse] 中设置 {pin}"
        en = f"Compare this fingerprint with the node's own; if they agree, set {pin} in [dimse]."
        return replace(check, todo=Phrase(zh, en))
    return check
