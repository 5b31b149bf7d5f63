"""Commands in processes of their own: output line by line, errors by exit code, nothing left after a cancel."""

from __future__ import annotations

import os
import time

import pytest

from cadx.child import Child, ChildError
from cadx.errors import CancelledError, InputError
from cadx.job import CommandJob, Pending, wait_for


def job(code: str, **options) -> CommandJob:
    return CommandJob(["-c", code], **options)


def test_lines_are_told_while_it_runs_and_returned_at_the_end():
    said = []
    command = job("import time\nprint('one', flush=True); time.sleep(0.3); print('two')", said=said.append)
    while not said:
        command.poll()
    assert not command.done
    assert command.wait() == ["one", "two"] == said


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("import sys; print('cadx: No such table.', file=sys.stderr); sys.exit(2)", InputError, "No such table."),
        ("import sys; sys.exit(7)", ChildError, "ended by itself with code 7"),
        ("import os; os.kill(os.getpid(), 9)", ChildError, "ended by signal 9"),
    ],
)
def test_a_failure_is_the_command_s_own_sentence(code, kind, sentence):
    with pytest.raises(kind, match=sentence):
        job(code).wait()


def test_some_exit_codes_are_no_failure():
    assert job("import sys; print(1); sys.exit(4)", accepted=(0, 4)).wait() == ["1"]


def test_cancel_ends_grandchildren_too(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    said = []
    command = job(code, said=said.append)
    while not said:
        command.poll()
    start = time.monotonic()
    command.cancel()
    assert time.monotonic() - start < 2
    with pytest.raises(CancelledError):
        command.wait()
    grandchild = int(said[0])
    for _ in range(200):
        try:
            os.kill(grandchild, 0)
        except ProcessLookupError:
            break
        if "Z" in open(f"/proc/{grandchild}/stat").read().rpartition(")")[2].split()[0]:  # noqa: PTH123, SIM115
            break
        time.sleep(0.01)
    else:
        pytest.fail("the grandchild lives")


def test_pending_makes_the_answer_once():
    made = []
    pending = Pending(job("print(1)"), lambda lines: made.append(lines) or len(lines))
    doubled = pending.then(lambda count: 2 * count)
    assert (doubled.result, pending.result, doubled.result) == (2, 1, 2)
    assert made == [["1"]]


def test_a_line_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr("cadx.child.MAX_LINE_BYTES", 1000)
    child = Child(["-c", "import time; print('x' * 100000, end='', flush=True); time.sleep(600)"])
    with pytest.raises(ChildError, match="more than any answer holds"):
        for _ in range(1000):
            child.lines()
            time.sleep(0.01)
    assert not child.alive


def test_what_it_complains_of_is_kept_as_a_log():
    command = job("import sys; print('a warning', file=sys.stderr)")
    wait_for(command)
    assert "a warning" in command._child.log()


def test_a_batch_s_progress_survives_lines_of_others():
    from cadx.slicer.logic import _report_case

    said = []
    for line in ("No module named 'logic'", "[1]", '{"stage": 1}', '{"case": "one", "status": "ok"}'):
        _report_case(line, said.append)
    assert said == ["one"]
