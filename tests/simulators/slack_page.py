"""What people see in a simulated Slack, roughly: a page drawn from the blocks that Slack would get."""

import base64
import html
import re
from collections.abc import Callable, Mapping
from typing import Any

from markdown_it import MarkdownIt

from tests.simulators.slack_methods import Message, Workspace

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
_LINK = re.compile(r"&lt;(https?://[^|&]+)\|([^&]+)&gt;")
_BOLD = re.compile(r"\*(?=\S)(.+?)(?<=\S)\*")
_ITALIC = re.compile(r"(?<!\w)_(?=\S)(.+?)(?<=\S)_(?!\w)")
_MENTION = re.compile(r"&lt;@([A-Z0-9]+)&gt;")
_TASK = re.compile(r"<li>(?:<p>)?\[([ x])\] ")

_STYLE = """
body{font:15px/1.46 Lato,"Noto Sans",system-ui,sans-serif;color:#1d1c1d;margin:0;background:#fff}
header{background:#3f0e40;color:#fff;padding:.5rem 1rem;font-size:13px}
main{max-width:46rem;padding:1rem}
h2{font-size:16px;border-bottom:1px solid #ddd;padding-bottom:.3rem}
.message{display:grid;grid-template-columns:36px 1fr;gap:.6rem;margin:.7rem 0}
.reply{margin-left:2.4rem}
.only{background:#fff8e6}
.face{width:36px;height:36px;border-radius:6px;background:#1f4e5f;color:#fff;text-align:center;line-height:36px}
.who{font-weight:700}
.when,.context,.note{color:#616061;font-size:13px}
.app{background:#ddd;font-size:10px;padding:1px 3px}
pre{background:#f8f8f8;border:1px solid #ddd;border-radius:4px;padding:.5rem;white-space:pre-wrap}
code{font:12px Monaco,monospace;color:#e01e5a}
pre code{color:inherit}
p,ul,ol,blockquote{margin:.2rem 0}
blockquote{border-left:4px solid #ddd;padding-left:.8rem}
table{border-collapse:collapse;margin:.3rem 0}
td,th{border:1px solid #ddd;padding:.2rem .6rem;text-align:left}
button{font:700 13px inherit;border:1px solid #bbb;border-radius:4px;background:#fff}
button{padding:.25rem .7rem;margin:.3rem .4rem 0 0}
img{max-width:20rem;border-radius:8px;display:block;margin:.3rem 0}
.view{border:1px solid #bbb;border-radius:8px;padding:1rem;max-width:32rem;margin:1rem 0}
select,textarea{width:100%;padding:.3rem}
"""
_LABEL = "A drawing of what Parley's simulator of Slack was sent. This is not Slack, only roughly like it."


def page(workspace: Workspace) -> str:
    """Every channel with its threads, what single people see alone, home tabs and open forms."""
    channels = dict.fromkeys(channel for channel, _ in workspace.messages)
    parts = [_channel(workspace, channel) for channel in channels]
    parts += [
        f"<h2>{kind} of {_name(workspace, user)}</h2><div class=view>{_view(view)}</div>"
        for kind, views in (("Home tab", workspace.views.homes), ("Form", workspace.views.forms))
        for user, view in views.items()
    ]
    return (
        f'<!doctype html><meta charset="utf-8"><title>Simulated Slack</title><style>{_STYLE}</style>'
        f"<header>{_LABEL}</header><main>{''.join(parts)}</main>"
    )


def _channel(workspace: Workspace, channel: str) -> str:
    mine = sorted(
        (m for (where, _), m in workspace.messages.items() if where == channel), key=lambda m: m["ts"]
    )
    alone = [message for message in workspace.ephemeral if message.get("channel") == channel]
    shown: list[str] = []
    for root in (m for m in mine if m.get("thread_ts", m["ts"]) == m["ts"]):
        shown.append(_message(workspace, root, ""))
        shown += [
            _message(workspace, m, "reply") for m in mine if m.get("thread_ts") == root["ts"] != m["ts"]
        ]
        shown += [_message(workspace, m, "reply only") for m in alone if m.get("thread_ts") == root["ts"]]
    shown += [_message(workspace, m, "only") for m in alone if not m.get("thread_ts")]
    return f"<h2>{html.escape(channel)}</h2>{''.join(shown)}"


def _name(workspace: Workspace, user: str) -> str:
    return html.escape(workspace.people.get(user, user))


def _message(workspace: Workspace, message: Message, kind: str) -> str:
    ours = message.get("bot_id") == workspace.bot_id or "only" in kind
    who = html.escape(workspace.bot_name) if ours else _name(workspace, str(message.get("user")))
    alone = f" · only {_name(workspace, str(message.get('user')))} sees this" if "only" in kind else ""
    state = " · writing…" if message.get("streaming") else " (edited)" if message.get("edited") else ""
    blocks: list[dict[str, Any]] = message.get("blocks") or []
    body = (
        "" if any(block["type"] == "markdown" for block in blocks) else _markdown(message.get("markdown", ""))
    )
    body = _MENTION.sub(lambda sign: f"<b>@{_name(workspace, sign[1])}</b>", body)
    body += "".join(map(_block, blocks)) + "".join(
        _file(workspace, item) for item in message.get("files", ())
    )
    app = " <span class=app>APP</span>" if ours else ""
    return (
        f'<div class="message {kind}"><div class=face>{who[:1].upper()}</div><div>'
        f"<span class=who>{who}</span>{app}<span class=when>{alone}{state}</span>{body}</div></div>"
    )


def _file(workspace: Workspace, file: Mapping[str, Any]) -> str:
    kept = workspace.files.get(str(file["id"]), {})
    name, content = html.escape(str(file.get("alt_txt") or file.get("name"))), kept.get("content", b"")
    if content[:4] not in (b"\x89PNG", b"\xff\xd8\xff\xe0"):
        return f"<p class=context>{name}</p>"
    data = base64.b64encode(content).decode()
    return f'<p class=context>{name}</p><img alt="{name}" src="data:image/png;base64,{data}">'


def _markdown(text: str) -> str:
    drawn = str(_MARKDOWN.render(text))
    return _TASK.sub(lambda box: "<li>☑ " if box[1] == "x" else "<li>☐ ", drawn)


def _mrkdwn(text: str) -> str:
    shown = _LINK.sub(r'<a href="\1">\2</a>', html.escape(html.unescape(text).replace("\u2060", "")))
    return _ITALIC.sub(r"<i>\1</i>", _BOLD.sub(r"<b>\1</b>", shown)).replace("\n", "<br>")


def _text(of: Mapping[str, Any]) -> str:
    text = str(of.get("text", ""))
    return _mrkdwn(text) if of.get("type") == "mrkdwn" else html.escape(text)


def _view(view: Mapping[str, Any]) -> str:
    title = f"<p class=who>{_text(view['title'])}</p>" if "title" in view else ""
    send = f"<button>{_text(view['submit'])}</button>" if "submit" in view else ""
    return title + "".join(map(_block, view["blocks"])) + send


def _element(element: Mapping[str, Any]) -> str:
    match element["type"]:
        case "button":
            return f"<button>{_text(element['text'])}</button>"
        case "feedback_buttons":
            return "<button>👍</button><button>👎</button>"
        case "static_select":
            chosen = element.get("initial_option", {}).get("value")
            options = "".join(
                f"<option{' selected' if option['value'] == chosen else ''}>{_text(option['text'])}</option>"
                for option in element["options"]
            )
            return f"<select>{options}</select>"
        case "plain_text_input":
            return "<textarea rows=3></textarea>"
        case _:
            return _text(element)


def _block(block: Mapping[str, Any]) -> str:
    elements = "".join(map(_element, block.get("elements", ())))
    drawn: dict[str, Callable[[], str]] = {
        "markdown": lambda: _markdown(block["text"]),
        "section": lambda: f"<p>{_text(block['text'])}</p>" + _accessory(block),
        "header": lambda: f"<h3>{_text(block['text'])}</h3>",
        "context": lambda: f"<p class=context>{elements}</p>",
        "input": lambda: (
            f"<p>{_text(block['label'])}</p>{_element(block['element'])}"
            f"<p class=note>{_text(block.get('hint', {}))}</p>"
        ),
        "divider": lambda: "<hr>",
    }
    return drawn.get(block["type"], lambda: f"<div>{elements}</div>")()


def _accessory(block: Mapping[str, Any]) -> str:
    return _element(block["accessory"]) if "accessory" in block else ""
