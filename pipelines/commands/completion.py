"""``detpress completion SHELL``: print the lines that make a shell complete the command line of ``detpress``.

The lines call ``detpress completion words WORD...``, which prints what may stand in place of the last word.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands.completion_words import SHELLS, candidates
from stages.errors import ExitCode, InputError

_HELP = """\
usage: detpress completion bash|zsh|fish

Print the lines that make a shell complete sub-commands, flags, config groups,
keys and their values, runs and schedules. For this session:

  bash    eval "$(detpress completion bash)"
  zsh     eval "$(detpress completion zsh)"    (after compinit)
  fish    detpress completion fish | source

For good, put that line into ~/.bashrc, ~/.zshrc or
~/.config/fish/config.fish.
"""

_BASH = """\
_detpress() {
    local line="${COMP_LINE:0:COMP_POINT}" words word
    read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    local IFS=$'\\n'
    COMPREPLY=($("${words[0]}" completion words "${words[@]:1}" 2>/dev/null))
    compopt +o nospace 2>/dev/null
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    # readline replaces only what follows the last `=` or `:` of the word
    local typed="${word%"${word##*[=:]}"}"
    [[ $COMP_WORDBREAKS == *=* && -n $typed ]] && COMPREPLY=("${COMPREPLY[@]#"$typed"}")
}
complete -o default -F _detpress detpress
"""

_ZSH = """\
_detpress() {
    local -a found spaced open
    found=("${(@f)$("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=(${found:#})
    open=(${(M)found:#*[=.]})
    spaced=(${found:#*[=.]})
    (( ${#spaced} )) && compadd -- "${spaced[@]}"
    (( ${#open} )) && compadd -S '' -- "${open[@]}"
    (( ${#found} )) || _files
}
compdef _detpress detpress
"""

_FISH = """\
function __detpress_words
    set -l words (commandline -opc) (commandline -ct)
    detpress completion words $words[2..-1] 2>/dev/null
end
complete -c detpress -a '(__detpress_words)'
"""

SCRIPTS = dict(zip(SHELLS, (_BASH, _ZSH, _FISH), strict=True))


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the lines for one shell."""
    shell = arguments[0] if arguments else ""
    if shell == "words":
        print("\n".join(candidates(arguments[1:])))
        return ExitCode.DONE
    if shell in ("-h", "--help"):
        print(_HELP, end="")
        return ExitCode.DONE
    print(script(shell), end="")
    return ExitCode.DONE


def script(shell: str) -> str:
    """The lines for ``shell``. Raises InputError for one that is not known."""
    if shell not in SCRIPTS:
        raise InputError(f"{shell or 'nothing'}: not a shell that is known; name one of {', '.join(SHELLS)}")
    return SCRIPTS[shell]


def hydra_words(query: str, line: str) -> str:
    """What Hydra's own ``--shell-completion`` prints: its ``install=``, ``uninstall=`` and ``query=`` of a shell.

    Its scripts call ``detpress -sc query=...`` and take the sub-command for an override; ours do not.
    """
    what, _, shell = query.partition("=")
    if what == "install":
        return script(shell)
    if what == "uninstall":
        script(shell)
        return {"bash": "complete -r detpress\n", "zsh": "compdef -d detpress\n"}.get(
            shell, "complete -e -c detpress\n"
        )
    if what == "query":
        words = line.split(" ")[1:] if line else [""]
        return "\n".join(candidates([word for word in words[:-1] if word] + words[-1:])) + "\n"
    raise InputError("--shell-completion needs install=SHELL, uninstall=SHELL or query=SHELL; see detpress completion")
