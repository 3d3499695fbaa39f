#!/bin/sh
# Makes .venv from a lock file, with the checkout itself in it: install.sh LOCK
# The lock of the documentation makes .venv-docs, without the checkout.
# Does nothing when that has been done. PYTHON names the Python to use; left out, the newest one here is used.
#
# The lock holds every requirement with its hash, so nothing is resolved (--no-deps): any pip since 22.3 installs
# the same. uv is used where it is on PATH; it takes seconds where pip takes minutes.
set -eu
lock=$1
case $lock in
    *-docs.lock) venv=.venv-docs ;;
    *) venv=.venv ;;
esac
log=$venv/install.log
here=$(pwd -P)
# Settings of other projects that would lead elsewhere.
unset PYTHONPATH PYTHONHOME
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "$*" >&2; }

trap 'say ""; say "Interrupted. Run the same command again to go on."; exit 130' INT TERM

is_recent() { "$1" -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

can_make_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

version_of() { "$1" -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

has_uv() { uv --version >/dev/null 2>&1; }

# What has to be the same for the environment to count as made.
fingerprint() { { cat "$1" pyproject.toml .ci/install.sh; echo "$here"; } | cksum; }

# The stamp of a lock: requirements.lock makes .run, requirements-dev.lock .dev, requirements-docs.lock .docs.
stamp_of() {
    case $1 in
        *-dev.lock) echo "$venv/.dev" ;;
        *-docs.lock) echo "$venv/.docs" ;;
        *) echo "$venv/.run" ;;
    esac
}

is_done() { [ -f "$(stamp_of "$1")" ] && [ "$(cat "$(stamp_of "$1")")" = "$(fingerprint "$1")" ]; }

# The newest suitable Python here; one that can't make environments only if there is no other.
find_python() {
    second=""
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if path=$(command -v "$name") && is_recent "$path"; then
            if can_make_environments "$path"; then
                echo "$path"
                return
            fi
            second=${second:-$path}
        fi
    done
    echo "$second"
}

make_environment() {
    if [ -n "${PYTHON:-}" ]; then
        if ! is_recent "$PYTHON"; then
            say "PYTHON=$PYTHON is no Python 3.11 or newer. Parley needs one."
            exit 1
        fi
        python=$PYTHON
    else
        python=$(find_python)
    fi
    if [ -z "$python" ] && has_uv; then
        echo "No Python 3.11 or newer on PATH: uv makes an environment in $venv, and fetches a Python if it has none ..."
        uv venv --quiet --python '>=3.11' "$venv" && return
    fi
    if [ -z "$python" ]; then
        say "Parley needs Python 3.11 or newer, and none was found. Install one, then run the same command again:"
        say "  Debian 12 or newer, Ubuntu 24.04 or newer:  sudo apt-get install python3 python3-venv"
        say "  macOS:                                      brew install python"
        say "  others:                                     https://www.python.org/downloads/"
        say "A Python that is not on PATH can be named: make run PYTHON=/path/to/python3"
        exit 1
    fi
    making="Making an environment in $venv with Python $(version_of "$python") ($python) ..."
    if can_make_environments "$python"; then
        echo "$making"
        "$python" -m venv "$venv" && return
        say "$python could not make the environment in $here/$venv; the lines above say why."
    elif has_uv; then
        echo "$making"
        uv venv --quiet --python "$python" "$venv" && return
    else
        say "$python can't make virtual environments: its module ensurepip or venv is missing."
        say "Install it, then run the same command again:"
        say "  Debian, Ubuntu:  sudo apt-get install python3-venv    (or python$(version_of "$python")-venv)"
        say "  or install uv:   https://docs.astral.sh/uv/"
    fi
    rm -rf "$venv"
    exit 1
}

# Whether an environment that is there can be used; says why not.
is_usable() {
    if [ ! -e "$venv/bin/python" ] && [ ! -L "$venv/bin/python" ]; then
        reason="is incomplete"
    elif ! version=$(version_of "$venv/bin/python"); then
        reason="does not work any more: its Python was removed or replaced"
    elif ! is_recent "$venv/bin/python"; then
        reason="has Python $version, and Parley needs 3.11 or newer"
    elif [ ! -d "$venv/lib/python$version/site-packages" ]; then
        reason="was made with another Python than the $version that is there now"
    elif [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$version" ]; then
        reason="has Python $version, and PYTHON=$PYTHON was asked for"
    else
        return 0
    fi
    return 1
}

# Whether installing into the environment gives a whole one: not after a move or an interrupted install.
is_sound() {
    if count=$("$venv/bin/python" -I .ci/environment.py "$lock" "$here/$venv" 2>/dev/null); then
        has_uv || "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return 0
        reason="has no pip"
    else
        reason=${count:-is damaged}
    fi
    return 1
}

# pip's output as progress: one line on a terminal, one line for every tenth package elsewhere. Ends with pip's status.
progress() {
    n=0
    status=1
    tty=""
    if [ -t 1 ]; then tty=1; fi
    while IFS= read -r line; do
        case $line in
            "Collecting "* | "Processing "*)
                n=$((n + 1))
                name=${line#* }
                if [ -n "$tty" ]; then
                    printf '\r\033[K  %d of %d  %s' "$n" "$count" "${name%% *}"
                elif [ $((n % 10)) -eq 0 ]; then
                    printf '  %d of %d\n' "$n" "$count"
                fi ;;
            "Installing collected packages"*) printf '%s  Unpacking ...\n' "${tty:+$(printf '\r\033[K')}" ;;
            *"Retrying ("*) [ -n "$waiting" ] || { waiting=1; echo; say "  The package index does not answer; trying again ..."; } ;;
            "exit "*) status=${line#exit } ;;
        esac
    done
    return "$status"
}

# The generator of the documentation reads files and imports nothing of the checkout.
with_checkout() { [ "$venv" = .venv ]; }

install_by_uv() {
    uv pip install --python "$venv/bin/python" --require-hashes --no-deps -r "$lock" || return
    ! with_checkout || uv pip install --python "$venv/bin/python" --quiet --no-build-isolation --no-deps -e .
}

install_by_pip() {
    waiting=""
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || { explain; return 1; }
    { "$venv/bin/python" -m pip install --progress-bar off --require-hashes --no-deps -r "$lock" 2>&1 &&
        { ! with_checkout || "$venv/bin/python" -m pip install --quiet --no-build-isolation --no-deps -e . 2>&1; }
        echo "exit $?"; } | tee "$log" | progress && return
    say ""
    grep -v '^Collecting \|^Processing \|^ *Downloading \|^ *Using cached \|^Requirement already \|^exit \|Retrying (' "$log" >&2 || :
    explain
    return 1
}

# The next step, by what pip said.
explain() {
    say ""
    if [ ! -f "$log" ]; then
        : # uv has said why, and there is no pip to try
    elif grep -q 'CERTIFICATE_VERIFY_FAILED\|SSLError' "$log"; then
        say "The certificate of the package index is not trusted. Behind a proxy that has a certificate of its own, name it:"
        say "  PIP_CERT=/path/to/ca.pem    (for uv: SSL_CERT_FILE=/path/to/ca.pem)"
    elif grep -q 'Retrying (\|ConnectionError\|Max retries exceeded\|Read timed out\|ReadTimeoutError\|ProxyError' "$log"; then
        say "The package index can't be reached. Is this machine online? Behind a proxy or with a mirror, name it:"
        say "  HTTPS_PROXY=http://HOST:PORT or PIP_INDEX_URL=https://HOST/simple"
    elif grep -q 'No space left on device' "$log"; then
        say "The disk is full; Parley needs about 300 MB here, and 800 MB for development."
    fi
    say "Then run the same command again: what has been downloaded is kept. docs/install.md tells more."
}

if [ -d "$venv" ] && ! is_usable; then
    say "The environment in $venv $reason. It is made again."
    rm -rf "$venv"
fi
is_done "$lock" && exit 0
if [ -e "$venv" ] && ! is_sound; then
    say "The environment in $venv $reason. It is made again."
    rm -rf "$venv"
fi
if [ ! -e "$venv" ]; then
    make_environment
    is_sound || { say "The new environment in $venv $reason."; exit 1; }
fi

rm -f "$(stamp_of "$lock")" "$log"
if has_uv; then
    echo "Installing the packages of $lock into $venv with uv ..."
    install_by_uv || { say "uv could not install them. Trying pip, which has its own settings ..."; install_by_pip; }
else
    echo "Installing $count package$([ "$count" = 1 ] || echo s) of $lock into $venv with pip ..."
    install_by_pip
fi
# The development lock holds everything that the other one holds.
! with_checkout || fingerprint requirements.lock > "$venv/.run"
fingerprint "$lock" > "$(stamp_of "$lock")"
