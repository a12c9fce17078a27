#!/usr/bin/env bash
# Prints the path of a Python 2.7 that has pip, wherever it is; exits 1 where there is none.
set -uo pipefail

candidates() {
    command -v python2.7
    if command -v pyenv >/dev/null; then
        pyenv versions --bare | grep -E '^2\.7(\.|$)' | while read -r version; do
            echo "$(pyenv prefix "$version")/bin/python2.7"
        done
    fi
}

# A version manager's shim exists without being able to run, so each candidate is asked.
candidates 2>/dev/null | while read -r python; do
    if "$python" -c 'import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
        echo "$python"
        break
    fi
done | grep .
