#!/usr/bin/env bash
# Every test is named <subject>_<condition>_<result>: three words at least, below 60 characters.
set -euo pipefail
cd "$(dirname "$0")/../.."
find src tests benches/load/src -name '*.rs' -print0 | xargs -0 awk '
    /^ *#\[(tokio::)?test/ { is_test = 1 }
    is_test && match($0, /fn [a-z0-9_]+/) {
        name = substr($0, RSTART + 3, RLENGTH - 3); is_test = 0; count++
        if (length(name) > 59 || split(name, words, "_") < 3) { print FILENAME ":" FNR ": " name; bad = 1 }
    }
    END { exit bad }' || { echo 'names: these tests are not named <subject>_<condition>_<result>, below 60 characters' >&2; exit 1; }
