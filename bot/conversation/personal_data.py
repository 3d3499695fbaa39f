"""What people can see and delete of their own data: usage, prompts, stored messages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.conversation.preferences import Preferences
from bot.domain import limits
from bot.domain.errors import NotAllowed
from bot.domain.events import User, now
from bot.domain.participation import MODES
from bot.domain.turns import Turn, UserProfile
from bot.generation import prompt_report
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.turns import Turns
from bot.storage.erasure.people import Erasure, PersonErasure
from bot.storage.redis import keys
from bot.storage.usage.quota import LimitStatus, PeriodUsage, QuotaLedger

FORGET_NOW = "forget me now"
"""What a person types to confirm the deletion of all their data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """Implements `bot.domain.adapter.SelfService`. All methods raise StateUnavailable.

    `operators` are user ids.
    """

    preferences: Preferences
    ledger: QuotaLedger
    turns: Turns
    confirmations: Confirmations
    erasure: Erasure
    operators: Collection[str] = ()
    retention_days: int = 30

    async def profile(self, user: User, channel: str) -> UserProfile:
        choice = await self.preferences.store.of(user, channel)
        templates, deployments = self.preferences.templates, self.preferences.deployments
        today = now().date()
        kept = await self.ledger.spent(
            user.tenant, user.id, today - timedelta(days=self.retention_days), today
        )
        return UserProfile(
            templates=tuple(templates.items()),
            template=choice.template,
            usual=self.preferences.usual(choice),
            deployments=tuple(deployments.items()) if len(deployments) > 1 else (),
            deployment=choice.deployment,
            modes=tuple((mode.name, tr(mode.description)) for mode in MODES.values()) if channel else (),
            mode=MODES[choice.participation].name if channel and choice.participation else "",
            usual_mode=MODES[self.preferences.default_mode].name if channel else "",
            usage=await self.usage(user, channel),
            conversations=len(await self.turns.talks(user)),
            answers=kept.turns,
        )

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: str | None = None,
    ) -> None:
        await self.preferences.choose(user, channel, template=template, deployment=deployment, mode=mode)

    async def usage(self, user: User, channel: str = "") -> str:
        """A person's usage today and this month, and the status of the limits that apply here, as Markdown."""
        day, month = await self.ledger.today_and_month(user)
        head = "| | Answers | Input tokens | Output tokens | Images | Cost |\n|---|---|---|---|---|---|"
        lines = ["Your usage (days and months in UTC):", "", head]
        lines += [_row("Today", day), _row("This month", month)]
        at = now()
        limit_rows = [_limit_row(status, at) for status in await self.ledger.limit_status(user, channel)]
        if limit_rows:
            head = "| For | Limit | Used | Left | Resets |\n|---|---|---|---|---|"
            lines += ["", "Limits that apply here:", "", head, *limit_rows]
        return "\n".join(lines)

    def may(self, user: User, turn: Turn) -> bool:
        """Whether this person asked the question or is an operator."""
        return user.is_same(turn.received.user) or user.id in self.operators

    async def sent(self, user: User, conversation: str, post: str) -> str:
        """What was sent for the answer in this post or, without one, for the last answer.

        Raises NotAllowed, except for the person who asked and operators.
        """
        turns = await self.turns.turns(conversation)
        turn = find(turns, post)
        if turn is None:
            raise NotAllowed("This answer is no longer stored, so I can't show what was sent for it.")
        if not self.may(user, turn):
            raise NotAllowed("Only the person who asked and the operators can see what was sent.")
        return prompt_report.describe(turn, await self.turns.sent(conversation, turn.id))

    async def ask_forget(self, user: User, *conversations: str) -> str:
        counted = await self.count(user, *conversations)
        await self.confirmations.ask(user, "forget")
        return (
            f"This deletes all your data, in all conversations: {counted}, your usage records and your "
            f"preferences. This can't be undone. To confirm, reply `{FORGET_NOW}` within "
            f"{keys.CONFIRM_S // 60} minutes."
        )

    async def confirm_forget(self, user: User, event: str, *conversations: str) -> str:
        outcome = await self.confirmations.confirm(user, "forget", event)
        if outcome is None:
            raise NotAllowed(
                "Nothing was deleted, because there is nothing to confirm. A confirmation works once, within "
                f"{keys.CONFIRM_S // 60} minutes. To start again, send `forget me`."
            )
        if not outcome:
            outcome = await self.forget(user, *conversations, event=event)
            await self.confirmations.done(user, "forget", outcome)
        return outcome

    async def count(self, user: User, *conversations: str) -> str:
        """Describe how much `forget` would delete of a person, including these conversations."""
        stored = await self.erasure.preview(user, *conversations)
        waiting = stored.waiting - bool(conversations)  # without the message that asks for this
        counts = [_count(stored.conversations, "conversation"), _count(stored.answers, "answer")]
        counts.append(_count(stored.pictures, "image"))
        counts += [_count(waiting, "pending message")] if waiting > 0 else []
        counts += [_count(stored.given_up, "dead letter")] if stored.given_up else []
        return ", ".join(counts)

    async def forget(self, user: User, *conversations: str, event: str = "") -> str:
        """Delete a person's data, including these conversations; describes what was deleted.

        `event` is the id of the event that requests it.
        """
        everywhere = dict.fromkeys([*await self.turns.talks(user), *conversations])
        erasure = await self.erasure.forget(user, *conversations, event=event)
        await self.turns.release(everywhere)
        days = await self.ledger.forget(user)
        preferences = await self.preferences.store.forget(user)
        periods = " and ".join(
            f"this {period}'s" for period in ("day", "month") if period in self.ledger.counted(user)
        )
        sentences = (
            f"Done. I deleted {_deleted(erasure, days, preferences)}.",
            _edited(erasure),
            f"Totals for {periods} limits are kept until they reset." if periods else "",
            "Messages in this app itself are not deleted. To remove them, too, delete them here.",
        )
        return " ".join(sentence for sentence in sentences if sentence)


def find(turns: Sequence[Turn], post: str = "") -> Turn | None:
    """The turn of a post or, without one, the last turn that is not a command."""
    for turn in reversed(turns):
        if turn.post is not None and turn.post.id == post if post else not turn.template.startswith("/"):
            return turn
    return None


def _deleted(erasure: PersonErasure, days: int, preferences: bool) -> str:
    conversations = _count(erasure.conversations, "conversation")
    items = [
        f"{_count(erasure.answers, 'answer')} with your questions, in {conversations}",
        _count(erasure.pictures, "image"),
        _count(erasure.waiting, "pending message") if erasure.waiting else "",
        _count(erasure.given_up, "dead letter") if erasure.given_up else "",
        f"{_count(erasure.examples, 'example')} made from your questions" if erasure.examples else "",
        f"{_count(erasure.saved, 'saved setup or vote', 'saved setups and votes')} in the studio"
        if erasure.saved
        else "",
        "your preferences" if preferences else "",
        f"{_count(days, 'day')} of usage records",
    ]
    *first, last = [item for item in items if item]
    return f"{', '.join(first)} and {last}"


def _edited(erasure: PersonErasure) -> str:
    """Describe what was changed in other people's data."""
    text = ""
    if erasure.edited:
        of = _count(erasure.edited, "message or answer", "messages and answers")
        text = f"I removed your text from {of} of other people, with a note in its place."
    if erasure.running:
        answers = _count(erasure.running, "answer")
        text += f" In {answers} to other people still in progress, this will be done as soon as possible."
    return text.strip()


def _row(label: str, spent: PeriodUsage) -> str:
    cost = f"${spent.microdollars / 1_000_000:.4f}"
    if spent.unpriced:
        unknown = f"{_count(spent.unpriced, 'call')} with unknown price"
        cost = f"{cost} + {unknown}" if spent.microdollars else unknown
    numbers = (spent.turns, spent.input_tokens, spent.output_tokens, spent.images)
    return f"| {label} | {' | '.join(map(str, numbers))} | {cost} |"


def _limit_row(status: LimitStatus, at: datetime) -> str:
    limit = status.limit
    whose = {"person": "you", "channel": "this channel", "tenant": "your organisation"}[limit.scope]
    amounts = (limit.bare(status.used), limit.bare(status.left))
    return f"| {' | '.join((whose, str(limit), *amounts, limits.resets_at(limit, at, status.minute_s)))} |"


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"
