"""What people can see and delete of their own data: usage, prompts, stored messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from bot.conversation.preferences import Preferences
from bot.domain import formats, limits
from bot.domain.errors import NotAllowed, NotPermitted
from bot.domain.events import User, now
from bot.domain.participation import MODES
from bot.domain.permissions import Action
from bot.domain.turns import Turn, UserProfile
from bot.domain.words import marked, tr, trn
from bot.generation import prompt_report
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.turns import Turns
from bot.storage.embedded.compaction import Rewritten
from bot.storage.erasure.organisations import Organisations
from bot.storage.erasure.people import Erasure, ErasurePreview, PersonErasure
from bot.storage.redis import keys
from bot.storage.usage.quota import LimitStatus, PeriodUsage, QuotaLedger

FORGET_NOW = "forget me now"
"""What a person types to confirm the deletion of all their data."""

_KEPT: Mapping[frozenset[limits.Period], str] = {
    frozenset(): "",
    frozenset(("day",)): marked("Totals for this day's limits are kept until they reset."),
    frozenset(("month",)): marked("Totals for this month's limits are kept until they reset."),
    frozenset(("day", "month")): marked(
        "Totals for this day's and this month's limits are kept until they reset."
    ),
}
"""What is kept of a person's usage, by the periods of their limits."""

_ON_DISK: Mapping[Rewritten, str] = {
    "done": marked("It has been removed from the files on disk, too."),
    "soon": marked("It will be removed from the files on disk within a few minutes."),
    "external": marked(
        "The database's own files and backups, which I can't change, may contain it for longer. Your administrator "
        "knows for how long."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """Implements `bot.domain.adapter.SelfService`. All methods raise StateUnavailable."""

    preferences: Preferences
    ledger: QuotaLedger
    turns: Turns
    confirmations: Confirmations
    erasure: Erasure
    organisations: Organisations
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
        at = now()
        heads = (tr("Answers"), tr("Input tokens"), tr("Output tokens"), tr("Images"), tr("Cost"))
        title = tr("Your usage (a day ends at {time}):", time=formats.clock(limits.ends("day", at)))
        lines = [title, "", *_table("", *heads), _row(tr("Today"), day), _row(tr("This month"), month)]
        limit_rows = [_limit_row(status, at) for status in await self.ledger.limit_status(user, channel)]
        if limit_rows:
            table = _table(tr("For"), tr("Limit"), tr("Used"), tr("Left"), tr("Resets"))
            lines += ["", tr("Limits that apply here:"), "", *table, *limit_rows]
        return "\n".join(lines)

    def may(self, action: Action, user: User, turn: Turn) -> bool:
        """Whether this person may do something with an answer."""
        return self.preferences.permissions.allows(action, user, shared=True, asker=turn.received.user)

    async def sent(self, user: User, conversation: str, post: str) -> str:
        """What was sent for the answer in this post or, without one, for the last answer.

        Raises NotAllowed, except for those whom the table allows it: the person who asked, and operators.
        """
        turns = await self.turns.turns(conversation)
        turn = find(turns, post)
        if turn is None:
            raise NotAllowed("This answer is no longer stored, so I can't show what was sent for it.")
        if not self.may("sent", user, turn):
            message = marked("Only {who} can see what was sent.")
            raise NotPermitted(message, who=self.preferences.permissions.who("sent"))
        return prompt_report.describe(turn, await self.turns.sent(conversation, turn.id))

    async def ask_forget(self, user: User, *conversations: str) -> str:
        counted = await self.count(user, *conversations)
        await self.confirmations.ask(user, "forget")
        return tr(
            "This deletes all your data, in all conversations: {counted}, your usage records and your preferences. "
            "This can't be undone. To confirm, reply `forget me now` within {minutes} minutes.",
            counted=counted,
            minutes=keys.CONFIRM_S // 60,
        )

    async def confirm_forget(self, user: User, event: str, *conversations: str) -> str:
        outcome = await self.confirmations.confirm(user, "forget", event)
        if outcome is None:
            raise NotAllowed(
                "Nothing was deleted, because there is nothing to confirm. A confirmation works once, within {minutes} "
                "minutes. To start again, send `forget me`.",
                minutes=keys.CONFIRM_S // 60,
            )
        if not outcome:
            outcome = await self.forget(user, *conversations, event=event)
            await self.confirmations.done(user, "forget", outcome)
        return outcome

    async def count(self, user: User, *conversations: str) -> str:
        """Describe how much `forget` would delete of a person, including these conversations."""
        stored = ErasurePreview()
        for each in await self._everywhere(user):
            stored += await self.erasure.preview(each, *(conversations if each is user else ()))
        waiting = stored.waiting - bool(conversations)  # without the message that asks for this
        counts = [
            _conversations(stored.conversations),
            trn("{count} answer", "{count} answers", stored.answers),
        ]
        counts.append(_images(stored.pictures))
        counts += [_pending(waiting)] if waiting > 0 else []
        counts += [_dead_letters(stored.given_up)] if stored.given_up else []
        return ", ".join(counts)

    async def forget(self, user: User, *conversations: str, event: str = "") -> str:
        """Delete a person's data, including these conversations; describes what was deleted.

        `event` is the id of the event that requests it.
        """
        erasure, days, preferences = PersonErasure(), 0, False
        for each in await self._everywhere(user):
            own = conversations if each is user else ()
            everywhere = dict.fromkeys([*await self.turns.talks(each), *own])
            erasure += await self.erasure.forget(each, *own, event=event)
            await self.turns.release(everywhere)
            days += await self.ledger.forget(each)
            preferences |= await self.preferences.store.forget(each)
        sentences = (
            tr("Done. I deleted {items}.", items=_deleted(erasure, days, preferences)),
            *_edited(erasure),
            tr(_KEPT[self.ledger.counted(user)]),
            tr(_ON_DISK[await self.erasure.rewritten()]),
            tr("Messages in this app itself are not deleted. To remove them, too, delete them here."),
        )
        return " ".join(sentence for sentence in sentences if sentence)

    async def _everywhere(self, user: User) -> list[User]:
        """The same person in each tenant that shares an installation, the one where they ask first."""
        first, *others = await self.organisations.sharing(user.tenant)
        return [user, *(replace(user, tenant=tenant) for tenant in others if tenant != first)]


def find(turns: Sequence[Turn], post: str = "") -> Turn | None:
    """The turn of a post or, without one, the last turn that is not a command."""
    for turn in reversed(turns):
        if turn.post is not None and turn.post.id == post if post else not turn.template.startswith("/"):
            return turn
    return None


def _deleted(erasure: PersonErasure, days: int, preferences: bool) -> str:
    answers = trn(
        "{count} answer with your questions", "{count} answers with your questions", erasure.answers
    )
    conversations = _conversations(erasure.conversations)
    saved = trn(
        "{count} saved setup or vote in the studio",
        "{count} saved setups and votes in the studio",
        erasure.saved,
    )
    examples = trn(
        "{count} example made from your questions",
        "{count} examples made from your questions",
        erasure.examples,
    )
    items = [
        tr("{answers}, in {conversations}", answers=answers, conversations=conversations),
        _images(erasure.pictures),
        _pending(erasure.waiting) if erasure.waiting else "",
        _dead_letters(erasure.given_up) if erasure.given_up else "",
        examples if erasure.examples else "",
        saved if erasure.saved else "",
        tr("your preferences") if preferences else "",
        trn("{count} day of usage records", "{count} days of usage records", days),
    ]
    return formats.listed(item for item in items if item)


def _edited(erasure: PersonErasure) -> list[str]:
    """Describe what was changed in other people's data."""
    sentences: list[str] = []
    if erasure.edited:
        sentences.append(
            trn(
                "I removed your text from {count} message or answer of other people, with a note in its place.",
                "I removed your text from {count} messages and answers of other people, with a note in its place.",
                erasure.edited,
            )
        )
    if erasure.running:
        sentences.append(
            trn(
                "In {count} answer to other people still in progress, this will be done as soon as possible.",
                "In {count} answers to other people still in progress, this will be done as soon as possible.",
                erasure.running,
            )
        )
    return sentences


def _table(*heads: str) -> list[str]:
    """The head of a table."""
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def _row(label: str, spent: PeriodUsage) -> str:
    cost = formats.money(spent.microdollars)
    if spent.unpriced:
        unknown = trn("{count} call with unknown price", "{count} calls with unknown price", spent.unpriced)
        cost = f"{cost} + {unknown}" if spent.microdollars else unknown
    numbers = (spent.turns, spent.input_tokens, spent.output_tokens, spent.images)
    return f"| {label} | {' | '.join(map(formats.number, numbers))} | {cost} |"


def _limit_row(status: LimitStatus, at: datetime) -> str:
    limit = status.limit
    whose = {
        "person": tr("you"),
        "channel": tr("this channel"),
        "tenant": tr("your organisation"),
        "guest": tr("all guests from your organisation"),
    }[limit.scope]
    amounts = (limit.bare(status.used, "up"), limit.bare(status.left, "down"))
    cells = (whose, limit.worded, *amounts, limits.resets_at(limit, at, status.minute_s))
    return f"| {' | '.join(cells)} |"


def _conversations(count: int) -> str:
    return trn("{count} conversation", "{count} conversations", count)


def _images(count: int) -> str:
    return trn("{count} image", "{count} images", count)


def _pending(count: int) -> str:
    return trn("{count} pending message", "{count} pending messages", count)


def _dead_letters(count: int) -> str:
    return trn("{count} dead letter", "{count} dead letters", count)
