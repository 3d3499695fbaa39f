"""Downloads of people's attachments."""

import msgspec
import pytest

from adapters.teams.cloud import Cloud
from bot.domain.errors import NotAllowed, PlatformUnavailable
from bot.domain.events import Attachment
from tests.adapters.teams.conftest import Rig

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


def attached(rig: Rig, name: str, data: bytes, mime: str, kind: str) -> Attachment:
    rig.teams.files[name] = (data, mime)
    url = f"{rig.teams.service_url}files/{name}"
    return Attachment(id="1", name=name, mime=mime, data={"kind": kind, "url": url})


async def test_a_pasted_image_is_fetched_with_the_token(rig: Rig) -> None:
    picture = attached(rig, "inline.png", PNG, "image/png", "inline")
    assert await rig.adapter.fetch(picture) == PNG


@pytest.mark.parametrize("tail", ["", "?v=1", "/views/original"])
async def test_metadata_leads_to_the_picture(rig: Rig, tail: str) -> None:
    """Field fault 80: metadata in place of a picture was called “not PNG or JPEG”."""
    rig.teams.files["0-weu-d1"] = (PNG, "image/png")
    url = f"{rig.teams.service_url}v3/attachments/0-weu-d1{tail}"
    pasted = Attachment(id="1", name="image", mime="image/png", data={"kind": "inline", "url": url})
    assert await rig.adapter.fetch(pasted) == PNG


@pytest.mark.parametrize(
    "body",
    [
        b'{"views": []}',
        b'{"views": [{"viewId": "../.."}]}',
        b'{"views": 7}',
        b'{"a": 1}',
        b"{",
        b'{"views": [null]}',
    ],
)
async def test_other_json_is_the_content(rig: Rig, body: bytes) -> None:
    """Field fault 80: only metadata names views, and their names can't leave the attachment."""
    assert await rig.adapter.fetch(attached(rig, "inline.json", body, "application/json", "inline")) == body


async def test_a_file_is_fetched_without_the_bots_token(rig: Rig) -> None:
    assert await rig.adapter.fetch(attached(rig, "plan.pdf", b"%PDF", "application/pdf", "file")) == b"%PDF"
    # The simulator requires a token for inline images; this request has none.
    with pytest.raises(NotAllowed):
        await rig.adapter.fetch(attached(rig, "inline.pdf", b"%PDF", "application/pdf", "file"))


@pytest.mark.parametrize("path", ["files/EYppPe?of=/:i:/g/personal", ":i:/g/personal/alice/EYppPe"])
async def test_a_link_for_people_is_explained(rig: Rig, path: str) -> None:
    """Field fault 76: phones give a link that needs a sign-in; attaching the file there again was the advice."""
    rig.teams.files["EYppPe"] = (b"<!DOCTYPE html><title>Sign in</title>", "text/html")
    data = {"kind": "file", "url": rig.teams.service_url + path}
    photo = Attachment(id="1", name="photo.png", mime="image/png", data=data)
    with pytest.raises(NotAllowed, match="from Teams on a computer"):
        await rig.adapter.fetch(photo)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x",
        "http://contoso.sharepoint.com/x",
        "https://contoso.sharepoint.com.example.com/x",
        "https://user:secret@contoso.sharepoint.com/x",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "data:text/plain,x",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["file", "inline"])
async def test_no_other_host_is_asked(rig: Rig, url: str, kind: str) -> None:
    attachment = Attachment(id="1", name="x", mime="text/plain", data={"kind": kind, "url": url})
    assert not Cloud().serves(url)
    assert not Cloud().holds_files(url)
    with pytest.raises(NotAllowed, match="outside Microsoft 365"):
        await rig.adapter.fetch(attachment)


def test_sharepoint_holds_files() -> None:
    assert Cloud().holds_files("https://contoso-my.sharepoint.com/personal/x/download.aspx?tempauth=1")


async def test_a_sign_in_page_is_not_the_file(rig: Rig) -> None:
    """Field note 18."""
    page = b"\n<!DOCTYPE html><html>Sign in</html>"
    with pytest.raises(NotAllowed, match="sign-in"):
        await rig.adapter.fetch(attached(rig, "plan.pdf", page, "application/pdf", "file"))
    html = attached(rig, "page.html", page, "text/html", "file")
    assert await rig.adapter.fetch(html) == page


async def test_an_oversized_file_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.teams.api.files.FILE_LIMIT_BYTES", 1 << 20)
    whole = attached(rig, "a.bin", b"x" * (1 << 20), "application/octet-stream", "file")
    assert len(await rig.adapter.fetch(whole)) == 1 << 20
    with pytest.raises(NotAllowed, match="1 MB"):
        await rig.adapter.fetch(attached(rig, "b.bin", b"x" * ((1 << 20) + 1), "text/x", "file"))


async def test_an_expired_link_is_explained(rig: Rig) -> None:
    gone = attached(rig, "a.bin", b"x", "text/plain", "file")
    missing = msgspec.structs.replace(gone, data={**gone.data, "url": f"{rig.teams.url}/nowhere"})
    with pytest.raises(NotAllowed, match="attach it again"):
        await rig.adapter.fetch(missing)


async def test_a_server_outage_is_temporary(rig: Rig) -> None:
    away = Attachment(
        id="1", name="x", mime="text/plain", data={"kind": "file", "url": "http://127.0.0.1:9/x"}
    )
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.fetch(away)
