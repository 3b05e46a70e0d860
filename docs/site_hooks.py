"""What the site has beyond the pages of `docs/`: each command's help, and two files of the root."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = "<!-- commands -->"
_FROM_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_PAGES = {f"../{name}": page for page, name in _FROM_ROOT.items()}


def on_files(files: Any, config: Any) -> Any:
    """Add the changelog and the contributors' page, with links as they are from `docs/`."""
    from mkdocs.structure.files import File

    for page, name in _FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the commands' help in its place, and turn links to files of the root into links here."""
    del page, config, files
    for path, target in _PAGES.items():
        markdown = markdown.replace(f"]({path})", f"]({target})")
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, command_help())
    return markdown


def command_help() -> str:
    """Return every command with its help, as Markdown."""
    import typer

    from spillover.cli import app  # The room registers every command.

    group = typer.main.get_command(app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([f"spillover {name}", *map(_usage, arguments), "[OPTIONS]"])
    rows = ["| | |", "|---|---|"]
    rows += [f"| `{p.name.upper()}` | {_words(p)} |" for p in arguments]
    rows += [f"| `{'`, `'.join(p.opts)}` | {_words(p)} |" for p in options]
    return "\n".join([f"## {name}", "", f"    {usage}", "", command.help or "", "", *rows])


def _usage(argument: Any) -> str:
    name = argument.name.upper()
    return name if argument.required else f"[{name}]"


def _words(parameter: Any) -> str:
    said = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("<", "&lt;")
    if parameter.required and parameter.param_type_name == "option":
        said += " Required."
    elif parameter.default not in (None, False, True, [], ()) and not callable(parameter.default):
        said += f" Default: `{parameter.default}`."
    return re.sub(r"\s+", " ", said).strip()
