#!/usr/bin/env bash
# Runs the test suites of the Engine.IO and Socket.IO protocols' authors against the example `socketio_echo`, which reads and
# writes over the session's own transports, and what applies of the second against crossfade itself.
#   protocol_suites.sh             both suites: all green
#   protocol_suites.sh --record    also writes the result to protocol-suites-result.md
#   protocol_suites.sh --can-run   says by its exit code whether the suites are there
# The suites are in no package registry: ENGINEIO_SUITE and SOCKETIO_SUITE name the folders `test-suite` of checkouts of
# socketio/engine.io-protocol and socketio/socket.io-protocol at the commits below. The libraries that they import come from npm.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/interop/suites
work=target/protocol-suites
result=tests/interop/protocol-suites-result.md
engineio=(Engine.IO 4 f21de7b00ed09b3bbad2807db718ea5d6bc36aba 1d13901dd6ee1ba9b70a5c5c8a19ff5da397eb0aa40ec892e813b9ff7ad6edf8)
socketio=(Socket.IO 5 4f633dd6a4445492d57af3b27ddd2d336014f1f1 9fc4abce7be55bcd8741a2c62d242f3eb85560d2b669c15f2fdd8abea9a0c30d)
# Crossfade answers by its file and not by code of the suite's: it echoes nothing and tells no client its own `auth`.
applies='(Engine.IO protocol|main namespace$|to a custom namespace$|unknown namespace|invalid handshake|no handshake)'

[ -e "${ENGINEIO_SUITE:-}/test-suite.js" ] && [ -e "${SOCKETIO_SUITE:-}/test-suite.js" ] || {
    echo 'protocol suites: ENGINEIO_SUITE and SOCKETIO_SUITE name no folders with a test-suite.js' >&2
    exit 1
}
[ "${1:-}" != --can-run ] || exit 0

npm --prefix $here ci --silent --no-audit --no-fund
cargo build --locked --quiet --example socketio_echo --bin crossfade
binaries=${CARGO_TARGET_DIR:-target}/debug
mkdir -p $work

started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT
# Starts a program; $address is what its first line of the form `WORD ADDRESS …` says.
start() {
    local word=$1 name
    shift
    name=$(basename "$1")
    # What an earlier run said is not this one's address.
    : >"$work/$name.out"
    "$@" >"$work/$name.out" 2>"$work/$name.err" &
    started+=($!)
    until address=$(sed -n "s/^$word\\([^ ]*\\).*/\\1/p" "$work/$name.out") && [ -n "$address" ]; do
        kill -0 $! 2>/dev/null || { echo "protocol suites: $name ended:" >&2; cat "$work/$name.err" >&2; exit 1; }
        sleep 0.1
    done
}

# Two tests race with the server by a millisecond (a poll at the ping's deadline, a poll and a POST at once): a test that fails is
# tried again twice.
judge() {
    local subject=$1 folder=$2 only=$3 protocol=$4 version=$5 commit=$6 sum=$7
    echo "$sum  $folder/test-suite.js" | sha256sum --check --quiet
    sed "s|http://localhost:3000|http://$address|" "$folder/test-suite.js" >$here/test-suite.js
    echo "protocol suites: $protocol $version, $subject"
    local status=0
    timeout 300 $here/node_modules/.bin/mocha --exit --retries 2 --grep "$only" $here/test-suite.js | tee $work/run.log || status=1
    rm $here/test-suite.js
    local passed failed
    passed=$(sed -n 's/^ *\([0-9]*\) passing.*/\1/p' $work/run.log)
    failed=$(sed -n 's/^ *\([0-9]*\) failing.*/\1/p' $work/run.log)
    rows+=("| $protocol $version | \`${commit:0:12}\` | $subject | ${passed:-0} | ${failed:-0} |")
    [ $status = 0 ] && [ "${passed:-0}" -gt 0 ] || all_green=
}
rows=()
all_green=yes

start 'listening ' $binaries/examples/socketio_echo
judge '`examples/socketio_echo`' "$ENGINEIO_SUITE" . "${engineio[@]}"
judge '`examples/socketio_echo`' "$SOCKETIO_SUITE" . "${socketio[@]}"

cat >$work/proxy.toml <<'TOML'
server = {listen = "127.0.0.1:0"}
admin = {listen = "127.0.0.1:0"}
log = {level = "error"}
websocket = {hello_timeout = "1s"}
upstream.none.servers = ["http://127.0.0.1:9"]
[[route]]
path = "/{*path}"
upstream = "none"
[socketio]
ping_interval = "300ms"
ping_timeout = "200ms"
recovery = false
[[socketio.namespace]]
name = "/"
greet = {event = "auth", body = {}}
[[socketio.namespace]]
name = "/custom"
greet = {event = "auth", body = {}}
TOML
start 'ready public=http:\/\/' $binaries/crossfade run --config $work/proxy.toml
judge '`crossfade`, what applies' "$SOCKETIO_SUITE" "$applies" "${socketio[@]}"

if [ "${1:-}" = --record ]; then
    {
        printf '# The protocols'"'"' own test suites\n\n'
        printf 'Made by `bash tests/interop/protocol_suites.sh --record`, which says where the suites are.\n\n'
        printf '| suite | commit | against | passed | failed |\n|---|---|---|---|---|\n'
        printf '%s\n' "${rows[@]}"
    } >$result
fi
printf '%s\n' "${rows[@]}"
[ -n "$all_green" ]
