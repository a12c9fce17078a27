"""PHP's built-in server behind crossfade: `getallheaders()` has the names that its applications look for, and a client gets PHP's."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from world import Crossfade

SCRIPT = """<?php
header("X-Frame-OPTIONS: DENY");
header("x-lower: 1");
header("ETag: \\"1\\"");
echo json_encode(getallheaders());
"""
REQUEST = (
    b"GET / HTTP/1.1\r\nHOST: a\r\nAuthorization: Bearer x\r\nX-CSRFToken: t\r\nx-ODD-name: 1\r\n"
    b"x-forwarded-proto: https\r\nConnection: close\r\n\r\n"
)


def main():
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "index.php").write_text(SCRIPT)
        php = subprocess.Popen(
            ["php", "-S", "127.0.0.1:0", "-t", directory], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            address = None
            while not (address := re.search(r"http://([0-9.:]+)", line := php.stderr.readline())):
                assert line, "php has ended"
            crossfade = Crossfade(address[1], directory=directory)
            try:
                head, body = ask(crossfade.address)
            finally:
                crossfade.process.kill()
        finally:
            php.kill()
    names = {line.split(":")[0] for line in head.split("\r\n")[1:]}
    faults = [f"{name} is not in {sorted(names)}" for name in ("X-Frame-OPTIONS", "x-lower", "ETag", "X-Request-Id") if name not in names]
    got = json.loads(body)
    wanted = ("Authorization", "X-CSRFToken", "x-ODD-name", "Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Real-IP", "CDN-Loop")
    faults += [f"{name} is not in {sorted(got)}" for name in wanted if name not in got]
    faults += [f"{got['X-Forwarded-Proto']} is the client's"] if got.get("X-Forwarded-Proto") != "http" else []
    print("\n".join(faults) or "every name is spelled as it is looked for")
    sys.exit(bool(faults))


def ask(address):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(REQUEST)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body[body.index("{") : body.rindex("}") + 1]


main()
