"""A Spring application that believes forwarded fields, behind crossfade, behind a balancer: whose request does it see?

    python3 forwarded.py COMMAND...

COMMAND starts spellings/spring with `--server.forward-headers-strategy=framework`: it prints `ready PORT`, and tells at /seen
what its requests look like. Spring takes `Forwarded` where there is one, and else `X-Forwarded-*`.
"""

import http.client
import json
import re
import subprocess
import sys
import tempfile

from world import Crossfade

PATIENCE_S = 30
SHOP = {"client": "203.0.113.7", "secure": True, "link": "https://shop.example/seen"}
X_SHOP = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
NOBODY = {"client": "127.0.0.1", "secure": False, "link": "http://a.example/seen"}

# What the balancer sends, and what Spring then sees.
TRUSTED = [
    ({}, NOBODY),
    (X_SHOP, SHOP),
    ({"Forwarded": "for=203.0.113.7;proto=https;host=shop.example"}, SHOP),
    ({"Forwarded": 'for="203.0.113.7:4711";host=shop.example;proto=https'}, SHOP),
    # Both: what the balancer did not write is what its client sent.
    ({**X_SHOP, "Forwarded": "for=198.51.100.1;proto=http;host=evil.example"}, SHOP),
    ({**X_SHOP, "X-Forwarded-Port": "8443"}, {**SHOP, "link": "https://shop.example:8443/seen"}),
    ({**X_SHOP, "X-Forwarded-Port": "443"}, SHOP),
    # Spring believes the first of a list, whatever stands before it: a balancer that appends lets its clients choose.
    ({"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}, {**NOBODY, "client": "198.51.100.1"}),
    ({"Forwarded": 'for="[2001:db8::7]";proto=https;host=shop.example'}, {**SHOP, "client": "[2001:db8::7]"}),
]
# Nobody is trusted: every field is the client's own invention.
UNTRUSTED = [
    (X_SHOP, NOBODY),
    ({"Forwarded": "for=203.0.113.7;proto=https;host=shop.example"}, NOBODY),
    ({**X_SHOP, "X-Forwarded-Port": "8443", "X-Forwarded-Ssl": "on"}, NOBODY),
]


def main():
    spring = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
    faults = []
    try:
        while not (ready := re.search(r"ready (\d+)", line := spring.stdout.readline())):
            assert line, "Spring has ended"
        for server, rows in (('trusted_proxies = ["127.0.0.0/8"]', TRUSTED), ("", UNTRUSTED)):
            with tempfile.TemporaryDirectory() as directory:
                crossfade = Crossfade(f"127.0.0.1:{ready[1]}", server, directory)
                try:
                    for fields, wanted in rows:
                        seen = ask(crossfade.address, fields)
                        faults += [] if seen == wanted else [f"{server} {fields}: Spring sees {seen}, and not {wanted}"]
                finally:
                    crossfade.stop()
    finally:
        spring.kill()
    print("\n".join(faults) or f"Spring sees the client, scheme and host of {len(TRUSTED) + len(UNTRUSTED)} requests")
    sys.exit(bool(faults))


def ask(address, fields):
    client = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    client.request("GET", "/seen", headers={"Host": "a.example", **fields})
    return json.loads(client.getresponse().read())


main()
