"""Pictures from both families of models, drawn and edited, and what is not taken for one."""

import base64
import io

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from PIL import Image as Pillow

from bot.domain.calls import CallLog, collected
from bot.domain.errors import ConfigError, ContentFiltered, ModelUnavailable, NotAllowed
from bot.domain.prompts import Image, Message, Parameters, Prompt, Text, say
from bot.domain.turns import Prices
from bot.llm.catalog.catalog import families
from bot.llm.demo.model import deployments
from bot.llm.openai import images
from bot.llm.openai.client import Clients
from bot.llm.openai.image_stream import ImageStream
from bot.llm.openai.model import AzureModel
from bot.llm.protocol import ImageInterrupted, ImageNotDownloaded
from bot.llm.routing.router import Gateway
from tests.llm.conftest import KEY, Connect, asks, deployment, table_prices
from tests.simulators import azure_wire
from tests.simulators.azure import AzureSimulator, Deployed, Kind
from tests.simulators.azure_wire import png

PICTURE = Image(mime="image/png", data=png(64, 64), alt="a bicycle")


def as_png(picture: Pillow.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()


def wish(text: str = "a red bicycle", **more: object) -> Prompt:
    return asks(text, "image", Parameters(**more))  # pyright: ignore[reportArgumentType]


async def test_gpt_image_gets_no_style_or_format(azure: AzureSimulator, connect: Connect) -> None:
    """Field note 38."""
    azure.deployments = {"pictures": Deployed(model="gpt-image-2", pictures="gpt-image")}
    family = families()["gpt-image-2"]
    model = connect(name="pictures", capability="image", family=family.name, prices=table_prices(family.name))
    asked = wish(size="1536x1024", quality="hd", style="vivid", background="transparent", images=2)
    pictures, usage = await model.draw(asked)
    assert [picture.mime for picture in pictures] == ["image/png", "image/png"]
    assert pictures[0].alt == "a red bicycle"
    assert azure.journal[-1].body == {
        "model": "pictures",
        "prompt": "Be kind.\n\na red bicycle",
        "n": 2,
        "size": "1536x1024",
        "quality": "high",
        "background": "transparent",
        "output_format": "png",
    }
    assert usage.images == 2
    assert usage.usd == pytest.approx((20 * 5.0 + 2000 * 30.0) / 1e6)


@pytest.mark.parametrize("classic", [True, False])
async def test_dalle_keeps_its_own_request_format(
    azure: AzureSimulator, connect: Connect, classic: bool
) -> None:
    """Field note 38."""
    azure.deployments = {"pictures": Deployed(model="dall-e-3", pictures="dalle")}
    model = connect(
        classic=classic,
        name="pictures",
        capability="image",
        family="dall-e-3",
        prices=Prices(image_usd=0.04),
    )
    pictures, usage = await model.draw(wish(size="1024x1024", quality="high", style="natural"))
    body = azure.journal[-1].body
    assert (body["response_format"], body["quality"], body["style"]) == ("b64_json", "hd", "natural")
    assert pictures[0].alt.endswith("in the style of a photograph")
    assert (usage.images, usage.usd) == (1, 0.04)


async def test_a_hidden_dalle_deployment_is_learnt(azure: AzureSimulator, connect: Connect) -> None:
    """Field note 33."""
    azure.deployments = {"pictures": Deployed(pictures="dalle")}
    model = connect(name="pictures", capability="image", family="unknown-image")
    pictures, usage = await model.draw(wish())
    assert "output_format" not in azure.journal[-1].body
    assert pictures[0].mime == "image/png"  # it came as an address, on the deployment's own host
    assert usage.usd is None


async def test_a_picture_in_the_question_is_edited(azure: AzureSimulator, connect: Connect) -> None:
    family = families()["gpt-image-2"]
    model = connect(capability="image", family=family.name, prices=table_prices(family.name))
    prompt = Prompt(
        template="draw",
        capability="image",
        messages=(Message(role="user", parts=(Text(text="make it brighter"), PICTURE, PICTURE)),),
    )
    pictures, usage = await model.draw(prompt)
    asked = azure.journal[-1]
    assert "/images/edits" in asked.path
    assert asked.body["prompt"] == "make it brighter"
    assert asked.body["image[]"] == [PICTURE.data, PICTURE.data]
    assert pictures[0].alt == "make it brighter"
    # 200 tokens of pictures at their own price
    assert usage.usd == pytest.approx((20 * 5.0 + 200 * 8.0 + 1000 * 30.0) / 1e6)


async def test_a_blocked_wish_is_told_to_the_person(azure: AzureSimulator, connect: Connect) -> None:
    azure.fail("blocked", categories=("sexual",))
    with pytest.raises(ContentFiltered, match="sexual content"):
        await connect(capability="image").draw(wish())


async def test_nothing_to_draw_is_a_question_back(connect: Connect) -> None:
    with pytest.raises(NotAllowed, match="describe the image"):
        await connect(capability="image").draw(wish(" "))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x.png",
        "http://169.254.169.254/metadata",
        "https://sub.127.0.0.1.example/x.png",
        "https://dalleprod.blob.core.windows.net/x.png",  # Azure's store, but the deployment isn't Azure's
        "",
    ],
)
def test_images_are_only_fetched_from_allowed_hosts(url: str) -> None:
    with pytest.raises(ConfigError, match="not fetched"):
        images.allowed(url, "http://127.0.0.1:8000/")


def test_azures_store_is_one_of_azures_places() -> None:
    url = "https://dalleprodsec.blob.core.windows.net/private/x.png?sig=1"
    assert images.allowed(url, "https://name.openai.azure.com/") == url
    with pytest.raises(ConfigError):
        images.allowed(url.replace("https", "http"), "https://name.openai.azure.com/")


async def test_an_address_that_leads_elsewhere_is_not_followed(
    azure: AzureSimulator,
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("bot.llm.openai.model._DOWNLOAD_PAUSES_S", (0.0,))
    azure.deployments = {"chat": Deployed(pictures="dalle")}
    azure.picture_path = "/_moved/"
    with pytest.raises(ImageNotDownloaded):
        await clients.connect(deployment(azure, capability="image"), KEY).draw(wish())
    assert "302" in caplog.text


@pytest.mark.parametrize("faults", [2, 3])
async def test_only_the_download_is_repeated(
    faults: int, azure: AzureSimulator, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image is bought once, whatever happens to its download."""
    monkeypatch.setattr("bot.llm.openai.model._DOWNLOAD_PAUSES_S", (0.0, 0.0, 0.0))
    azure.deployments = {name: Deployed(pictures="dalle") for name in ("a", "b")}
    azure.picture_faults = [404, 503, 403][:faults]
    models = [
        clients.connect(deployment(azure, name=name, capability="image", prices=Prices(image_usd=0.04)), KEY)
        for name in ("a", "b")
    ]
    gateway = Gateway([(model.deployment, model) for model in models])
    if faults == 2:
        (picture,), usage = await gateway.draw(wish())
        assert picture.data
    else:
        with pytest.raises(ImageNotDownloaded, match="charged again") as lost:
            await gateway.draw(wish())
        usage = lost.value.usage
    assert usage.usd == 0.04
    assert sum("output_format" not in asked.body for asked in azure.journal) == 1, "one image was made"
    assert not azure.picture_faults
    assert [state.rest_s for state in gateway.states()] == [0, 0]


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (png(2, 2), "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_the_first_bytes_say_what_it_is(data: bytes, mime: str) -> None:
    assert images.kind(data) == mime


@pytest.mark.parametrize("data", [b"<html>sign in</html>", b"", b"RIFF____WAVE"])
def test_what_is_no_picture_is_not_shown(data: bytes) -> None:
    with pytest.raises(ModelUnavailable, match="not an image"):
        images.kind(data)


def test_broken_base64_is_no_picture() -> None:
    with pytest.raises(ModelUnavailable, match="not an image"):
        images.decoded("%%%", "x")


def test_a_picture_beyond_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(ModelUnavailable, match="too large"):
        images.kind(png(2, 2))


async def test_a_body_beyond_the_cap_is_not_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_RESPONSE_BYTES", 100)
    with pytest.raises(ModelUnavailable, match="too large"):
        await connect(capability="image").draw(wish())


def test_only_the_last_question_gives_pictures() -> None:
    earlier = Message(role="user", parts=(Text(text="look"), PICTURE))
    prompt = Prompt(template="draw", capability="image", messages=(earlier, say("user", "a cat")))
    assert images.given(prompt) == ()


# ------------------------------------------------------------------ while it is drawn


class Watcher:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[Image] = []

    async def __call__(self, picture: Image) -> None:
        self.seen.append(picture)


def drawn_by_gpt_image(azure: AzureSimulator, connect: Connect, **more: object) -> AzureModel:
    azure.deployments = {"pictures": Deployed(model="gpt-image-2", pictures="gpt-image", **more)}  # pyright: ignore[reportArgumentType]
    family = families()["gpt-image-2"]
    return connect(name="pictures", capability="image", family=family.name, prices=table_prices(family.name))


@pytest.mark.parametrize("edit", [False, True])
async def test_gpt_image_shows_partial_images(azure: AzureSimulator, connect: Connect, edit: bool) -> None:
    model, watcher = drawn_by_gpt_image(azure, connect), Watcher()
    asked = Message(role="user", parts=(Text(text="a cat"), *((PICTURE,) if edit else ())))
    prompt = Prompt(template="draw", capability="image", messages=(asked,))
    (picture,), usage = await model.draw(prompt, watcher)
    assert [item.mime for item in watcher.seen] == ["image/png"] * images.PARTIAL_IMAGES
    assert len({picture.data, *(item.data for item in watcher.seen)}) == 1 + images.PARTIAL_IMAGES
    assert (picture.alt, watcher.seen[0].alt) == ("a cat", "a cat")
    assert usage.usd == pytest.approx((20 * 5.0 + (200 * 8.0 if edit else 0) + 1000 * 30.0) / 1e6)
    assert str(azure.journal[-1].body["partial_images"]) == str(images.PARTIAL_IMAGES)


async def test_several_pictures_and_dalle_are_not_watched(azure: AzureSimulator, connect: Connect) -> None:
    watcher = Watcher()
    await drawn_by_gpt_image(azure, connect).draw(wish(images=2), watcher)
    azure.deployments = {"pictures": Deployed(model="dall-e-3", pictures="dalle")}
    await connect(name="pictures", capability="image", family="dall-e-3").draw(wish(), watcher)
    assert not watcher.seen
    assert not any("stream" in asked.body for asked in azure.journal)


async def test_a_deployment_without_streaming_still_works(azure: AzureSimulator, connect: Connect) -> None:
    model, watcher = drawn_by_gpt_image(azure, connect, refuses=("stream", "partial_images")), Watcher()
    pictures, _ = await model.draw(wish(), watcher)
    assert (len(pictures), watcher.seen) == (1, [])
    assert "partial_images" not in azure.journal[-1].body


@pytest.mark.parametrize("kind", ["dropped", "malformed", "stream_error"])
async def test_an_interrupted_image_is_retried_once(
    azure: AzureSimulator, connect: Connect, kind: Kind
) -> None:
    model, watcher = drawn_by_gpt_image(azure, connect), Watcher()
    gateway = Gateway([(model.deployment, model)])
    azure.fail(kind, after=1)
    with collected(CallLog()) as log:
        (picture,), usage = await gateway.draw(wish(), watcher)
    assert picture.data
    assert (usage.images, usage.estimated) == (1, False)
    most = images.most(wish(), model.deployment).usd
    assert [(one.outcome, one.usd, one.estimated) for one in log.usage] == [
        ("failed", most, True),
        ("completed", usage.usd, False),
    ]
    assert len(watcher.seen) == 1 + images.PARTIAL_IMAGES
    azure.fail(kind, after=1, times=2)
    with collected(CallLog()) as log, pytest.raises(ImageInterrupted):
        await gateway.draw(wish(), watcher)
    assert len(azure.journal) == 4
    assert [(one.usd, one.estimated) for one in log.usage] == [(most, True)] * 2


@pytest.mark.parametrize(
    ("prices", "asked", "usd"),
    [
        (Prices(image_usd=0.04), Parameters(images=3), 0.12),
        (Prices(input_usd=5.0, output_usd=30.0), Parameters(quality="low"), 408 * 30e-6),
        (Prices(input_usd=5.0, output_usd=30.0), Parameters(), 6240 * 30e-6),
        (Prices(input_usd=5.0, output_usd=30.0), Parameters(size="3072x2048", images=2), 8 * 6240 * 30e-6),
        (Prices(input_usd=5.0), Parameters(), None),
    ],
)
def test_the_maximum_cost_of_images_is_reserved(prices: Prices, asked: Parameters, usd: float | None) -> None:
    spent = images.most(asks("a cat", "image", asked), replace(deployments()[1], prices=prices))
    assert spent.usd == (None if usd is None else pytest.approx(usd))
    assert (spent.images, spent.estimated) == (0, True)


def test_tokens_of_a_picture_are_documented() -> None:
    """Field fault 114: by size and quality, of the models for which they are published."""
    first = replace(deployments()[1], family="gpt-image", prices=table_prices("gpt-image-1"))
    spent = images.most(asks("a cat", "image", Parameters(size="1024x1024", quality="medium")), first)
    assert spent.usd == pytest.approx(1056 * 40e-6)
    dalle = replace(first, family="dall-e-3", prices=table_prices("dall-e-3"))
    assert images.most(asks("a cat", "image", Parameters(quality="hd", images=1)), dalle).usd == 0.08
    assert images.most(asks("a cat", "image", Parameters(size="1792x1024")), dalle).usd == 0.08


def test_an_uncounted_image_is_estimated() -> None:
    """Field fault 114: a deployment that reports no tokens does not draw for nothing."""
    drawn = images.ImagesResponse(data=[images.ImageItem(b64_json="x")])
    second = replace(deployments()[1], family="gpt-image-2")
    prices = table_prices("gpt-image-2")
    spent = images.spent(drawn, asks("a cat", "image", Parameters(quality="low")), second, prices)
    assert (spent.estimated, spent.images, spent.price) == (True, 1, "gpt-image-2@2026-04-21")
    assert spent.usd == pytest.approx(408 * 30e-6)
    assert images.spent(drawn, asks("a cat", "image"), second, Prices()).usd is None


def test_the_filter_can_stop_a_running_stream() -> None:
    blocked: dict[str, object] = {"type": "error", "error": {"code": "moderation_blocked", "message": "no"}}
    canvas = ImageStream()
    assert canvas.read(azure_wire.event({"type": "image_generation.partial_image", "b64_json": "eA=="})) == [
        "eA=="
    ]
    canvas.read(azure_wire.event(blocked))
    assert isinstance(canvas.failed, ContentFiltered)
    assert "stopped this image" in str(canvas.failed)


# ------------------------------------------------------------------ variations and masks


def given(text: str, *pictures: Image, vary: bool = False) -> Prompt:
    asked = Message(role="user", parts=(Text(text=text), *pictures))
    return Prompt(template="draw", capability="image", messages=(asked,), vary=vary)


async def test_gpt_image_varies_images_by_editing(azure: AzureSimulator, connect: Connect) -> None:
    await drawn_by_gpt_image(azure, connect).draw(given("a red bicycle", PICTURE, vary=True))
    asked = azure.journal[-1]
    assert "/images/edits" in asked.path
    assert asked.body["image[]"] == [PICTURE.data]
    assert asked.body["prompt"].startswith("Create another image like this one")
    assert asked.body["prompt"].endswith("What it shows: a red bicycle")


@pytest.mark.parametrize(
    ("family", "path", "fields"),
    [
        ("dall-e-2", "/images/variations", {"model", "image", "response_format"}),
        ("dall-e-3", "/images/generations", {"model", "prompt", "response_format"}),
    ],
)
async def test_variations_depend_on_the_dalle_version(
    azure: AzureSimulator, connect: Connect, family: str, path: str, fields: set[str]
) -> None:
    azure.deployments = {"pictures": Deployed(model=family, pictures="dalle")}
    model = connect(name="pictures", capability="image", family=family)
    pictures, _ = await model.draw(given("a red bicycle", PICTURE, vary=True))
    asked = azure.journal[-1]
    assert path in asked.path
    assert set(asked.body) == fields
    assert len(pictures) == 1


async def test_a_mask_is_scaled_to_its_image(azure: AzureSimulator, connect: Connect) -> None:
    mask = Pillow.new("RGBA", (32, 32), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 16, 32))
    await drawn_by_gpt_image(azure, connect).draw(
        given("a hat", msgspec.structs.replace(PICTURE, mask=as_png(mask)))
    )
    sent = Pillow.open(io.BytesIO(azure.journal[-1].body["mask"])).convert("RGBA")
    assert sent.size == (64, 64)
    assert [sent.getpixel((x, 30)) for x in (5, 31, 32, 60)] == [(0, 0, 0, a) for a in (0, 0, 255, 255)]


@pytest.mark.parametrize("mask", [b"no picture", as_png(Pillow.new("RGBA", (8, 8), (0, 0, 0, 255)))])
async def test_a_mask_without_an_open_area_is_refused(
    azure: AzureSimulator, connect: Connect, mask: bytes
) -> None:
    with pytest.raises(NotAllowed, match=r"mask can.t be read|No area is selected"):
        await drawn_by_gpt_image(azure, connect).draw(
            given("a hat", msgspec.structs.replace(PICTURE, mask=mask))
        )
    assert not azure.journal


# ------------------------------------------------------------------ images that are read tolerantly

ENCODED = base64.b64encode(png(64, 64)).decode()
WRAPPED = "\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76))


@pytest.mark.parametrize(
    "encoded",
    [
        WRAPPED,
        WRAPPED.replace("\n", "\r\n"),
        ENCODED.rstrip("="),
        f"data:image/png;base64,{ENCODED}",
        ENCODED.translate(str.maketrans("+/", "-_")),
        f" {ENCODED}\n",
    ],
)
def test_base64_of_any_dialect_is_read(encoded: str) -> None:
    """Field fault 69: a paid image is not discarded because of line breaks, padding or a prefix."""
    assert images.decoded(encoded, "x").data == png(64, 64)


ITEM = {"b64_json": WRAPPED, "revised_prompt": None}
COMPLETED = {"type": "image_generation.completed", **ITEM}
BODIES: dict[str, bytes] = {
    "usage that is null": azure_wire.dumps({"data": [ITEM], "usage": None}),
    "usage of nulls": azure_wire.dumps(
        {"data": [ITEM], "usage": {"input_tokens": None, "output_tokens": 4.5}}
    ),
    "usage that is text": azure_wire.dumps({"data": [ITEM], "usage": "none"}),
    "details that are a list": azure_wire.dumps({"data": [ITEM], "usage": {"input_tokens_details": []}}),
    "one image in place of a list": azure_wire.dumps({"data": ITEM}),
    "a data URL": azure_wire.dumps({"data": [{"url": f"data:image/png;base64,{ENCODED}"}]}),
    "an unreadable image beside it": azure_wire.dumps({"data": [{"b64_json": "%"}, ITEM, None]}),
    "fields of other types": azure_wire.dumps({"created": "now", "data": [{**ITEM, "revised_prompt": 5}]}),
    "a stream that was not requested": azure_wire.event({**COMPLETED, "usage": None}),
}


@pytest.mark.parametrize("mime", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("name", BODIES)
async def test_a_paid_image_is_delivered(
    name: str, mime: str, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 69: one request, one image, whatever else the response says; streamed or not."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(body=BODIES[name], content_type=mime)

    async def on_partial_image(picture: Image) -> None: ...

    azure.instead["paint"] = answer
    model = connect(name="paint", capability="image", family="gpt-image-2")
    gateway = Gateway([(model.deployment, model)])
    pictures, _ = await gateway.draw(wish(), on_partial_image if mime.startswith("text") else None)
    assert pictures[0].data == png(64, 64)
    assert len(asked) == 1


async def test_odd_events_of_a_drawing_are_skipped(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 64: the same tolerance as for text."""

    async def answer(request: web.Request) -> web.Response:
        odd = b"\xef\xbb\xbf: hello\n\ndata: null\n\ndata:\n\ndata: {oops\n\n"
        return web.Response(body=odd + azure_wire.event(COMPLETED), content_type="text/event-stream")

    async def on_partial_image(picture: Image) -> None: ...

    azure.instead["paint"] = answer
    pictures, _ = await connect(name="paint", capability="image", family="gpt-image-2").draw(
        wish(), on_partial_image
    )
    assert pictures[0].data == png(64, 64)
