"""Permanent refusals of Slack: of a message's content, of a place, and what an operator must fix."""

from collections.abc import Generator
from contextlib import contextmanager

from adapters.slack.api.web_api import SlackRejected
from bot.domain.errors import ConfigError
from bot.domain.words import marked, tr

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

TOKEN_ERRORS = frozenset(
    {
        *(
            "invalid_auth",
            "not_authed",
            "token_revoked",
            "token_expired",
            "account_inactive",
            "missing_scope",
        ),
        *(
            "not_allowed_token_type",
            "team_access_not_granted",
            "org_login_required",
            "two_factor_setup_required",
        ),
        *("app_missing_action_url", "accesslimited", "team_added_to_org", "enterprise_is_restricted"),
    }
)
"""The token can't post anywhere."""

_ASK_HERE = marked("Ask me here, or in another channel.")
_INVITE = marked("Invite me there with `/invite` and ask again, or ask me here.")
_READ_ONLY = marked("Ask a channel manager to let apps post there, or ask me here.")
PLACE_ERRORS = {
    "is_archived": (marked("the channel is archived"), _ASK_HERE),
    "channel_is_archived": (marked("the channel is archived"), _ASK_HERE),
    "not_in_channel": (marked("I'm not a member of the channel"), _INVITE),
    "channel_not_found": (marked("I'm not a member of the channel, or it no longer exists"), _INVITE),
    "user_not_in_channel": (marked("you are no longer a member of the channel"), _ASK_HERE),
    "restricted_action": (marked("the workspace doesn't let me post in the channel"), _READ_ONLY),
    "restricted_action_read_only_channel": (marked("the channel is read-only"), _READ_ONLY),
    "restricted_action_thread_only_channel": (marked("the channel only allows posts in threads"), _ASK_HERE),
    "restricted_action_non_threadable_channel": (marked("the channel doesn't allow threads"), _ASK_HERE),
    "restricted_action_thread_locked": (marked("the thread is locked"), _ASK_HERE),
    "cannot_reply_to_message": (marked("that message doesn't accept replies"), _ASK_HERE),
    "thread_not_found": (marked("the thread no longer exists"), _ASK_HERE),
    "invalid_thread_ts": (marked("the thread no longer exists"), _ASK_HERE),
    "message_not_found": (marked("the message no longer exists"), _ASK_HERE),
    "no_permission": (marked("I don't have permission to post there"), _READ_ONLY),
    "access_denied": (marked("I don't have permission to post there"), _READ_ONLY),
    "user_is_restricted": (marked("I don't have permission to post there"), _READ_ONLY),
    "ekm_access_denied": (
        marked("your organisation doesn't let me post there"),
        marked("Ask me in another channel."),
    ),
    "external_channel_migrating": (
        marked("the channel is being moved to another workspace"),
        marked("Ask again later."),
    ),
    "message_limit_exceeded": (marked("the channel has reached its limit of messages"), _ASK_HERE),
    "channel_type_not_supported": (marked("apps can't post in this kind of conversation"), _ASK_HERE),
    "method_not_supported_for_channel_type": (
        marked("apps can't post in this kind of conversation"),
        _ASK_HERE,
    ),
}
"""Why a message can't be posted in the place where it was asked for, in words for the asker, and what they can do.
The codes are those of chat.postMessage, chat.postEphemeral and chat.startStream (docs.slack.dev/reference/methods)."""


def about_content(code: str) -> bool:
    """Whether a simpler message may be accepted."""
    return code not in TOKEN_ERRORS and code not in PLACE_ERRORS


def reason_for_asker(code: str) -> tuple[str, str]:
    """Why an answer can't be shown where it was asked for, and what to do, in the reader's language."""
    if (known := PLACE_ERRORS.get(code)) is not None:
        return tr(known[0]), tr(known[1])
    what = tr("Ask again here. If it happens again, tell your administrator.")
    return tr("Slack doesn't accept it there ({code})", code=code), what


TOO_LARGE = frozenset(
    {"msg_too_long", "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_blocks_too_many"}
)
SMALLEST_LIMIT = 1_000  # characters; a refusal below this has another cause
METADATA_ERRORS = frozenset(
    {
        *("invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large"),
        "metadata_must_be_sent_from_app",
    }
)
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


@contextmanager
def as_config_error() -> Generator[None]:
    """Turn a refusal that only the operator can fix into a ConfigError, because retrying can't help."""
    try:
        yield
    except SlackRejected as error:
        if error.code not in HINTS:
            raise
        raise config_error(error) from error


def config_error(error: SlackRejected, more: str = "") -> ConfigError:
    """What an operator must know of a refusal."""
    hint = HINTS.get(error.code, "Slack refused the message in every form")
    return ConfigError(f"{error}: {hint}.{more}")
