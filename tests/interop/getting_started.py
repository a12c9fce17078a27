#!/usr/bin/env python3
"""Follows docs/getting-started.md once, word for word: saves its files, runs its commands, compares what they print.

Only ports are replaced, by free ones. In the page's outputs `…` stands for anything, a line of its own for any lines; blanks count as one.
Where the page says that a browser is opened, node runs the page's own scripts (node/page.mjs). CROSSFADE_BINARY names the binary.
"""
import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs"
BINARY = pathlib.Path(os.environ["CROSSFADE_BINARY"]).resolve()
PORTS = ("5000", "8080", "9900")
SECONDS = 30

fenced = re.compile(r"(.*?)^```(\w+)\n(.*?)^```$", re.M | re.S)
file_name = re.compile(r"`([\w.]+\.(?:py|html|toml|js))`")


class Lines:
    """What a process prints, line by line, waited for and never slept for."""

    def __init__(self, stream):
        self.lines = queue.Queue()
        threading.Thread(target=self.read, args=(stream,), daemon=True).start()

    def read(self, stream):
        for line in stream:
            self.lines.put(line)
        self.lines.put("")

    def next(self):
        line = self.lines.get(timeout=SECONDS)
        assert line, "it ended"
        return line


class Shell:
    """One shell for the whole page, as its reader has it."""

    END = "-- the command is over --"

    def __init__(self, folder):
        path = f"{BINARY.parent}:{os.environ['PATH']}"
        # A group of its own, so that what the page starts ends with it.
        self.process = subprocess.Popen(
            ["bash"], cwd=folder, env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.output = Lines(self.process.stdout)

    def run(self, command, expected):
        """What the command printed. One that stays in the background is waited for until it has printed what is expected."""
        stays = command.endswith("&")
        self.process.stdin.write(command + "\n" + ("" if stays else f"echo; echo '{self.END}'\n"))
        self.process.stdin.flush()
        printed = ""
        while stays and not matches(expected, printed) or not stays and self.END not in printed:
            printed += self.output.next()
        return printed.partition(self.END)[0]

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Page:
    """A browser's tab."""

    def __init__(self, origin, user, cookie=""):
        command = ["node", "--no-warnings", str(HERE / "node/page.mjs"), origin, user, cookie]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.output = Lines(self.process.stdout)
        self.shown = []

    def until(self, **wanted):
        """Reads on until the page did this, and keeps which orders it shows."""
        while True:
            line = json.loads(self.output.next())
            if "shows" in line:
                self.shown.append(int(line["shows"].split(":")[0]))
            if all(re.search(value, str(line.get(name))) for name, value in wanted.items()):
                return

    def lost(self):
        """The orders that are missing, or there twice."""
        return sorted(set(range(self.shown[0], self.shown[-1] + 1)) ^ set(self.shown)) or len(self.shown) - len(set(self.shown))

    def close(self):
        self.process.kill()
        self.process.wait()


def matches(expected, printed):
    """Line by line, blanks counted as one."""
    expected, printed = ([" ".join(line.split()) for line in text.strip().splitlines()] for text in (expected, printed))
    return fits(expected, printed)


def fits(expected, printed):
    if not expected:
        return not printed
    head, *rest = expected
    if head == "…":
        return any(fits(rest, printed[skipped:]) for skipped in range(len(printed) + 1))
    line = ".*".join(re.escape(part.strip()) for part in head.split("…"))
    return bool(printed) and re.fullmatch(line, printed[0]) is not None and fits(rest, printed[1:])


def commands(block):
    """Each command with what it is to print."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


class Follower:
    def __init__(self, folder, ports):
        self.folder, self.ports = folder, ports
        self.origin = f"http://127.0.0.1:{ports['8080']}"
        self.shell = Shell(folder)
        self.pages = {}
        self.ran = 0

    def follow(self, page):
        (self.folder / "live.js").write_text(live_js())
        for text, language, block in fenced.findall(page):
            if language == "console":
                self.before(text)
                for command, expected in commands(block):
                    printed = self.shell.run(command, expected)
                    if not matches(expected, printed):
                        sys.exit(f"{self.log()}\n$ {command}\nThe page shows:\n{expected}\nIt printed:\n{printed}")
                    self.ran += 1
                    self.after(command)
            else:
                self.save(text, block)

    def save(self, text, block):
        name = (file_name.findall(text) or [None])[-1]
        if "Replace the first `[[route]]`" in text:
            file = self.folder / "proxy.toml"
            head, first, *others = re.split(r"(?=^\[\[route\]\])", file.read_text(), flags=re.M)
            assert "orders" in first
            # What was added behind the routes stays there.
            file.write_text("".join([head, block, "\n", *others]))
        elif name and "Add to" in text:
            with open(self.folder / name, "a") as file:
                file.write("\n" + block)
        elif name:
            (self.folder / name).write_text(block)
        else:
            # For other set-ups than the example's: it has to be valid there.
            other = (self.folder / "proxy.toml").read_text() + block
            (self.folder / "other.toml").write_text(other)
            subprocess.run([BINARY, "check", self.folder / "other.toml"], check=True, capture_output=True)

    def before(self, text):
        opened = re.search(r'log in as `(\w+)`, type `document.cookie = "([^"]+)"`', " ".join(text.split()))
        if opened:
            self.open(opened[1], opened[2]).until(shows="")

    def after(self, command):
        """What the page says of browsers, once this command has run."""
        if command.startswith("curl -sN"):
            # The application's own page works through crossfade as it did.
            page = self.open("alice")
            page.until(opens="EventSource", path="^/api/orders/stream$")
            page.until(shows="")
            page.close()
        elif command == "crossfade topics list":
            # The tester's page is on WebSocket, and stays there.
            page = self.pages["alice"]
            page.until(shows="")
            assert not page.lost(), page.shown
            page.close()
        elif command == "crossfade rollout set 5":
            self.open("alice").until(shows="")
            bob = self.open("bob")
            bob.until(closed="4300")
            bob.until(opens="EventSource")
            bob.until(shows="")
            bob.close()
        elif command == "crossfade rollout kill":
            page = self.pages["alice"]
            page.until(opens="EventSource", path="cf_last_event_id=")
            page.until(shows="")
            page.until(shows="")
            assert not page.lost(), f"orders missing or twice: {page.shown}"
            page.close()
        elif command == "crossfade rollout resume":
            page = self.open("alice")
            page.until(shows="")
            page.close()

    def open(self, user, cookie=""):
        page = self.pages[user] = Page(self.origin, user, cookie)
        # In step 3 it is the old page, which knows no WebSocket.
        if "live(" in (self.folder / "index.html").read_text():
            page.until(opens="WebSocket")
        return page

    def log(self):
        file = self.folder / "crossfade.log"
        return "".join(file.open().readlines()[-20:]) if file.exists() else ""

    def stop(self):
        for page in self.pages.values():
            page.close()
        self.shell.stop()


def live_js():
    """The block that step 5 names."""
    page = (DOCS / "clients.md").read_text()
    section = page.split("## What `EventSource` did by itself")[1]
    return fenced.search(section)[3]


def free_ports():
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {port: str(one.getsockname()[1]) for port, one in zip(PORTS, held)}
    for one in held:
        one.close()
    return ports


def main():
    ports = free_ports()
    page = (DOCS / "getting-started.md").read_text()
    page = re.sub(r"\b(%s)\b" % "|".join(PORTS), lambda port: ports[port[1]], page)
    with tempfile.TemporaryDirectory() as folder:
        follower = Follower(pathlib.Path(folder), ports)
        try:
            follower.follow(page)
        finally:
            follower.stop()
    print(f"{follower.ran} commands of docs/getting-started.md print what it shows")


main()
