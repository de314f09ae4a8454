# Sourced by the scripts here, with the name of their folder and their arguments: finds `ensue`, and installs what
# others wrote, in the versions that the scripts name, into a folder of its own below target/peers. Nothing else on the
# machine changes. What cannot be had ends the script with 77: that is not passed, and a failure under CI.
set -euo pipefail

peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=$peers/$1
[ $# = 2 ] || { printf 'usage: peers/%s/run ENSUE, a program with all features\n' "$1" >&2; exit 2; }
ensue=$(realpath "$2")
[ -x "$ensue" ] || { printf '%s is not a program\n' "$ensue" >&2; exit 2; }
installed=${PEERS_INSTALLED:-$peers/../target/peers}/$1
mkdir -p "$installed"
installed=$(cd "$installed" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The module `ensue`, which starts servers.
export PYTHONPATH=$peers PYTHONDONTWRITEBYTECODE=1

cannot_try() { printf '%s\n' "$*"; exit 77; }

needs() {
  local program
  for program in "$@"; do
    command -v "$program" > /dev/null || cannot_try "$program is not installed"
  done
}

# Whether this was installed before, in these versions. What was not has to be allowed.
is_installed() {
  mark=$installed/.$(printf '%s' "$*" | cksum | cut -d ' ' -f 1)
  [ -e "$mark" ] && return
  [ "${PEERS_INSTALL:-yes}" = yes ] || cannot_try "$* is not installed; \`cargo xtask test --install\` installs it"
  return 1
}

# Packages of PyPI, as `pip install` takes them; then $python has them.
pip_install() {
  needs python3
  python=$installed/python/bin/python
  is_installed "$@" && return
  python3 -m venv "$installed/python" || cannot_try 'python3 has no venv'
  "$python" -m pip install --quiet --disable-pip-version-check "$@" || cannot_try "pip cannot install $*"
  touch "$mark"
}

# Packages of npm; then node finds them.
npm_install() {
  needs node npm
  export NODE_PATH=$installed/node_modules
  is_installed "$@" && return
  npm install --silent --no-fund --no-audit --prefix "$installed" "$@" || cannot_try "npm cannot install $*"
  touch "$mark"
}

# A program of the Go proxy, with its version: then it is on the PATH.
go_install() {
  needs go
  export PATH=$installed/bin:$PATH
  is_installed "$1" && return
  GOBIN=$installed/bin GOFLAGS=-mod=mod go install "$1" || cannot_try "go cannot install $1"
  touch "$mark"
}

# A program in the folder $1, with what its go.mod names: then it is at $2.
go_build() {
  needs go
  local proxy
  proxy=$([ "${PEERS_INSTALL:-yes}" = yes ] && go env GOPROXY || echo off)
  (cd "$1" && GOPROXY=$proxy go build -o "$2" .) || cannot_try "go cannot build $1 with what it needs"
}
