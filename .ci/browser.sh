#!/bin/sh
# Prints the path of a Chromium for the browser tests: PARLEY_CHROMIUM, one on PATH, or Playwright's own.
# Where there is none, root on Debian or Ubuntu gets one by apt-get; everybody else is told what to do.
set -eu

find_browser() {
    if [ -n "${PARLEY_CHROMIUM:-}" ] && [ -x "$PARLEY_CHROMIUM" ]; then
        echo "$PARLEY_CHROMIUM"
        return 0
    fi
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
        # Ubuntu's chromium-browser may be a note that points at a snap; only what starts is a browser.
        if path=$(command -v "$name") && "$path" --version >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    for path in "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}"/chromium*/chrome*/chrome* \
        "$HOME"/Library/Caches/ms-playwright/chromium-*/chrome-mac*/*.app/Contents/MacOS/* \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        if [ -f "$path" ] && [ -x "$path" ] && "$path" --version >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

find_browser && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No Chromium here: installing Debian's package." >&2
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; } >&2
    find_browser && exit 0
fi

cat >&2 <<'WORDS'
The browser tests need Chromium or Chrome, and none was found. Do one of these:
  Debian, Ubuntu:  sudo apt-get install chromium
  Fedora:          sudo dnf install chromium
  macOS:           brew install --cask google-chrome
  anywhere:        .venv/bin/playwright install chromium
or name one:       PARLEY_CHROMIUM=/path/to/chrome make test
WORDS
exit 1
