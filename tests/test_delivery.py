"""The door that messages leave by: which addresses there are, the shape each takes, and what is never called."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from pipelines.delivery import File, Message, check_address, deliver, shown, slack, teams
from pipelines.errors import AlertError
from pipelines.settings import Settings
from tests.receivers import hook, mailbox

MESSAGE = Message(
    "Backhaul: <!channel> 5 are late",
    ["Refunds fell behind", "- Promise kept: 81.5% (79.3% to 83.6%; −6.9 pts)"],
    "https://returns.example.org/late?country=FR&build=1",
    files=[File("late.csv", "text/csv", b"a,b\n")],
    more={"subscription": {"number": 1}},
)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/hook",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "https://",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "mailto:nobody",
        "mailto:a@b.org,c@d.org",
        "mailto:a@b.org\nBcc: c@d.org",
        "slack+http://example.org/x",
        "slack+mailto:a@b.org",
        "discord+https://example.org/x",
        "https://user:secret@example.org/x",
        "https://[::1",
        "https://example.org:port/",
        "",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AlertError, match="is no address to tell"):
        check_address(address)


def test_a_hook_is_https_or_on_this_machine() -> None:
    for fine in (
        "https://example.org/hook",
        "http://127.0.0.1:9/x",
        "http://localhost/x",
        "http://[::1]/",
        "mailto:a@b.org",
        "slack+https://hooks.example.org/services/x",
        "teams+https://example.org/workflows/x?sig=1",
        "teams+http://127.0.0.1:9/x",
    ):
        check_address(fine)
    assert shown("teams+https://example.org/workflows/x?sig=secret") == "teams+https://example.org"


@pytest.mark.parametrize("ip", ["10.1.2.3", "192.168.0.1", "169.254.169.254", "127.0.0.1", "::1", "fd00::1", "0.0.0.0"])
@pytest.mark.parametrize("shape", ["", "slack+"])
def test_a_name_of_a_private_network_is_not_told(monkeypatch: pytest.MonkeyPatch, ip: str, shape: str) -> None:
    found = [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", (ip, 443))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("it was called"))
    with pytest.raises(OSError, match="private network"):
        deliver(Settings(), f"{shape}https://hooks.example.org/x", MESSAGE)


def test_a_redirect_is_not_followed() -> None:
    with hook(302) as (address, got):
        with pytest.raises(OSError, match="it answered 302"):
            deliver(Settings(), address, MESSAGE)
        assert len(got) == 1


def test_a_web_hook_of_ones_own_gets_text_link_and_file() -> None:
    with hook() as (address, got):
        deliver(Settings(), address, MESSAGE)
    (body,) = got
    assert body["text"].startswith("Backhaul: <!channel> 5 are late\nRefunds fell behind\n")
    assert body["link"] == MESSAGE.link
    assert body["subscription"] == {"number": 1}
    assert base64.b64decode(body["files"][0]["base64"]) == b"a,b\n"


def test_slack_gets_a_text_and_blocks_and_nobody_is_called_by_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as (address, got):
        deliver(Settings(), f"slack+{address}", MESSAGE)
    (body,) = got
    assert set(body) == {"text", "blocks"}
    assert "<!channel>" not in str(body)
    first, *others, last = body["blocks"]
    assert first["text"] == {"type": "mrkdwn", "text": "*Backhaul: &lt;!channel&gt; 5 are late*"}
    assert [one["type"] for one in others] == ["section", "section"]
    button: dict[str, Any] = last["elements"][0]
    assert (last["type"], button["type"], button["url"]) == ("actions", "button", MESSAGE.link)
    many = slack(replace(MESSAGE, paragraphs=["x" * 5000] * 80))
    assert len(many["blocks"]) <= 50
    assert all(len(one["text"]["text"]) <= 3000 for one in many["blocks"] if one["type"] == "section")


def test_teams_gets_one_adaptive_card_that_fits() -> None:
    with hook() as (address, got):
        deliver(Settings(), f"teams+{address}", MESSAGE)
    (body,) = got
    (attachment,) = body["attachments"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert [block["type"] for block in card["body"]] == ["TextBlock"] * 3
    assert card["body"][0]["text"] == r"Backhaul: \<!channel\> 5 are late"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Backhaul", "url": MESSAGE.link}]
    assert len(str(teams(replace(MESSAGE, paragraphs=["y" * 1000] * 80)))) < 28_000


def test_a_link_without_an_address_of_the_pages_is_text_and_no_button() -> None:
    bare = replace(MESSAGE, link="/late?country=FR")
    assert bare.text.endswith("Open in Backhaul\n/late?country=FR\n")
    assert [block["type"] for block in slack(bare)["blocks"]] == ["section"] * 3
    assert "actions" not in teams(bare)["attachments"][0]["content"]


def test_mail_carries_the_text_and_the_file() -> None:
    with mailbox() as (server, got):
        settings = Settings(smtp=server, mail_from="backhaul@shop.example")
        deliver(settings, "mailto:anna@example.org", replace(MESSAGE, subject="Late\nBcc: x@example.org"))
    (mail,) = got
    assert (mail["To"], mail["From"], mail["Bcc"]) == ("anna@example.org", "backhaul@shop.example", None)
    assert mail["Subject"] == "Late Bcc: x@example.org"
    body = mail.get_body()
    assert body is not None
    assert MESSAGE.link in body.get_content()
    (file,) = mail.iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("late.csv", "text/csv")
