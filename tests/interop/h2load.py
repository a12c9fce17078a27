"""nghttp2's h2load against crossfade: every request over HTTP/2 is answered, in the clear by prior knowledge and over TLS."""

import re
import subprocess
import sys

from world import world

# Requests, connections, streams on each.
RUNS = [(2000, 10, 1), (4000, 20, 10), (2000, 4, 100)]


def main():
    failed = False
    for tls in (False, True):
        with world(tls) as crossfade:
            scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
            port = crossfade.address.rsplit(":", 1)[1]
            for asked, clients, streams in RUNS:
                command = ["h2load", f"-n{asked}", f"-c{clients}", f"-m{streams}", f"{scheme}://{host}:{port}/word"]
                done = subprocess.run(command, capture_output=True, text=True, timeout=120)
                protocol = re.search(r"Application protocol: (\S+)", done.stdout)
                counts = re.search(r"^requests: .*$", done.stdout, re.M)
                codes = re.search(r"^status codes: .*$", done.stdout, re.M)
                good = (
                    protocol is not None
                    and protocol[1] in ("h2", "h2c")
                    and f" {asked} succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
                    and f"status codes: {asked} 2xx" in done.stdout
                )
                failed |= not good
                told = [line[0] for line in (protocol, counts, codes) if line] or [(done.stdout + done.stderr)[-300:]]
                print(f"h2load -c {clients} -m {streams} {scheme}: {'ok' if good else 'FAILED'}; {'; '.join(told)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
