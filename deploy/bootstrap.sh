#!/usr/bin/env bash
# Builds the environment .venv from requirements.lock, every file checked by its hash; quick when nothing changed.
# Usage: deploy/bootstrap.sh   (PYTHON=... names another interpreter, VENV=... another directory)
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${VENV:-.venv}"

say() { printf 'groundwatch: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$name"
      return
    fi
  done
  fail "Python 3.11 or newer is needed and was not found (python3 is $(python3 -V 2>&1 || echo absent)); install it, or name it with PYTHON=/path/to/python3"
}

python="$(find_python)"
wanted="$(cat requirements-bootstrap.lock requirements.lock pyproject.toml | cksum) $(pwd) $("$python" -c 'import sys; print(sys.version_info[:2])')"
stamp="$venv/.groundwatch-stamp"
if [ -x "$venv/bin/groundwatch" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  fail "this Python has no venv module; on Debian: apt-get install python3-venv"

say "building the environment in $venv (once; about a minute)"
# A moved checkout or another Python leaves an environment whose scripts point elsewhere.
if ! "$venv/bin/python" -c "import sys, os; sys.exit(os.path.realpath(sys.prefix) != os.path.realpath('$venv'))" 2>/dev/null ||
  ! "$venv/bin/pip" --version >/dev/null 2>&1; then
  "$python" -m venv --clear "$venv"
fi
"$venv/bin/pip" install --disable-pip-version-check -q --require-hashes -r requirements-bootstrap.lock

say "installing the locked dependencies"
# uv is quick but does not read pip's configuration (a company's mirror, say); pip is the slower way to the same files.
if ! VIRTUAL_ENV="$venv" "$venv/bin/uv" pip install --system-certs --python "$venv/bin/python" --require-hashes -r requirements.lock; then
  say "uv could not reach the packages; trying pip with its own configuration"
  "$venv/bin/pip" install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
fi
"$venv/bin/pip" install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
printf '%s' "$wanted" >"$stamp"
say "environment ready"
