"""`unsee completion`: the script by which a shell completes commands and options."""

import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from typing import Literal

from unsee.cli.main import COMMANDS
from unsee.cli.parse import EVERYWHERE, parse
from unsee.cli.session import ACTIONS

ALWAYS = ("--help", "--help-all", "--config", "--quiet", "--verbose", "--log-file", *EVERYWHERE)


@dataclass(frozen=True)
class Options:
    """Print a script that makes the shell complete commands, options and files.

    bash: put it where bash-completion looks; zsh: the same script, with bashcompinit; fish: its folder of completions.

    Example:
      unsee completion --shell bash > ~/.local/share/bash-completion/completions/unsee
    """

    shell: Literal["bash", "zsh", "fish"] = "bash"
    """For which shell."""


def main(args: list[str]) -> int:
    """Prints the script."""
    options = parse(Options, args, "unsee completion")
    words = {name: _options(name, []) for name in COMMANDS if name != "session"}
    actions = {name: _options("session", [name]) for name in ACTIONS}
    print(_fish(words, actions) if options.shell == "fish" else _bash(words, actions, zsh=options.shell == "zsh"))
    return 0


def _options(command: str, given: list[str]) -> list[str]:
    """Every option of a command, as its own help names them."""
    module, said = import_module(f"unsee.cli.{command.replace('-', '_')}"), StringIO()
    try:
        with redirect_stdout(said):
            module.main([*given, "--help-all"])
    except SystemExit:
        pass
    found = re.findall(r"^\W*(?:-\w, )?(--[a-z][a-z0-9-]*)", said.getvalue(), re.M)
    return list(dict.fromkeys([*found, *ALWAYS]))


def _bash(words: dict[str, list[str]], actions: dict[str, list[str]], *, zsh: bool) -> str:
    cases = [f'    "{name} "*) words="{" ".join(own)}" ;;' for name, own in words.items()]
    cases += [f'    "session {name}"*) words="{" ".join(own)}" ;;' for name, own in actions.items()]
    return "\n".join([
        *(["autoload -U +X bashcompinit && bashcompinit"] if zsh else []),
        "_unsee() {",
        '  local words="" current="${COMP_WORDS[COMP_CWORD]}"',
        '  case "${COMP_WORDS[*]:1:$((COMP_CWORD - 1))} " in',
        f'    " ") words="{" ".join([*COMMANDS, "--help", "--version"])}" ;;',
        f'    "session ") words="{" ".join(actions)}" ;;',
        *cases,
        "  esac",
        '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _unsee unsee",
    ])  # fmt: skip


def _fish(words: dict[str, list[str]], actions: dict[str, list[str]]) -> str:
    lines = [f"complete -c unsee -n __fish_use_subcommand -f -a {name} -d '{COMMANDS[name]}'" for name in COMMANDS]
    inside = "__fish_seen_subcommand_from"
    none = f"{inside} session; and not {inside} {' '.join(actions)}"
    lines += [f"complete -c unsee -n '{none}' -f -a {name}" for name in actions]
    for name, own in words.items():
        lines += [f"complete -c unsee -n '{inside} {name}' -l {option[2:]}" for option in own]
    for name, own in actions.items():
        lines += [f"complete -c unsee -n '{inside} session; and {inside} {name}' -l {o[2:]}" for o in own]
    return "\n".join(lines)
