"""The pages of the studio with what they use, and who may sign in to it."""

from functools import partial
from typing import TYPE_CHECKING

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from adapters.studio.chat.event_streams import Streams
from adapters.studio.page import Page
from adapters.studio.pages.channels import ChannelsPage
from adapters.studio.pages.conversations import ConversationsPage
from adapters.studio.pages.deployments import DeploymentsPage
from adapters.studio.pages.embeddings import EmbeddingsPage
from adapters.studio.pages.evaluations import EvaluationsPage
from adapters.studio.pages.feedback import FeedbackPage
from adapters.studio.pages.images import ImagesPage
from adapters.studio.pages.live import LivePage
from adapters.studio.pages.prompts import PromptsPage
from adapters.studio.pages.sessions import SessionsPage
from adapters.studio.pages.usage import UsagePage
from adapters.studio.playground.playground import PlaygroundPage
from bot.app.services import Services
from bot.app.settings import Settings
from bot.conversation.playground import Playground
from bot.evals.results import RunStore
from bot.evals.runner import EvalRunner
from bot.prompts import loader
from bot.prompts.assignments import Assignments
from bot.prompts.editing import PromptEditor
from bot.storage.conversations.votes import Votes
from bot.storage.live.event_stream import EventStream
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.prompts.saved_configs import SavedConfigs
from bot.storage.redis.client import Redis
from bot.storage.studio.sessions import Sessions
from bot.storage.studio.shared_links import SharedLinks
from bot.storage.usage.reports import UsageReports
from bot.storage.usage.reserver import charged

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra


def studio_adapter(services: Services) -> StudioAdapter:
    settings, storage, streams = services.settings, services.storage, Streams()
    guard = _guard(settings, storage.redis)
    return StudioAdapter(
        EventStream(storage.redis),
        storage.turns,
        guard,
        _pages(services, guard, streams),
        links=SharedLinks(storage.redis, life_s=settings.parley_retention_days * 86_400),
        streams=streams,
        public_url=settings.parley_public_url or "",
    )


def studio_sessions(settings: Settings, redis: Redis) -> Sessions:
    """The sessions of people who are signed in."""
    hours, idle_minutes = settings.parley_studio_session_hours, settings.parley_studio_session_idle_minutes
    return Sessions(redis, idle_s=60 * idle_minutes, absolute_s=int(3600 * hours))


def _pages(services: Services, guard: Guard, streams: Streams) -> tuple[Page, ...]:
    """The registry: every page beside the chat, in the order of the menu."""
    settings, storage, library = services.settings, services.storage, services.library
    votes = Votes(storage.redis)
    playground = Playground(
        engine=services.engine, library=library, model_info=services.model_info, charges=storage.charges
    )
    editor = PromptEditor(library)
    assignments = Assignments(
        preferences=PreferenceStore(storage.redis),
        search=storage.search,
        registry=library.registry,
        default_mode=settings.default_mode,
        permissions=settings.permissions,
    )
    eval_runner = EvalRunner(
        context=services.eval_context,
        folder=(settings.parley_prompts or loader.FOLDER) / "evaluations",
        run_store=RunStore(settings.parley_data_dir / "evaluations"),
        ledger=storage.ledger,
    )
    return (
        PlaygroundPage(playground, editor, SavedConfigs(storage.redis), votes),
        ImagesPage(playground),
        EmbeddingsPage(library, partial(charged, storage.ledger, work="embeddings")),
        ConversationsPage(storage.search, storage.turns, library.registry),
        LivePage(storage.live_view, streams),
        FeedbackPage(storage.search, library.review, votes),
        PromptsPage(library.registry, editor, assignments),
        ChannelsPage(assignments),
        EvaluationsPage(eval_runner),
        UsagePage(UsageReports(storage.redis), assignments, storage.ledger),
        DeploymentsPage(services.gateway, services.latency, services.storage.ledger),
        SessionsPage(guard),
    )


def _guard(settings: Settings, redis: Redis) -> Guard:
    return Guard(
        {
            "viewer": settings.parley_studio_viewer_token,
            "editor": settings.parley_studio_editor_token,
            "operator": settings.parley_studio_token,
        },
        _entra(settings),
        studio_sessions(settings, redis),
    )


def _entra(settings: Settings) -> "Entra | None":
    """Sign-in by Microsoft Entra, where an app is registered for it."""
    secret = settings.parley_studio_entra_client_secret
    if secret is None:
        return None
    from adapters.studio.auth.entra import Entra, Registration

    return Entra(
        Registration(
            tenant=settings.parley_studio_entra_tenant or "",
            client_id=settings.parley_studio_entra_client_id or "",
            client_secret=secret,
            authority=settings.parley_studio_entra_authority,
            roles=settings.studio_roles,
        )
    )
