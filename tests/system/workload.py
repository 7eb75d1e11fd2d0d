#!/usr/bin/env python3
"""A database with 100,000 keys in memory is frozen while it serves writes, forked, written to, frozen, forked again,
put into standby, resumed and removed: everyone sees their own writes and nobody else's, and the source loses nothing."""
import hashlib

import debian
import harness
from harness import expect, expect_equal, wait_until

KEYS = 100_000
IMAGE = debian.IMAGE  # has redis-server
PORT = "6379"

# The server itself, without the init system's wrapping, as the fork finds it: nothing on disk.
START = ("redis-server --daemonize yes --port 6379 --save '' --appendonly no --dir /tmp --logfile /tmp/redis.log "
         "--pidfile /tmp/redis.pid >/dev/null 2>&1; "
         "for i in $(seq 600); do redis-cli ping 2>/dev/null | grep -q PONG && exit 0; sleep 0.1; done; exit 1")
FILL = ("awk 'BEGIN{for(i=0;i<%d;i++) printf \"SET k%%d v%%d\\r\\n\",i,i}' | redis-cli --pipe >/dev/null && "
        "redis-cli dbsize") % KEYS
# Writes on, with a running number, until its file is gone; not all the time, since each VM has one core to itself at most.
WRITER = ("touch /tmp/write; (i=0; while [ -e /tmp/write ]; do i=$((i+1)); redis-cli set running $i >/dev/null; sleep 0.2; done; "
          "touch /tmp/ended) >/dev/null 2>&1 </dev/null &")


def guest(home, vm, script):
    return home.ramet("exec", vm, "--", "/bin/sh", "-c", script, timeout=600).out.strip()


def check_keys(home, vm):
    expect_equal(guest(home, vm, "redis-cli eval \"local n=0 for i=0,%d do if redis.call('get','k'..i)=='v'..i then "
                                 "n=n+1 end end return n\" 0" % (KEYS - 1)), str(KEYS), f"keys that {vm} kept")


def write_own(home, vm):
    guest(home, vm, f"for i in $(seq 50); do echo SET own:{vm}:$i {vm}; done | redis-cli >/dev/null; "
                    f"echo {vm} >/root/{vm}; sync")


def owners(home, vm):
    """Whose writes the VM sees in memory, and whose on its disk."""
    memory = guest(home, vm, "redis-cli keys 'own:*' | grep . | cut -d: -f2 | sort | uniq -c | awk '{print $2 \":\" $1}'")
    disk = guest(home, vm, "ls /root")
    return memory.split(), sorted(disk.split())


def expect_owners(home, vm, wanted, keys=True):
    memory, disk = owners(home, vm)
    expect_equal(memory, sorted(f"{owner}:50" for owner in wanted), f"writes in the memory of {vm}")
    expect_equal(disk, sorted(wanted), f"writes on the disk of {vm}")
    if keys:
        check_keys(home, vm)


def file_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(file.read()).hexdigest()


def test_database(home):
    debian.build_image(home)
    home.ramet("run", "-d", "--name", "src", "--memory", "512M", "--cold", IMAGE, timeout=900)
    guest(home, "src", "systemctl stop redis-server 2>/dev/null; rm -rf /root/*; " + START)
    expect_equal(guest(home, "src", FILL), str(KEYS), "keys")
    guest(home, "src", WRITER)
    wait_until(lambda: int(guest(home, "src", "redis-cli get running") or 0) > 3, "writes")

    snapshot = home.json("snapshot", "create", "src", "s", timeout=600)
    path = snapshot["memory"]["path"]
    before = file_hash(path)
    at_snapshot = int(guest(home, "src", "redis-cli get running"))
    wait_until(lambda: int(guest(home, "src", "redis-cli get running")) > at_snapshot, "writes that go on")

    home.ramet("fork", "s", "-n", "4", "--name", "f", timeout=900)
    forks = ["f-1", "f-2", "f-3", "f-4"]
    for fork in forks:
        guest(home, fork, "rm -f /tmp/write; for i in $(seq 100); do [ -e /tmp/ended ] && break; sleep 0.1; done")
        seen = int(guest(home, fork, "redis-cli get running"))
        expect(seen > 0, f"{fork} lost the running number")
        write_own(home, fork)
    for fork in forks:
        expect_owners(home, fork, [fork])

    home.ramet("snapshot", "create", "f-1", "s1", timeout=600)
    home.ramet("fork", "s1", "--name", "g", timeout=600)
    write_own(home, "g")
    expect_owners(home, "g", ["f-1", "g"])
    home.ramet("standby", "f-2", timeout=600)
    expect_equal(home.vm("f-2")["state"], "standby", "state of f-2")
    home.ramet("resume", "f-2", timeout=600)
    write_own(home, "f-2")
    for fork in forks:  # all keys were there before; only one has been away since
        expect_owners(home, fork, [fork], keys=fork == "f-2")

    home.ramet("rm", "-f", "g", *forks)
    home.ramet("snapshot", "rm", "s1")
    expect_equal(file_hash(path), before, "SHA-256 of the frozen memory")
    last = int(guest(home, "src", "redis-cli get running"))
    wait_until(lambda: int(guest(home, "src", "redis-cli get running")) > last, "writes that still go on")
    guest(home, "src", "rm -f /tmp/write")
    expect_owners(home, "src", [])
    home.ramet("rm", "-f", "src")
    home.ramet("snapshot", "rm", "s")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
