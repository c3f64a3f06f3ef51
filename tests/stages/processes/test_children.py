"""A process that is killed leaves nobody behind: whatever they do, whoever started them, and what they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stages.processes import children, pipes, reaper
from stages.processes.children import Child
from tests.conftest import ROOT

DEAF = "trap '' TERM HUP INT; sleep 300 & echo $$ $!; while :; do sleep 300; done"
"""Hears no SIGTERM, and neither does what it starts; says both numbers."""
DEAF_PYTHON = """
import os, signal, sys
from stages.processes.pipes import die_with_parent
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as in native code, where no handler of Python's runs
die_with_parent()
os.mkfifo(sys.argv[1])
print(os.getpid(), flush=True)
open(sys.argv[1])
"""
PARENT = """
import os, subprocess, sys, threading, time
from stages.processes import children, python
started = []
def start():
    command = {command!r}
    started.append(children.Child(command, env=python.environment(), stdout=subprocess.PIPE, knows={knows}, grace=0.5))
    print(started[-1].stdout.readline().strip(), children._reaper._process.pid, flush=True)
{body}
"""


def parent(command: list[str], body: str, knows: bool = False) -> subprocess.Popen[str]:
    """A process that starts ``command`` as its `Child` and says what that one said."""
    script = PARENT.format(command=command, body=body, knows=knows)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)


def numbers(process: subprocess.Popen[str]) -> list[int]:
    """Ids of the processes that it started."""
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def wait_until(met: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + 60
    while not met():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def ignored(pid: int) -> set[int]:
    """Signals that a process ignores; of one that is gone, all."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return set(signal.Signals)
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn")]
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


def assert_gone(pids: list[int]) -> None:
    assert pids
    try:
        wait_until(lambda: not any(map(running, pids)), f"some of {pids} are left")
    finally:
        for pid in filter(running, pids):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    made: list[Child] = []

    def start(*command: str, **options: object) -> Child:
        made.append(Child(list(command), env=dict(os.environ), **options))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for one in made:
        one.end()
        for pipe in (one.stdin, one.stdout):
            if pipe is not None:
                pipe.close()


IN_A_THREAD = "t = threading.Thread(target=start); t.start(); t.join(); time.sleep(300)"
CRASH = "start(); os.abort()"
FORGETFUL = "start(); os._exit(0)"


@pytest.mark.parametrize("body", ["start(); time.sleep(300)", IN_A_THREAD, CRASH, FORGETFUL, "start()"])
def test_nobody_outlives_a_process_however_it_ends(body: str) -> None:
    with parent(["sh", "-c", DEAF], body) as process:
        pids = numbers(process)
        if "sleep" in body:
            assert all(map(running, pids))
            process.kill()
        process.wait(60)
    assert len(pids) == 3  # the child, its own child, and the reaper
    assert_gone(pids)


def test_one_that_is_blocked_in_a_read_dies_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEAF_PYTHON, str(tmp_path / "pipe")]
    with parent(command, "start(); time.sleep(300)", knows=True) as process:
        pids = numbers(process)
        process.kill()
    assert_gone(pids)


def test_one_that_knows_is_told_once_and_has_its_time(tmp_path: Path) -> None:
    """A second SIGTERM would cut short what the first one has it do."""
    told = tmp_path / "told"
    script = f"""
import os, signal, time
from stages.processes.pipes import die_with_parent
signal.signal(signal.SIGTERM, lambda *_: open({str(told)!r}, "a").write("x"))
die_with_parent()
print(os.getpid(), flush=True)
for _ in range(300):
    time.sleep(0.05)
    if os.path.exists({str(told)!r}):
        time.sleep(0.2)
        open({str(told)!r}, "a").write(" saved")
        break
"""
    with parent([sys.executable, "-c", script], "start(); time.sleep(300)", knows=True) as process:
        pids = numbers(process)
        process.kill()
    assert_gone(pids)
    assert told.read_text() == "x saved"


def test_the_thread_that_started_one_may_end_before_it() -> None:
    """The kernel takes the end of a thread for that of the parent."""
    script = "from stages.processes.pipes import die_with_parent\ndie_with_parent()\nprint(0, flush=True)\n"
    script += "import os, sys\nfor line in sys.stdin:\n    print(os.getpid(), flush=True)\n"
    body = """
command = [sys.executable, "-c", {script!r}]
def begin():
    started.append(children.Child(command, env=python.environment(PYTHONPATH={root!r}), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, knows=True))
    started[-1].stdout.readline()
thread = threading.Thread(target=begin)
thread.start()
thread.join()
while os.path.exists(f"/proc/self/task/{{thread.native_id}}"):
    time.sleep(0.01)
time.sleep(0.1)
started[0].stdin.write("there?\\n")
started[0].stdin.flush()
print(started[0].stdout.readline().strip(), flush=True)
time.sleep(300)
"""
    body = body.format(script=script, root=str(ROOT)).replace("sys.executable", repr(sys.executable))
    with parent([], body) as process:
        pids = numbers(process)
        process.kill()
    assert_gone(pids)


def test_without_the_kernels_signal_the_reaper_tells(tmp_path: Path) -> None:
    """As on macOS: with nothing but the pipe."""
    script = f"trap 'echo saved > {tmp_path}/told; exit' TERM; echo $$; while :; do sleep 0.05; done"
    with parent(["sh", "-c", script], "start(); time.sleep(300)") as process:
        pids = numbers(process)
        process.kill()
    assert_gone(pids)
    assert (tmp_path / "told").read_text() == "saved\n"


def test_a_reaper_that_was_killed_has_a_successor_that_knows_all() -> None:
    body = "start(); os.kill(children._reaper._process.pid, 9); time.sleep(0.2); start(); time.sleep(300)"
    with parent(["sh", "-c", DEAF], body) as process:
        pids = numbers(process) + numbers(process)
        process.kill()
    assert len(set(pids)) == 6
    assert_gone(pids)


def test_a_copy_of_a_process_has_no_part_in_its_children() -> None:
    """It neither ends them nor keeps their reaper from hearing that the original is gone."""
    copy = "pid = os.fork()\nif pid == 0:\n    time.sleep(0 if {brief} else 300); os._exit(0)\nprint(pid, flush=True)\n"
    with parent(["sh", "-c", DEAF], f"start()\n{copy.format(brief=True)}time.sleep(300)") as process:
        pids, (brief,) = numbers(process), numbers(process)
        wait_until(lambda: not running(brief), "the copy's end")
        assert all(map(running, pids))
        process.kill()
    assert_gone(pids)
    with parent(["sh", "-c", DEAF], f"start()\n{copy.format(brief=False)}time.sleep(300)") as process:
        pids, (long,) = numbers(process), numbers(process)
        process.kill()
        assert_gone(pids)
        os.kill(long, signal.SIGKILL)


def test_what_a_child_started_ends_with_it(child: Callable[..., Child]) -> None:
    one = child("sh", "-c", DEAF, stdout=subprocess.PIPE)
    assert one.stdout is not None
    pids = [int(word) for word in one.stdout.readline().split()]
    assert pids[0] == one.pid and all(map(running, pids))
    assert one.end(0.1) == -signal.SIGKILL
    assert_gone(pids)
    again = child("sh", "-c", "trap 'exit 7' TERM; echo; while :; do sleep 0.02; done", stdout=subprocess.PIPE)
    assert again.stdout is not None and again.stdout.readline() == "\n"
    assert again.end(30) == 7
    assert again.end(30) == 7  # ended is ended


def test_who_has_ended_is_not_looked_after_any_more(child: Callable[..., Child]) -> None:
    """Its number may be somebody else's soon."""
    one, other = child("true"), child("true")
    assert {one.pid, other.pid} <= set(children._reaper._left)
    one.wait(30)
    wait_until(lambda: other.poll() is not None, "its end")
    assert not {one.pid, other.pid} & set(children._reaper._left)


def test_running_a_program_gives_what_it_printed() -> None:
    env = dict(os.environ)
    done = children.run(["sh", "-c", "cat; echo no >&2; exit 3"], env=env, given="ä\n", timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (3, "ä\n", "no\n")
    assert children.run(["cat"], env=env).stdout == ""  # it waits for nobody's input
    with pytest.raises(FileNotFoundError):
        children.run(["/nowhere/program"], env=env)


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $$ $! > {tmp_path}/pids; sleep 300"
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(["sh", "-c", script], env=dict(os.environ), timeout=1)
    assert_gone([int(word) for word in (tmp_path / "pids").read_text().split()])


STOPPED = """
import os, signal, sys, threading, time, traceback
from pathlib import Path
from stages.processes import children
signal.signal(signal.SIGINT, signal.default_int_handler)
folder, main = Path(sys.argv[1]), threading.get_ident()
def stop():
    while not (folder / "up").exists() or not waits():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)
def waits():
    return "communicate" in [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]
threading.Thread(target=stop).start()
traps = f"trap 'sleep 0.2; echo saved > {folder}/saved; exit' TERM; : > {folder}/up; while :; do sleep 0.02; done"
try:
    children.run(["sh", "-c", traps], env=dict(os.environ), grace=30)
except KeyboardInterrupt:
    print((folder / "saved").read_text(), end="", flush=True)
"""


def test_a_program_is_ended_when_this_one_is_stopped(tmp_path: Path) -> None:
    """In a process of its own, so that no other test's signals or children have a part in it."""
    command, env = [sys.executable, "-c", STOPPED, str(tmp_path)], {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout == "saved\n"


@pytest.mark.parametrize("started_by", ["{dead}", "{alive}"])
def test_one_whose_parent_has_died_before_it_came_to_ask_does_not_begin(started_by: str) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    code = "from stages.processes.pipes import die_with_parent; die_with_parent(); print('begins')"
    number = started_by.format(dead=ended.pid, alive=os.getpid())
    env = {**os.environ, "PYTHONPATH": str(ROOT), pipes.PARENT: number}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    expected = (128 + signal.SIGTERM, "") if "dead" in started_by else (0, "begins\n")
    assert (done.returncode, done.stdout) == expected, done.stderr


def test_a_program_of_others_is_run_as_it_expects_and_dies_with_us(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import os, sys, time\n"
        "print(os.getpid(), __name__, sys.argv[1:], 'DETPRESS_PARENT' in os.environ, flush=True)\n"
        "time.sleep(300)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "stages.processes.with_parent", "theirs", "--a", "b"]
    script = f"import subprocess, sys\nwith subprocess.Popen({command!r}) as one:\n    one.wait()\n"
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, _, rest = process.stdout.readline().strip().partition(" ")
        assert rest == "__main__ ['--a', 'b'] False"
        process.kill()
    assert_gone([int(pid)])


def test_the_reaper_is_alone_with_the_standard_library_and_hears_no_signal() -> None:
    with parent(["sh", "-c", DEAF], "start(); time.sleep(300)") as process:
        *others, its = numbers(process)
        one = psutil.Process(its)
        assert one.cmdline() == [sys.executable, "-I", "-S", reaper.__file__]
        assert one.cwd() == "/" and one.num_threads() == 1
        wait_until(lambda: {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= ignored(its), "its start")
        assert os.getsid(its) == its  # no signal to the groups of the others reaches it
        process.kill()
    assert_gone([*others, its])
