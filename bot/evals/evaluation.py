"""Runs cases on templates and deployments, several at a time, and checks the answers."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bot.domain.calls import CallLog, collected
from bot.domain.errors import BotError, ConfigError, Refused, TemplateError
from bot.domain.events import Address, MessageReceived, User, now
from bot.domain.prompts import Embed, Prompt, Template
from bot.domain.turns import Deployment, past_turn
from bot.evals import checks
from bot.evals.cases import Case
from bot.evals.results import Result
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import PromptInputs, build_prompt
from bot.generation.prompt_sources import PromptSources

_ADDRESS = Address(conversation="evaluation:case", event="evaluation:case")
_USER = User(id="evaluation", tenant="local", name="you")
_FAILED = "No answer: the deployment refused the request, or isn't available. An operator sees the cause."


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalContext:
    """What is needed to answer, as in the engine."""

    model_info: ModelInfo
    sources: PromptSources
    embed: Embed

    def templates(self) -> Mapping[str, Template]:
        return {template.name: template for template in self.sources.templates()}


@dataclass(frozen=True, slots=True)
class EvalJob:
    """One answer to produce. Empty `deployment`: the one that the template names, else any."""

    case: Case
    template: Template
    deployment: str


def jobs(
    cases: Sequence[Case], templates: Mapping[str, Template], deployments: Sequence[Deployment]
) -> list[EvalJob]:
    """A job for each case, template and deployment.

    `deployments` are the available ones. Raises ConfigError for an unknown template or deployment.
    """
    found: list[EvalJob] = []
    names = [each.name for each in deployments] + [tag for each in deployments for tag in each.tags]
    available = list(dict.fromkeys(names))
    for case in cases:
        for preferred in (*case.deployments, *([case.judge] if case.judge else [])):
            if preferred not in available:
                words = f"there is no deployment {preferred!r}. Available: {', '.join(available)}."
                raise ConfigError(f"{case.id}: {words}")
        for name in case.templates:
            if name not in templates:
                words = f"there is no template {name!r}. Available: {', '.join(templates)}."
                raise ConfigError(f"{case.id}: {words}")
            if templates[name].capability != "chat":
                words = f"{name} generates images. Only chat templates can be evaluated."
                raise ConfigError(f"{case.id}: {words}")
            found += [EvalJob(case, templates[name], deployment) for deployment in case.deployments or ("",)]
    return found


def _log(job: EvalJob) -> CallLog:
    return CallLog("evaluation")


async def run(
    jobs: Sequence[EvalJob],
    context: EvalContext,
    *,
    parallel: int,
    done: Callable[[Result], None],
    calls: Callable[[EvalJob], CallLog] = _log,
) -> list[Result]:
    """The results in the order of the jobs; `done` is called with each as soon as it is available.

    `calls` makes the log of the calls of a job.
    """
    free = asyncio.Semaphore(parallel)

    async def run_one(job: EvalJob) -> Result:
        async with free:
            result = await _result(job, context, calls(job))
        done(result)
        return result

    return await asyncio.gather(*map(run_one, jobs))


async def _result(job: EvalJob, context: EvalContext, calls: CallLog) -> Result:
    """The checked answer. An error counts as a failure and is not raised."""
    began, cause, answer, seconds = time.monotonic(), "", "", 0.0
    answering: int | None = None
    try:
        with collected(calls):
            answer = await checks.ask(await _prompt(job, context), context.model_info.model)
            seconds, answering = time.monotonic() - began, len(calls.usage)
            failures = checks.check_text(answer, job.case.checks)
            failures += await checks.check_similarity(answer, job.case.checks, context.embed)
            failures += await checks.check_rubric(job.case, answer, context.model_info.model)
    except (Refused, TemplateError) as error:
        failures = [str(error)]
    except BotError as error:
        failures, cause = [_FAILED], str(error)
    return Result(
        case=job.case.id,
        template=job.template.name,
        version=job.template.version,
        deployment=job.deployment,
        question=job.case.question,
        answer=answer,
        failures=tuple(failures),
        cause=cause,
        seconds=round(seconds or time.monotonic() - began, 3),
        usage=calls.usage[:answering],
        judged=() if answering is None else calls.usage[answering:],
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
            turns=[past_turn(received, user, assistant) for user, assistant in case.history],
            examples=await context.sources.examples(template, case.question, []),
            passages=await context.sources.passages(template, case.question, []),
        ),
        context.model_info.token_budget(template),
    )
