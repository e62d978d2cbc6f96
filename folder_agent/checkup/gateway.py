"""Checks of the gateway: token, reachability, certificate, clock, signature, and where images and reports would go.

Touches the network: one handshake, and one signed post of an empty exam, which can only be refused for its content;
and a C-ECHO to the DICOM node, where one is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from folder_agent.checkup.findings import Check, fault, guarded, of_problem, ok, warning
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.clock import SystemClock
from folder_agent.edges.credentials import Token, find_token, reach_warning
from folder_agent.edges.gateway import qido_url, stow_url
from folder_agent.edges.gateway.answers import CODES, STATUSES, SUCCESSES
from folder_agent.edges.gateway.probe import Certificate, ProbeResult, certificate_of, check_search, check_signature
from folder_agent.settings import GatewaySettings, Settings

_CLOCK_WARNING_S, _CLOCK_FAULT_S = 30, 120
_EXPIRY_WARNING_DAYS = 30
_SPARE_S = 60.0


def examine(settings: Settings) -> list[Check]:
    """All checks of the gateway."""
    gateway = settings.gateway
    within_s = 3 * gateway.timeout_s + _SPARE_S
    return [*guarded("gateway", lambda: _gateway(settings), within_s), *_transports(settings)]


def _gateway(settings: Settings) -> Iterator[Check]:
    gateway = settings.gateway
    try:
        token = find_token(settings)
    except AgentError as error:
        yield of_problem("token", error.problem)
        yield from _shown_only(gateway)
        return
    yield _token(token)
    result = check_signature(gateway, token.value, SystemClock())
    if not result.is_reachable:
        yield of_problem("gateway", result.problem or problem("FA-GW-UNREACHABLE", detail="?"))
        return
    yield ok("gateway", f"{gateway.url} 可连接", f"{gateway.url} can be reached")
    yield _certificate(gateway, result)
    if result.is_trusted is False:
        return  # nothing has been sent to a stranger
    if result.clock_offset_s is not None:
        yield _clock(result.clock_offset_s)
    yield _signature(result)


def _shown_only(gateway: GatewaySettings) -> Iterator[Check]:
    """Without a token nothing is sent; a handshake still shows the certificate, for pinning it. Raises OSError."""
    parts = urlsplit(gateway.url)
    if parts.scheme != "https" or parts.hostname is None:
        return
    shown = certificate_of(parts.hostname, parts.port or 443, gateway.timeout_s)
    yield ok("gateway", f"{gateway.url} 可连接", f"{gateway.url} can be reached")
    yield warning(
        "certificate",
        f"未核对;{_pin(shown)},有效期至 {shown.not_after:%Y-%m-%d}",
        f"not checked; it shows {_pin(shown)}, valid until {shown.not_after:%Y-%m-%d}",
        "设置 token 后再次运行 doctor",
        "Set the token, then run doctor again.",
    )


def _pin(shown: Certificate) -> str:
    """The line of the settings that believes this certificate."""
    return f'fingerprint = "sha256:{shown.sha256}"'


def _token(token: Token) -> Check:
    if (reached := reach_warning(token)) is None:
        return ok("token", f"token 可读取,来自{token.source.zh}", f"the token can be read, from {token.source.en}")
    return warning(
        "token",
        f"token 文件对他人可读:{reached}",
        reached,
        "请收紧文件权限(chmod 600)",
        "Narrow its rights (chmod 600).",
    )


def _certificate(gateway: GatewaySettings, result: ProbeResult) -> Check:
    shown = result.certificate
    if shown is None:
        return ok("certificate", "本机 http,不用证书", "plain http to this machine, without a certificate")
    pin = _pin(shown)
    told_zh = f"{pin},有效期至 {shown.not_after:%Y-%m-%d}"
    told = f"{pin}, valid until {shown.not_after:%Y-%m-%d}"
    if result.is_trusted is False:
        found = of_problem("certificate", result.problem or problem("FA-GW-TLS", detail="?"))
        return fault(
            "certificate",
            f"{found.text.zh};{told_zh}",
            f"{found.text.en}; it shows {told}",
            f"请在前置机上核对该指纹;一致则在 [gateway] 中设置 {pin}",
            f"Compare this fingerprint with the front-end machine's own; if they agree, set {pin} in [gateway].",
        )
    if (expiring := _expiring(gateway, shown, told_zh, told)) is not None:
        return expiring
    return ok("certificate", f"受信任;{told_zh}", f"trusted; {told}")


def _expiring(gateway: GatewaySettings, shown: Certificate, zh: str, en: str) -> Check | None:
    """A pinned certificate goes on being believed when it has expired; any other will stop everything on that day."""
    days = (shown.not_after - datetime.now(UTC)).days
    if days > _EXPIRY_WARNING_DAYS or gateway.fingerprint:
        return None
    return warning(
        "certificate",
        f"还有 {days} 天到期;{zh}",
        f"expires in {days} days; {en}",
        "请更新前置机的证书",
        "Have the gateway's certificate renewed.",
    )


def _clock(offset_s: int) -> Check:
    off = abs(offset_s)
    if off <= _CLOCK_WARNING_S:
        return ok("clock", f"与前置机相差 {off} 秒", f"{off} s off the gateway's")
    found = of_problem("clock", problem("FA-GW-CLOCK", seconds=off))
    if off > _CLOCK_FAULT_S:
        return found
    return warning(
        "clock",
        f"本机时钟与前置机相差 {off} 秒",
        f"this machine's clock is {off} s off the gateway's",
        "请校准时钟(NTP)",
        "Set the clock (NTP) before signatures fail.",
    )


def _signature(result: ProbeResult) -> Check:
    answer = f"HTTP {result.status}" + (f", {result.code}" if result.code is not None else "")
    if result.problem is not None:
        return of_problem("signature", result.problem)
    if result.status is not None and STATUSES.get(result.status) == "FA-GW-ADDRESS":
        return of_problem("signature", problem("FA-GW-ADDRESS", status=result.status))
    if result.code in SUCCESSES:
        return warning(
            "signature",
            f"前置机竟然接受了空的检查({answer})",
            f"the gateway accepted an empty exam ({answer})",
            "请确认该地址确为前置机",
            "Make sure that this address is the front-end machine's.",
        )
    if result.code is not None and CODES.get(result.code) != "FA-GW-REFUSED":
        return warning(
            "signature",
            f"无法确定:前置机没有因内容拒绝空检查({answer})",
            f"not sure: the gateway did not refuse an empty exam for its content ({answer})",
            "请发送一个测试检查确认",
            "Make sure with a test exam.",
        )
    return ok(
        "signature",
        f"签名被接受(空检查因内容被拒:{answer})",
        f"accepted (an empty exam was refused for its content: {answer})",
    )


def _transports(settings: Settings) -> Iterator[Check]:
    """Where files go; only said of HTTP, because nothing but a file would prove more."""
    gateway = settings.gateway
    if settings.images.transport == "dimse":
        # Imported where it is wanted, as the transport itself is: pynetdicom takes half a second.
        from folder_agent.checkup import dicom_node

        yield from guarded("images", lambda: dicom_node.examine(settings), 3 * gateway.timeout_s + _SPARE_S)
    elif settings.images.transport == "stow":
        url = stow_url(settings)
        yield ok("images", f"影像以 STOW-RS 发往 {url}", f"images go to {url} by STOW-RS")
    else:
        yield ok("images", "影像不由本程序发送", "images reach the gateway another way")
    if settings.images.verify == "qido":
        yield from guarded("verify", lambda: _search(settings), 3 * gateway.timeout_s + _SPARE_S)
    elif settings.images.verify == "stgcmt":
        from folder_agent.checkup import dicom_node

        within_s = 3 * gateway.timeout_s + _SPARE_S
        yield from guarded("verify", lambda: dicom_node.examine_commitment(settings), within_s)
    if settings.reports.transport == "form":
        url = gateway.url + settings.form.path
        yield ok("reports", f"PDF 报告上传到 {url}", f"PDF reports are uploaded to {url}")
    elif settings.reports.transport == "encapsulate":
        yield ok("reports", "PDF 报告封装为 DICOM,与影像同路", "PDF reports go as DICOM objects, the images' way")
    else:
        yield ok("reports", "PDF 报告不由本程序发送", "PDF reports reach the gateway another way")


def _search(settings: Settings) -> Iterator[Check]:
    """Whether the receiver can be asked what it has."""
    url = qido_url(settings)
    zh, en = f"发送后用 QIDO-RS 向 {url} 核对", f"what was sent is asked for at {url} by QIDO-RS"
    try:
        status = check_search(settings.gateway, find_token(settings).value, SystemClock(), url)
    except AgentError as error:
        yield of_problem("verify", error.problem)
        return
    if status == HTTPStatus.NOT_FOUND:
        yield warning(
            "verify",
            f"{zh};回答 404:可能只是没有该检查,也可能地址不对",
            f"{en}; it answers 404, which may mean that there is no such study, or no such address",
            "请发送一个测试检查确认",
            "Make sure with a test exam.",
        )
        return
    yield ok("verify", f"{zh}:有回答", f"{en}: it answers")
