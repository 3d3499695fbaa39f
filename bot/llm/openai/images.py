"""Builds requests for images, and checks the responses."""

import base64
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from bot.domain.errors import ConfigError, ModelUnavailable, NotAllowed
from bot.domain.prompts import Image, Prompt, image_type
from bot.domain.turns import Deployment, Prices, Usage
from bot.llm.catalog import cost
from bot.llm.catalog.catalog import Family, families, is_azure
from bot.llm.failures.reply import record
from bot.llm.openai import edit_mask
from bot.llm.openai.chat_request import without
from bot.llm.openai.loose_json import TokenUsage, items, text_of, usage_of

# The largest images of the newest models, 8,294,400 pixels, are far below this as PNG and base64.
MAX_IMAGE_BYTES = 32 * 2**20
MAX_RESPONSE_BYTES = 160 * 2**20

# The service allows ten; more than four per answer are not useful.
MAX_IMAGES = 4

_REVISED = 4000

_URL_SAFE = str.maketrans("-_", "+/")

# Each costs about 100 tokens of output: https://platform.openai.com/docs/guides/image-generation#streaming
PARTIAL_IMAGES = 2

# The maximum tokens of a 1024x1536 image by quality; what `auto` chooses is not documented:
# https://platform.openai.com/docs/guides/image-generation#cost-and-latency
_TOKENS = {"low": 408, "medium": 1584, "standard": 1584}
_MOST_TOKENS = 6240
_USUAL_PIXELS = 1024 * 1536
# A picture that is edited: a portrait at high fidelity has 6,240 tokens, besides those of its overview:
# https://platform.openai.com/docs/guides/image-generation#input-fidelity
_SENT_TOKENS = 7000

_DALLE_QUALITY = {"high": "hd", "medium": "standard", "low": "standard"}
_QUALITY = {"hd": "high", "standard": "medium"}

_Number = TypeVar("_Number", int, float)

Way = Literal["generations", "edits", "variations"]

_LIKE = (
    "Create another image like this one: the same subject in the same style, with a different composition. "
    "What it shows: {}"
)

# Where Azure stores generated images for a day.
BLOB_HOST = ".blob.core.windows.net"


class ImageItem(msgspec.Struct):
    """An image of a response, and the prompt as revised by the model."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class ImagesResponse(msgspec.Struct):
    """The body of a response: images as base64 or URLs, and their usage, if reported."""

    data: list[ImageItem] = []
    usage: TokenUsage | None = None


def images_of(value: object) -> ImagesResponse:
    """The images in the JSON of a response, read field by field."""
    body = record(value)
    read = [image_item(record(item)) for item in items(body.get("data"))]
    return ImagesResponse(
        data=[item for item in read if item.b64_json or item.url], usage=usage_of(body.get("usage"))
    )


def image_item(value: Mapping[str, Any]) -> ImageItem:
    """One image of a response; some servers write a `data:` URL."""
    encoded, url = text_of(value.get("b64_json")), text_of(value.get("url"))
    if not encoded and url and url.startswith("data:"):
        encoded, url = url, None
    return ImageItem(b64_json=encoded, url=url, revised_prompt=text_of(value.get("revised_prompt")))


def words_of(one: ImageItem) -> str:
    """The prompt as revised by the model, shortened."""
    return (one.revised_prompt or "")[:_REVISED]


def request_text(prompt: Prompt) -> str:
    """The image prompt: the template's text, then the last user message.

    Raises NotAllowed if it is empty.
    """
    asked = asked_for(prompt)
    if not asked:
        raise NotAllowed("Please describe the image that you want.")
    system = "\n".join(message.text.strip() for message in prompt.messages if message.role == "system")
    return f"{system}\n\n{asked}".strip()


def asked_for(prompt: Prompt) -> str:
    """The text of the last user message."""
    return next((m.text for m in reversed(prompt.messages) if m.role == "user"), "").strip()


def given(prompt: Prompt) -> tuple[Image, ...]:
    """The images in the last user message, which are edited."""
    last = next((message for message in reversed(prompt.messages) if message.role == "user"), None)
    return tuple(part for part in last.parts if isinstance(part, Image) and part.data) if last else ()


def way_of(prompt: Prompt, family: Family) -> Way:
    """The API call that serves a prompt.

    Families without variations edit the image into a similar one or, without edits, generate a new image from
    the text.
    """
    if not given(prompt):
        return "generations"
    if prompt.vary and family.pictures == "dalle":
        return "variations" if family.name == "dall-e-2" else "generations"
    return "edits"


def image_body(
    prompt: Prompt,
    deployment: Deployment,
    family: Family,
    refused: Collection[str],
    watched: bool = False,
) -> dict[str, Any]:
    """The request in the format of the family: DALL-E or gpt-image.

    Parameters that the deployment has refused are left out. `watched` requests partial images, which gpt-image
    supports for one image at a time.
    """
    asked, way = prompt.parameters, way_of(prompt, family)
    words = request_text(prompt)
    body: dict[str, Any] = {
        "model": deployment.name,
        "prompt": None
        if way == "variations"
        else _LIKE.format(words)
        if way == "edits" and prompt.vary
        else words,
        "n": min(asked.images, MAX_IMAGES) if asked.images else None,
        "size": asked.size,
    }
    if family.pictures == "dalle":
        quality = _DALLE_QUALITY.get(asked.quality or "", asked.quality)
        body |= {"quality": quality, "style": asked.style, "response_format": "b64_json"}
        if way != "generations":
            body |= {"quality": None, "style": None}
    else:
        quality = _QUALITY.get(asked.quality or "", asked.quality)
        body |= {"quality": quality, "background": asked.background, "output_format": "png"}
        if watched and (asked.images or 1) == 1:
            body |= {"stream": True, "partial_images": None if "stream" in refused else PARTIAL_IMAGES}
    return without(body, refused)


def form_files(prompt: Prompt, family: Family) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The images to edit, and the mask of the first one, as files of a form. Blocks.

    Raises NotAllowed for an invalid mask.
    """
    if way_of(prompt, family) == "generations":
        return []
    pictures = given(prompt)
    if family.pictures == "dalle":
        pictures = pictures[:1]
    field = "image" if family.pictures == "dalle" else "image[]"
    files = [
        (field, (f"image{n}.{image.mime.partition('/')[2]}", image.data, image.mime))
        for n, image in enumerate(pictures)
    ]
    if mask := pictures[0].mask:
        files.append(("mask", ("mask.png", edit_mask.fitted(mask, pictures[0].data), "image/png")))
    return files


def kind(data: bytes) -> str:
    """The MIME type, by the first bytes. Raises ModelUnavailable if it is not an image."""
    if len(data) > MAX_IMAGE_BYTES:
        raise ModelUnavailable("The returned image is too large")
    if not (mime := image_type(data)):
        raise ModelUnavailable("The response is not an image")
    return mime


def decoded(encoded: str, alt: str) -> Image:
    """An image from base64, also with line breaks, without padding, or as a `data:` URL. Raises ModelUnavailable."""
    # line breaks every 64 characters and a `data:` prefix are the most that is added to base64
    if len(encoded) > MAX_IMAGE_BYTES * 4 // 3 * 17 // 16 + 100:
        raise ModelUnavailable("The returned image is too large")
    if encoded.startswith("data:"):
        encoded = encoded.partition(",")[2]
    encoded = "".join(encoded.split()).rstrip("=").translate(_URL_SAFE)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        raise ModelUnavailable("The response is not an image") from None
    return Image(mime=kind(data), data=data, alt=alt)


def allowed(url: str, endpoint: str) -> str:
    """The URL of a generated image, if it is on the endpoint's host or in Azure's storage.

    Raises ConfigError otherwise, because a response must not direct the bot to other hosts.
    """
    try:
        there, home = urlsplit(url), urlsplit(endpoint)
    except ValueError:
        raise ModelUnavailable("The response has an invalid image URL") from None
    if (there.scheme, there.netloc) == (home.scheme, home.netloc):
        return url
    if there.scheme == "https" and (there.hostname or "").endswith(BLOB_HOST) and is_azure(endpoint):
        return url
    raise ConfigError(
        f"The image URL is on {there.hostname}, which is not the deployment's host, so it was not fetched"
    )


def spent(made: ImagesResponse, prompt: Prompt, deployment: Deployment, prices: Prices) -> Usage:
    """The usage of images: per picture if they have such a price, else by the counted tokens, else estimated."""
    counted, number = made.usage or TokenUsage(), len(made.data)
    input_tokens = counted.input_tokens or 0
    # an edit whose tokens are not told apart is charged as if all were of its images
    sent = counted.image_tokens if counted.image_tokens is not None else input_tokens if given(prompt) else 0
    usage = Usage(
        deployment=deployment.name,
        input_tokens=input_tokens,
        cached_tokens=min(counted.cached_tokens or 0, input_tokens),
        output_tokens=counted.output_tokens or 0,
        images=number,
        model=deployment.model,
        image_input_tokens=min(sent, input_tokens),
    )
    each = _each(prompt, deployment, prices)
    if each is not None:
        usd = each * number
    elif counted.output_tokens:
        usd = cost.usd(prices, usage, counted.output_text_tokens or 0)
    else:
        asked = max(1, min(prompt.parameters.images or 1, MAX_IMAGES))
        most_usd = most(prompt, deployment, prices).usd
        usd = None if most_usd is None else most_usd * number / asked
        usage = msgspec.structs.replace(usage, estimated=usd is not None)
    return cost.charged(usage, usd, prices)


def most(prompt: Prompt, deployment: Deployment, prices: Prices | None = None) -> Usage:
    """An upper estimate of a prompt's images: per picture if there is a price, else by the tokens of the largest ones
    of their quality; unknown without either. The prices are the deployment's, unless others are given.
    """
    prices = prices or deployment.prices
    number = min(prompt.parameters.images or 1, MAX_IMAGES)
    each = _each(prompt, deployment, prices)
    sent = _SENT_TOKENS * len(given(prompt))
    usage = Usage(
        deployment=deployment.name,
        input_tokens=prompt.input_tokens + (sent if each is None else 0),
        image_input_tokens=sent if each is None else 0,
        output_tokens=0 if each is not None else _tokens(prompt, deployment, prices) * number,
        images=number,
        estimated=True,
    )
    usd = cost.usd(prices, usage) if each is None else each * number
    return cost.charged(msgspec.structs.replace(usage, images=0), usd, prices)


def _each(prompt: Prompt, deployment: Deployment, prices: Prices) -> float | None:
    """The price of each picture; `None` if its tokens are charged."""
    return (
        prices.image_usd if prices.image_usd is not None else _of_picture(prices.pictures, prompt, deployment)
    )


def _tokens(prompt: Prompt, deployment: Deployment, prices: Prices) -> int:
    """About the most tokens of each picture, which grow with its pixels where it has no documented number."""
    if known := _of_picture(prices.picture_tokens, prompt, deployment):
        return known
    across, _, down = (prompt.parameters.size or "").partition("x")
    pixels = int(across) * int(down) if across.isdecimal() and down.isdecimal() else 0
    tokens = _TOKENS.get(prompt.parameters.quality or "", _MOST_TOKENS)
    return tokens * max(pixels, _USUAL_PIXELS) // _USUAL_PIXELS


def _of_picture(table: Mapping[str, _Number], prompt: Prompt, deployment: Deployment) -> _Number | None:
    """The value of what a prompt asks for, in a table by quality and size."""
    asked, family = prompt.parameters, families().get(deployment.family)
    if family is not None and family.pictures == "dalle":
        quality = _DALLE_QUALITY.get(asked.quality or "standard", asked.quality or "standard")
        return cost.of_picture(table, quality, asked.size or "1024x1024")
    quality = _QUALITY.get(asked.quality or "auto", asked.quality or "auto")
    return cost.of_picture(table, quality, asked.size or "auto")
