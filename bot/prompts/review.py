"""From well-rated answers to examples of a pool: proposed with one click, shown after a review."""

from hashlib import sha256

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import now
from bot.domain.prompts import Example, Image
from bot.domain.publications import Proposal, State
from bot.domain.turns import Turn
from bot.prompts.publisher import Publisher
from bot.prompts.registry import TemplateRegistry
from bot.storage.prompts.proposals import Proposals

MOST_WAITING = 500
"""A review that nobody does must not grow without end."""


def propose(turn: Turn) -> Example:
    """The few-shot pair that a turn would make. Raises NotAllowed, in words, for a turn that makes none."""
    if turn.outcome != "answered" or len(turn.messages) < 2:
        raise NotAllowed("Only an answer that was given in full can be an example.")
    asked, answered = turn.messages[0], turn.messages[-1]
    if any(isinstance(part, Image) for message in (asked, answered) for part in message.parts):
        raise NotAllowed("Examples hold words only, no pictures.")
    user, assistant = asked.text.strip(), answered.text.strip()
    if not user or not assistant:
        raise NotAllowed("An example needs words on both sides.")
    return Example(user=user, assistant=assistant)


class ProposalReview:
    """Every method raises StateUnavailable and, in words, NotAllowed."""

    def __init__(self, proposals: Proposals, registry: TemplateRegistry, publisher: Publisher) -> None:
        self._proposals = proposals
        self._registry = registry
        self._publisher = publisher

    async def propose(self, turn: Turn, pool: str, *, author: str) -> Proposal:
        """Propose a turn for a pool; proposing it again changes nothing."""
        if pool not in self._registry.pools():
            known = ", ".join(sorted(self._registry.pools())) or "none"
            raise NotAllowed(f"There is no pool “{pool}”. There are: {known}.")
        id = sha256(f"{pool}\0{turn.id}".encode()).hexdigest()[:16]
        known_one = await self._proposals.get(id)
        if known_one is not None:
            return known_one
        if len(await self.all("proposed")) >= MOST_WAITING:
            raise NotAllowed(f"{MOST_WAITING} proposals wait for a review already.")
        proposal = Proposal(
            id=id,
            pool=pool,
            example=propose(turn),
            conversation=turn.received.address.conversation,
            turn=turn.id,
            asker=turn.received.user,
            author=author,
            at=now(),
        )
        await self._proposals.put(proposal)
        return proposal

    async def all(self, state: State | None = None) -> list[Proposal]:
        """Proposals, newest first: all of them, or those in one state."""
        return [one for one in await self._proposals.all() if state is None or one.state == state]

    async def accept(self, id: str, *, reviewer: str, example: Example | None = None) -> Proposal:
        """Publish it into its pool, as it was proposed or as the reviewer worded it (`example`)."""
        proposal = await self._waiting(id)
        example = example or proposal.example
        await self._registry.refresh()
        # It is there already when an earlier review published it, and then went down.
        if example not in self._registry.pools().get(proposal.pool, ()):
            reason = f"from an answer that {proposal.author} proposed"
            await self._publisher.change_pool(proposal.pool, added=[example], author=reviewer, reason=reason)
        return await self._reviewed(proposal, "accepted", reviewer, example=example)

    async def reject(self, id: str, *, reviewer: str, reason: str = "") -> Proposal:
        """Decide against it; it stays listed, so that it isn't proposed again."""
        return await self._reviewed(await self._waiting(id), "rejected", reviewer, reason=reason[:500])

    async def _waiting(self, id: str) -> Proposal:
        proposal = await self._proposals.get(id)
        if proposal is None:
            raise NotAllowed("That proposal is no longer kept.")
        if proposal.state != "proposed":
            raise NotAllowed(f"{proposal.reviewer} has {proposal.state} that already.")
        return proposal

    async def _reviewed(
        self,
        proposal: Proposal,
        state: State,
        reviewer: str,
        *,
        example: Example | None = None,
        reason: str = "",
    ) -> Proposal:
        done = replace(
            proposal,
            state=state,
            reviewer=reviewer,
            reviewed_at=now(),
            example=example or proposal.example,
            reason=reason,
        )
        await self._proposals.put(done)
        return done
