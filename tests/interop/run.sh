#!/usr/bin/env bash
# All tests: first cargo's own, then the interop stage with programs that this project did not write.
# A part that cannot run here is named at the end with the reason; only a part that failed makes the exit code 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/interop/report.sh

# The Flask example's packages, from its lock; kept until the lock changes.
install_flask() {
    local lock=examples/flask-captions/requirements.txt
    cmp -s "$lock" .venv/installed.txt && return
    rm -rf .venv
    python3 -m venv .venv && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" && cp "$lock" .venv/installed.txt
}

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    not_run 'flask-captions: python3 has no venv module (on Debian: the package python3-venv)'
elif part 'install Flask and gunicorn' install_flask && [ -e .venv/installed.txt ]; then
    export CROSSFADE_FLASK_VENV="$PWD/.venv"
fi

# --no-fail-fast: one broken test binary does not hide the others.
part 'cargo test' cargo test --locked --no-fail-fast

for peer in nginx haproxy; do
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v $peer >/dev/null || not_run "differential against $peer: it is not installed (on Debian: the package $peer)"
done
if ! command -v openssl >/dev/null; then
    not_run 'differential (beside nginx and haproxy): there is no openssl'
else
    part 'differential (beside nginx and haproxy)' bash tests/interop/differential.sh
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    not_run 'node clients (ws, undici): there is no node with npm'
else
    part 'install ws, undici and socket.io-client' npm --prefix tests/interop/node ci --silent --no-audit --no-fund
    part 'node clients (ws, undici)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" \
        node --test --test-reporter=spec tests/interop/node/clients.test.mjs
    part 'socket.io-client, the newest and 4.0' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" \
        node --test --test-force-exit --test-reporter=spec tests/interop/node/socketio.test.mjs tests/interop/node/recovery.test.mjs
    part 'install socket.io' npm --prefix tests/interop/socketio ci --silent --no-audit --no-fund
    part 'the same clients against socket.io and crossfade' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" \
        node tests/interop/socketio/differential.mjs
    if [ -z "${CROSSFADE_FLASK_VENV:-}" ]; then
        not_run 'socket.io-client before the Flask example: Flask is not installed'
    else
        part 'socket.io-client before the Flask example' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" \
            node --test --test-force-exit --test-reporter=spec tests/interop/node/flask.test.mjs
    fi
    part 'the page without a library (docs/clients.md)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" \
        node --test --test-force-exit --test-reporter=spec tests/interop/node/live.test.mjs
    if ! command -v curl >/dev/null; then
        not_run 'docs/getting-started.md, word for word: curl is not installed (on Debian: the package curl)'
    else
        part 'docs/getting-started.md, word for word' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
            python3 tests/interop/getting_started.py
    fi
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    not_run 'protocol suites (Engine.IO, Socket.IO): there is no node with npm'
elif ! bash tests/interop/protocol_suites.sh --can-run 2>/dev/null; then
    not_run 'protocol suites (Engine.IO, Socket.IO): they are in no package registry; ENGINEIO_SUITE and SOCKETIO_SUITE name their folders'
else
    part 'protocol suites (Engine.IO, Socket.IO)' bash tests/interop/protocol_suites.sh
fi

# Debian's name first; CHROMIUM names another one. Nothing is installed for it but the browser.
chromium=$(command -v "${CHROMIUM:-chromium}" chromium-browser google-chrome | head -n 1) || chromium=
if ! command -v node >/dev/null; then
    not_run 'origins in a browser: there is no node'
elif [ -z "$chromium" ]; then
    not_run 'origins in a browser: there is no Chromium (on Debian: the package chromium)'
else
    part 'origins in a browser (Chromium)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" CHROMIUM="$chromium" \
        node --test --test-reporter=spec tests/interop/browser/origins.test.mjs
    if [ -z "${CROSSFADE_FLASK_VENV:-}" ]; then
        not_run "socket.io-client on the Flask example's page (Chromium): Flask is not installed"
    else
        part "socket.io-client on the Flask example's page (Chromium)" env CROSSFADE_BINARY="$PWD/target/debug/crossfade" CHROMIUM="$chromium" \
            node --test --test-reporter=spec tests/interop/browser/socketio.test.mjs
    fi
fi

# Applications of three frameworks behind a route that asks for a key: no spelling of its path leads around it.
spellings=tests/interop/spellings
spelling_step() {
    part "spellings of a path ($1)" env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 python3 $spellings/spellings.py "$@"
}
if [ -z "${CROSSFADE_FLASK_VENV:-}" ]; then
    not_run 'spellings of a path (flask): Flask is not installed'
else
    spelling_step flask "$CROSSFADE_FLASK_VENV/bin/python" $spellings/flask_app.py
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    not_run 'spellings of a path (express): there is no node with npm'
elif part 'install express' npm --prefix $spellings/express ci --silent --no-audit --no-fund; then
    spelling_step express node $spellings/express/app.mjs
fi
if ! command -v mvn >/dev/null || ! command -v java >/dev/null; then
    not_run 'spellings of a path (spring): there is no Java with Maven (on Debian: the package maven)'
elif part 'build the Spring application' mvn -q -B -ntp -f $spellings/spring/pom.xml package && [ -e $spellings/spring/target/spellings.jar ]; then
    spelling_step spring java -jar $spellings/spring/target/spellings.jar \
        --server.port=0 --server.address=127.0.0.1 --spring.main.banner-mode=off --logging.level.root=off
fi

# What the same application sees of a client behind a balancer.
if [ -e $spellings/spring/target/spellings.jar ]; then
    part 'forwarded fields (spring)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
        python3 tests/interop/forwarded.py java -jar $spellings/spring/target/spellings.jar --server.port=0 --server.address=127.0.0.1 \
        --spring.main.banner-mode=off --logging.level.root=off --server.forward-headers-strategy=framework
else
    not_run 'forwarded fields (spring): the Spring application is not built'
fi

if [ -z "${CROSSFADE_FLASK_VENV:-}" ]; then
    not_run 'a unix socket (gunicorn): gunicorn is not installed'
else
    part 'a unix socket (gunicorn)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
        python3 tests/interop/unix_server.py "$CROSSFADE_FLASK_VENV/bin/gunicorn"
fi

# Steps in Python that put a program of Debian's before or behind the binary that cargo test has built.
load_step() {
    local name=$1 program=$2 package=$3 script=("${@:4}")
    if ! command -v "$program" >/dev/null; then
        not_run "$name: $program is not installed (on Debian: the package $package)"
    else
        part "$name" env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 python3 "${script[@]}"
    fi
}
load_step 'slow clients (slowhttptest)' slowhttptest slowhttptest tests/interop/slow_clients.py
load_step 'HTTP/2 load (h2load)' h2load nghttp2-client tests/interop/h2load.py

load_step 'field names (PHP)' php php-cli tests/interop/field_names.py
PATH=$PATH:/usr/sbin:/usr/local/sbin load_step 'checks over HTTP/1.0 (HAProxy, keepalived)' haproxy haproxy tests/interop/probes.py
load_step 'early answers (Java)' javac default-jdk-headless tests/interop/early_answers.py java
if ! command -v node >/dev/null; then
    not_run 'early answers (curl, Node over HTTP/2): there is no node'
else
    load_step 'early answers (curl, Node over HTTP/2)' curl curl tests/interop/early_answers.py http2
fi

# gRPC's packages from their lock, kept until that changes; bodies.py says where it did without.
install_grpc() {
    local lock=tests/interop/grpc-requirements.txt
    cmp -s "$lock" .venv-grpc/installed.txt && return
    rm -rf .venv-grpc
    python3 -m venv .venv-grpc && .venv-grpc/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" && cp "$lock" .venv-grpc/installed.txt
}
if ! command -v openssl >/dev/null; then
    not_run 'bodies (http.client, https server, gRPC): there is no openssl'
else
    python=python3
    if install_grpc; then
        python=.venv-grpc/bin/python
    else
        not_run 'bodies (gRPC): grpcio cannot be installed (see tests/interop/grpc-requirements.txt)'
    fi
    part 'bodies (http.client, https server, gRPC)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
        $python tests/interop/bodies.py
fi

install_python_socketio() {
    local lock=tests/interop/socketio-requirements.txt
    cmp -s "$lock" .venv-socketio/installed.txt && return
    rm -rf .venv-socketio
    python3 -m venv .venv-socketio && .venv-socketio/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" && cp "$lock" .venv-socketio/installed.txt
}
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    not_run 'python-socketio: python3 has no venv module (on Debian: the package python3-venv)'
elif part 'install python-socketio' install_python_socketio && [ -e .venv-socketio/installed.txt ]; then
    part 'python-socketio over both transports' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
        .venv-socketio/bin/python tests/interop/python_socketio.py
fi

part 'everybody comes back at once (1,000 clients)' env CROSSFADE_BINARY="$PWD/target/debug/crossfade" PYTHONDONTWRITEBYTECODE=1 \
    python3 tests/interop/reconnect.py --clients 1000 --sessions 200

autobahn=$(bash tests/interop/python27.sh) || autobahn=
if [ -z "$autobahn" ]; then
    not_run 'autobahn: the suite needs Python 2.7 with pip, and there is none (looked for python2.7 and in pyenv)'
else
    part 'autobahn' bash tests/interop/autobahn.sh
    part 'autobahn through a tunnel' bash tests/interop/autobahn.sh --tunnel
fi

if bash tests/interop/testssl.sh --can-run; then
    part 'testssl' bash tests/interop/testssl.sh
else
    not_run 'testssl: the tool is not installed (on Debian: the package testssl.sh)'
fi

if bash tests/interop/units.sh --can-run; then
    part 'systemd units' bash tests/interop/units.sh
else
    not_run 'systemd units: there is no systemd-analyze that judges files (on Debian: the package systemd)'
fi

if [ ! -d fuzz ]; then
    not_run 'fuzz: there is no target yet'
elif ! bash tests/interop/fuzz.sh --can-run; then
    not_run 'fuzz: no C++ compiler for libFuzzer (on Debian: the package g++)'
else
    part 'fuzz' bash tests/interop/fuzz.sh "${FUZZ_SECONDS:-10}"
fi

report
