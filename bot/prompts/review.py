"""Turns well-rated answers into examples of a pool: proposed with one click, published after a review."""

from dataclasses import dataclass
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
"""Limits proposals that are never reviewed."""


def propose(turn: Turn) -> Example:
    """The example that a turn would become. Raises NotAllowed with the reason why it can't."""
    if turn.outcome != "answered" or len(turn.messages) < 2:
        raise NotAllowed("Only a complete answer can become an example.")
    question, answer = turn.messages[0], turn.messages[-1]
    if any(isinstance(part, Image) for message in (question, answer) for part in message.parts):
        raise NotAllowed("Messages with images can't become examples.")
    user, assistant = question.text.strip(), answer.text.strip()
    if not user or not assistant:
        raise NotAllowed("An example needs both a question and an answer.")
    return Example(user=user, assistant=assistant)


@dataclass(frozen=True, slots=True)
class ProposalReview:
    """Proposals and their review. All methods raise StateUnavailable and NotAllowed."""

    proposals: Proposals
    registry: TemplateRegistry
    publisher: Publisher

    async def propose(self, turn: Turn, pool: str, *, author: str) -> Proposal:
        """Propose a turn for a pool. Returns the existing proposal if there is one."""
        if pool not in self.registry.pools():
            known = ", ".join(sorted(self.registry.pools())) or "none"
            raise NotAllowed(f"There is no pool “{pool}”. Available: {known}.")
        id = sha256(f"{pool}\0{turn.id}".encode()).hexdigest()[:16]
        existing = await self.proposals.get(id)
        if existing is not None:
            return existing
        if len(await self.waiting()) >= MOST_WAITING:
            raise NotAllowed(f"{MOST_WAITING} proposals await review. Review some of them first.")
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
        await self.proposals.put(proposal)
        return proposal

    async def waiting(self) -> list[Proposal]:
        """Proposals that await review, newest first."""
        return [each for each in await self.proposals.all() if each.state == "proposed"]

    async def accept(self, id: str, *, reviewer: str, example: Example) -> Proposal:
        """Publish the reviewer's version of a proposal into its pool."""
        proposal = await self._pending(id)
        await self.registry.refresh()
        # An interrupted review may have published it already.
        if example not in self.registry.pools().get(proposal.pool, ()):
            reason = f"from an answer that {proposal.author} proposed"
            await self.publisher.change_pool(proposal.pool, added=[example], author=reviewer, reason=reason)
        return await self._reviewed(replace(proposal, example=example), "accepted", reviewer)

    async def reject(self, id: str, *, reviewer: str) -> Proposal:
        """Reject a proposal. It stays stored, so that it is not proposed again."""
        return await self._reviewed(await self._pending(id), "rejected", reviewer)

    async def _pending(self, id: str) -> Proposal:
        proposal = await self.proposals.get(id)
        if proposal is None:
            raise NotAllowed("This proposal no longer exists.")
        if proposal.state != "proposed":
            raise NotAllowed(f"{proposal.reviewer} has already {proposal.state} this proposal.")
        return proposal

    async def _reviewed(self, proposal: Proposal, state: State, reviewer: str) -> Proposal:
        reviewed = replace(proposal, state=state, reviewer=reviewer, reviewed_at=now())
        await self.proposals.put(reviewed)
        return reviewed
