"""Slack's Web API as its documentation describes it, over messages in memory."""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from tests.simulators.slack_rules import (
    MARKDOWN_TEXT_LIMIT,
    POST_TEXT_LIMIT,
    STREAM_LIMIT,
    UPDATE_TEXT_LIMIT,
    blocks_error,
    content_error,
    units,
)
from tests.simulators.slack_views import Views

Message = dict[str, Any]
Args = dict[str, Any]
Answer = dict[str, Any]
Method = Callable[[Args], Answer]

FORM_ONLY = frozenset(
    {
        "conversations.history",
        "conversations.info",
        "conversations.list",
        "conversations.members",
        "conversations.replies",
        "usergroups.list",
        "users.info",
        "users.lookupByEmail",
        "files.info",
        "files.getUploadURLExternal",
        "oauth.v2.access",
    }
)


class Failure(Exception):
    """`{"ok": false, "error": code}` with status 200."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Workspace:
    """Channels, people, messages and files, and the methods that change them.

    A message holds what Slack would return, and besides: `markdown` (what a person reads), `streaming`,
    `began` (the monotonic start of its stream) and `stopped_by`.
    """

    def __init__(self, team: str, bot_user: str, bot_id: str, bot_name: str) -> None:
        self.team, self.bot_user, self.bot_id, self.bot_name = team, bot_user, bot_id, bot_name
        self.people: dict[str, str] = {"U0ALICE": "alice", "U0BOB": "bob", bot_user: bot_name}
        self.channels: dict[str, set[str]] = {
            "C0GENERAL": {"U0ALICE", "U0BOB", bot_user},
            "C0OTHER": {"U0ALICE"},
        }
        self.channel_names = {"C0GENERAL": "general", "C0OTHER": "other"}
        self.private: set[str] = set()
        self.archived: set[str] = set()
        self.emails: dict[str, str] = {"alice@example.com": "U0ALICE"}
        self.guests: set[str] = set()
        self.facts: dict[str, Answer] = {}  # what else users.info tells of a person
        self.zones: dict[str, str] = {}
        self.locales: dict[str, str] = {}
        self.user_groups: dict[str, str] = {"S0OPS": "ops"}
        self.messages: dict[tuple[str, str], Message] = {}
        self.ephemeral: list[Message] = []
        self._replies: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.statuses: dict[tuple[str, str], str] = {}
        self.prompts: list[Args] = []
        self.titles: dict[tuple[str, str], str] = {}
        self.views = Views()
        self.grants: dict[str, Answer] = {}  # by the code or the refresh token that buys them, once
        self.stream_life_s = 300.0
        self.stream_silence_s = 120.0
        self.stream_channels: Callable[[str], bool] = lambda channel: True
        self.subscribed_to_stops = True
        self.origin = ""
        self._last_ts = 0

    # -------------------------------------------------------------- what is there

    def ts(self) -> str:
        """A fresh timestamp, later than every other."""
        self._last_ts = max(self._last_ts + 1, time.time_ns() // 1_000)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def direct(self, user: str) -> str:
        """The channel of one person with the bot."""
        channel = "D" + user[1:]
        self.channels.setdefault(channel, {user, self.bot_user})
        return channel

    def thread(self, channel: str, thread_ts: str) -> list[Message]:
        """A thread's messages, the root first."""
        keys = [(channel, thread_ts), *self._replies.get((channel, thread_ts), ())]
        return [self.messages[key] for key in keys if key in self.messages]

    def add(self, channel: str, author: Mapping[str, Any], thread_ts: str | None, **content: Any) -> Message:
        """Put a message there."""
        message: Message = {"type": "message", "ts": self.ts(), "team": self.team, **author, **content}
        if thread_ts:
            message["thread_ts"] = thread_ts
            self._replies.setdefault((channel, thread_ts), []).append((channel, message["ts"]))
        self.messages[channel, message["ts"]] = message
        return message

    def _author(self) -> dict[str, str]:
        return {"user": self.bot_user, "bot_id": self.bot_id}

    def _channel(self, args: Args, name: str = "channel") -> str:
        channel = str(args.get(name, ""))
        if channel.startswith("U") and channel in self.people:
            return self.direct(channel)
        if channel not in self.channels:
            raise Failure("channel_not_found")
        if self.bot_user not in self.channels[channel]:
            raise Failure("not_in_channel")
        return channel

    def _own(self, args: Args) -> tuple[str, Message]:
        channel = self._channel(args)
        message = self.messages.get((channel, str(args.get("ts"))))
        if message is None:
            raise Failure("message_not_found")
        if message.get("bot_id") != self.bot_id:
            raise Failure("cant_update_message")
        return channel, message

    def _root(self, channel: str, args: Args) -> str | None:
        thread = args.get("thread_ts")
        if thread and (channel, thread) not in self.messages:
            raise Failure("thread_not_found")
        return thread

    # -------------------------------------------------------------- ordinary messages

    def auth_revoke(self, args: Args) -> Answer:
        return {"revoked": True}

    def auth_test(self, args: Args) -> Answer:
        return {
            "url": f"{self.origin}/",
            "team": "Simulated",
            "user": self.bot_name,
            "team_id": self.team,
            "user_id": self.bot_user,
            "bot_id": self.bot_id,
        }

    def chat_postMessage(self, args: Args) -> Answer:
        channel = self._channel(args)
        if code := content_error(args, POST_TEXT_LIMIT):
            raise Failure(code)
        message = self.add(channel, self._author(), self._root(channel, args), **_content(args))
        self.statuses.pop((channel, message.get("thread_ts", "")), None)
        return {"channel": channel, "ts": message["ts"], "message": _public(message)}

    def chat_postEphemeral(self, args: Args) -> Answer:
        channel = self._channel(args)
        if args.get("user") not in self.channels[channel]:
            raise Failure("user_not_in_channel")
        if code := content_error(args, POST_TEXT_LIMIT):
            raise Failure(code)
        message = {"ts": self.ts(), "channel": channel, **_content(args)}
        self.ephemeral.append(message | {"user": args["user"], "thread_ts": args.get("thread_ts")})
        return {"message_ts": message["ts"]}

    def chat_update(self, args: Args) -> Answer:
        channel, message = self._own(args)
        if self._is_streaming(message):
            raise Failure("streaming_state_conflict")
        if code := content_error(args, UPDATE_TEXT_LIMIT):
            raise Failure(code)
        message |= _content(args)
        message["edited"] = {"user": self.bot_user, "ts": self.ts()}
        return {"channel": channel, "ts": message["ts"], "text": message["text"], "message": _public(message)}

    def chat_delete(self, args: Args) -> Answer:
        channel, message = self._own(args)
        if self._is_streaming(message):
            raise Failure("cant_delete_message")
        del self.messages[channel, message["ts"]]
        return {"channel": channel, "ts": message["ts"]}

    # -------------------------------------------------------------- streams

    def chat_startStream(self, args: Args) -> Answer:
        channel = self._channel(args)
        thread = self._root(channel, args)
        if not thread:
            raise Failure("invalid_thread_ts")
        if not self.stream_channels(channel):
            raise Failure("channel_type_not_supported")
        if not channel.startswith("D"):
            for name in ("recipient_team_id", "recipient_user_id"):
                if not args.get(name):
                    raise Failure(f"missing_{name}")
        if args.get("is_stoppable") and not self.subscribed_to_stops:
            raise Failure("not_subscribed_to_message_stream_stopped")
        if units(args.get("markdown_text", "")) > MARKDOWN_TEXT_LIMIT:
            raise Failure("msg_too_long")
        text, now = args.get("markdown_text", ""), time.monotonic()
        message = self.add(channel, self._author(), thread, text=text, markdown=text)
        message |= {"streaming": True, "streaming_state": "in_progress", "began": now, "grew": now}
        self.statuses.pop((channel, thread), None)
        return {"channel": channel, "ts": message["ts"]}

    def chat_appendStream(self, args: Args) -> Answer:
        channel, message = self._open_stream(args)
        if not args.get("markdown_text"):
            raise Failure("no_text")
        self._grow(message, args["markdown_text"])
        return {"channel": channel, "ts": message["ts"]}

    def chat_stopStream(self, args: Args) -> Answer:
        channel, message = self._open_stream(args)
        if blocks := args.get("blocks"):
            if code := blocks_error(blocks):
                raise Failure(code)
            message["blocks"] = blocks
        self._grow(message, args.get("markdown_text", ""))
        if metadata := args.get("metadata"):
            message["metadata"] = metadata
        message |= {"streaming": False, "streaming_state": "completed"}
        return {"channel": channel, "ts": message["ts"], "message": _public(message)}

    def _is_streaming(self, message: Message) -> bool:
        if not message.get("streaming"):
            return False
        now = time.monotonic()
        if now - message["began"] > self.stream_life_s or now - message["grew"] > self.stream_silence_s:
            message |= {"streaming": False, "streaming_state": "errored"}
        return bool(message["streaming"])

    def _open_stream(self, args: Args) -> tuple[str, Message]:
        channel, message = self._own(args)
        if not self._is_streaming(message):
            raise Failure(
                "stopped_by_user" if message.get("stopped_by") else "message_not_in_streaming_state"
            )
        return channel, message

    def _grow(self, message: Message, text: str) -> None:
        if units(text) > MARKDOWN_TEXT_LIMIT:
            raise Failure("msg_too_long")
        if units(message["markdown"]) + units(text) > STREAM_LIMIT:
            raise Failure("msg_blocks_too_long")
        message["markdown"] += text
        message["text"] = message["markdown"]
        message["grew"] = time.monotonic()

    # -------------------------------------------------------------- reading

    def conversations_replies(self, args: Args) -> Answer:
        channel = self._channel(args)
        thread = self.thread(channel, str(args.get("ts")))
        if not thread:
            raise Failure("thread_not_found")
        oldest, latest = str(args.get("oldest", "0")), str(args.get("latest", "9" * 10))
        replies = [m for m in thread[1:] if oldest < m["ts"] < latest]
        with_metadata = str(args.get("include_all_metadata", "")).lower() == "true"
        shown = [_public(m, with_metadata) for m in replies]
        start, limit = int(args.get("cursor", 0)), int(args.get("limit", 1000))
        more = start + limit < len(shown)
        cursor = {"next_cursor": str(start + limit) if more else ""}
        page = [_public(thread[0], with_metadata), *shown[start : start + limit]]
        return {"messages": page, "has_more": more, "response_metadata": cursor}

    def conversations_history(self, args: Args) -> Answer:
        channel, latest = self._channel(args), str(args.get("latest", "9" * 10))
        roots = [m for (where, ts), m in self.messages.items() if where == channel and ts < latest]
        newest = sorted((m for m in roots if not m.get("thread_ts")), key=lambda m: m["ts"], reverse=True)
        with_metadata = str(args.get("include_all_metadata", "")).lower() == "true"
        shown = [_public(m, with_metadata=with_metadata) for m in newest]
        limit = int(args.get("limit", 100))
        return {"messages": shown[:limit], "has_more": len(shown) > limit}

    def conversations_list(self, args: Args) -> Answer:
        types = str(args.get("types", "public_channel")).split(",")
        hidden = self.archived if str(args.get("exclude_archived", "")).lower() == "true" else set[str]()
        seen = [
            {"id": channel, "name": name, "is_private": channel in self.private}
            for channel, name in self.channel_names.items()
            if channel not in hidden
            and ("private_channel" if channel in self.private else "public_channel") in types
            and (channel not in self.private or self.bot_user in self.channels[channel])
        ]
        start, limit = int(args.get("cursor", 0)), int(args.get("limit", 100))
        more = start + limit < len(seen)
        cursor = {"next_cursor": str(start + limit) if more else ""}
        return {"channels": seen[start : start + limit], "response_metadata": cursor}

    def conversations_info(self, args: Args) -> Answer:
        channel = str(args.get("channel", ""))
        members = self.channels.get(channel, set())
        if channel not in self.channels or (channel in self.private and self.bot_user not in members):
            raise Failure("channel_not_found")
        return {
            "channel": {
                "id": channel,
                "name": self.channel_names.get(channel, channel.lower()),
                "is_channel": not channel.startswith("D"),
                "is_im": channel.startswith("D"),
                "is_mpim": False,
                "is_private": channel in self.private,
                "is_member": self.bot_user in members,
            }
        }

    def conversations_members(self, args: Args) -> Answer:
        members = sorted(self.channels[self._channel(args)])
        start, limit = int(args.get("cursor") or 0), int(args.get("limit", 100))
        cursor = str(start + limit) if start + limit < len(members) else ""
        return {"members": members[start : start + limit], "response_metadata": {"next_cursor": cursor}}

    def usergroups_list(self, args: Args) -> Answer:
        groups = self.user_groups.items()
        return {"usergroups": [{"id": id, "handle": handle, "name": handle.title()} for id, handle in groups]}

    def conversations_open(self, args: Args) -> Answer:
        if args.get("users") not in self.people:
            raise Failure("user_not_found")
        return {"channel": {"id": self.direct(args["users"])}}

    def users_lookupByEmail(self, args: Args) -> Answer:
        user = self.emails.get(str(args["email"]).lower())
        if user is None:
            raise Failure("users_not_found")
        return {"user": {"id": user, "team_id": self.team, "deleted": user not in self.people}}

    def users_info(self, args: Args) -> Answer:
        user = str(args.get("user"))
        if user not in self.people:
            raise Failure("user_not_found")
        name = self.people[user]
        profile = {"display_name": name, "real_name": name.title()}
        guest = {"is_restricted": user in self.guests, "is_ultra_restricted": False}
        known = {"id": user, "team_id": self.team, "name": name, "profile": profile, "is_bot": False}
        known |= {"tz": self.zones.get(user, "Europe/London")}
        if args.get("include_locale") in (True, "true", "True", "1"):
            known |= {"locale": self.locales.get(user, "en-GB")}
        return {"user": known | guest | self.facts.get(user, {})}

    # -------------------------------------------------------------- agents

    def assistant_threads_setStatus(self, args: Args) -> Answer:
        self.statuses[self._channel(args, "channel_id"), args["thread_ts"]] = args["status"]
        return {}

    def assistant_threads_setSuggestedPrompts(self, args: Args) -> Answer:
        self._channel(args, "channel_id")
        self.prompts.append(args)
        return {}

    def assistant_threads_setTitle(self, args: Args) -> Answer:
        self.titles[self._channel(args, "channel_id"), args["thread_ts"]] = args["title"]
        return {}

    # -------------------------------------------------------------- views and installations

    def views_open(self, args: Args) -> Answer:
        return _or_failure(self.views.open(args))

    def views_publish(self, args: Args) -> Answer:
        return _or_failure(self.views.publish(args))

    def oauth_v2_access(self, args: Args) -> Answer:
        if (args.get("client_id"), args.get("client_secret")) != ("client", "client secret"):
            raise Failure("invalid_client_id")
        bought = args["refresh_token"] if args.get("grant_type") == "refresh_token" else args["code"]
        if bought not in self.grants:
            raise Failure("invalid_refresh_token" if "refresh_token" in args else "invalid_code")
        return self.grants.pop(bought)

    # -------------------------------------------------------------- files

    def files_getUploadURLExternal(self, args: Args) -> Answer:
        file_id = f"F{len(self.files):010d}"
        self.files[file_id] = {
            "id": file_id,
            "name": args["filename"],
            "size": int(args["length"]),
            "alt_txt": args.get("alt_txt"),
            "url_private": f"{self.origin}/files/{file_id}",
            "url_private_download": f"{self.origin}/files/{file_id}",
        }
        return {"upload_url": f"{self.origin}/upload/{file_id}", "file_id": file_id}

    def files_completeUploadExternal(self, args: Args) -> Answer:
        channel = self._channel(args, "channel_id")
        done: list[dict[str, Any]] = []
        for entry in args["files"]:
            file = self.files.get(entry["id"])
            if file is None or "content" not in file:
                raise Failure("file_not_found")
            file["title"] = entry.get("title", file["name"])
            done.append({k: v for k, v in file.items() if k != "content"})
        self.add(channel, self._author(), self._root(channel, args), text="", markdown="", files=done)
        return {"files": done}

    def files_info(self, args: Args) -> Answer:
        if args.get("file") not in self.files:
            raise Failure("file_not_found")
        return {"file": {k: v for k, v in self.files[args["file"]].items() if k != "content"}}

    def files_delete(self, args: Args) -> Answer:
        if self.files.pop(args.get("file", ""), None) is None:
            raise Failure("file_not_found")
        for key, message in list(self.messages.items()):
            if any(file["id"] == args["file"] for file in message.get("files", ())):
                del self.messages[key]
        return {}


def _or_failure(answer: Answer | str) -> Answer:
    if isinstance(answer, str):
        raise Failure(answer)
    return answer


def _content(args: Args) -> dict[str, Any]:
    """What a message shows, from the arguments of a posting method."""
    blocks: list[dict[str, Any]] = args.get("blocks") or []
    read = "\n\n".join(block["text"] for block in blocks if block["type"] == "markdown")
    text = args.get("markdown_text") or args.get("text") or ""
    content: dict[str, Any] = {"text": text, "blocks": blocks, "markdown": read or text}
    if "metadata" in args:
        content["metadata"] = args["metadata"]
    return content


HIDDEN = frozenset({"markdown", "streaming", "began", "grew", "stopped_by"})


def _public(message: Message, with_metadata: bool = True) -> Message:
    hidden = HIDDEN if with_metadata else HIDDEN | {"metadata"}
    return {name: value for name, value in message.items() if name not in hidden}


def methods(workspace: Workspace) -> dict[str, Method]:
    """Every method that the simulator has, by Slack's name."""
    families = (
        *("assistant_", "auth_", "chat_", "conversations_", "files_", "oauth_", "usergroups_", "users_"),
        "views_",
    )
    names = [name for name in dir(workspace) if name.startswith(families)]
    return {name.replace("_", "."): cast("Method", getattr(workspace, name)) for name in names}
