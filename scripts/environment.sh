# shellcheck shell=bash
# Sourced by the other scripts: `prepare requirements.txt` leaves a ready .venv in the repository's root, which is the
# current directory from then on. Works with the bash 3.2 of macOS and with POSIX tools.

CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
venv_python=.venv/bin/python

fail() {
    echo "$*" >&2
    exit 1
}

# A pyenv shim is on PATH even when its version is not active, so a candidate is run before it counts.
is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

has_uv() {
    uv --version >/dev/null 2>&1
}

# Debian leaves ensurepip out of its Python; uv brings no pip into .venv and so does without.
can_make_venv() {
    "$1" -c 'import venv' 2>/dev/null && { has_uv || "$1" -c 'import ensurepip' 2>/dev/null; }
}

# Every candidate on a line, the best first.
list_pythons() {
    local version pyenv_root
    pyenv_root=$(pyenv root 2>/dev/null || true)
    for version in 3.13 3.12 3.11; do
        echo "python$version"
        [ -z "$pyenv_root" ] || ls -d "$pyenv_root/versions/$version".*/bin/python 2>/dev/null || true
    done
    echo python3
    echo python
}

find_python() {
    local candidate found=""
    while read -r candidate; do
        is_new_enough "$candidate" || continue
        if can_make_venv "$candidate"; then
            echo "$candidate"
            return
        fi
        found=${found:-$candidate}
    done < <(list_pythons)
    [ -n "$found" ] || fail "No Python from 3.11 on was found. Please install Python 3.13."
    fail "$found lacks the module venv or ensurepip. Please install it; on Debian and Ubuntu it comes with" \
        "$("$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')."
}

# A .venv that was interrupted while it was made, or whose Python is gone, is made again.
ensure_venv() {
    [ -e .venv/unfinished ] || ! is_new_enough "$venv_python" || return 0
    local python
    python=$(find_python) || exit 1
    echo "Making .venv with $("$python" --version)." >&2
    rm -rf .venv
    mkdir .venv
    : >.venv/unfinished
    if has_uv; then "$python" -m venv --without-pip .venv; else "$python" -m venv .venv; fi
    rm .venv/unfinished
}

# A file, and options of pip, which uv shares.
install_requirements() {
    if has_uv; then
        echo "Installing $1 into .venv with uv." >&2
        uv pip install --quiet --python "$venv_python" --requirement "$@"
    else
        echo "Installing $1 into .venv with pip." >&2
        # There is no pip yet when .venv was made while uv was there.
        "$venv_python" -m pip --version >/dev/null 2>&1 || "$venv_python" -m ensurepip >/dev/null
        "$venv_python" -m pip install --quiet --quiet --disable-pip-version-check --requirement "$@"
    fi
}

# What .venv holds when it is up to date: the files' checksum, the Python, and which of the files.
describe() {
    echo "$(cat requirements.txt requirements-dev.txt | cksum)" \
        "$("$venv_python" -ISc 'import sys; print(*sys.version_info[:3], sep=".")') $1"
}

prepare() {
    ensure_venv
    local installed
    installed=$(cat .venv/installed 2>/dev/null || true)
    # requirements-dev.txt includes requirements.txt.
    case "$installed" in
    "$(describe "$1")" | "$(describe requirements-dev.txt)") return ;;
    esac
    rm -f .venv/installed
    install_requirements "$1" --require-hashes
    describe "$1" >.venv/installed
}
