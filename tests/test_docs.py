"""The documents: commands that exist, links that lead somewhere, and a site that builds."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import spillover
from spillover.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("docs/**/*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
]
COMMANDS = typer.main.get_command(app)
# Typer has its own copy of click, or not, by its version.
(UsageError,) = (kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
GLOBAL_OPTIONS = ("--quiet", "-q", "--verbose", "-v")
COMPLETION = ("--install-completion", "--show-completion")
_LINE = re.compile(r"^\s*(?:\w+=\S+ )*(?:\.venv/bin/|\$\(BIN\)/)?spillover( .*)?$")


def code_lines(text):
    """Yield the lines of indented and fenced code, with continued lines joined."""
    is_fenced = False
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.split("\n"):
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield line


def commands_in(path):
    """Yield the words of every `spillover` command in a page's code."""
    for line in code_lines(path.read_text(encoding="utf-8")):
        if _LINE.match(line) and "[OPTIONS]" not in line:
            text = re.sub(r"^\s*(?:\w+=\S+ )*\S*spillover", "", line)
            yield shlex.split(text.partition("   #")[0].partition("  #")[0])


def refusal(words):
    """Return why the command line would refuse the words; None if it takes them. Runs nothing."""
    name, *rest = [word for word in words if word not in GLOBAL_OPTIONS] or ["--help"]
    if "--help" in (name, *rest) or name in ("--version", *COMPLETION):
        return None
    if name not in COMMANDS.commands:
        return f"no such command: {name}"
    try:
        COMMANDS.commands[name].make_context(name, rest)
    except UsageError as error:
        return error.format_message()
    return None


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_every_command_in_a_page_is_one_that_the_command_line_takes(path):
    refused = {" ".join(words): refusal(words) for words in commands_in(path)}
    assert {line: why for line, why in refused.items() if why is not None} == {}


def test_a_command_that_does_not_exist_is_found_out():
    assert refusal(["runn"]) == "no such command: runn"
    assert "No such option" in refusal(["run", "x", "--sed", "1"])
    assert "Missing" in refusal(["audit", "--aligned", "a"])
    assert refusal(["--quiet", "run", "quickstart"]) is None


def test_the_pages_show_commands_at_all():
    assert sum(len(list(commands_in(path))) for path in PAGES) > 60


def test_inline_commands_name_commands_that_exist():
    known = {*COMMANDS.commands, "COMMAND"}
    for path in PAGES:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for name in re.findall(r"`spillover (?:--(?:quiet|verbose) )?([a-zA-Z][a-zA-Z-]*)", prose):
            assert name in known, f"{path.name}: spillover {name}"


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_every_link_between_pages_leads_to_a_file(path):
    text = path.read_text(encoding="utf-8")
    site = {"contributing.md", "changelog.md"}  # Made from the root's when the site is built.
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (path.parent / target).exists() or target in site, f"{path.name}: {target}"


def test_every_public_name_is_on_the_python_page():
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in spillover.__all__ if f"`{name}`" not in page]
    assert missing == []


def test_every_module_that_the_reference_names_can_be_imported():
    for path in (ROOT / "docs" / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                module, _, attribute = name.rpartition(".")
                assert hasattr(importlib.import_module(module), attribute), name


def test_every_page_has_a_place_in_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in ROOT.glob("docs/**/*.md"):
        assert f"- {path.relative_to(ROOT / 'docs')}\n" in navigation, path.name


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("material", reason="needs the docs extra: pip install 'spillover[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs the docs extra")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    commands = (tmp_path / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS.commands:
        assert f'id="{name}"' in commands
