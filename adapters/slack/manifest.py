"""The Slack app manifest: scopes, events, commands and request URLs."""

from typing import Any

from bot.domain.words import marked

PATH = "/slack/events"
INSTALL_PATH, REDIRECT_PATH = "/slack/install", "/slack/oauth_redirect"

# Each scope with the methods, events and commands that need it.
SCOPES: dict[str, tuple[str, ...]] = {
    "app_mentions:read": ("app_mention",),
    "assistant:write": (
        "assistant.threads.setStatus",
        "assistant.threads.setSuggestedPrompts",
        "assistant.threads.setTitle",
        "assistant_thread_context_changed",
        "assistant_thread_started",
    ),
    "channels:history": ("message.channels", "conversations.history", "conversations.replies"),
    "channels:read": ("conversations.info", "conversations.list", "conversations.members"),
    "chat:write": (
        "chat.postMessage",
        "chat.postEphemeral",
        "chat.update",
        "chat.delete",
        "chat.startStream",
        "chat.appendStream",
        "chat.stopStream",
        "agent_session_stopped",
    ),
    "commands": ("/ask", "/image", "/parley", "ask", "ask_about"),
    "files:read": ("files.info",),
    "files:write": ("files.getUploadURLExternal", "files.completeUploadExternal", "files.delete"),
    "groups:history": ("message.groups", "conversations.history", "conversations.replies"),
    "groups:read": ("conversations.info", "conversations.list", "conversations.members"),
    "im:history": ("message.im", "conversations.history", "conversations.replies"),
    "im:write": ("conversations.open",),
    "mpim:history": ("message.mpim", "conversations.history", "conversations.replies"),
    "mpim:read": ("conversations.info", "conversations.members"),
    "usergroups:read": ("usergroups.list",),
    "users:read": ("users.info", "user_change"),
}
ADDED_SCOPES: dict[str, tuple[str, ...]] = {"users:read.email": ("users.lookupByEmail",)}
"""Not in the manifest: only limits for e-mail addresses need it, and whoever sets them adds it."""
OPTIONAL_SCOPES = frozenset({"channels:read", "groups:read", "mpim:read", "usergroups:read"})
"""Without these, links to messages in other channels are not followed, and some names are missing."""
EVENTS = (
    "agent_session_stopped",
    "app_home_opened",
    "app_mention",
    "app_uninstalled",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "tokens_revoked",
    "user_change",
)
EVENTS_OF_ORGANISATIONS = ("team_access_revoked",)
EVENTS_OF_ASSISTANTS = ("assistant_thread_context_changed", "assistant_thread_started")
SUGGESTED_PROMPTS = (
    {"title": marked("What can you do?"), "message": "help"},
    {"title": marked("Create an image"), "message": "/image a red bicycle in the rain"},
    {"title": marked("Summarise a text"), "message": marked("Summarise this in three sentences: ")},
)
COMMANDS = (
    ("/ask", "Ask in this channel; only you see the answer if I am not a member", "your question"),
    ("/image", "Create an image", "description"),
    (
        "/parley",
        "Get help, start over, see usage, or delete your data (asks first)",
        "help | reset | usage | forget",
    ),
)
ASK_SHORTCUT, ASK_ABOUT_SHORTCUT = "ask", "ask_about"
SHORTCUTS = (
    ("global", ASK_SHORTCUT, "Ask Parley", "Ask a long question; the answer arrives as a direct message"),
    ("message", ASK_ABOUT_SHORTCUT, "Ask about this", "Ask about a message, in its thread"),
)
DESCRIPTION = "Answers from your own Azure OpenAI deployments."


def manifest(
    public_url: str, socket_mode: bool, many: bool = False, assistant: bool = False
) -> dict[str, Any]:
    """The app manifest. `public_url` is where Slack reaches this server; it is unused in Socket Mode.

    With `many`, workspaces and organisations install the app through this server's own pages. With `assistant`,
    the app uses the older assistant pane instead of an agent's messages tab; only apps that already have
    one can keep it (docs.slack.dev/changelog, 2026-06-30).
    """
    base = public_url.rstrip("/")
    address = {} if socket_mode else {"request_url": base + PATH}
    more = (EVENTS_OF_ORGANISATIONS if many else ()) + (EVENTS_OF_ASSISTANTS if assistant else ())
    events = sorted(EVENTS + more)
    redirects = {"redirect_urls": [base + REDIRECT_PATH]} if many else {}
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {"name": "Parley", "description": DESCRIPTION, "background_color": "#1f4e5f"},
        "features": _features({} if socket_mode else {"url": base + PATH}, assistant),
        "oauth_config": {"scopes": {"bot": sorted(SCOPES)}, **redirects},
        "settings": {
            "event_subscriptions": {**address, "bot_events": events},
            "interactivity": {"is_enabled": True, **address},
            "org_deploy_enabled": many,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": many,
        },
    }


def _features(command_address: dict[str, str], assistant: bool) -> dict[str, Any]:
    """The parts of the app that people see."""
    kind = "assistant" if assistant else "agent"
    return {
        f"{kind}_view": {
            f"{kind}_description": DESCRIPTION,
            "suggested_prompts": [dict(prompt) for prompt in SUGGESTED_PROMPTS],
        },
        "app_home": {
            "home_tab_enabled": True,
            "messages_tab_enabled": True,
            "messages_tab_read_only_enabled": False,
        },
        "bot_user": {"display_name": "parley", "always_online": True},
        "shortcuts": [
            {"type": kind, "callback_id": callback, "name": name, "description": description}
            for kind, callback, name, description in SHORTCUTS
        ],
        "slash_commands": [
            {
                "command": command,
                "description": description,
                "usage_hint": hint,
                "should_escape": True,
                **command_address,
            }
            for command, description, hint in COMMANDS
        ],
    }
