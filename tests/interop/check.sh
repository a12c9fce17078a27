#!/usr/bin/env bash
# What can be judged without running anything: format, lints, dependencies, documentation.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/interop/report.sh

part 'cargo fmt' cargo fmt --all --check
part 'cargo clippy' cargo clippy --locked --quiet --all-targets -- -D warnings
part 'test names' bash tests/interop/names.sh
RUSTDOCFLAGS='-D warnings' part 'cargo doc' cargo doc --locked --quiet --no-deps --document-private-items
part 'prose of the pages' python3 tests/interop/prose.py
if cargo deny --version >/dev/null 2>&1; then
    part 'cargo deny' cargo deny --locked check
else
    not_run 'cargo deny: it is not installed (cargo install --locked cargo-deny)'
fi
report
