"""Every command of the documentation is run by a test, or a table says why not; what detpress gets, it understands."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.cli import COMMANDS
from stages.errors import DetpressError
from tests.command_words import named_files, understand
from tests.conftest import ROOT
from tests.page_tables import ELSEWHERE, NOT_HERE, PROGRAMS, TRAINING, WHOLE
from tests.pages import PAGES, all_commands, blocks, commands, name_of, spans

LANGUAGES = {"sh", "console", "text", *(language for _, language in PROGRAMS)}
TYPED = sorted({command for typed in all_commands().values() for command in typed})
OWN = {"...": "experiment=demo", "/data/coco": "COCO", "KEY": "seed", "experiment=recipe": "experiment=demo",
       "Platelets": "circle"}  # fmt: skip
"""What a reader fills in -> what it is here."""

ELSEWHERE_SPANS = {"detpress compress --config-dir FOLDER backend=[onnxruntime,mine]"}
"""Within sentences: what `tests/pipelines/test_third_party.py` runs under names of its own."""


def filled(command: str) -> list[str]:
    """The words of a command, for detpress."""
    for left_open, word in OWN.items():
        command = command.replace(left_open, word)
    return shlex.split(command)[1:]


# --- who runs what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    """``sh``: commands; ``console``: commands behind ``$`` and their output; ``text``: what is neither."""
    fences = len(re.findall(r"^ *```", page.read_text(), re.MULTILINE))
    assert fences == 2 * len(blocks(page)), "a block is not closed, or not as far in as it began"
    wrong = [f"{b.page}:{b.line}: {b.language or 'none'}" for b in blocks(page) if b.language not in LANGUAGES]
    assert wrong == [], "name the block's language behind its ```: sh for commands, text for output"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_stands_where_no_test_looks(page: Path) -> None:
    """In a block of text, or behind no prompt."""
    programs = ("detpress ", "make ", "pip ", "python ", "docker ", "source ", "export ", "$ ")
    found = [
        f"{block.page}:{block.line}: {line}"
        for block in blocks(page)
        if block.language == "text"
        for line in block.text.splitlines()
        if line.startswith(programs) and not re.match(r"detpress\.py ", line)
    ]
    assert found == [], "make it a block of sh"


def test_the_tables_name_commands_that_are_there_once_and_tests_that_exist() -> None:
    """A command in no table, and not of `TRAINING`, is run by `tests/test_page_runs.py`."""
    assert sorted(set(ELSEWHERE) & set(NOT_HERE)) == []
    assert sorted({*ELSEWHERE, *NOT_HERE} - set(TYPED)) == [], "no page shows it any more"
    assert set(WHOLE) <= set(all_commands())
    tests = {*WHOLE.values(), *ELSEWHERE.values(), *(test for _, test in PROGRAMS.values())}
    assert sorted(test for test in tests if not exists(test)) == []
    assert not exists("tests/test_pages.py::test_nothing") and not exists("tests/test_nothing.py")


def exists(test: str) -> bool:
    """Whether ``FILE`` or ``FILE::FUNCTION`` is there."""
    name, _, function = test.partition("::")
    file = ROOT / name
    if not file.is_file():
        return False
    found = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    return not function or function in found


def test_every_program_on_a_page_is_run_or_read_by_a_test() -> None:
    there = Counter(
        (block.page, block.language)
        for page in PAGES
        for block in blocks(page)
        if block.language not in ("sh", "console", "text")
    )
    assert dict(there) == {key: count for key, (count, _) in PROGRAMS.items()}, "add the test that runs it"


def test_commands_are_found_as_they_are_typed() -> None:
    text = "make a \\\n    b  # why\n# a remark\n\nsay 'x # y'  # z\n"
    block = blocks(ROOT / "README.md")[0]._replace(text=text)
    assert commands(block) == ["make a b", "say 'x # y'"]
    assert commands(block._replace(language="console", text="$ one\ntwo\n")) == ["one"]
    assert commands(block._replace(language="text")) == []
    assert len(TYPED) > 70 and "detpress doctor" in TYPED


# --- whether it is understood --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A current folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("named")
    named_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("command", [command for command in TYPED if command.startswith("detpress ")])
def test_detpress_understands_its_commands(command: str) -> None:
    """Those too that a test runs only now and then: sub-command, options, keys, values and what excludes what."""
    understand(filled(command))


def inline() -> dict[str, str]:
    """Command of detpress within a sentence -> a page that has it. What the changelog tells was so once."""
    said = [
        (re.sub(r"^docker run .* detpress:\w+ ", "detpress ", span), name_of(page))
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for span in spans(page)
    ]
    return {span.split(" | ")[0]: page for span, page in said if span.startswith("detpress ")}


def texts_in(value: object) -> Iterator[str]:
    """Every string in what a YAML file holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one)


def embedded() -> list[str]:
    """The commands of detpress in scripts, units, crontabs, manifests and jobs, with their own paths and variables."""
    found = []
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "yaml":
            texts = list(texts_in(yaml.safe_load(block.text)))
        else:
            texts = [block.text] if block.language in ("bash", "ini", "crontab") else []
        for text in texts:
            lines = re.sub(r" *\\\n *", " ", text)
            found += re.findall(r"(?:^|[\s=/])detpress ([a-z]+ [^&;>\n]+)", lines, re.MULTILINE)
    return [command.strip() for command in found]


@pytest.mark.usefixtures("_named")
def test_detpress_understands_what_sentences_say_of_it() -> None:
    """Whole commands; of an unfinished one (`detpress predict`) the sub-command."""
    wrong = []
    for span, page in inline().items():
        words = filled(span)
        if span in ELSEWHERE_SPANS:
            continue
        if words[0] in TRAINING and len(words) > 1 and not re.search(r"--help|experiment=|model\.weights=", span):
            words.append("experiment=demo")
        try:
            understand(words)
        except DetpressError as error:
            if not re.search("arguments are required|expected one argument", str(error)):
                wrong.append(f"{page}: {span}: {error}")
    assert wrong == [] and len(inline()) > 50 and set(inline()) >= ELSEWHERE_SPANS


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize("command", embedded())
def test_detpress_understands_the_commands_of_scripts_and_manifests(command: str) -> None:
    for found, word in ((r"model\.weights=\S+", "model.weights=FILE"), (r"data\.root=\S+", "data.root=DIR"),
                        (r'="\$SLURM_\w+"', "=1"), (r"\$\w+", "there")):  # fmt: skip
        command = re.sub(found, word, command)
    understand(shlex.split(command))


def test_the_commands_of_scripts_and_manifests_are_found() -> None:
    names = Counter(command.split()[0] for command in embedded())
    assert names["retrain"] >= 4 and names["compress"] >= 4 and names["verify"] == 2 and names["schedule"] == 1


@pytest.mark.usefixtures("_named")
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("compres experiment=demo", "there is no such command"),
        ("compress experiment=demo compression.stepps=3", "there is no such key"),
        ("compress experiment=demo compression.steps=-3", "compression.steps"),
        ("compress compression=ptq", "there are no weights"),
        ("runs --lats 5", "unrecognized arguments"),
        ("bundle RUN precison=fp32", "there is no key precison"),
        ("promote RUN gate.champion.max_drop=3", "there is no key gate.champion.max_drop"),
        ("size target.latency=20", "there is no key latency"),
        ("retrain experimnt=demo", "experimnt"),
    ],
)
def test_a_command_that_is_wrong_would_be_found(command: str, says: str) -> None:
    with pytest.raises(DetpressError) as raised:
        understand(command.split())
    assert says in str(raised.value)


def test_make_has_the_targets_and_variables_that_pages_name() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\(([A-Z]+)\)|\$\{?([A-Z]+)\b", makefile))
    known = {name for pair in variables for name in pair if name}
    said = [(name_of(page), span) for page in PAGES if page.name != "CHANGELOG.md" for span in spans(page)]
    said += [(page, command) for page, typed in all_commands().items() for command in typed]
    wrong = []
    for page, text in said:
        if not text.startswith("make "):
            continue
        for word in shlex.split(text)[1:]:
            name, equals, _ = word.partition("=")
            ours = name in known if equals else any(re.fullmatch(_pattern(word), target) for target in targets)
            wrong += [] if ours else [f"{page}: {text}"]
    assert wrong == []


def _pattern(word: str) -> str:
    """``bench-*`` and ``bench-...`` name several targets."""
    return re.escape(word).replace(r"\*", ".+").replace(r"\.\.\.", ".+")


def test_the_extras_that_pages_install_are_declared() -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "\n".join(page.read_text() for page in PAGES if page.name != "CHANGELOG.md")
    named = {name for found in re.findall(r"detpress\[([a-z0-9,-]+)\]", text) for name in found.split(",")}
    assert named and sorted(named - set(declared)) == []


def test_every_command_of_detpress_is_on_a_page() -> None:
    shown = {filled(command)[0] for command in (*TYPED, *inline()) if command.startswith("detpress ")}
    assert sorted(set(COMMANDS) - shown) == []


# --- what is quoted ------------------------------------------------------------------------------------------------


def test_the_option_that_is_quoted_is_in_the_code() -> None:
    (block,) = [b for b in blocks(ROOT / "CONTRIBUTING.md") if b.language == "python"]
    assert block.text.strip() in (ROOT / "stages" / "options" / "compression.py").read_text()


def test_the_notification_has_the_keys_of_a_tick() -> None:
    (block,) = [b for b in blocks(ROOT / "docs" / "scheduling.md") if b.language == "json"]
    code = "\n".join((ROOT / "pipelines" / "scheduling" / f"{name}.py").read_text() for name in ("tick", "notify"))
    assert sorted(key for key in json.loads(block.text) if f'"{key}"' not in code) == []
