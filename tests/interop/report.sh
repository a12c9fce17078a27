# Sourced by the other scripts: one line per thing that passed, failed or did not run, said again together at the end.

report_lines=()
report_failed=0

passed() { report_lines+=("passed   $*"); }
failed() { report_lines+=("FAILED   $*"); report_failed=1; }
not_run() { report_lines+=("not run  $*"); }

# Runs a command as a named part: passes or fails by its exit code.
part() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then passed "$name"; else failed "$name"; fi
}

# Prints everything reported and exits 1 where anything failed.
report() {
    printf '\n== what ran and what did not\n'
    printf '  %s\n' "${report_lines[@]}"
    local passed failed
    passed=$(printf '%s\n' "${report_lines[@]}" | grep -c '^passed ' || true)
    failed=$(printf '%s\n' "${report_lines[@]}" | grep -c '^FAILED ' || true)
    printf 'parts: %s passed, %s failed\n' "$passed" "$failed"
    exit "$report_failed"
}
