"""Runs cases over templates and deployments, some at the same time, and checks what is answered."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bot.domain.errors import BotError, ConfigError
from bot.domain.events import Address, MessageReceived, User, now
from bot.domain.prompts import Embed, Prompt, Template, say
from bot.domain.turns import Reply, Turn, Usage
from bot.evals import checks
from bot.evals.cases import Case
from bot.evals.results import Result
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import PromptInputs, build_prompt
from bot.generation.prompt_sources import PromptSources

_ADDRESS = Address(conversation="evaluation:case", event="evaluation:case")
_USER = User(id="evaluation", tenant="local", name="you")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalContext:
    """What answers are made with; it is what the engine uses, too."""

    model_info: ModelInfo
    sources: PromptSources
    embed: Embed

    def templates(self) -> Mapping[str, Template]:
        """The active templates by name."""
        return {template.name: template for template in self.sources.templates()}


@dataclass(frozen=True, slots=True)
class EvalJob:
    """One answer to get; an empty `deployment` is the template's own wish."""

    case: Case
    template: Template
    deployment: str


def jobs(
    cases: Sequence[Case], templates: Mapping[str, Template], deployments: Sequence[str]
) -> list[EvalJob]:
    """Every case on every template and deployment that it names.

    Raises ConfigError for a template or deployment that isn't there. `deployments` are the names and tags
    that are to be had.
    """
    return list(_jobs(cases, templates, deployments))


def _jobs(
    cases: Sequence[Case], templates: Mapping[str, Template], deployments: Sequence[str]
) -> Iterator[EvalJob]:
    for case in cases:
        for preferred in (*case.deployments, *([case.judge] if case.judge else [])):
            if preferred not in deployments:
                there = ", ".join(deployments)
                raise ConfigError(f"{case.id}: there is no deployment {preferred!r}; there are: {there}.")
        for name in case.templates:
            if name not in templates:
                raise ConfigError(
                    f"{case.id}: there is no template {name!r}; there are: {', '.join(templates)}."
                )
            if templates[name].capability != "chat":
                raise ConfigError(f"{case.id}: {name} draws pictures; only words can be checked.")
            for deployment in case.deployments or ("",):
                yield EvalJob(case, templates[name], deployment)


async def run(
    jobs: Sequence[EvalJob], context: EvalContext, *, parallel: int, done: Callable[[Result], None]
) -> list[Result]:
    """The result of every job, in their order; `done` is told of each as it is there."""
    free = asyncio.Semaphore(parallel)

    async def one(job: EvalJob) -> Result:
        async with free:
            result = await _result(job, context)
        done(result)
        return result

    return await asyncio.gather(*map(one, jobs))


async def _result(job: EvalJob, context: EvalContext) -> Result:
    """What is answered, checked. An error is a failure in its own words; none is raised."""
    began = time.monotonic()
    answer, usage, judged = "", list[Usage](), list[Usage]()
    seconds = 0.0
    try:
        prompt = await _prompt(job, context)
        answer, usage = await checks.ask(prompt, context.model_info.model)
        seconds = time.monotonic() - began
        failures = checks.plainly(answer, job.case.checks)
        failures += await checks.nearly(answer, job.case.checks, context.embed)
        wrong, judged = await checks.graded(job.case, answer, context.model_info.model)
        failures += wrong
    except BotError as error:
        failures = [f"{type(error).__name__}: {error}"]
    return Result(
        case=job.case.id,
        template=job.template.name,
        version=job.template.version,
        deployment=job.deployment,
        question=job.case.question,
        answer=answer,
        failures=tuple(failures),
        seconds=round(seconds or time.monotonic() - began, 3),
        usage=tuple(usage),
        judged=tuple(judged),
    )


async def _prompt(job: EvalJob, context: EvalContext) -> Prompt:
    case = job.case
    template = replace(job.template, deployment=job.deployment) if job.deployment else job.template
    received = MessageReceived(
        id=_ADDRESS.event, address=_ADDRESS, user=_USER, at=now(), text=case.question, direct=True
    )
    return build_prompt(
        PromptInputs(
            template=template,
            received=received,
            question=case.question,
            turns=[_turn(received, user, assistant) for user, assistant in case.history],
            examples=await context.sources.examples(template, case.question),
            passages=await context.sources.passages(template, case.question),
        ),
        context.model_info.token_budget(template),
    )


def _turn(received: MessageReceived, user: str, assistant: str) -> Turn:
    return Turn(
        id="",
        received=received,
        template="",
        messages=(say("user", user), say("assistant", assistant)),
        reply=Reply(text=assistant),
        outcome="answered",
        began_at=received.at,
        ended_at=received.at,
    )
