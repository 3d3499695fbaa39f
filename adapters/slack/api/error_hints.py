"""Refusals of Slack's that no waiting mends: for size, for what is gone, and, in words, for the operator."""

from collections.abc import Generator
from contextlib import contextmanager

from adapters.slack.api.web_api import SlackRejected
from bot.domain.errors import ConfigError

_INSTALL = "copy SLACK_BOT_TOKEN anew, or let the workspace install the app again (/slack/install)"
_SCOPES = "`parley check` names the missing scopes; add them and install the app again"
_MEMBER = "invite the bot to that channel again (/invite), or leave it be"

# docs.slack.dev/reference/methods/chat.postMessage lists them.
WHAT_TO_DO = {
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
    "is_archived": "the channel is archived; unarchive it, or leave it be",
    "restricted_action": "an administrator has to let the bot post there",
    "restricted_action_thread_only_channel": "that channel takes answers in threads only",
    "restricted_action_read_only_channel": "that channel is read-only for the bot",
    "messages_tab_disabled": "switch the Messages tab on under App Home, or paste `parley manifest slack`",
    "cannot_reply_to_message": "that message takes no replies; nothing can be done",
    "ekm_access_denied": "the organisation's key management keeps the bot out of that channel",
}

TOO_LARGE = frozenset(
    {"msg_too_long", "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_blocks_too_many"}
)
SMALLEST_LIMIT = 1_000  # characters: what is refused for size even then is no matter of size
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


@contextmanager
def for_the_operator() -> Generator[None]:
    """Turns a refusal that will not pass into a ConfigError, so that nobody tries for minutes."""
    try:
        yield
    except SlackRejected as error:
        if (what := WHAT_TO_DO.get(error.code)) is None:
            raise
        raise ConfigError(f"{error}: {what}.") from error
