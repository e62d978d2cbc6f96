"""The ways out: a webhook that takes JSON, the robots of WeCom, DingTalk and Feishu, and e-mail. Touches the network.

Their addresses hold keys: no error tells one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import smtplib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import Any
from urllib.parse import quote_plus

import httpx
from pydantic import SecretStr

from folder_agent import __version__
from folder_agent.core.errors import AgentError
from folder_agent.edges.calling.messages import Message
from folder_agent.edges.gateway.trust import make_context
from folder_agent.settings import NotifySettings

_WITHIN_S = 10.0
_MOST_BYTES = 2000  # WeCom takes 2,048 bytes of text


class NotSent(Exception):
    """The channel did not take it; the text says why, and nothing of the address."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One way out."""

    name: str
    send: Callable[[Message], None]  # raises NotSent


def channels_of(settings: NotifySettings) -> list[Channel]:
    """Every way that the settings give."""
    found = []
    language = settings.language

    def text(message: Message) -> str:
        return message.text(language).encode()[:_MOST_BYTES].decode("utf-8", "ignore")

    def by_webhook(url: SecretStr) -> Channel:
        return Channel("webhook", lambda message: _post(url, message.as_json(), None))

    def by_wecom(url: SecretStr) -> Channel:
        def send(message: Message) -> None:
            _post(url, {"msgtype": "text", "text": {"content": text(message)}}, "errcode")

        return Channel("wecom", send)

    def by_dingtalk(url: SecretStr, secret: SecretStr | None) -> Channel:
        def send(message: Message) -> None:
            signed = SecretStr(url.get_secret_value() + (dingtalk_signature(secret, time.time()) if secret else ""))
            _post(signed, {"msgtype": "text", "text": {"content": text(message)}}, "errcode")

        return Channel("dingtalk", send)

    def by_feishu(url: SecretStr, secret: SecretStr | None) -> Channel:
        def send(message: Message) -> None:
            signature = feishu_signature(secret, time.time()) if secret else {}
            _post(url, {**signature, "msg_type": "text", "content": {"text": text(message)}}, "code")

        return Channel("feishu", send)

    if settings.webhook:
        found.append(by_webhook(settings.webhook))
    if settings.wecom:
        found.append(by_wecom(settings.wecom))
    if settings.dingtalk:
        found.append(by_dingtalk(settings.dingtalk, settings.dingtalk_secret))
    if settings.feishu:
        found.append(by_feishu(settings.feishu, settings.feishu_secret))
    if settings.mail_to:
        found.append(Channel("mail", lambda message: _mail(settings, message)))
    return found


def dingtalk_signature(secret: SecretStr, now: float) -> str:
    """What is added to the address: HMAC-SHA256 over time (ms) and secret, with the secret as its key."""
    stamp = str(round(now * 1000))
    digest = _hmac(secret.get_secret_value(), f"{stamp}\n{secret.get_secret_value()}")
    return f"&timestamp={stamp}&sign={quote_plus(digest)}"


def feishu_signature(secret: SecretStr, now: float) -> dict[str, str]:
    """What is added to the body: HMAC-SHA256 over nothing, with time (s) and secret as its key."""
    stamp = str(int(now))
    return {"timestamp": stamp, "sign": _hmac(f"{stamp}\n{secret.get_secret_value()}", "")}


def _hmac(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _post(url: SecretStr, body: dict[str, Any], verdict: str | None) -> None:
    """POST; robots say in the body whether they took it: a number under `verdict` that is not 0 is a refusal."""
    try:
        with httpx.Client(verify=make_context(None, None), timeout=_WITHIN_S, trust_env=False) as client:
            headers = {"User-Agent": f"folder-agent/{__version__}"}
            answer = client.post(url.get_secret_value(), json=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, AgentError) as error:
        raise NotSent(type(error).__name__) from None
    if not 200 <= answer.status_code < 300:
        raise NotSent(f"HTTP {answer.status_code}")
    if verdict is not None:
        try:
            code = answer.json().get(verdict, 0)
        except (ValueError, AttributeError):
            raise NotSent("an answer that is not understood") from None
        if code != 0:
            raise NotSent(f"{verdict} {code if isinstance(code, int) else '?'}")


def _domain(address: str | None) -> str:
    """Of an e-mail address, for the number of a mail: the machine's own name is nobody's business."""
    return (address or "").rpartition("@")[2].strip(" >") or "folder-agent"


def _mail(settings: NotifySettings, message: Message) -> None:
    mail = EmailMessage()
    mail["Subject"] = message.subject(settings.language)
    mail["From"], mail["To"] = settings.mail_from or "", ", ".join(settings.mail_to)
    # RFC 5322 3.6 wants a date; without a number of its own, or eight bits wide, it may be taken for spam or spoilt.
    mail["Date"], mail["Message-ID"] = format_datetime(localtime()), make_msgid(domain=_domain(settings.mail_from))
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: nobody's absence is an answer to it
    mail.set_content(message.text(settings.language), cte="base64")
    context = ssl.create_default_context(cafile=settings.mail_ca_file)
    kind: Any = smtplib.SMTP
    more: dict[str, Any] = {}
    if settings.mail_tls == "tls":
        kind, more = smtplib.SMTP_SSL, {"context": context}
    try:
        with kind(settings.mail_host, settings.mail_port, timeout=_WITHIN_S, **more) as line:
            if settings.mail_tls == "starttls":
                line.starttls(context=context)
            if settings.mail_user and settings.mail_password:
                line.login(settings.mail_user, settings.mail_password.get_secret_value())
            line.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"SMTP {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotSent(type(error).__name__) from None
