"""Reading the output of strace: which system calls started and ended before which others."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tests.harness.processes import tail
from tests.harness.waiting import poll

SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg")
READS = ("read", "recvfrom", "recvmsg")

_LINE = re.compile(r"(?P<pid>\d+) +\d+\.\d+ (?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?:(?P<fd>\d+)<(?P<path>[^>]*)>)?(?P<rest>.*)", re.DOTALL)
_RESULT = re.compile(r".*\) += (?P<result>-?\d+)")


class Call(Struct):
    """A system call: its thread, its file, and the lines where it started and ended."""

    pid: int
    name: str
    path: str
    arguments: str
    started: int
    ended: int = -1
    result: int | None = None


class RequestResponse(Struct):
    """A request and its response, as seen in the system calls of the server."""

    request: Call
    response: Call


def read_calls(lines: Sequence[str]) -> list[Call]:
    """Parse the trace of several threads, in the order in which the calls started."""
    calls: list[Call] = []
    open_calls: dict[int, Call] = {}
    for number, line in enumerate(lines):
        parts = _LINE.match(line)
        if parts is None:
            continue
        pid, rest = int(parts["pid"]), parts["rest"]
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            call = open_calls.pop(pid, None)
            if call is not None:
                _end(call, number, resumed["rest"])
            continue
        match = _CALL.match(rest)
        if match is None:
            continue
        call = Call(pid, match["name"], match["path"] or "", match["rest"], number)
        calls.append(call)
        if rest.endswith("<unfinished ...>"):
            open_calls[pid] = call
        else:
            _end(call, number, rest)
    return calls


def _end(call: Call, number: int, rest: str) -> None:
    call.arguments += rest
    call.ended = number
    result = _RESULT.match(rest)
    call.result = int(result["result"]) if result else None


def request_response_pairs(calls: Sequence[Call]) -> list[RequestResponse]:
    """Find the write requests and their responses; one at a time on each connection."""
    found: list[RequestResponse] = []
    requests: dict[str, Call] = {}
    for call in calls:
        if call.name in READS and re.search(r'"(POST|PUT|DELETE) /api/', call.arguments):
            requests[call.path] = call
        elif call.name in WRITES and '"HTTP/1.1 2' in call.arguments and call.path in requests:
            found.append(RequestResponse(requests.pop(call.path), call))
    return found


def responses_before_sync(
    calls: Sequence[Call], is_log: Callable[[str], bool], *, one_at_a_time: bool = True
) -> list[str]:
    """Return the responses that were sent before the log was synced after its last write.

    If only one request runs at a time (`alone`), every write to the log since the request belongs to it.
    """
    logged = [call for call in calls if call.name in WRITES and is_log(call.path)]
    synced = [call for call in calls if call.name in SYNCS and is_log(call.path) and call.result == 0]
    early: list[str] = []
    for pair in request_response_pairs(calls):
        since, until = pair.request.started, pair.response.started
        written = [call.ended for call in logged if since < call.started < until]
        last = (max(written) if one_at_a_time else min(written)) if written else until
        if not any(last < sync.started and -1 < sync.ended < until for sync in synced):
            early.append(f"line {until + 1}: {pair.response.arguments[:80]}")
    return early


@contextlib.contextmanager
def traced(pids: Sequence[int], system_calls: Sequence[str], record: Path) -> Iterator[None]:
    """Trace running processes and all that they start into one file, so that their calls are in order."""
    strace = shutil.which("strace")
    assert strace is not None
    watched = [word for pid in pids for word in ("-p", str(pid))]
    strace_log = record.with_suffix(".chatter")
    with strace_log.open("wb") as errors:
        tracer = subprocess.Popen(
            [
                strace,
                "-f",
                "-y",
                "-ttt",
                "-s256",
                f"--output={record}",
                "-e",
                f"trace={','.join(system_calls)}",
                *watched,
            ],
            stdin=subprocess.DEVNULL,
            stderr=errors,
        )
    try:
        poll(lambda: all(f"Process {pid} attached" in strace_log.read_text() for pid in pids), "strace to attach")
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}\n{tail(strace_log)}") from error
    finally:
        tracer.terminate()
        tracer.wait(timeout=20)
