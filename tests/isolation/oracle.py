"""Who may see and do what, written down by hand from docs/permissions.md: nothing of it comes from the product."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.isolation.world import WORKSPACES, Canaries, Person, Place

SHARED = {
    "prompt": "member admin operator",
    "model": "member admin operator",
    "follow": "member admin operator",
    "mute": "member admin operator",
    "reset": "asker admin operator",
    "again": "asker operator",
    "sent": "asker operator",
    "stop": "asker admin operator",
    "summarise": "member guest partner admin operator",
    "draw": "member guest partner admin operator",
    "forget": "member guest partner admin operator",
}
"""The table of docs/permissions.md. Everybody but apps may do all of it for themselves."""


@dataclass(eq=False)
class Said:
    """A question that is part of a conversation. `words` are its canaries and those of its answer.

    `replaced` are those of earlier answers, which a summary may still hold, `copies` those that the tool `summarise`
    read for the answer: its result is part of the turn.
    """

    id: str
    place: Place
    person: Person
    asked: str
    words: set[str]
    private: bool = False
    drawn: bool = False
    addressed: bool = True
    mentions: str = ""
    replaced: set[str] = field(default_factory=set[str])
    copies: set[str] = field(default_factory=set[str])
    post: str = ""


class Oracle:
    """What was said where, and what of it was reset, deleted, forgotten, or uninstalled."""

    def __init__(self, canaries: Canaries, people: dict[str, list[Person]]) -> None:
        self.canaries = canaries
        self.people = people
        self.names = {one.name for persons in people.values() for one in persons}
        self.history: dict[str, list[Said]] = defaultdict(list)
        self.before_reset: dict[str, list[Said]] = defaultdict(list)
        self.choices: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self.pools: dict[str, list[Said]] = defaultdict(list)
        self.bound: set[str] = set()
        self.house = {tenant.id: (canaries.new(), canaries.new()) for tenant in WORKSPACES}
        self.owned: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.tenant_of: dict[str, str] = {}
        self.gone: set[str] = set()

    def new(self, person: Person) -> str:
        """A canary that is this person's."""
        word = self.canaries.new()
        self.owned[person.tenant.id, person.id].add(word)
        self.tenant_of[word] = person.tenant.id
        return word

    # ------------------------------------------------------------------ who may do what

    def may(self, action: str, person: Person, *, shared: bool, asker: Person | None = None) -> bool:
        """Whether the table lets this person do it; `asker` is whom it is about."""
        if person.role == "bot":
            return False
        allowed = SHARED[action].split()
        own = asker is not None and asker.id == person.id
        return not shared or person.role in allowed or (own and "asker" in allowed)

    def chosen(self, person: Person, place: Place, what: str) -> str:
        """What counts for a message: the choice for the channel, else that of the person."""
        return self.choice(person, place, what) or self.choices[place.tenant, person.id].get(what, "")

    def choice(self, person: Person, place: Place, what: str) -> str:
        """What was chosen for a channel or, in a one-to-one chat, for a person."""
        return self.choices[place.tenant, person.id if place.direct else place.channel].get(what, "")

    def choose(self, person: Person, place: Place, what: str, name: str) -> None:
        """Remember a choice for a channel or, in a one-to-one chat, for a person."""
        self.choices[place.tenant, person.id if place.direct else place.channel][what] = name

    def template(self, person: Person, place: Place) -> str:
        """The template by which a question is answered."""
        usual = f"house-{place.tenant.lower()}" if place.tenant in self.bound else "assistant"
        return self.chosen(person, place, "prompt") or usual

    def muted(self, place: Place) -> bool:
        """Whether only the asker sees answers here."""
        return (
            not place.direct and self.choices[place.tenant, place.channel].get("mode", "dialogue") == "mute"
        )

    # ------------------------------------------------------------------ who may see what

    def visible(self, person: Person, place: Place) -> set[str]:
        """The canaries that a prompt for this person may hold, beside those of the question."""
        found = {person.name}
        for said in self.history[place.conversation]:
            found.add(said.person.name)
            if not said.private or said.person.id == person.id:
                found |= said.words | said.replaced | said.copies
        if self.template(person, place).startswith("house"):
            found |= self.of_house(place.tenant)
        return found - self.gone

    def of_house(self, tenant: str) -> set[str]:
        """The canaries of a tenant's own prompt: its system message, passage and examples."""
        return {
            *self.house[tenant],
            *(word for each in self.pools[tenant] for word in each.words),
        } - self.gone

    def said_before(self, said: Said) -> set[str]:
        """The question just before this one, which every prompt for it holds if its asker may see it."""
        history = self.history[said.place.conversation]
        before = history[: history.index(said)] if said in history else history
        seen = [each for each in before[-1:] if not each.private or each.person.id == said.person.id]
        return {each.asked for each in seen if not each.drawn}

    def summarised(self, conversation: str) -> set[str]:
        """What a summary, which everybody in the conversation gets, may hold."""
        told = [said for said in self.history[conversation] if not said.private]
        return {
            word for said in told for word in (*said.words, *said.replaced, *said.copies, said.person.name)
        } - self.gone

    def stored(self) -> set[str]:
        """The canaries that have to be in Redis: nobody has taken them back."""
        return {word for said in self._live() for word in said.words} - self.gone

    def _live(self) -> list[Said]:
        """Every question that is part of a conversation, also of those before a reset."""
        talks = (*self.history.values(), *self.before_reset.values())
        return [said for talk in talks for said in talk]

    # ------------------------------------------------------------------ what ends

    def reset(self, conversation: str) -> None:
        """Begin a conversation anew."""
        self.before_reset[conversation] += self.history.pop(conversation, [])

    def forget(self, person: Person) -> None:
        """Everything that a person said, and the answers to it, wherever their installation serves."""
        tenants = {
            one.id
            for one in WORKSPACES
            if one.id == person.tenant.id
            or (one.organisation and one.organisation == person.tenant.organisation)
        }
        questions = {said.asked for said in self._live()}
        self._drop(lambda said: said.person.id == person.id and said.place.tenant in tenants)
        kept = {word for said in self._live() for word in said.copies} - questions
        self.gone -= (
            kept  # what others had summed up: answers, and questions that were edited or deleted since
        )
        for tenant in tenants:
            self.gone |= self.owned[tenant, person.id] - kept
            self.choices.pop((tenant, person.id), None)
        if not any(said.mentions == person.name for said in self._live()):
            self.gone.add(person.name)  # a name in others' own words is theirs

    def uninstall(self, tenant: str) -> None:
        """Everything in a tenant."""
        self._drop(lambda said: said.place.tenant == tenant)
        for (where, _), words in self.owned.items():
            self.gone |= words if where == tenant else set()
        for key in [key for key in self.choices if key[0] == tenant]:
            del self.choices[key]
        self.bound.discard(tenant)
        self.gone |= {*self.house[tenant]}
        self.gone |= {one.name for one in self.people[tenant] if not one.tenant.organisation}

    def installed(self, tenant: str) -> None:
        """A tenant has its own prompt from now on."""
        self.bound.add(tenant)
        self.gone -= {*self.house[tenant]}

    def _drop(self, test: Callable[[Said], bool]) -> None:
        for talks in (self.history, self.before_reset, self.pools):
            for talk in talks.values():
                self.gone |= {word for said in talk if test(said) for word in said.words} - self.names
                talk[:] = [said for said in talk if not test(said)]


@dataclass
class Expectation:
    """What the oracle says of the next answer to a question, which is known by its canary."""

    said: Said
    answer: str
    may: set[str]
    must: set[str]
    template: str
    deployment: str
    summarises: bool = False
    waits: bool = False
    prompts: int = 0
    tools: set[str] = field(default_factory=set[str])
