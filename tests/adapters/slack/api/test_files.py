"""Files that people send: fetched with the token, from Slack only, and checked."""

from typing import Any

import pytest

from adapters.slack.api import files
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused, TooLong
from bot.domain.events import Attachment
from tests.adapters.slack.conftest import FakeAdapter

PNG = b"\x89PNG\r\n\x1a\n picture"
PAGE = b"<!DOCTYPE html><html>mine</html>"


def upload(room: FakeAdapter, content: bytes, mime: str = "image/png", **more: Any) -> dict[str, Any]:
    """An uploaded file, as an event describes it."""
    url = f"{room.slack.workspace.origin}/files/F1"
    file = {"id": "F1", "name": "photo.png", "mimetype": mime, "size": len(content), **more}
    room.slack.workspace.files["F1"] = file | {"content": content, "url_private": url}
    return file | {"url_private_download": url}


async def attachment(room: FakeAdapter, content: bytes = PNG, mime: str = "image/png") -> Attachment:
    file = upload(room, content, mime)
    (found,) = (await room.asked("<@U0BOT> what is this?", files=[file])).attachments
    return found


async def test_a_file_is_fetched_with_the_token(room: FakeAdapter) -> None:
    assert await room.adapter.fetch(await attachment(room)) == PNG


async def test_an_image_without_text_is_a_question(room: FakeAdapter) -> None:
    """Field note 17."""
    received = await room.asked("<@U0BOT>", files=[upload(room, PNG)])
    assert received.text == ""
    assert [a.mime for a in received.attachments] == ["image/png"]


async def test_a_sign_in_page_is_not_the_file(room: FakeAdapter) -> None:
    """Field note 18."""
    found = await attachment(room)
    room.slack.scopes = "chat:write"
    with pytest.raises(NotAllowed, match="files:read"):
        await room.adapter.fetch(found)


async def test_an_html_file_of_a_person_is_accepted(room: FakeAdapter) -> None:
    """Field note 18."""
    assert await room.adapter.fetch(await attachment(room, PAGE, "text/html")) == PAGE


async def test_a_sign_in_page_has_a_different_size(room: FakeAdapter) -> None:
    """Field note 18."""
    found = await attachment(room, PAGE, "text/html")
    room.slack.scopes = "chat:write"
    with pytest.raises(NotAllowed, match="files:read"):
        await room.adapter.fetch(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/files/F1",
        "http://files.slack.com/files/F1",
        "https://files.slack.com.evil.example/F1",
        "https://evilslack.com/F1",
        "file:///etc/passwd",
        "https://files.slack.com@evil.example/F1",
    ],
)
async def test_the_token_goes_to_hosts_of_slack_only(room: FakeAdapter, url: str) -> None:
    with pytest.raises(NotAllowed, match="outside Slack"):
        await room.adapter.fetch(Attachment(id="F1", name="x", mime="image/png", data={"url": url}))


@pytest.mark.parametrize("url", ["https://files.slack.com/x", "https://acme.enterprise.slack.com/x"])
def test_slacks_own_hosts_are_trusted(url: str) -> None:
    assert files._trusted(url, "https://slack.com/api/")  # pyright: ignore[reportPrivateUsage]


async def test_a_redirect_is_not_followed(room: FakeAdapter) -> None:
    url = f"{room.slack.workspace.origin}/redirect"
    with pytest.raises(NotAllowed, match="sign-in page"):
        await room.adapter.fetch(Attachment(id="F1", name="x", mime="image/png", data={"url": url}))
    assert room.slack.leaked == []


@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_over_the_limit_is_refused(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setattr(files, "FILE_LIMIT_BYTES", 10)
    found = await attachment(room)
    if not announced:
        found = Attachment(id=found.id, name=found.name, mime=found.mime, data=found.data)
    with pytest.raises(TooLong, match=r"photo\.png"):
        await room.adapter.fetch(found)


async def test_a_slack_connect_file_is_looked_up_first(room: FakeAdapter) -> None:
    upload(room, PNG)
    file = {"id": "F1", "mode": "file_access", "file_access": "check_file_info"}
    (found,) = (await room.asked("<@U0BOT> and this?", files=[file])).attachments
    assert "url" not in found.data
    assert await room.adapter.fetch(found) == PNG
    assert room.slack.calls["files.info"] == 1


async def test_a_deleted_file_is_refused_with_an_explanation(room: FakeAdapter) -> None:
    found = await attachment(room)
    room.slack.workspace.files.clear()
    with pytest.raises(Refused, match="upload it again"):
        await room.adapter.fetch(found)


async def test_a_failed_download_is_platform_unavailable(room: FakeAdapter) -> None:
    found = await attachment(room)
    room.slack.fault("files", "drop", count=9)
    with pytest.raises(PlatformUnavailable):
        await room.adapter.fetch(found)


# ------------------------------------------------------------------ canvases, e-mails, recordings

CANVAS = {"name": "plan", "title": "Plan", "mode": "quip", "filetype": "quip"}
CANVAS_MIME = "application/vnd.slack-docs"
SIGN_IN = b"<!DOCTYPE html><html><head><title>Sign in | Slack</title></head></html>"


async def one(room: FakeAdapter, content: bytes, mime: str, **more: Any) -> Attachment:
    (found,) = (
        await room.asked("<@U0BOT> what is this?", files=[upload(room, content, mime, **more)])
    ).attachments
    return found


@pytest.mark.parametrize(
    ("content", "mime", "more"),
    [
        (b"<!DOCTYPE html><h1>Plan</h1>", CANVAS_MIME, CANVAS),
        (b"<html><body>Plan</body></html>", CANVAS_MIME, CANVAS | {"size": 1}),
        (b"<!DOCTYPE html><p>How to sign in to our wiki</p>", CANVAS_MIME, CANVAS),
        (
            b"<!doctype html><p>Dear Ann</p>",
            "text/html",
            {"name": "Hi", "mode": "email", "filetype": "email"},
        ),
        (
            b"<html>Dear Ann</html>",
            "message/rfc822",
            {"name": "Hi", "mode": "email", "filetype": "email", "size": 3},
        ),
        (b"<!DOCTYPE html><p>snippet", "text/plain", {"name": "page.txt", "mode": "snippet"}),
        (b"<!DOCTYPE html><p>page", "text/html", {"name": "page.html", "size": 1}),
        (b"<html><p>x", "application/octet-stream", {"name": "page.htm"}),
        (b"<!DOCTYPE html PUBLIC><html>", "application/xhtml+xml", {"name": "page.xhtml"}),
        (b"<!DOCTYPE note><note/>", "application/xml", {"name": "note.xml"}),
    ],
)
async def test_web_pages_are_no_sign_in_page(
    room: FakeAdapter, content: bytes, mime: str, more: dict[str, Any]
) -> None:
    """Field fault 48: a canvas or an e-mail is not mistaken for the sign-in page."""
    assert await room.adapter.fetch(await one(room, content, mime, **more)) == content


async def test_a_canvas_without_a_head_is_a_page(room: FakeAdapter) -> None:
    """Field fault 48: what Slack returns of a canvas begins anywhere in the page."""
    found = await one(room, b"<h1>Plan</h1>", CANVAS_MIME, **CANVAS)
    assert (await room.adapter.fetch(found)).startswith(b"<!DOCTYPE html><h1>")


@pytest.mark.parametrize(
    ("mime", "more"), [(CANVAS_MIME, CANVAS), ("image/png", {}), ("application/pdf", {})]
)
async def test_a_granted_scope_is_not_asked_for(room: FakeAdapter, mime: str, more: dict[str, Any]) -> None:
    """Field fault 48: the administrator is told to add a scope only if it is missing."""
    found = await one(room, SIGN_IN, mime, **more)
    with pytest.raises(NotAllowed, match="isn't shared with me"):
        await room.adapter.fetch(found)
    room.slack.scopes = "chat:write"
    with pytest.raises(NotAllowed, match="files:read"):
        await room.adapter.fetch(found)


async def test_a_transcript_that_came_later_is_read(room: FakeAdapter) -> None:
    """Field fault 47."""
    found = await one(
        room, b"sound", "audio/mp4", subtype="slack_audio", transcription={"status": "processing"}
    )
    with pytest.raises(NotAllowed, match=r"is a recording that Slack hasn't transcribed yet"):
        await room.adapter.fetch(found)
    done = {"status": "complete", "preview": {"content": "What is two plus two?"}}
    room.slack.workspace.files["F1"]["transcription"] = done
    assert await room.adapter.fetch(found) == b"What is two plus two?"
    room.slack.workspace.files["F1"]["transcription"] = {"status": "none"}
    with pytest.raises(NotAllowed, match="without a transcript"):
        await room.adapter.fetch(found)


@pytest.mark.parametrize(
    ("known", "code", "sentence"),
    [
        ({}, "file_not_found", "was deleted"),
        ({}, "file_deleted", "was deleted"),
        ({}, "access_denied", "Slack denied access"),
        ({}, "not_visible", "Slack denied access"),
        ({}, "missing_scope", "files:read"),
        ({"mode": "tombstone"}, "", "was deleted"),
        ({"mode": "hidden_by_limit"}, "", "older than"),
        ({"is_external": True, "external_type": "gdrive"}, "", "Google Drive"),
        ({"file_access": "access_denied"}, "", "no access"),
        ({"mode": "list"}, "", "Slack list"),
    ],
)
async def test_files_that_were_looked_up_are_explained(
    room: FakeAdapter, known: dict[str, Any], code: str, sentence: str
) -> None:
    """Field fault 45: a name and a clear message, not an error code."""
    upload(room, PNG, **known)
    file = {"id": "F1", "name": "photo.png", "mode": "file_access", "file_access": "check_file_info"}
    (found,) = (await room.asked("<@U0BOT> and this?", files=[file])).attachments
    if code:
        room.slack.fault("files.info", "error", code=code)
    with pytest.raises(NotAllowed, match=sentence) as refusal:
        await room.adapter.fetch(found)
    assert refusal.value.values["name"] == "photo.png", "the sentence follows the name"
    assert not code or code not in str(refusal.value)


@pytest.mark.parametrize("kind", ["500", "drop"])
async def test_a_download_is_tried_again(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """Field fault 45: a failure that passes does not cost the file."""
    monkeypatch.setattr(files, "RETRY_PAUSES_S", (0.0, 0.0))
    found = await attachment(room)
    room.slack.fault("files", kind, count=2)
    assert await room.adapter.fetch(found) == PNG
