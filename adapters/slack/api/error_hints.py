"""Permanent refusals of Slack: texts that are too large, messages that are gone, and what an operator must fix."""

from collections.abc import Generator
from contextlib import contextmanager

from adapters.slack.api.web_api import SlackRejected
from bot.domain.errors import ConfigError

_INSTALL = "copy SLACK_BOT_TOKEN again, or reinstall the app in the workspace (/slack/install)"
_SCOPES = "`parley check` lists the missing scopes; add them and reinstall the app"
_MEMBER = "invite the bot to the channel again (/invite) if it should answer there"

# Error codes of docs.slack.dev/reference/methods/chat.postMessage.
HINTS = {
    "invalid_auth": _INSTALL,
    "not_authed": _INSTALL,
    "token_revoked": _INSTALL,
    "token_expired": _INSTALL,
    "account_inactive": _INSTALL,
    "team_access_not_granted": _INSTALL,
    "missing_scope": _SCOPES,
    "no_permission": _SCOPES,
    "not_allowed_token_type": _SCOPES,
    "channel_not_found": _MEMBER,
    "not_in_channel": _MEMBER,
    "is_archived": "the channel is archived; unarchive it if the bot should answer there",
    "restricted_action": "ask an administrator to let the bot post there",
    "restricted_action_thread_only_channel": "the channel allows posts in threads only",
    "restricted_action_read_only_channel": "the channel is read-only for the bot",
    "messages_tab_disabled": "enable the Messages tab under App Home, or paste `parley manifest slack`",
    "cannot_reply_to_message": "that message doesn't accept replies; no action is possible",
    "ekm_access_denied": "the organisation's key management denies the bot access to the channel",
}

TOO_LARGE = frozenset(
    {"msg_too_long", "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_blocks_too_many"}
)
SMALLEST_LIMIT = 1_000  # characters; a refusal below this has another cause
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


@contextmanager
def as_config_error() -> Generator[None]:
    """Turn a refusal that only the operator can fix into a ConfigError, because retrying can't help."""
    try:
        yield
    except SlackRejected as error:
        if (hint := HINTS.get(error.code)) is None:
            raise
        raise ConfigError(f"{error}: {hint}.") from error
