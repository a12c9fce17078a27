"""Frameworks disagree about which spellings of a path are the same. None of them may lead around authentication.

    python3 spellings.py NAME COMMAND...

COMMAND starts an application that prints `ready PORT`, answers `secret` at /admin/secret and tells at /hits how often it did.
crossfade stands before it, asks for a key at /admin/{*rest} and for nothing elsewhere. Every spelling is sent as it is, without
the key, first to the application itself, to see which of them reach the handler there, then through crossfade, where none may.
"""

import hashlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request

BINARY = os.environ.get("CROSSFADE_BINARY", "target/debug/crossfade")
PATIENCE_S = 30
KEY = "cfk_spell_" + "0123456789abcdef" * 2

CONFIG = """
[server]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"

[log]
level = "error"
access = false

[auth.keys]
kind = "api_key"
keys = ["spell sha256:{hash} user=tester"]

[upstream.app]
servers = ["http://127.0.0.1:{port}"]

[[route]]
path = "/admin/{{*rest}}"
upstream = "app"
auth = "keys"

[[route]]
path = "/{{*path}}"
upstream = "app"
"""

# As they stand in the request line; HOST is the authority that is asked.
SPELLINGS = r"""
/admin/secret
/admin/secret?x=1
/admin/secret#x
//admin/secret
///admin/secret
/admin//secret
//admin//secret
/./admin/secret
/admin/./secret
/.//admin/secret
/x/../admin/secret
/x/..//admin/secret
//x/../admin/secret
/admin/x/../secret
/public/../admin/secret
/../admin/secret
/%2e/admin/secret
/admin/%2e/secret
/%2e%2e/admin/secret
/x/%2e%2e/admin/secret
/x/.%2e/admin/secret
/x/%2E./admin/secret
/x%2f..%2fadmin/secret
/x/..%2fadmin/secret
/x/%2e%2e%2fadmin%2fsecret
/x/%252e%252e/admin/secret
/x/..%5cadmin/secret
/x/..%c0%afadmin/secret
/%61dmin/secret
/admin/%73ecret
/%61%64%6d%69%6e/%73%65%63%72%65%74
/%41DMIN/secret
/%2561dmin/secret
/%u0061dmin/secret
/ADMIN/secret
/Admin/Secret
/admin/SECRET
/aDmIn/secret
/ADMIN//secret
/ADMIN/secret/
//ADMIN/secret
/admin/secret/
/admin/secret//
/admin/secret/.
/admin/secret/x/..
/admin/secret/%2e
/admin/secret.
/admin/secret..
/admin/secret.json
/admin/secret.html
/admin/secret%2e
/admin/secret%2f
/admin/secret%20
/admin/secret%09
/admin/secret%0a
/admin/secret%0d%0a
/admin/secret%00
/admin/secret%3f
/admin/secret%23
/admin/secret%ff
/admin%00/secret
/admin%20/secret
/%20admin/secret
/+admin/secret
/admin%2fsecret
/admin%2Fsecret
/%2fadmin/secret
/%2Fadmin%2Fsecret
/admin%252fsecret
/admin%5csecret
/admin%255csecret
/admin\secret
\admin\secret
/\admin/secret
/admin%c0%afsecret
/%c0%afadmin/secret
/%e0%80%afadmin/secret
/%c0%ae%c0%ae/admin/secret
/admin;x/secret
/admin;/secret
/admin;x=1;y=2/secret
/;/admin/secret
/;x=1/admin/secret
/admin/;/secret
/admin/;x/secret
/admin/secret;
/admin/secret;x
/admin/secret;jsessionid=1
/admin/secret;/
/x;/../admin/secret
/x/..;/admin/secret
/..;/admin/secret
/.;/admin/secret
/admin/.;/secret
/admin%3bx/secret
/admin/secret%3bx
/admin/secret%3b
/%3b/admin/secret
/ａdmin/secret
/%ef%bd%81dmin/secret
/adm%c4%b1n/secret
/adm%c4%b0n/secret
/admin/%c5%bfecret
/admin/secret%e2%80%8b
/ADM%49N/secret
/admin/secre%74/
http://HOST/admin/secret
http://HOST//admin/secret
http://HOST/%61dmin/secret
http://HOST/ADMIN/secret
HTTP://HOST/admin/secret
http://user@HOST/admin/secret
http://evil.example/admin/secret
admin/secret
./admin/secret
?/admin/secret
""".split()

# A path that is public, and headers by which some frameworks take another.
HEADERS = ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Uri", "X_Original_URL"]


def main():
    name, command = sys.argv[1], sys.argv[2:]
    application = start(command)
    try:
        port = int(await_line(application, r"ready (\d+)")[1])
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory, "proxy.toml")
            file.write_text(CONFIG.format(port=port, hash=hashlib.sha256(KEY.encode()).hexdigest()))
            crossfade = start([BINARY, "run", "--config", str(file)])
            try:
                public = int(await_line(crossfade, r"ready public=http://127\.0\.0\.1:(\d+)")[1])
                failures = judge(name, port, public)
            finally:
                stop(crossfade)
    finally:
        stop(application)
    for failure in failures:
        print("FAILED:", failure)
    sys.exit(bool(failures))


def judge(name, port, public):
    failures = []
    direct = reaching(port, port)
    print(f"{name}: {len(direct)} of {len(requests(port))} spellings reach its handler: {' '.join(direct)}")
    if "/admin/secret" not in direct:
        failures.append("the handler is not there at all: nothing is proved")
    with_key = ask(public, "/admin/secret", [f"X-Api-Key: {KEY}"])
    if status(with_key) != 200 or hits(port) != len(direct) + 1:
        failures.append(f"with the key, /admin/secret answers {status(with_key)} through crossfade, and not 200")
    without = status(ask(public, "/admin/secret", []))
    if without != 401:
        failures.append(f"without the key, /admin/secret answers {without} through crossfade, and not 401")
    through = reaching(public, port)
    print(f"{name}: through crossfade {len(through)} do")
    failures += [f"{spelling} reaches the handler without a key" for spelling in through]
    return failures


def requests(port):
    """What tells a request, its target and its header lines."""
    paths = [(path, path.replace("HOST", f"127.0.0.1:{port}"), []) for path in SPELLINGS]
    return paths + [(f"{header}:", "/", [f"{header}: /admin/secret"]) for header in HEADERS]


def reaching(port, application):
    """The requests to this port after which the application has been hit once more."""
    found, before = [], hits(application)
    for spelling, target, lines in requests(port):
        answer = ask(port, target, lines)
        after = hits(application)
        if after != before or b"\r\nsecret" in answer:
            found.append(spelling)
        before = after
    return found


def hits(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/hits", timeout=PATIENCE_S) as answer:
        return int(answer.read())


def ask(port, target, lines):
    """The whole answer to a GET of this very target, or what there is of it."""
    head = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *lines, "", ""]
    answer = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stream:
        stream.sendall("\r\n".join(head).encode())
        try:
            while piece := stream.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return answer


def status(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found[1]) if found else 0


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def await_line(process, pattern):
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    sys.exit(f"it ended before it was ready, with {process.wait()}")


def stop(process):
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
