#!/bin/bash
# Holds the tree to its own rules: house.sh SOURCE_FOLDER
#  - each library's dependencies are those that docs/architecture.md allows its folder;
#  - the function declarations in a header stand below a comment, blank line by blank line (what only makes or frees a
#    thing needs none);
#  - no file in src is over 600 lines.
set -uo pipefail
cd "${1:?usage: house.sh SOURCE_FOLDER}" || exit 1
status=0

wrong() {
    echo "$*" >&2
    status=1
}

# The rows of the table: "folder: folder folder …", with "base … net" and "all above" written out.
allowed_folders() {
    awk -F'|' '
        /^\| folder / { on = 1; next }
        on && !/^\|/ { exit }
        on && $2 !~ /-/ {
            gsub(/ /, "", $2)
            may = $4
            gsub(/\([^)]*\)/, "", may)
            sub(/;.*/, "", may)
            if (may ~ /…|all above/) may = above
            gsub(/[,–]/, " ", may)
            print $2 ":" may " "
            above = above " " $2
        }' docs/architecture.md
}

check_dependencies() {
    local folder may used
    while IFS=: read -r folder may; do
        [ -f "src/$folder/meson.build" ] || continue
        # agent is built against headers of proto alone, which its tests link
        for used in $(grep -v '^ *#' "src/$folder/meson.build" | grep -o '\b[a-z]*_dep\b\|include/[a-z]*' |
            sed 's,_dep$,,; s,include/,,' | sort -u); do
            [ -d "src/$used" ] && [ "$used" != "$folder" ] || continue
            [[ " $may " == *" $used "* ]] || wrong "src/$folder uses $used, which docs/architecture.md does not allow"
        done
    done < <(allowed_folders)
    for folder in src/*/meson.build; do
        folder=$(basename "$(dirname "$folder")")
        allowed_folders | grep -q "^$folder:" || wrong "src/$folder is missing in docs/architecture.md"
    done
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
        !/\/\*/ && (line = bare($0)) != "" { print FILENAME ": no comment above " line }' src/*/*.h)
    [ -z "$found" ] || wrong "$found"
}

check_lengths() {
    local file lines
    for file in src/*/*.[ch]; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 600 ] || wrong "$file has $lines lines: split it"
    done
}

check_dependencies
check_comments
check_lengths
exit "$status"
