"""The tree of errors, sorted by who must act.

    BotError
      ConfigError            the operator: stop startup, or dead-letter the event and alert
        TemplateError
      Refused                the person: its text is the reply; the turn is stored; no retry
        RateLimited  BudgetSpent (UnknownPrice)  TooLong  ContentFiltered  NotAllowed (NotPermitted)
      Unavailable            nobody: the event is retried after `retry_after_s`
        ModelUnavailable (ModelBusy)  PlatformUnavailable  StateUnavailable (SecretUnreadable)
      Unauthentic            the sender: 401
      Malformed              the sender: 400 (413 when it is too large)
      LeaseLost              another worker answers: drop silently

The text of a `Refused` is shown to people: whole sentences, and a next step. It is a message of `bot.domain.words`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.domain.words import Value, english, tr

if TYPE_CHECKING:
    from bot.domain.events import PostedMessage


class BotError(Exception):
    """The base of all errors of Parley.

    `unprocessed`: a model's service refused a call, or was not reached, so that the call costs nothing.
    """

    unprocessed: bool = False


class ConfigError(BotError):
    """Only the operator can fix this; the text says what and how."""


class TemplateError(ConfigError):
    """A template or pool that can't be used; the text names the file and the line."""


class Refused(BotError):
    """The request is refused, and waiting won't help; the text is the reply.

    It is worded for the reader of the task that raises it; `message` is the English text with its placeholders.
    """

    def __init__(self, message: str, /, **values: Value) -> None:
        super().__init__(tr(message, **values))
        self.message = message
        self.values: Mapping[str, Value] = values

    @property
    def english(self) -> str:
        """The text in English, for models and logs."""
        return english(self.message, **self.values)


class RateLimited(Refused):
    """The person, channel or tenant sent too many requests."""


class BudgetSpent(Refused):
    """The budget of this person, channel or tenant is used up."""


class UnknownPrice(BudgetSpent):
    """A limit in dollars applies, and nobody knows what the answer may cost."""


class TooLong(Refused):
    """The question alone exceeds the model's context.

    `limit_tokens` and `asked_tokens` are the limit and the size of the request that a deployment reported, if any.
    """

    def __init__(
        self,
        message: str,
        /,
        limit_tokens: int | None = None,
        asked_tokens: int | None = None,
        **values: Value,
    ) -> None:
        super().__init__(message, **values)
        self.limit_tokens = limit_tokens
        self.asked_tokens = asked_tokens


class ContentFiltered(Refused):
    """The content filter stopped the question or the answer.

    `categories` are plain names; `notes` are all annotations, as in `Turn.filter`.
    """

    def __init__(
        self,
        message: str,
        /,
        categories: tuple[str, ...] = (),
        notes: dict[str, str] | None = None,
        **values: Value,
    ) -> None:
        super().__init__(message, **values)
        self.categories = categories
        self.notes = notes or {}


class NotAllowed(Refused):
    """The person may not do this, or the platform or model does not support it."""


class NotPermitted(NotAllowed):
    """The role of the person does not allow it (`bot.domain.permissions`). Only they see the reply."""


class Unavailable(BotError):
    """Something is temporarily unavailable, for `retry_after_s` seconds if known."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ModelUnavailable(Unavailable):
    """No deployment can answer at the moment."""


class ModelBusy(ModelUnavailable):
    """The deployments asked to wait. `retry_after_s` is when the turn of this request comes; waiting is no failure."""


class PlatformUnavailable(Unavailable):
    """A platform such as Slack or Teams did not carry out a request.

    `permanent`: it refused the request, so repeating it hardly helps. `post`, if an adapter sets it, is the message
    that shows a part of the answer.
    """

    permanent: bool = False
    post: "PostedMessage | None" = None


class StateUnavailable(Unavailable):
    """Redis is unavailable."""


class SecretUnreadable(StateUnavailable):
    """A stored secret exists, but no key of this process decrypts it."""


class Unauthentic(BotError):
    """The sender of a request could not be verified. Nothing of its body is logged."""


class Malformed(BotError):
    """A request is invalid."""


class LeaseLost(BotError):
    """Another worker has claimed this conversation; work in progress is dropped."""
