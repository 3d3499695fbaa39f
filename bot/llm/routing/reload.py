"""Reloads the deployments while the process is running."""

import logging
from collections.abc import Callable, Mapping

from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.errors import ConfigError
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.routing.router import Gateway

log = logging.getLogger(__name__)

Read = Callable[[], tuple[DeploymentConfig, Mapping[str, SecretStr]]]
"""Reads the current deployments and their keys. Raises ConfigError."""


def reload(gateway: Gateway, read: Read) -> None:
    """Use the current deployments; an invalid configuration is logged and changes nothing.

    Cached vectors are of one model, so a change of embedding deployments waits for the next start.
    """
    try:
        config, keys = read()
    except ConfigError as error:
        log.error("The deployments were not reloaded: %s", error)
        return
    before = gateway.deployments("embedding")
    after = tuple(deployment for deployment in config.deployments if deployment.capability == "embedding")
    if {old.name for old in before} != {new.name for new in after}:
        log.warning("Restart Parley to change embedding deployments: cached vectors are of another model")
        others = tuple(
            deployment for deployment in config.deployments if deployment.capability != "embedding"
        )
        config = replace(config, deployments=(*others, *before))
    gateway.adopt(config, keys)
    names = ", ".join(deployment.name for deployment in config.deployments)
    log.info("Reloaded the deployments (%s): %s", config.policy, names)
