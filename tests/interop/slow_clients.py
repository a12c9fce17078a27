"""Debian's slowhttptest against crossfade: heads, bodies and readers that drip are all cut off in time, and nobody else notices.

Each kind has clients of its own, all at once. For heads and bodies slowhttptest ends as soon as all its connections are closed. Of
readers it does not notice the end, so that is taken from crossfade, whose open descriptors have to come down to what they were.
Time counts from the second in which the last connection of a kind was open.
"""

import csv
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from world import Bystander, world

CLIENTS = 100
# Arguments, and after how many seconds the last connection has to be closed:
# a head has 10 s in all; a body has to bring 100 B/s over any 10 s; nobody may take less than that over 30 s of waiting, of which
# the first are met by what the kernel takes.
KINDS = {
    "heads": (["-H", "-i", "2", "-x", "8", "-u", "http://{address}/word"], 11),
    "bodies": (["-B", "-i", "2", "-x", "8", "-s", "8192", "-u", "http://{address}/form"], 21),
    "readers": (["-X", "-w", "1", "-y", "1", "-n", "2", "-z", "16", "-k", "1", "-u", "http://{address}/big"], 61),
}
# slowhttptest looks once a second; where the machine has other things to do, all takes longer by what the slowest bystander waited.
SLACK = 4
# What a slow client may cost crossfade at most: its buffers on both sides.
KIB_EACH = 512
# Connections of the bystander, and such to the backend that are kept.
SPARE_DESCRIPTORS = 8
# What half of the others have to be answered within.
MEDIAN_S = 1.0


def main():
    with tempfile.TemporaryDirectory() as directory, world() as crossfade:
        memory, descriptors = crossfade.resident_kib(), crossfade.descriptors()
        bystander = Bystander(crossfade.address)
        bystander.start()
        began, most = time.monotonic(), memory
        runs = {kind: start(kind, crossfade.address, directory) for kind in KINDS}
        ended = {}
        while any(run.poll() is None for run in runs.values()):
            most = max(most, crossfade.resident_kib())
            are_others_over = all(runs[kind].poll() is not None for kind in ("heads", "bodies"))
            if are_others_over and "readers" not in ended and crossfade.descriptors() <= descriptors + SPARE_DESCRIPTORS:
                ended["readers"] = time.monotonic() - began
                # It writes its table when it is interrupted.
                runs["readers"].send_signal(signal.SIGINT)
            time.sleep(0.5)
        bystander.over.set()
        bystander.join()

        slack = SLACK + max(bystander.took_s, default=0)
        failures = []
        for kind, (_, limit) in KINDS.items():
            prefix = pathlib.Path(directory, kind)
            opened, end = opening(prefix), ended.get(kind) or ending(prefix)
            lasted = None if opened is None or end is None else end - opened
            told = "not all" if lasted is None else f"all {CLIENTS} after {lasted:.0f} s"
            print(f"slow {kind}: {told} cut off (limit {limit} s, {slack:.0f} s of slack)")
            if lasted is None or lasted > limit + slack:
                failures.append(f"slow {kind}")
        each = (most - memory) / (CLIENTS * len(KINDS))
        print(f"memory: {each:.0f} KiB for each slow client at most (limit {KIB_EACH})")
        if each > KIB_EACH:
            failures.append("memory")
        median = statistics.median(bystander.took_s or [float("inf")])
        print(f"others: {len(bystander.took_s)} answers, the median after {median * 1000:.0f} ms, {len(bystander.failures)} failed")
        if bystander.failures or median > MEDIAN_S:
            failures.append(f"others {bystander.failures[:3]}")
    for failure in failures:
        print(f"slow clients: FAILED: {failure}")
    return 1 if failures else 0


def start(kind, address, directory):
    arguments, limit = KINDS[kind]
    arguments = [argument.format(address=address) for argument in arguments]
    common = ["-c", str(CLIENTS), "-r", str(CLIENTS), "-l", str(limit + 20), "-p", "5", "-g", "-o", f"{directory}/{kind}"]
    log = open(f"{directory}/{kind}.log", "w")
    return subprocess.Popen(["slowhttptest", *common, *arguments], stdout=log, stderr=subprocess.STDOUT)


def opening(prefix):
    """The second in which the last connection was open."""
    rows = csv.DictReader(prefix.with_suffix(".csv").open(), skipinitialspace=True)
    opened = [int(row["Seconds"]) for row in rows if int(row["Closed"]) + int(row["Connected"]) == CLIENTS]
    return min(opened, default=None)


def ending(prefix):
    """The second in which the last connection was closed."""
    log = prefix.with_suffix(".log").read_text()
    found = re.search(r"Test ended on (\d+)", log) if "No open connections left" in log else None
    return found and int(found[1])


if __name__ == "__main__":
    sys.exit(main())
