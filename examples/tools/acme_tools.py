"""A tool that a model may call: a typed async function with a docstring."""

from typing import Annotated, Literal

import msgspec


async def opening_hours(
    place: Annotated[str, msgspec.Meta(max_length=80, description="Name of the office, e.g. Bern")],
    day: Literal["weekday", "weekend"] = "weekday",
) -> str:
    """When an office of ours is open."""
    hours = {"weekday": "8:00 to 18:00", "weekend": "closed"}[day]
    return f"{place}: {hours}"
