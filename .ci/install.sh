#!/bin/sh
# Makes .venv with what a lock file pins, and the checkout itself: install.sh PYTHON LOCK
# Every requirement is in the lock with its hash, so nothing is resolved (--no-deps): any pip since 22.3 does the same.
# uv is used where it is on PATH; it takes seconds where pip takes minutes.
set -eu
python=$1
lock=$2

if [ -z "$python" ]; then
    echo "Parley needs Python 3.11 or newer. Install one, then run this again." >&2
    exit 1
fi
if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv || { rm -rf .venv; exit 1; }
fi

total=$(grep -c '^[a-z0-9]' "$lock")
echo "Installing about $total packages from $lock into .venv ..."
if command -v uv >/dev/null; then
    uv pip install --python .venv/bin/python --require-hashes --no-deps -r "$lock"
    uv pip install --python .venv/bin/python --quiet --no-build-isolation --no-deps -e .
else
    # pip has one line for each package that it fetches; they become one line that counts.
    log=.venv/install.log
    { .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --require-hashes --no-deps -r "$lock" 2>&1 || echo "install failed"; } | tee "$log" |
        awk -v total="$total" -v tty="$(test -t 1 && echo 1)" '
            /^Collecting / { n++; if (tty) printf "\r\033[K  %d of %d  %s", n, total, $2
                             else if (n % 10 == 0) printf "  %d of %d\n", n, total; fflush() }
            /^Installing collected/ { if (tty) printf "\r\033[K"; print "  Unpacking ..."; fflush() }'
    if grep -q '^install failed$' "$log"; then
        grep -v '^Collecting \|^  *Downloading \|^  *Using cached ' "$log" >&2
        exit 1
    fi
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
fi
