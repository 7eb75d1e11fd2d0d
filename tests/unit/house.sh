#!/bin/bash
# Holds the tree to its own rules: house.sh SOURCE_FOLDER BUILD_FOLDER
#  - what house.py says: no circles, rooms that use those that they may, nothing too large;
#  - the function declarations in a header stand below a comment, blank line by blank line (what only makes or frees a
#    thing needs none);
#  - no script of ours pipes into what may leave before its input ends (grep -q, head, sed with q, awk with exit): under pipefail the
#    program before it dies of SIGPIPE now and then, and the script fails at random;
#  - rametd.service lets VMs, their groups and their hot memory outlive the daemon.
set -uo pipefail
shopt -s globstar
here=$(dirname "$(realpath "$0")")
build=$(realpath "${2:?usage: house.sh SOURCE_FOLDER BUILD_FOLDER}")
cd "$1" || exit 1
status=0

wrong() {
    echo "$*" >&2
    status=1
}

check_comments() {
    local found
    found=$(awk -v RS= '
        function bare(block,   n, i, lines) {
            n = split(block, lines, "\n")
            for (i = 1; i <= n; i++)
                if (lines[i] ~ /^[a-z_A-Z][A-Za-z0-9_ *]*[ *][a-z0-9_]+\(/ &&
                    lines[i] !~ /^(static|typedef|__attribute__)/ &&
                    lines[i] !~ /_(free|close|new|init)\(/)
                    return lines[i]
            return ""
        }
        !/\/\*/ && (line = bare($0)) != "" { print FILENAME ": no comment above " line }' src/**/*.h)
    [ -z "$found" ] || wrong "$found"
}

# jansson gives NULL for what is no UTF-8; base/json.h puts constructors that cannot fail in its place.
check_json() {
    local found
    found=$(grep -nE '[<"]jansson\.h[>"]|json_[a-z_]*_nocheck|json_(vpack|sprintf|vsprintf|pack_ex|setn?_nocheck)\(|\(json_[a-z]+\)\(' \
        src/**/*.[ch] | grep -v '^src/base/json')
    [ -z "$found" ] || wrong "outside of src/base/json*: $found"
}

check_pipes() {
    local file found
    for file in quickstart check .ci/run scripts/* tests/unit/house.sh; do
        [ -f "$file" ] && [[ $(head -c 2 "$file") == '#!' ]] || continue
        found=$(grep -nE '\|[[:space:]]*(grep[[:space:]]+-[a-zA-Z]*q|head\b|sed[^|]*;? *q\b|awk[^|]*exit)' "$file" |
            grep -v '^[0-9]*: *#\|grep -nE')
        [ -z "$found" ] || wrong "$file pipes into what may leave early: $found"
    done
}

check_service() {
    local line
    for line in KillMode=process Delegate=yes 'FileDescriptorStoreMax=[1-9].*'; do
        grep -qx "$line" "$build/systemd/rametd.service" || wrong "rametd.service has no line $line"
    done
}

python3 "$here/house.py" . "$build" || status=1
check_comments
check_json
check_pipes
check_service
exit "$status"
