"""A Flask application under gunicorn on a unix socket behind crossfade: `servers = ["unix:/…/app.sock"]`.

    python3 unix_server.py GUNICORN
"""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

from world import Crossfade

PATIENCE_S = 30

APPLICATION = """
import time

from flask import Flask, Response, request

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def seen():
    return {
        "host": request.host,
        "scheme": request.scheme,
        "for": request.headers.get("X-Forwarded-For"),
        "length": len(request.get_data()),
        "worker": request.environ["gunicorn.socket"].family.name,
    }


@app.get("/stream")
def stream():
    def events():
        for number in range(3):
            yield f"data: {number}\\n\\n"
            time.sleep(0.1)
    return Response(events(), mimetype="text/event-stream")
"""


def main():
    faults = []
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "app.sock")
        pathlib.Path(directory, "application.py").write_text(APPLICATION)
        gunicorn = start(directory, path)
        crossfade = Crossfade(f"unix:{path}", directory=directory)
        try:
            check = lambda what, is_so: None if is_so else faults.append(str(what))
            seen = json.loads(ask(crossfade.address, "GET")[1])
            check(seen, seen == {"host": "a.example", "scheme": "http", "for": "127.0.0.1", "length": 0, "worker": "AF_UNIX"})
            large = json.loads(ask(crossfade.address, "POST", b"x" * (5 << 20))[1])
            check(large, large["length"] == 5 << 20)
            events = ask(crossfade.address, "GET", path="/stream")[1]
            check(events, events == b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
            # HTTP/1.0 without a host goes up as `localhost`.
            nameless = json.loads(without_host(crossfade.address))
            check(nameless, nameless["host"] == "localhost")
            # A new gunicorn makes the socket anew; in between nothing is there.
            stop(gunicorn)
            status = ask(crossfade.address, "GET")[0]
            check(status, status == 502)
            gunicorn = start(directory, path)
            status = ask(crossfade.address, "GET")[0]
            check(status, status == 200)
        finally:
            crossfade.stop()
            stop(gunicorn)
    print("\n".join(faults) or "gunicorn on a unix socket: pages, 5 MiB, a stream, HTTP/1.0, and a restart")
    sys.exit(bool(faults))


def start(directory, path):
    command = [sys.argv[1], "--bind", f"unix:{path}", "--chdir", directory, "--log-level", "error", "application:app"]
    gunicorn = subprocess.Popen(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and gunicorn.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return gunicorn
        time.sleep(0.1)
    sys.exit(f"gunicorn does not listen: {gunicorn.poll()}")


def stop(gunicorn):
    gunicorn.terminate()
    gunicorn.wait(PATIENCE_S)


def ask(address, method, body=None, path="/"):
    client = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    client.request(method, path, body, {"Host": "a.example"})
    answer = client.getresponse()
    return answer.status, answer.read()


def without_host(address):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.read()


main()
