"""One tree of errors, sorted by who must act.

    BotError
      ConfigError            the operator: refuse to start, or bury the event and alarm
        TemplateError
      Refused                the person: its words are the reply; the turn is kept; no retry
        RateLimited  BudgetSpent  TooLong  ContentFiltered  NotAllowed
      Unavailable            nobody, wait: the event is tried again after `retry_after_s`
        ModelUnavailable  PlatformUnavailable  StateUnavailable
      Unauthentic            the sender: 401
      Malformed              the sender: 400 (413 when it is too large)
      LeaseLost              another worker has it: drop silently

The text of a `Refused` is shown to people as it is: whole sentences, and a next step.
"""


class BotError(Exception):
    """Everything that Parley itself raises."""


class ConfigError(BotError):
    """Something that only the operator can mend; the text says what and how."""


class TemplateError(ConfigError):
    """A template or pool that can't be used; the text names the file and the line."""


class Refused(BotError):
    """No answer will come, and waiting won't help; the text is the reply."""


class RateLimited(Refused):
    """The person, channel or tenant asked too often."""


class BudgetSpent(Refused):
    """The money set aside for this person, channel or tenant is spent."""


class TooLong(Refused):
    """The question alone does not fit the model's context.

    Where a deployment said so, `limit_tokens` is what it takes and `asked_tokens` what it was sent, as it
    counts; `None` where it said neither.
    """

    def __init__(self, text: str, limit_tokens: int | None = None, asked_tokens: int | None = None) -> None:
        super().__init__(text)
        self.limit_tokens = limit_tokens
        self.asked_tokens = asked_tokens


class ContentFiltered(Refused):
    """The content filter stopped the question or the answer; `categories` are its plain names.

    `notes` is all that it noted, as in `Turn.filter`.
    """

    def __init__(
        self, text: str, categories: tuple[str, ...] = (), notes: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.categories = categories
        self.notes = notes or {}


class NotAllowed(Refused):
    """The person may not do this, or the platform or model can't."""


class Unavailable(BotError):
    """Something is away for a while; `retry_after_s` is how long, `None` when nobody said."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ModelUnavailable(Unavailable):
    """No deployment can answer now."""


class PlatformUnavailable(Unavailable):
    """Slack, Teams or the like did not take a message."""


class StateUnavailable(Unavailable):
    """Redis is away."""


class Unauthentic(BotError):
    """A request whose sender could not be verified. Nothing of its body is logged."""


class Malformed(BotError):
    """A request that can't be read, from a verified sender or before it could be verified."""


class LeaseLost(BotError):
    """Another worker holds this conversation now; whatever was being done is dropped."""
