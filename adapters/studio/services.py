"""What the studio's pages read and change, beside taking events."""

from dataclasses import dataclass

from bot.conversation.playground import Playground
from bot.evals.runner import EvalRunner
from bot.llm.routing.router import Gateway
from bot.prompts.assignments import Assignments
from bot.prompts.editing import PromptEditor
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.turns import Turns
from bot.storage.conversations.votes import Votes
from bot.storage.live.live_view import LiveView
from bot.storage.prompts.saved_configs import SavedConfigs
from bot.storage.usage.latency import Latency
from bot.storage.usage.reports import UsageReports


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioServices:
    """What stands behind the pages beside the chat."""

    playground: Playground
    editor: PromptEditor
    assignments: Assignments
    saved_configs: SavedConfigs
    search: ConversationSearch
    usage_reports: UsageReports
    deployments: Gateway
    turns: Turns
    votes: Votes
    latency: Latency
    evaluations: EvalRunner
    live_view: LiveView
