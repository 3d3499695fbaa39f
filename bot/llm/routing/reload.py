"""Reads the deployments anew while answers are being written."""

import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.errors import ConfigError
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.routing.router import Gateway

log = logging.getLogger(__name__)

Read = Callable[[], tuple[DeploymentConfig, Mapping[str, SecretStr]]]
"""The deployments and their keys, as they are stated now. Raises ConfigError."""


def reload(gateway: Gateway, read: Read) -> None:
    """Serve by what is stated now; what can't be used changes nothing, and is said in the log.

    Vectors that are kept were made by one model, so another one serves only after the next start.
    """
    try:
        config, keys = read()
    except ConfigError as error:
        log.error("the deployments stay as they were: %s", error)
        return
    before = gateway.deployments("embedding")
    after = tuple(deployment for deployment in config.deployments if deployment.capability == "embedding")
    if {item.name for item in before} != {item.name for item in after}:
        log.warning("the embedding deployments change at the next start: kept vectors are another model's")
        others = tuple(
            deployment for deployment in config.deployments if deployment.capability != "embedding"
        )
        config = replace(config, deployments=(*others, *before))
    gateway.adopt(config, keys)
    names = ", ".join(deployment.name for deployment in config.deployments)
    log.info("the deployments were read anew (%s): %s", config.policy, names)
