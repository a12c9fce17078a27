"""What the machine must bear, and whether it is quiet enough to be believed."""
import os
import resource
import sys
import time
from pathlib import Path

LOAD_CORE, SERVER_CORE = 0, 1


def require_two_cores() -> None:
    if not {LOAD_CORE, SERVER_CORE} <= os.sched_getaffinity(0):
        sys.exit("two cores are needed, 0 for the clients and 1 for the server alone")


def raise_descriptors(wanted: int = 110_000) -> int:
    """As many open files as this user may have, at most `wanted`; all children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (wanted, min(wanted, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit
        except (ValueError, PermissionError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def busy_share(seconds: float = 2.0) -> float:
    """How much of the two cores others used while nothing of ours ran."""
    before = _ticks()
    time.sleep(seconds)
    busy, total = (after - start for after, start in zip(_ticks(), before))
    return busy / total


def await_rest(process: int, at_most_s: float = 10.0) -> None:
    """Waits until a process and its children have used no processor time for a fifth of a second."""
    deadline, used = time.monotonic() + at_most_s, -1
    while (now := _used_by(process)) != used and time.monotonic() < deadline:
        used = now
        time.sleep(0.2)


def _used_by(process: int) -> int:
    """Ticks of user and system time, of a process and its descendants."""
    try:
        # The name, in parentheses, may hold blanks: proc_pid_stat(5).
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        tasks = Path(f"/proc/{process}/task").glob("*/children")
        children = [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12]) + sum(map(_used_by, children))


def _ticks() -> tuple[int, int]:
    busy = total = 0
    with open("/proc/stat") as stat:
        for line in stat:
            if line.split()[0] in (f"cpu{LOAD_CORE}", f"cpu{SERVER_CORE}"):
                # user nice system idle iowait irq softirq steal: proc(5)
                ticks = [int(field) for field in line.split()[1:9]]
                total += sum(ticks)
                busy += sum(ticks) - ticks[3] - ticks[4]
    return busy, total
