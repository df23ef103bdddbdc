#!/bin/sh
# Make the virtualenv that `make` works in: $1 is the lock file. Done once per content of the lock file.
set -eu
lock=$1
venv=.venv
stamp=$venv/.$(basename "$lock" .txt)-$(cksum < "$lock" | cut -d' ' -f1)
[ -f "$stamp" ] && exit 0
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version > /dev/null 2>&1; then
    rm -rf "$venv"
    # Some systems ship Python without ensurepip: virtualenv brings its own pip.
    python3 -m venv "$venv" > /dev/null 2>&1 && "$venv/bin/python" -m pip --version > /dev/null 2>&1 || {
        rm -rf "$venv" .tools
        python3 -m pip install --quiet --disable-pip-version-check --target .tools virtualenv 2> /dev/null
        PYTHONPATH=.tools python3 -m virtualenv --quiet "$venv"
    }
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
rm -f "$venv"/."$(basename "$lock" .txt)"-*
touch "$stamp"
