"""The command line: output, processes, exit codes."""

import gc
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bot.app import server
from bot.app.settings import Settings
from bot.cli import main, preview
from bot.domain.errors import StateUnavailable
from bot.domain.prompts import Image, Message, Omission, Parameters, Prompt, Template, Text, ToolSpec, say
from bot.domain.turns import CheckResult

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def parley(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in an empty folder without settings: (exit code, stdout, stderr)."""
    for name, field in Settings.model_fields.items():
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(str(field.alias), raising=False)
    for name in ("Id", "Password", "CertificatePath", "Type", "TenantId"):
        monkeypatch.delenv(f"MicrosoftApp{name}", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["parley", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        code = ended.value.code
        received = capsys.readouterr()
        return code if isinstance(code, int) else 0, received.out, received.err

    return run


def test_help_names_every_command(parley: Run) -> None:
    code, out, _ = parley("--help")
    assert code == 0
    for command in ("serve", "web", "worker", "chat", "check", "usage", "manifest", "prompts"):
        assert f"\n  {command} " in out
    assert "..." not in out.split("Commands:")[1]


def test_the_version_is_that_of_the_package(parley: Run) -> None:
    assert parley("--version")[1].startswith("parley 0.")


def test_help_loads_no_platform_and_no_model() -> None:
    code = "import sys, bot.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"openai", "aiohttp", "redis", "botbuilder", "slack_bolt", "pydantic", "msgspec", "adapters"}
    assert "typer" in run.stdout.split()
    assert heavy & set(run.stdout.split()) == set()


def test_commands_run_with_garbage_collection(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off only while one starts; `serve` begins it by itself."""
    found: list[bool] = []

    async def chat(settings: Settings, conversation: str) -> None:
        found.append(gc.isenabled())

    monkeypatch.setattr(server, "chat", chat)
    assert parley("chat")[0] == 0
    assert found == [True]
    assert gc.isenabled()


def test_a_configuration_error_exits_with_2(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "hush")
    code, out, err = parley("serve")
    assert (code, out) == (2, "")
    assert err.startswith("parley: SLACK_BOT_TOKEN is missing")
    assert err.count("\n") == 1
    assert "hush" not in err


def test_a_temporary_error_exits_with_1(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(settings: Settings) -> list[CheckResult]:
        raise StateUnavailable("Redis is away.")

    monkeypatch.setattr(server, "check", away)
    assert parley("check") == (1, "", "parley: Redis is away.\n")


@pytest.mark.parametrize(
    ("command", "web", "worker"), [("serve", True, True), ("web", True, False), ("worker", False, True)]
)
def test_web_and_worker_are_parts_of_serve(
    parley: Run, monkeypatch: pytest.MonkeyPatch, command: str, web: bool, worker: bool
) -> None:
    served: list[tuple[bool, bool, int]] = []

    async def serve(settings: Settings, *, web_on: bool, worker_on: bool) -> None:
        served.append((web_on, worker_on, settings.parley_concurrency))

    monkeypatch.setattr(server, "serve", serve)
    extra, concurrency = (("--concurrency", "3"), 3) if command == "worker" else ((), 256)
    assert parley(command, *extra)[0] == 0
    assert served == [(web, worker, concurrency)]


def test_a_concurrency_of_zero_is_refused(parley: Run) -> None:
    code, _, err = parley("worker", "--concurrency", "0")
    assert code == 2
    assert "greater than or equal to 1" in err


def test_chat_continues_a_named_conversation(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    async def chat(settings: Settings, conversation: str) -> None:
        names.append(conversation)

    monkeypatch.setattr(server, "chat", chat)
    parley("chat", "--conversation", "holiday")
    parley("chat")
    parley("chat")
    assert names[0] == "holiday"
    assert len(set(names)) == 3


def test_check_prints_findings_and_fails_on_errors(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [
        CheckResult(level="ok", subject="redis", words="7.2, embedded"),
        CheckResult(level="warning", subject="slack", words="the scope files:read is missing\nAdd it."),
    ]

    async def check(settings: Settings) -> list[CheckResult]:
        return findings

    monkeypatch.setattr(server, "check", check)
    code, out, _ = parley("check")
    assert code == 0
    assert out == (
        "ok       redis  7.2, embedded\n"
        "warning  slack  the scope files:read is missing\n"
        "                Add it.\n"
    )
    findings.append(CheckResult(level="error", subject="model", words="gone"))
    assert parley("check")[0] == 1


# ------------------------------------------------------------------ manifests


def test_the_slack_manifest_has_the_url(parley: Run) -> None:
    code, out, _ = parley("manifest", "slack", "--url", "https://bot.example.org/")
    assert code == 0
    assert "https://bot.example.org/slack/events" in out
    assert yaml.safe_load(out)["settings"]["socket_mode_enabled"] is False


def test_a_socket_mode_manifest_needs_no_url(parley: Run) -> None:
    code, out, _ = parley("manifest", "slack", "--socket", "--format", "json")
    assert code == 0
    assert yaml.safe_load(out)["settings"]["socket_mode_enabled"] is True
    assert out.startswith("{")


def test_the_slack_manifest_can_use_the_assistant_view(parley: Run) -> None:
    code, out, _ = parley("manifest", "slack", "--socket", "--assistant")
    assert code == 0
    assert "assistant_view:" in out
    assert "assistant_thread_started" in out
    assert "agent_view" not in out


def test_a_slack_manifest_without_a_url_is_refused(parley: Run) -> None:
    code, _, err = parley("manifest", "slack")
    assert code == 2
    assert "--url" in err
    assert "PARLEY_PUBLIC_URL" in err


def test_the_teams_package_is_written(parley: Run, tmp_path: Path) -> None:
    app_id = "00000000-0000-4000-8000-000000000001"
    code, out, _ = parley("manifest", "teams", "--app-id", app_id, "--url", "https://bot.example.org")
    assert code == 0
    assert "parley-teams.zip" in out
    with zipfile.ZipFile(io.BytesIO((tmp_path / "parley-teams.zip").read_bytes())) as package:
        assert "manifest.json" in package.namelist()
        assert app_id in package.read("manifest.json").decode()
        assert "bot.example.org" in package.read("manifest.json").decode()


def test_the_teams_package_names_its_developer(
    parley: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 78: privacy and terms links are settings."""
    arguments = ("manifest", "teams", "--app-id", "x", "--url", "https://bot.example.org")
    monkeypatch.setenv("PARLEY_TEAMS_DEVELOPER_NAME", "Contoso IT")
    monkeypatch.setenv("PARLEY_TEAMS_TERMS_URL", "https://contoso.example/terms")
    assert parley(*arguments)[0] == 0
    with zipfile.ZipFile(io.BytesIO((tmp_path / "parley-teams.zip").read_bytes())) as package:
        developer = json.loads(package.read("manifest.json"))["developer"]
    assert (developer["name"], developer["termsOfUseUrl"]) == ("Contoso IT", "https://contoso.example/terms")
    monkeypatch.setenv("PARLEY_TEAMS_PRIVACY_URL", "http://contoso.example")
    code, _, err = parley(*arguments)
    assert code == 2
    assert "PARLEY_TEAMS_PRIVACY_URL" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--app-id"),
        (("--app-id", "x"), "--url"),
        (("--app-id", "x", "--url", "bot.example.org", "--out", "no/such/folder.zip"), "Can't write"),
    ],
)
def test_an_incomplete_teams_package_is_refused(parley: Run, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = parley("manifest", "teams", *arguments)
    assert code == 2
    assert words in err


# ------------------------------------------------------------------ prompts


def test_the_templates_are_listed(parley: Run) -> None:
    code, out, _ = parley("prompts", "list")
    assert code == 0
    assert "/translate" in out
    assert "everything else" in out


def test_a_template_is_shown(parley: Run) -> None:
    code, out, _ = parley("prompts", "show", "translate")
    assert code == 0
    assert "--- system\nYou translate." in out
    assert "--- assistant\n" in out
    assert "temperature=0.2" in out


def test_an_unknown_template_lists_the_available_ones(parley: Run) -> None:
    code, _, err = parley("prompts", "show", "nothing")
    assert code == 2
    assert "assistant" in err


def test_an_invalid_template_is_reported_with_its_line(parley: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.prompty").write_text("---\nnmae: x\n---\nHi.")
    code, _, err = parley("prompts", "list", "--folder", str(tmp_path))
    assert code == 2
    assert "mine.prompty:2: unknown field 'nmae'; did you mean 'name'?" in err


def test_a_prompt_is_rendered(parley: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.prompty").write_text(
        "---\nmetadata: {parley: {match: {default: true}}}\nmodel: {options: {temperature: 0}}\n---\n"
        "You talk to {{user_name}} in the {{platform}}.\nuser:\nOne?\nassistant:\nTwo.\n"
    )
    code, out, _ = parley("prompts", "render", "mine", "Three {{date}}?", "--folder", str(tmp_path))
    assert code == 0
    assert out.startswith(
        "--- system\nYou talk to the person who is named before each message in the terminal.\n\n"
        '--- user\nOne?\n\n--- assistant\nTwo.\n\n--- user\n<sent by="you" at='
    )
    assert "/>\n\n--- user\nThree {{date}}?\n\ntemplate    mine@" in out
    assert "temperature=0" in out


def test_pool_examples_are_rendered(parley: Run) -> None:
    code, out, _ = parley("prompts", "render", "support", "I clicked on a link in a strange e-mail.")
    assert code == 0
    assert "I clicked a link in a strange e-mail and typed in my password." in out
    assert out.count("--- user\n") == 2, "examples are no messages of the conversation"


def test_rendering_shows_images_tools_and_omissions() -> None:
    picture = Message(role="user", parts=(Text(text="brighter"), Image(mime="image/png", alt="a bicycle")))
    text = preview.describe_prompt(
        Prompt(
            template="t@1",
            capability="chat",
            messages=(say("system", "Hi."), picture),
            tools=(ToolSpec(name="clock", description="", schema={}),),
            parameters=Parameters(seed=7),
            left_out=(Omission(what="turns", count=3, why="the context is full"),),
        )
    )
    assert "--- user\nbrighter\n[image: a bicycle]\n" in text
    assert "tools       clock\n" in text
    assert "left out    3 turns: the context is full" in text
    assert "seed=7" in text


def test_a_template_without_match_says_so() -> None:
    assert preview.table([Template(name="idle", digest="1")]) == "idle\n      nothing"


def test_a_replaced_setting_names_its_replacement(parley: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PARLEY_DAILY_USD=5\n", encoding="utf-8")
    monkeypatch.setenv("PARLEY_REQUESTS_PER_MINUTE", "3")
    monkeypatch.setenv("PARLEY_DATA_DIR", "data")
    _, out, _ = parley("check")
    assert "PARLEY_DAILY_USD was removed and has no effect" in out
    assert "PARLEY_REQUESTS_PER_MINUTE was removed" in out
    assert "Use PARLEY_LIMITS=person: 30" in " ".join(out.split())
