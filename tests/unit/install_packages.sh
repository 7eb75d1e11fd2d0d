#!/bin/bash
# scripts/install-packages in a world of stubs: install_packages.sh SOURCE_FOLDER
#  - with all packages there it does nothing, needs no root and succeeds every time, however much apt has to say;
#  - a user without sudo is told the packages that are missing, and the command.
set -euo pipefail
script=${1:?usage: install_packages.sh SOURCE_FOLDER}/scripts/install-packages
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

wrong() {
    echo "$*" >&2
    exit 1
}

# stub NAME: a program of that name, made of standard input.
stub() {
    { echo '#!/bin/sh' && cat; } >"$folder/$1"
    chmod +x "$folder/$1"
}

run() {
    PATH=$folder /bin/bash "$script" "$@" >"$folder/out" 2>&1
}

for tool in bash sh cat env; do
    ln -s "$(command -v "$tool")" "$folder/$tool"
done
stub id <<<'echo 1000'
stub apt-get <<<'echo "apt-get must not run" >&2; exit 1'
# More than a pipe holds comes after what is looked for: who leaves early ends it with SIGPIPE.
stub apt-cache <<'END'
echo "  Candidate: 6.1"
i=0
while [ $i -lt 4000 ]; do echo "     a line that nobody needs, number $i"; i=$((i + 1)); done
END

stub dpkg-query <<<'printf installed'
for _ in 1 2 3 4 5; do
    run build run || wrong "all packages are there, and it failed: $(cat "$folder/out")"
done
[ ! -s "$folder/out" ] || wrong "nothing was to do, and it said: $(cat "$folder/out")"

stub dpkg-query <<'END'
case "$*" in *uidmap | *fakeroot) exit 1 ;; esac
printf installed
END
! run build run || wrong "packages are missing, and it succeeded"
said=$(cat "$folder/out")
[[ $said == *'apt-get install -y --no-install-recommends fakeroot uidmap'* ]] || wrong "the command is missing: $said"
[[ $said != *'must not run'* ]] || wrong "apt-get ran without root"
