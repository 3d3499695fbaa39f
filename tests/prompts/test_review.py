"""Proposals: from a well-rated answer to an example of a pool."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import now
from bot.domain.prompts import Example, Image, Message, say
from bot.domain.turns import Reply, Turn
from bot.prompts.publisher import Publisher
from bot.prompts.registry import TemplateRegistry
from bot.prompts.review import ProposalReview, propose
from bot.storage.erasure.studio_data import Publications
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.versions import Versions
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received

FIRST = Example(user="one?", assistant="two")
TURN = Turn(
    id="t1",
    received=received("How?"),
    template="support@0",
    messages=(say("user", "How? "), say("assistant", "Like this.")),
    reply=Reply(text="Like this."),
    outcome="answered",
    began_at=now(),
    ended_at=now(),
)


@pytest.fixture
def registry(redis: Redis) -> TemplateRegistry:
    return TemplateRegistry((), {"support": (FIRST,)}, Versions(redis))


@pytest.fixture
def review(redis: Redis, registry: TemplateRegistry) -> ProposalReview:
    return ProposalReview(Proposals(redis), registry, Publisher(registry, Versions(redis)))


def test_a_turn_becomes_an_example() -> None:
    tools = replace(TURN, messages=(TURN.messages[0], say("assistant", "let me look"), TURN.messages[1]))
    for turn in (TURN, tools):
        assert propose(turn) == Example(user="How?", assistant="Like this.")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (replace(TURN, outcome="refused"), "complete answer"),
        (replace(TURN, messages=()), "complete answer"),
        (replace(TURN, messages=(say("user", " "), TURN.messages[1])), "both a question and an answer"),
        (
            replace(
                TURN, messages=(TURN.messages[0], Message(role="assistant", parts=(Image(mime="image/png"),)))
            ),
            "Messages with images",
        ),
    ],
)
def test_an_unsuitable_turn_is_refused(turn: Turn, words: str) -> None:
    with pytest.raises(NotAllowed, match=words):
        propose(turn)


async def test_an_accepted_proposal_is_published_into_its_pool(
    review: ProposalReview, registry: TemplateRegistry
) -> None:
    proposal = await review.propose(TURN, "support", author="Ada")
    assert [one.id for one in await review.waiting()] == [proposal.id]
    assert registry.pools()["support"] == (FIRST,)
    done = await review.accept(proposal.id, reviewer="Bob", example=proposal.example)
    assert (done.state, done.reviewer, done.author) == ("accepted", "Bob", "Ada")
    assert registry.pools()["support"] == (FIRST, Example(user="How?", assistant="Like this."))
    assert await review.waiting() == []


async def test_the_reviewer_may_edit_a_proposal(review: ProposalReview, registry: TemplateRegistry) -> None:
    proposal = await review.propose(TURN, "support", author="Ada")
    better = Example(user="How?", assistant="Exactly like this.", tags=("how",))
    assert (await review.accept(proposal.id, reviewer="Bob", example=better)).example == better
    assert registry.pools()["support"] == (FIRST, better)


async def test_a_rejected_proposal_does_not_return(
    review: ProposalReview, registry: TemplateRegistry
) -> None:
    proposal = await review.propose(TURN, "support", author="Ada")
    await review.reject(proposal.id, reviewer="Bob")
    again = await review.propose(TURN, "support", author="Ada")
    assert again.state == "rejected"
    assert registry.pools()["support"] == (FIRST,)
    with pytest.raises(NotAllowed, match="Bob has already rejected this proposal"):
        await review.accept(proposal.id, reviewer="Ada", example=proposal.example)


async def test_an_interrupted_review_can_be_repeated(
    redis: Redis, review: ProposalReview, registry: TemplateRegistry
) -> None:
    proposal = await review.propose(TURN, "support", author="Ada")
    publisher = Publisher(registry, Versions(redis))
    await publisher.change_pool("support", added=[proposal.example], author="Bob", reason="half way")
    assert (await review.accept(proposal.id, reviewer="Bob", example=proposal.example)).state == "accepted"
    _, records = await Versions(redis).since(0)
    assert len(records) == 1


async def test_an_invalid_proposal_is_refused(review: ProposalReview) -> None:
    with pytest.raises(NotAllowed, match=r"no pool “nowhere”\. Available: support"):
        await review.propose(TURN, "nowhere", author="Ada")
    with pytest.raises(NotAllowed, match="no longer exists"):
        await review.accept("nothing", reviewer="Bob", example=FIRST)


async def test_old_proposals_expire(redis: Redis, review: ProposalReview) -> None:
    proposals = Proposals(redis)
    proposal = await review.propose(TURN, "support", author="Ada")
    await proposals.put(replace(proposal, at=now() - timedelta(seconds=keys.PROPOSAL_S + 1)))
    assert await review.waiting() == []
    assert await proposals.get(proposal.id) is None


async def test_proposals_of_a_person_can_be_deleted(redis: Redis, review: ProposalReview) -> None:
    await review.propose(TURN, "support", author="Bob")
    await review.propose(replace(TURN, id="t2", received=received("Hm?", user=BOB)), "support", author="Bob")
    assert await Publications(redis).forget_examples(lambda one: one.asker.is_same(ADA)) == 1
    assert [one.asker for one in await review.waiting()] == [BOB]
