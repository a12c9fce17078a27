"""crossfade, nginx and HAProxy, started with the files of `conf/` before the run's backends."""

import asyncio
import hashlib
import os
import pathlib
import re
import shutil
import socket
import subprocess

from client import LONG
from corpus import HERE, KEY
from h2 import PREFACE

BRIEF_S = 2  # how long a body may be silent on the port `brief`


class Backends:
    """Where each of a proxy's ports leads."""

    def __init__(self, lanes, special, application, tls):
        self.lanes, self.special, self.application, self.tls = lanes, special, application, tls

    def names(self):
        """What the files of conf/ call them."""
        return {
            "special": self.special.port,
            "application": self.application.port,
            "socket": self.application.socket,
            "tls": self.tls.port,
            "ca": self.tls.ca,
            "key": KEY,
            "hash": hashlib.sha256(KEY.encode()).hexdigest(),
            "brief": BRIEF_S,
        }


class Proxy:
    """One of the three. `lanes` are its ports before recording backends; `special`, `brief` and `h2` are for the cells."""

    def __init__(self, name, folder, backends):
        self.name, self.folder, self.backends, self.programs = name, pathlib.Path(folder), backends, []

    def run(self, name, command, **more):
        log = open(self.folder / f"{name}.log", "wb")
        self.programs.append(subprocess.Popen(command, stderr=log, cwd=self.folder, **more))
        return self.programs[-1]

    async def is_ready(self):
        """An answer, or an end, from each port: it is served, and by this program."""
        for port in {*self.lanes, self.special, self.brief, self.h2}:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(PREFACE if port == self.h2 else b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
                await asyncio.wait_for(reader.read(1), LONG)
                writer.close()
            except (OSError, asyncio.TimeoutError):
                logs = "\n".join(log.read_text() for log in self.folder.glob(f"{self.name}*.log"))
                raise SystemExit(f"{self.name} does not serve port {port}:\n{logs}") from None

    def stop(self):
        for program in self.programs:
            self.end(program)
            program.wait()

    def end(self, program):
        program.kill()


class Crossfade(Proxy):
    """A process for each port, which it finds for itself: two that chose one beforehand could meet on it."""

    def start(self, program):
        self.lanes = [self.serve(program, f"lane{n}", "lane", backend=b.port) for n, b in enumerate(self.backends.lanes)]
        self.special = self.h2 = self.serve(program, "special", "special", limits="")
        self.brief = self.serve(program, "brief", "special", limits=f'limits.body_idle_timeout = "{BRIEF_S}s"')
        self.version = version(program, "--version")

    def serve(self, program, name, file, **more):
        text = (HERE / "conf" / f"crossfade-{file}.toml").read_text()
        file = self.folder / f"{name}.toml"
        file.write_text(filled(text, **self.backends.names(), **more))
        running = self.run(f"crossfade-{name}", [program, "run", "--config", str(file)], stdout=subprocess.PIPE, text=True)
        ready = re.match(r"ready public=http://127\.0\.0\.1:(\d+)", running.stdout.readline())
        if not ready:
            raise SystemExit(f"crossfade does not start:\n{(self.folder / f'crossfade-{name}.log').read_text()}")
        return int(ready[1])


class Peer(Proxy):
    """nginx or HAProxy: one process. It inherits its sockets, so that nothing else can take their ports."""

    def start(self, program):
        sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(len(self.backends.lanes) + 3)]
        ports = [listener.getsockname()[1] for listener in sockets]
        *self.lanes, self.special, self.brief, self.h2 = ports
        descriptors = [listener.fileno() for listener in sockets]
        listen = ports if self.name == "nginx" else descriptors
        whole, lane = ((HERE / "conf" / f"{self.name}{part}.cfg").read_text() for part in ("", "-lane"))
        lanes = zip(listen, self.backends.lanes)
        lanes = "".join(filled(lane, lane=n, listen=to, backend=b.port) for n, (to, b) in enumerate(lanes))
        names = dict(zip(("special_port", "brief_port", "h2_port"), listen[-3:]))
        file = self.folder / f"{self.name}.cfg"
        file.write_text(filled(whole, dir=self.folder, lanes=lanes, **names, **self.backends.names()))
        flags = ["-p", str(self.folder), "-c", str(file)] if self.name == "nginx" else ["-f", str(file)]
        environment = os.environ | {"NGINX": "".join(f"{descriptor};" for descriptor in descriptors)}
        self.run(self.name, [program, *flags], pass_fds=descriptors, env=environment, stdout=subprocess.DEVNULL)
        for listener in sockets:
            listener.close()
        self.version = version(program, "-v")

    def end(self, program):
        # By SIGTERM: nginx ends its worker.
        program.terminate()


def filled(text, **names):
    """`<name>` stands for its value: braces mean something in all three languages."""
    return re.sub(r"<(\w+)>", lambda found: str(names[found[1]]), text)


def installed(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "?"
