"""What people may see of themselves and delete: usage, what was sent to the model, what is stored about them."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from bot.conversation.preferences import Preferences
from bot.domain import limits
from bot.domain.errors import NotAllowed
from bot.domain.events import User, now
from bot.domain.turns import Turn, UserProfile
from bot.generation import prompt_report
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.turns import Turns
from bot.storage.erasure.people import Erasure, PersonErasure
from bot.storage.redis import keys
from bot.storage.usage.quota import LimitStatus, PeriodUsage, QuotaLedger

FORGET_NOW = "forget me now"
"""What a person types to confirm that everything about them is deleted."""


class PersonalData:
    """Implements `bot.domain.adapter.SelfService`. Every method raises StateUnavailable."""

    def __init__(
        self,
        *,
        preferences: Preferences,
        ledger: QuotaLedger,
        turns: Turns,
        confirmations: Confirmations,
        erasure: Erasure,
        operators: Collection[str] = (),
        retention_days: int = 30,
    ) -> None:
        """`operators` are the ids of users."""
        self._preferences = preferences
        self._ledger = ledger
        self._turns = turns
        self._confirmations = confirmations
        self._erasure = erasure
        self._operators = frozenset(operators)
        self._retention_days = retention_days

    async def profile(self, user: User, channel: str) -> UserProfile:
        """What a person may choose here, what is chosen, what they used, and what is remembered of them."""
        choice = await self._preferences.of(user, channel)
        templates, deployments = self._preferences.templates, self._preferences.deployments
        today = now().date()
        kept = await self._ledger.spent(
            user.tenant, user.id, today - timedelta(days=self._retention_days), today
        )
        return UserProfile(
            templates=tuple(templates.items()),
            template=choice.template,
            usual=self._preferences.usual(choice),
            deployments=tuple(deployments.items()) if len(deployments) > 1 else (),
            deployment=choice.deployment,
            usage=await self.usage(user, channel),
            conversations=len(await self._turns.talks(user)),
            answers=kept.turns,
        )

    async def choose(
        self, user: User, channel: str, *, template: str | None = None, deployment: str | None = None
    ) -> None:
        """Choose for a channel, or for a person everywhere. Raises NotAllowed for what is not available."""
        await self._preferences.choose(user, channel, template=template, deployment=deployment)

    async def usage(self, user: User, channel: str = "") -> str:
        """What a person used today and this month, and how the limits stand that hold for them here."""
        day, month = await self._ledger.today_and_month(user)
        head = "| | Answers | Tokens in | Tokens out | Pictures | Cost |\n|---|---|---|---|---|---|"
        lines = [
            "What you have used (days and months are those of UTC):",
            "",
            head,
            _row("Today", day),
            _row("This month", month),
        ]
        at = now()
        standing = [_stands(one, at) for one in await self._ledger.limit_status(user, channel)]
        if standing:
            head = "| For | Limit | Used | Left | Anew |\n|---|---|---|---|---|"
            lines += ["", "Limits that hold here:", "", head, *standing]
        return "\n".join(lines)

    def may(self, user: User, turn: Turn) -> bool:
        """Whether an answer is this person's: who asked for it, or runs the bot."""
        asker = turn.received.user
        return (user.id, user.tenant) == (asker.id, asker.tenant) or user.id in self._operators

    async def sent(self, user: User, conversation: str, post: str) -> str:
        """What was sent for the answer that this post shows, or, without one, for the last answer.

        Raises NotAllowed for anybody but the asker and the operators.
        """
        turns = await self._turns.turns(conversation)
        turn = find(turns, post)
        if turn is None:
            raise NotAllowed("That answer is no longer kept, so I can't say what was sent for it.")
        if not self.may(user, turn):
            raise NotAllowed("Only the person who asked, and those who run this bot, may see what was sent.")
        return prompt_report.describe(turn, await self._turns.sent(conversation, turn.id))

    async def ask_forget(self, user: User, *conversations: str) -> str:
        """Count what `forget` would delete, and wait for the person's confirmation; in words."""
        counted = await self.count(user, *conversations)
        await self._confirmations.ask(user, "forget")
        return (
            f"This deletes everything that is kept about you, in every conversation: {counted}, your usage "
            "records and what you chose for yourself. It can't be undone. To delete it, reply "
            f"`{FORGET_NOW}` within {keys.CONFIRM_S // 60} minutes."
        )

    async def confirm_forget(self, user: User, event: str, *conversations: str) -> str:
        """Delete what is kept about a person who was asked before; what was deleted, in words.

        A second delivery of the same event gets the same words. Raises NotAllowed where nothing waits for a
        confirmation.
        """
        outcome = await self._confirmations.confirm(user, "forget", event)
        if outcome is None:
            raise NotAllowed(
                "Nothing was deleted: there is nothing to confirm. A confirmation works once, within "
                f"{keys.CONFIRM_S // 60} minutes. Type `forget me` to see what would be deleted."
            )
        if not outcome:
            outcome = await self.forget(user, *conversations, event=event)
            await self._confirmations.done(user, "forget", outcome)
        return outcome

    async def count(self, user: User, *conversations: str) -> str:
        """How much `forget` would delete of a person, everywhere, and in these conversations; in words."""
        kept = await self._erasure.preview(user, *conversations)
        waiting = kept.waiting - bool(conversations)  # what asks for it waits in its conversation, too
        counts = [_count(kept.conversations, "conversation"), _count(kept.answers, "answer")]
        counts.append(_count(kept.pictures, "picture"))
        counts += [_count(waiting, "waiting message")] if waiting > 0 else []
        counts += [f"{_count(kept.given_up, 'message')} that I could not answer"] if kept.given_up else []
        return ", ".join(counts)

    async def forget(self, user: User, *conversations: str, event: str = "") -> str:
        """Delete what is kept about a person, everywhere, and in these conversations; what was deleted, in
        words. `event` is the act that asks for it.
        """
        everywhere = dict.fromkeys([*await self._turns.talks(user), *conversations])
        gone = await self._erasure.forget(user, *conversations, event=event)
        await self._turns.release(everywhere)
        days = await self._ledger.forget(user)
        chosen = await self._preferences.forget(user)
        counted = " and ".join(
            f"this {one}'s" for one in ("day", "month") if one in self._ledger.counted(user)
        )
        return " ".join(
            one
            for one in (
                f"Done. I deleted {_deleted(gone, days, chosen)}.",
                _edited(gone),
                f"What {counted} limits count goes when that is over." if counted else "",
                "Messages that stand in this app are the app's own: delete them here if you want them "
                "gone too.",
            )
            if one
        )


def find(turns: Sequence[Turn], post: str = "") -> Turn | None:
    """The turn that a post shows; without a post, the last that answered a question."""
    for turn in reversed(turns):
        if turn.post is not None and turn.post.id == post if post else not turn.template.startswith("/"):
            return turn
    return None


def _deleted(gone: PersonErasure, days: int, chosen: bool) -> str:
    """What was deleted of a person, with the numbers."""
    conversations = _count(gone.conversations, "conversation")
    found = [
        f"{_count(gone.answers, 'answer')} with your questions, in {conversations}",
        _count(gone.pictures, "picture"),
        f"{_count(gone.waiting, 'message')} that waited for an answer" if gone.waiting else "",
        f"{_count(gone.given_up, 'message')} that I could not answer" if gone.given_up else "",
        f"{_count(gone.examples, 'example')} made from your questions" if gone.examples else "",
        f"{_count(gone.saved, 'set-up or vote', 'set-ups and votes')} of the studio" if gone.saved else "",
        "what you chose for yourself" if chosen else "",
        f"{_count(days, 'day')} of usage records",
    ]
    *most, last = [one for one in found if one]
    return f"{', '.join(most)} and {last}"


def _edited(gone: PersonErasure) -> str:
    """What was changed of others."""
    words = ""
    if gone.edited:
        of = _count(gone.edited, "message or answer", "messages and answers")
        words = f"I removed your words from {of} of other people, and marked the places."
    if gone.running:
        being = "1 answer that is" if gone.running == 1 else f"{gone.running} answers that are"
        words += f" In {being} being written to others right now, that follows as soon as possible."
    return words.strip()


def _row(label: str, spent: PeriodUsage) -> str:
    cost = f"${spent.microdollars / 1_000_000:.4f}"
    if spent.unpriced:
        unknown = f"{_count(spent.unpriced, 'call')} of unknown price"
        cost = f"{cost} and {unknown}" if spent.microdollars else unknown
    numbers = (spent.turns, spent.input_tokens, spent.output_tokens, spent.images)
    return f"| {label} | {' | '.join(map(str, numbers))} | {cost} |"


def _stands(one: LimitStatus, at: datetime) -> str:
    limit = one.limit
    whose = {"person": "you", "channel": "this channel", "tenant": "your organisation"}[limit.scope]
    amounts = (limit.bare(one.used), limit.bare(one.left))
    return f"| {' | '.join((whose, str(limit), *amounts, limits.resets_at(limit, at, one.minute_s)))} |"


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"
