"""Sends the same bytes to crossfade, nginx and HAProxy, each before backends that keep what they get.

    run.py CROSSFADE [--record] [--only WORD]

Fails where crossfade does not do what the corpora and scenes say, lets through a request of requests.txt that is not exactly one in
canonical shape, or logs control bytes or credentials; and where docs/compatibility.md, which --record writes, says something else
of crossfade. A peer that is not installed is named and left out.
"""

import argparse
import asyncio
import pathlib
import re
import sys
import tempfile

import page
from backend import Application, Recorder
from client import exchange
from corpus import KEY, Case, Cell, read
from proxies import Backends, Crossfade, Peer, installed
from scenes import SCENES
from shape import shape, told
from tls import Server
from views import VIEWS, has_evil, request_cell
from wire import show

LANES = 4  # so many requests are under way at a time, each before a backend of its own
NAMES = {"crossfade": "crossfade", "nginx": "nginx", "haproxy": "HAProxy"}


class Run:
    def __init__(self, only):
        def is_wanted(name):
            return not only or only in name

        self.requests = [case for case in read("requests.txt", Case) if is_wanted(case.name)]
        self.cells = [cell for cell in read("cells.txt", Cell) if is_wanted(cell.name)]
        self.scenes = [scene for scene in SCENES if is_wanted(scene[1])]
        self.seen, self.reached, self.failures = {}, {}, []

    async def at(self, proxy):
        """Everything at one proxy: the lanes and the cells one by one, the scenes all at once."""
        lanes = (self.walk(proxy, lane) for lane in range(LANES))
        await asyncio.gather(self.look(proxy), *lanes, *(self.play(proxy, *scene) for scene in self.scenes))

    async def walk(self, proxy, lane):
        is_judged = proxy.name == "crossfade"
        for case in self.requests[lane::LANES]:
            for is_in_pieces in (False, True) if is_judged else (False,):
                backend = proxy.backends.lanes[lane]
                backend.expect()
                in_pieces = is_in_pieces and len(case.request) < 2000
                statuses, is_closed = await exchange(case.request, proxy.lanes[lane], case.due if is_judged else 0, in_pieces)
                whole = backend.whole
                reason = wrong(case, statuses, whole) if is_judged else None
                if reason:
                    self.failures.append(f"{case.name}{' (byte by byte)' if is_in_pieces else ''}: {reason}")
                if not is_in_pieces:
                    self.reached[case.name, proxy.name] = whole
                    self.keep(proxy, case.group.title, case.name, request_cell(case.request, statuses, is_closed, whole))

    async def look(self, proxy):
        for cell in self.cells:
            self.keep(proxy, cell.group.title, cell.name, await VIEWS[cell.view](proxy, cell), cell.expected)

    async def play(self, proxy, group, name, expected, scene):
        self.keep(proxy, group, name, await scene(proxy), expected)

    def keep(self, proxy, group, name, cell, expected=None):
        self.seen.setdefault((group, name), {})[NAMES[proxy.name]] = cell
        if proxy.name == "crossfade" and expected not in (None, cell):
            self.failures.append(f"{name}: {cell!r}, not {expected!r}")

    def rows(self):
        """In the order of the corpora and the scenes."""
        keys = [(case.group.title, case.name) for case in [*self.requests, *self.cells]] + [scene[:2] for scene in self.scenes]
        return [(*key, self.seen[key]) for key in keys]

    def totals(self, names):
        kinds = (
            ("nothing whole reached the backend", lambda whole: not whole),
            ("reached it in canonical shape", lambda whole: whole and not is_odd(whole)),
            ("reached it in another shape, or with the attacker's value", is_odd),
        )
        for kind, is_so in kinds:
            counts = {shown: sum(1 for c in self.requests if is_so(self.reached[c.name, name])) for name, shown in names.items()}
            yield kind, counts


def is_odd(whole):
    return any(map(shape, whole)) or has_evil(whole)


def wrong(case, statuses, whole):
    """Why crossfade failed this case; None where it did not."""
    reached = [told(request) for request in whole]
    if reached != case.reaches:
        return f"the backend got {reached}, not {case.reaches}"
    for request in whole:
        if shape(request):
            return "it reached the backend with " + shape(request)
    if has_evil(whole):
        return "the attacker's value reached the backend"
    if case.keeps and whole and not any(b"keep" in request for request in whole):
        return "a value did not reach the backend"
    status = ",".join(map(str, statuses)) or "-"
    return None if status == case.status else f"answered {status}, not {case.status}"


def leaks(folder):
    """What crossfade's logs must not hold, whatever was sent: control bytes, the corpus's credentials and its key."""
    for log in sorted(folder.glob("crossfade-*.log")):
        data = log.read_bytes()
        if not data:
            yield f"{log.name}: it is empty"
        for found in re.finditer(rb"[\x00-\x08\x0b-\x1f\x7f]|keep(=1|\b(?!-))|" + KEY.encode(), data):
            yield f"{log.name}: {show(data[max(0, found.start() - 40) : found.end()])}"


async def main(options):
    run = Run(options.only)
    programs = {"crossfade": str(pathlib.Path(options.crossfade).resolve()), "nginx": installed("nginx"), "haproxy": installed("haproxy")}
    proxies = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        application, tls = await Application().start(folder), Server(folder)
        try:
            for name, program in programs.items():
                if not program:
                    print(f"not run: {name} is not installed")
                    continue
                recorders = [await Recorder().start() for _ in range(LANES + 1)]
                proxy = (Crossfade if name == "crossfade" else Peer)(name, folder, Backends(recorders[1:], recorders[0], application, tls))
                proxies.append(proxy)
                proxy.start(program)
            await asyncio.gather(*(proxy.is_ready() for proxy in proxies))
            await asyncio.gather(*map(run.at, proxies))
        finally:
            for proxy in proxies:
                proxy.stop()
        run.failures += leaks(folder)
    return report(run, {proxy.name: NAMES[proxy.name] for proxy in proxies}, proxies, options)


def report(run, names, proxies, options):
    rows = run.rows()
    peers = [f"{NAMES[proxy.name]} {proxy.version}" for proxy in proxies[1:]]
    text = page.write(rows, list(names.values()), peers, list(run.totals(names)))
    print(text)
    if options.record and not run.failures and not options.only and len(names) == len(NAMES):
        page.PAGE.write_text(text, "utf-8")
    elif options.record:
        run.failures.append("nothing is recorded: that takes all three proxies, all cases, and no failure")
    else:
        run.failures += page.outdated(rows, is_all=not options.only)
    for failure in run.failures:
        print("FAILED " + failure)
    print(f"{len(rows)} cases, {len(run.failures)} failures at crossfade")
    return 1 if run.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crossfade")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only")
    sys.exit(asyncio.run(main(parser.parse_args())))
