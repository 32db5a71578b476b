"""Messages that leave: by mail, or by POST to a web address; alerts and subscriptions share this one door.

An address says how it is written to:

    mailto:NAME@HOST          mail, through the server of BACKHAUL_SMTP; files are attached
    https://HOST/PATH         JSON of our own: `text`, `link`, what the sender adds, files in base64
    slack+https://HOST/PATH   what Slack's incoming web hooks take: `text`, and the same as blocks
                              (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks); other chat
                              systems that take Slack's shape take it too
    teams+https://HOST/PATH   what "When a Teams webhook request is received" of Workflows takes: a message whose
                              attachment is an Adaptive Card (https://learn.microsoft.com/microsoftteams/platform/
                              webhooks-and-connectors/how-to/connectors-using)

Web addresses are https:, or http: on this machine alone; a redirect is not followed, and a name that stands for an
address of a private network is refused. Chat systems take no files: there the link leads to what a mail would carry.
Nothing is sent anywhere else.
"""

import base64
import http.client
import ipaddress
import json
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pipelines.errors import AlertError
from pipelines.settings import Settings

TIMEOUT = 10.0  # seconds for one address
SHAPES = ("slack", "teams")
LONGEST = 500  # characters of an address
FAILURES = (OSError, smtplib.SMTPException, AlertError, ValueError)
"""What `deliver` raises where a message does not arrive."""
_MAILBOX = re.compile(r"[^\s@,;:<>\"\\]+@[^\s@,;:<>\"\\/?]+")
_SLACK_TEXT, _SLACK_BLOCKS, _TEAMS_BYTES = 2900, 50, 26_000  # Slack takes 3,000 signs and 50 blocks, Teams 28 kB
_CARD = "application/vnd.microsoft.card.adaptive"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class File:
    """A file that goes along."""

    name: str
    mime: str
    content: bytes


@dataclass(frozen=True)
class Message:
    """What is said: a subject, paragraphs, the exact link and how it is called, files, what JSON carries besides."""

    subject: str
    paragraphs: Sequence[str]
    link: str = ""
    link_label: str = "Open in Backhaul"
    files: Sequence[File] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Write the paragraphs and the link, one a line."""
        return "\n".join([*self.paragraphs, *([self.link_label, self.link] if self.link else [])]) + "\n"


def split(address: str) -> tuple[str, SplitResult]:
    """Give the shape that an address wants, and the address itself without it.

    >>> shape, parts = split("teams+https://example.org/hook")
    >>> shape, parts.scheme, split("mailto:a@example.org")[0]
    ('teams', 'https', 'mail')
    """
    shape, plus, rest = address.partition("+")
    is_shaped = bool(plus) and shape in SHAPES
    try:
        parts = urlsplit(rest if is_shaped else address)
        _ = parts.port
    except ValueError:  # brackets that hold no address, a port that is none
        parts = urlsplit("")
    if is_shaped:
        return shape, parts
    return ("mail" if parts.scheme == "mailto" else "json"), parts


def check_address(address: str) -> None:
    """Raise AlertError for an address that is neither mailto: nor https:, nor http: on this machine."""
    shape, parts = split(address)
    is_mail = shape == "mail" and bool(_MAILBOX.fullmatch(parts.path))
    is_hook = shape != "mail" and bool(parts.hostname) and parts.username is None
    is_hook = is_hook and (parts.scheme == "https" or (parts.scheme == "http" and is_here(parts)))
    if (not is_mail and not is_hook) or len(address) > LONGEST or re.search(r"[\s\x00-\x1f]", address):
        raise AlertError(
            f"{address[:100]!r} is no address to tell: write mailto:name@example.org, https://host/path, or"
            " slack+https:// or teams+https:// before the address of their web hook."
        )


def is_here(parts: SplitResult) -> bool:
    """Say whether an address names this machine itself."""
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def shown(address: str) -> str:
    """Show an address without what may be secret in it.

    >>> shown("slack+https://hooks.example.org/services/T0/secret"), shown("mailto:a@example.org")
    ('slack+https://hooks.example.org', 'mailto:a@example.org')
    """
    shape, parts = split(address)
    if shape == "mail":
        return address
    return f"{f'{shape}+' if shape in SHAPES else ''}{parts.scheme}://{parts.hostname}"


def deliver(settings: Settings, address: str, message: Message) -> None:
    """Send one message to one address.

    Raises OSError or SMTPException when it does not arrive, AlertError for a wrong address or no mail server.
    """
    check_address(address)
    shape, parts = split(address)
    if shape == "mail":
        _mail(settings, parts.path, message)
        return
    body = {"slack": slack, "teams": teams}.get(shape, plain)(message)
    _post(parts, json.dumps(body).encode())


def plain(message: Message) -> dict[str, Any]:
    """Write a message as the JSON of a web hook of one's own."""
    body: dict[str, Any] = {"text": f"{message.subject}\n{message.text}", "link": message.link or None, **message.more}
    if message.files:
        body["files"] = [
            {"name": one.name, "mime": one.mime, "base64": base64.b64encode(one.content).decode()}
            for one in message.files
        ]
    return body


def _slack_escaped(text: str) -> str:
    """Escape what begins a link, a mention or an entity of Slack's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack(message: Message) -> dict[str, Any]:
    """Write a message as Slack takes it: a text for notifications, and blocks.

    >>> slack(Message("Late", ["5 < 6"], "https://example.org/late"))["blocks"][1]["text"]["text"]
    '5 &lt; 6'
    """

    def section(text: str, kind: str = "section") -> dict[str, Any]:
        return {"type": kind, "text": {"type": "mrkdwn", "text": text}}

    title = f"*{_slack_escaped(message.subject)[:_SLACK_TEXT]}*"
    blocks = [section(title), *(section(_slack_escaped(one)[:_SLACK_TEXT]) for one in message.paragraphs if one)]
    blocks = blocks[: _SLACK_BLOCKS - 1]
    if message.link.startswith(("https://", "http://")):
        label = {"type": "plain_text", "text": message.link_label[:75]}
        button = {"type": "button", "text": label, "url": message.link}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": _slack_escaped(f"{message.subject}\n{message.text}"), "blocks": blocks}


def teams(message: Message) -> dict[str, Any]:
    r"""Write a message as a Workflows web hook of Teams takes it: one Adaptive Card, within what Teams takes.

    >>> teams(Message("*A*", ["b"]))["attachments"][0]["content"]["body"][0]["text"]
    '\\*A\\*'
    """

    def block(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "TextBlock", "text": _MARKUP.sub(r"\\\1", text), "wrap": True, **more}

    body = [block(message.subject, weight="Bolder", size="Medium")]
    for paragraph in filter(None, message.paragraphs):
        if len(json.dumps([*body, block(paragraph)])) > _TEAMS_BYTES:
            break
        body.append(block(paragraph))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if message.link.startswith(("https://", "http://")):
        card["actions"] = [{"type": "Action.OpenUrl", "title": message.link_label, "url": message.link}]
    return {"type": "message", "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}]}


def _post(parts: SplitResult, body: bytes) -> None:
    """Send JSON to a web address, and to no other: a redirect is an answer, a name of a private network is refused.

    The address that was looked at is the one that is called, so that a name cannot change its meaning in between.
    """
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not is_here(parts) and not all(ipaddress.ip_address(ip).is_global for ip in found):
        raise OSError("it is an address of a private network")
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    )
    connection._create_connection = lambda _address, *given: socket.create_connection((found[0], port), *given)  # type: ignore[attr-defined]
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", "User-Agent": "backhaul"})
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError("it gave no answer of the web") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise OSError(f"it answered {status}")


def _mail(settings: Settings, to: str, message: Message) -> None:
    server = urlsplit(settings.smtp)
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise AlertError(
            "no mail server is set: give BACKHAUL_SMTP, for example smtp://user:password@mail.example.org:587"
        )
    mail = EmailMessage()
    sender = settings.mail_from or f"backhaul@{server.hostname}"
    mail["From"], mail["To"], mail["Subject"] = sender, to, " ".join(message.subject.split())
    mail.set_content(message.text)
    for one in message.files:
        kind, _, form = one.mime.partition("/")
        mail.add_attachment(one.content, kind, form, filename=one.name)
    where = (server.hostname, server.port or (465 if server.scheme == "smtps" else 587))
    context = ssl.create_default_context()
    is_wrapped = server.scheme == "smtps"
    with (
        smtplib.SMTP_SSL(*where, timeout=TIMEOUT, context=context)
        if is_wrapped
        else smtplib.SMTP(*where, timeout=TIMEOUT)
    ) as smtp:
        smtp.ehlo()
        if not is_wrapped and smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo()
        elif not is_wrapped and server.username:
            raise AlertError(f"{server.hostname} offers no encryption, so the password is not sent: give smtps://")
        if server.username:
            smtp.login(unquote(server.username), unquote(server.password or ""))
        smtp.send_message(mail)
