"""The ``bifocal`` command: reads options, prints results, turns errors into one line.

Every command's work is done elsewhere; what is slow to import is imported by the command that
needs it, so that ``bifocal --help`` is quick. Knows nothing of how anything is done.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli_conversation_edits import add_commands
from bot.cli_conversations import conversations_app, existing
from bot.cli_discord import add_command as add_discord
from bot.cli_keys import keys_app
from bot.cli_models import models_app
from bot.cli_serve import add_command as add_serve
from bot.cli_served import AllowHttpOption, refuse_model, service_key
from bot.cli_slack import add_command as add_slack

if TYPE_CHECKING:
    from rich.console import Console

    from bot.blocking import BlockingBot
    from bot.settings import Settings

app = typer.Typer(
    name="bifocal",
    help="Talk about your documents and pictures; every answer cites what it rests on.\n\n"
    "Begin with [bold]bifocal demo[/], or with your own files:\n\n"
    "    bifocal ingest ~/papers photos/*.jpg\n\n"
    '    bifocal ask "Which receipt is over 50?"\n\n'
    "    bifocal chat",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
add_commands(conversations_app)
app.add_typer(conversations_app, name="conversations")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
add_serve(app)
add_discord(app)
add_slack(app)

LibraryOption = Annotated[
    Path | None,
    typer.Option("--library", "-l", help="Folder of the index; in your data folder unless given."),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Who writes: extractive, llama:NAME, or provider:model."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="BIFOCAL_URL",
        help="Ask a served bot, with the key in BIFOCAL_KEY; --library is then one of its names.",
    ),
]
ImageOption = Annotated[
    list[Path] | None,
    typer.Option("--image", "-i", readable=False, help="A picture to ask about; repeatable."),
]


def main() -> None:
    """Run the command line; the exit code is 0, 1 for an error, 2 for wrong usage."""
    debug = "--debug" in sys.argv[1:]
    args = [a for a in sys.argv[1:] if a != "--debug"]  # allowed anywhere, by every command
    try:
        app(args)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        _fail(error)


def _fail(error: Exception) -> None:
    from bot.errors import KNOWN_ERRORS
    from bot.show import plain

    text = " ".join(plain(str(error)).split())
    if not isinstance(error, KNOWN_ERRORS):
        text = f"unexpected {type(error).__name__}: {text} (run again with --debug, and report it)"
    print(f"bifocal: {text}", file=sys.stderr)  # noqa: T201
    sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("bifocal"))
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; allowed behind every command.")
    ] = False,
) -> None:
    """Talk about your documents and pictures."""


@app.command()
def demo(model: ModelOption = None, library: LibraryOption = None) -> None:
    """Index a small library that ships with Bifocal, ask it questions, and go on as a chat."""
    from bot.demo.run import run_demo

    run_demo(_console(), lambda folder: _settings(library=library or folder, model=model))


@app.command()
def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files and folders.", show_default=False)],
    library: LibraryOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop sources of these folders that are gone.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files again that were skipped before.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take files and folders into the library. Stop with Ctrl-C; run again to go on."""
    from dataclasses import asdict

    from bot.channels.terminal_ingest import ingest_in_terminal

    if "" in paths:
        raise typer.BadParameter("an empty path; is a variable unset?")
    settings = _settings(library=library)
    report = ingest_in_terminal(
        settings, [Path(p) for p in paths], _console(as_json), prune=prune, retry=retry
    )
    if as_json:
        _print_json(asdict(report))
    if report.stopped:
        raise typer.Exit(130)
    if report.skipped and not (report.indexed or report.unchanged):
        raise typer.Exit(1)  # nothing of what was named could be read


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")] = "",
    image: ImageOption = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", "-c", help="A conversation by name; begun if new."),
    ] = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    url: UrlOption = None,
    allow_http: AllowHttpOption = False,
    why: Annotated[bool, typer.Option("--why", help="Show the evidence, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask one question, with pictures or without, and print the cited answer."""
    from bot.channels.terminal import answer_in_terminal
    from bot.channels.terminal_views import print_why

    with _open(url, allow_http, library, model) as bot:
        if as_json:
            answer = bot.ask(question, images=image or [], conversation=conversation)
            _print_json(answer.to_json())
            return
        console = _console()
        answer = answer_in_terminal(
            bot, console, question, images=image or [], conversation=conversation
        )
        if why:
            print_why(console, answer)


@app.command()
def chat(
    conversation: Annotated[
        str | None, typer.Option("--conversation", "-c", help="A name for the conversation.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", "-r", help="Go on with an earlier conversation.")
    ] = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    url: UrlOption = None,
    allow_http: AllowHttpOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Read questions as lines, print one JSON answer each.")
    ] = False,
) -> None:
    """Hold a conversation. /image PATH attaches, /why shows evidence, /help lists the rest."""
    from rich.markup import escape

    from bot.channels.terminal import HELP, Chat, chat_in_json
    from bot.show import plain

    with _open(url, allow_http, library, model) as bot:
        if resume is not None:
            existing(bot.conversation(resume).total, resume)
        name = resume or conversation or f"chat-{os.urandom(4).hex()}"
        if as_json:
            chat_in_json(bot, sys.stdin, name, _print_json)
            return
        console = _console()
        about = f"Conversation {name}; {_writer(bot)} writes."
        console.print(f"[dim]{escape(plain(about))}[/]\n{HELP}\n")
        Chat(bot, console, name, lambda: console.input("[bold green]you ›[/] ")).run()


@app.command()
def sources(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """List what the library was made from, and what was skipped and why."""
    from dataclasses import asdict

    from bot.channels.terminal_views import print_sources
    from retrievers.library import Library

    with Library.open(_settings(library=library).library) as opened:
        found = opened.sources()
    if as_json:
        _print_json([asdict(source) for source in found])
    else:
        print_sources(_console(), found)


@app.command()
def forget(
    source: Annotated[str, typer.Argument(help="A source, as `bifocal sources` names it.")],
    library: LibraryOption = None,
) -> None:
    """Remove a source from the library: its passages, pictures and vectors."""
    from retrievers.library import Library

    with Library.open(_settings(library=library).library) as opened:
        opened.forget(source)
    _console().print(f"Forgot {source}.", markup=False)


@app.command()
def status(
    library: LibraryOption = None, model: ModelOption = None, as_json: JsonOption = False
) -> None:
    """Tell what the library holds, which encoders and index it has, and who writes answers."""
    from bot.channels.terminal_views import print_status
    from bot.status import read_status

    found = read_status(_settings(library=library, model=model))
    if as_json:
        _print_json(found)
    else:
        print_status(_console(), found)


@app.command()
def reencode(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Make all vectors anew with the encoders that the settings name now."""
    from bot.channels.terminal_ingest import reencode_in_terminal

    done = reencode_in_terminal(_settings(library=library), _console(as_json))
    if as_json:
        _print_json(done)


def _open(
    url: str | None, allow_http: bool, library: Path | None, model: str | None
) -> "BlockingBot":
    """Open a bot in this process, or one behind a service."""
    if url is None:
        from bot.chatbot import ChatBot

        return ChatBot.open(settings=_settings(library=library, model=model))
    from bot.remote import RemoteChatBot

    refuse_model(url, model)
    name = str(library or "default")
    return RemoteChatBot(url, service_key(), library=name, allow_http=allow_http)


def _writer(bot: "BlockingBot") -> str:
    from bot.chatbot import ChatBot

    return bot.parts.model_name if isinstance(bot, ChatBot) else repr(bot)


def _settings(**given: Any) -> "Settings":
    from bot.settings import Settings

    return Settings.usual(**given)


def _console(quiet: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=quiet, highlight=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)  # noqa: T201
