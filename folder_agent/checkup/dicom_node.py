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
from folder_agent.edges.gateway.dimse import Node, check_offered, echo, node_of
from folder_agent.edges.gateway.dimse.listening import opened
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


def examine_commitment(settings: Settings) -> Iterator[Check]:
    """Whether the node would commit itself to keep what it takes, and can call us to say so. Raises as `examine`."""
    dimse = settings.dimse
    try:
        check_offered(node_of(dimse, settings.gateway.timeout_s))
        if dimse.commitment_port is not None:
            opened(dimse.commitment_port).close()
    except AgentError as error:
        yield _of_port(error.problem) or of_problem("verify", error.problem, Outcome.FAULT)
        return
    zh = "发送后请求存储确认:前置机提供"
    en = "storage commitment is asked for after sending: the node offers it"
    if dimse.commitment_port is not None:
        where = f"{dimse.calling_ae}, {dimse.commitment_port}"
        yield ok("verify", f"{zh};前置机须能呼叫本机({where})", f"{en}, and must be able to call us ({where})")
        return
    yield warning(
        "verify",
        f"{zh};但没有设置 commitment_port,只能在同一连接上收到回报",
        f"{en}; without commitment_port, its report can come on the same association only, which few nodes do",
        "请在 [dimse] 中设置 commitment_port,并在前置机上登记",
        "Set commitment_port in [dimse], and have it entered at the gateway.",
    )


def _of_port(problem: Problem) -> Check | None:
    """A port that is taken is as it should be while the agent itself awaits a report by it."""
    if problem.code != "FA-COMMITMENT-PORT":
        return None
    values = dict(problem.values)
    return warning(
        "verify",
        f"前置机提供存储确认;接收回报的端口 {values['port']} 现在无法打开({values['detail']})",
        f"the node offers storage commitment; port {values['port']} for its reports cannot be opened now "
        f"({values['detail']})",
        "若本程序正在等待回报,这是正常的;否则请检查哪个程序占用了它",
        "That is as it should be while the agent awaits a report; else see which program has it.",
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
