#!/bin/sh
# Prints the first interpreter that can carry this project, or says on standard error what is
# missing. Each candidate is run, not only looked up: a name on PATH may be an empty shim.

found=
for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case $version in
        2.* | 3.? | 3.10) found="$found $candidate is Python $version, which is too old." ;;
        *)
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "$candidate"
                exit 0
            fi
            found="$found $candidate (Python $version) lacks venv."
            ;;
    esac
done

{
    echo "This needs Python 3.11 or newer with venv.${found:- There is no python3 on PATH.}"
    case $found in
        *"lacks venv"*) echo "On Debian or Ubuntu: apt install python3-venv" ;;
        *) echo "On Debian or Ubuntu: apt install python3 python3-venv; on macOS: brew install python@3.13" ;;
    esac
    echo "Or name an interpreter: make PYTHON=/path/to/python3.12"
} >&2
exit 1
