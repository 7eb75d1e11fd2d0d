#!/usr/bin/env python3
"""A fork costs the same however much its source has written: clones of a diff map one memory, whole and sealed, of which each page is
there once. What each way to it (the copy that the snapshot took, the files, patches) gives is compared with what the source had."""
import concurrent.futures
import fcntl
import os
import signal

import harness
from harness import expect, expect_equal, expect_match, wait_until
from snapshots import damage, flip, run, sha256, snapshot

WRITTEN = 48 << 20
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def prepared(home, name="p"):
    """A clone of a VM that has just booted, in which much was written: its snapshot is a diff."""
    home.ramet("run", "-d", "--cold", "--memory", "256M", "--name", "a", "busybox")
    snapshot(home, "a", "first")
    home.ramet("fork", "first", "--name", name)
    return write(home, name)


def write(home, vm, size=WRITTEN):
    """Random bytes, and pages that are zero now. Returns the digest of all of it."""
    run(home, vm, "[ -d /mnt/t ] || { mkdir -p /mnt/t; mount -t tmpfs t /mnt/t; }; dd if=/dev/urandom of=/mnt/t/new bs=1M "
        f"count={size >> 20} 2>/dev/null; dd if=/dev/zero of=/mnt/t/new bs=1M seek=3 count=4 conv=notrunc 2>/dev/null")
    return content(home, vm)


def content(home, vm):
    return run(home, vm, "md5sum </mnt/t/new")


def inspect(home, name):
    return home.json("snapshot", "inspect", name)["memory"]


def check_shared(home, vms, wanted, made=None):
    """They map one inode, sealed, and hold nothing of what is in it themselves."""
    inodes = {vm["memory"]["base_inode"] for vm in vms}
    expect_equal(len(inodes), 1, "memory bases of siblings")
    if made:
        expect_equal(inodes, {made["hot_inode"]}, "what they map")
    for vm in vms:
        told = home.vm(vm["name"])["memory"]
        expect(told["guest_bytes"] < WRITTEN / 4, f"{vm['name']} holds {told['guest_bytes']} bytes of its memory itself")
        with open(told["base"], "rb") as base:
            expect_equal(fcntl.fcntl(base, fcntl.F_GET_SEALS) & SEALS, SEALS, "seals")
        expect_equal(content(home, vm["name"]), wanted, f"what {vm['name']} has")


def fork(home, source, count=1, name=None):
    return home.json("fork", source, "-n", str(count), "--name", name or f"of-{source}")


def test_siblings_share_a_diff(home):
    wanted = prepared(home)
    made = snapshot(home, "p", "s")["memory"]
    before = {path: sha256(path) for path in (made["path"], inspect(home, "first")["path"])}
    expect_equal((made["kind"], made["base"], made["protection"]), ("diff", inspect(home, "first")["path"], "sealed memfd"))
    expect(WRITTEN * 0.9 < made["allocated_bytes"] < WRITTEN * 1.2, f"the diff takes {made['allocated_bytes']} bytes")
    vms = fork(home, "s", 3, "c")
    check_shared(home, vms, wanted, inspect(home, "s"))
    own = write(home, "c-1")
    expect(own != wanted, "it did not write")
    for vm in vms[1:] + [{"name": "p"}]:
        expect_equal(content(home, vm["name"]), wanted, f"what {vm['name']} has after its sibling wrote")
    check_shared(home, fork(home, "s", 1, "late"), wanted)
    expect_equal({path: sha256(path) for path in before}, before, "the frozen files")
    expect_equal(inspect(home, "s")["sha256"], before[made["path"]], "what inspect says of the diff")
    expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")


def test_chain(home):
    """Each diff stands on the one before it; the last one's clones map one memory all the same. Also from the files alone."""
    prepared(home, "p0")
    for depth in range(5):
        wanted = write(home, f"p{depth}", 8 << 20)
        run(home, f"p{depth}", f"echo {depth} >>/run/depth; head -c {(depth + 1) * 100000} /dev/urandom >/run/own{depth}")
        made = snapshot(home, f"p{depth}", f"s{depth}")["memory"]
        expect_equal((made["kind"], os.path.basename(os.path.dirname(made["base"]))),
                     ("diff", home.json("snapshot", "inspect", f"s{depth - 1}" if depth else "first")["id"]))
        home.ramet("fork", f"s{depth}", "--name", f"p{depth + 1}")
    check_shared(home, fork(home, "s4", 2), wanted, inspect(home, "s4"))
    home.kill_daemon()
    expect_equal(inspect(home, "s4")["hot_inode"], None, "hot memory after a crash")
    vms = fork(home, "s4", 2, "again")
    check_shared(home, vms, wanted, inspect(home, "s4"))
    expect_equal(run(home, "again-2", "cat /run/depth; ls -l /run/own* | wc -l"), "0\n1\n2\n3\n4\n5\n")
    result = home.ramet("snapshot", "rm", "s1", status=None)
    expect_equal(result.status, 4, f"removal of what others stand on: {result.err}")


def test_many_at_once_make_it_once(home):
    wanted = prepared(home)
    snapshot(home, "p", "s")
    home.kill_daemon()
    home.ramet("ps")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        vms = sum(pool.map(lambda i: fork(home, "s", 5, f"c{i}"), range(10)), [])
    made = inspect(home, "s")
    expect_equal({vm["memory"]["base_inode"] for vm in vms}, {made["hot_inode"]}, "what fifty clones map")
    check_shared(home, vms[::7], wanted, made)


def test_budget_is_too_small(home):
    """A diff is written over what it stands on, in each clone for itself, and that is said."""
    wanted = prepared(home)
    snapshot(home, "p", "s")
    home.kill_daemon()
    home.env["RAMET_HOT_MEMORY"] = str(70 << 20)
    vm, = fork(home, "s")
    expect_match(str(vm["fallback"]), "budget for hot memory", "why its memory is not shared")
    expect_equal(content(home, vm["name"]), wanted)
    expect_equal(vm["memory"]["base_inode"], inspect(home, "first")["hot_inode"] or inspect(home, "first")["inode"])
    home.ramet("standby", vm["name"])
    home.ramet("resume", vm["name"])
    expect_equal(content(home, vm["name"]), wanted, "after standby")
    later = snapshot(home, vm["name"], "later")["memory"]
    expect_equal(later["base"], inspect(home, "first")["path"], "what it stands on")
    home.end_daemon(home.daemon_pid())
    home.env["RAMET_HOT_MEMORY"] = "1G"
    check_shared(home, fork(home, "later", 2), wanted, inspect(home, "later"))


def test_eviction_while_clones_map_it(home):
    wanted = prepared(home)
    snapshot(home, "p", "s")
    home.kill_daemon()
    home.env["RAMET_HOT_MEMORY"] = str(180 << 20)
    fork(home, "s", 2, "early")
    own = write(home, "p")
    snapshot(home, "p", "other")
    check_shared(home, fork(home, "other"), own)
    expect_equal(inspect(home, "s")["hot_inode"], None, "hot memory of what was used least recently")
    expect_equal(content(home, "early-2"), wanted, "what a clone of it has")
    check_shared(home, fork(home, "s", 2, "late"), wanted, inspect(home, "s"))


def test_standby_of_a_clone(home):
    """It comes back over the memory that its siblings map."""
    wanted = prepared(home)
    snapshot(home, "p", "s")
    fork(home, "s", 2, "c")
    run(home, "c-1", "head -c 3000000 /dev/urandom >/run/own")
    own = run(home, "c-1", "md5sum /run/own")
    home.ramet("standby", "c-1")
    home.kill_daemon()
    home.ramet("resume", "c-1")
    expect_equal((run(home, "c-1", "md5sum /run/own"), content(home, "c-1")), (own, wanted))
    vm = home.vm("c-1")["memory"]
    expect_equal(vm["base_inode"], inspect(home, "s")["hot_inode"], "what it maps")
    expect(vm["guest_bytes"] < WRITTEN / 4, f"it holds {vm['guest_bytes']} bytes itself")


def automatic(home):
    """The snapshot that a fork of a running VM took."""
    one, = (one for one in home.json("snapshot", "ls") if one["automatic"])
    return one


def written_bytes(home, snapshot):
    return os.stat(f"{home.path}/snapshots/{snapshot['id']}/memory.base").st_blocks * 512


def half_write(home, snapshot):
    """As a daemon does that is killed while it writes the file."""
    path = f"{home.path}/snapshots/{snapshot['id']}/memory.base"
    if written_bytes(home, snapshot):  # all of it, on a slow host
        return
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(os.urandom(1 << 20))


def test_live_fork_needs_no_file(home):
    """It is written later, here when the daemon ends; after a crash the memory comes from a clone. A diff does not stand on it."""
    wanted = prepared(home)
    check_shared(home, fork(home, "p", 2, "c"), wanted)
    made = automatic(home)
    expect_equal(made["memory"]["hot_inode"], home.vm("c-1")["memory"]["base_inode"])
    expect(home.json("snapshot", "verify", made["id"])["ok"], "verify fails")
    kind = snapshot(home, "c-2", "s")["memory"]["kind"]
    expect(kind == "full" or written_bytes(home, made), "a diff stands on what no file has")  # on a slow host it has by now
    home.kill_daemon()
    half_write(home, made)
    check_shared(home, fork(home, made["id"], 2, "d"), wanted, automatic(home)["memory"])
    home.ramet("daemon", "stop")
    expect(written_bytes(home, made) > WRITTEN * 0.9, "it was not written")
    home.ramet("rm", "-f", "d-1", "d-2", "c-1")
    check_shared(home, fork(home, made["id"], 2, "e"), wanted)
    home.ramet("daemon", "stop")
    damaged = f"{home.path}/snapshots/{made['id']}/memory.base"
    damage(damaged, flip)
    home.ramet("rm", "-f", "e-1", "e-2")
    home.ramet("kill", "c-2")
    refused(home, made["id"], "SHA-256")
    damage(damaged, flip)
    check_shared(home, fork(home, made["id"], 2, "f"), wanted)
    home.ramet("rm", "-f", "f-1", "f-2", "c-2")
    home.ramet("snapshot", "rm", "s")
    wait_until(lambda: not any(one["automatic"] for one in home.json("snapshot", "ls")), "the end of what nobody needs")


def test_live_fork_is_lost_in_a_crash(home):
    """All that had its memory was killed. What ran goes on from its disk; the snapshot says what it is."""
    prepared(home)
    vm, = fork(home, "p", 1, "c")
    made = automatic(home)
    home.kill_daemon()
    for pid in vm["keeper_pid"], vm["qemu_pid"]:
        os.kill(pid, signal.SIGKILL)
    if not written_bytes(home, made):  # in time, on all but a very slow host
        refused(home, made["id"], "was lost: the daemon ended before it was written")
    wait_until(lambda: home.vm("c")["state"] == "failed", "the end of c")
    home.ramet("start", "c")
    home.ramet("rm", "-f", "c", "p", "a")
    home.ramet("snapshot", "rm", "first")
    home.check_no_leftovers()


def refused(home, source, message):
    result = home.ramet("fork", source, status=None)
    expect(result.status not in (0, 5), f"a damaged memory was forked: {result.err}")
    expect_match(result.err, message, "message")


def test_damage(home):
    """Found when the files are read: in the diff, in what it stands on, and when that is gone."""
    wanted = prepared(home)
    made = snapshot(home, "p", "s")["memory"]
    home.ramet("rm", "-f", "a", "p")
    for path in made["path"], made["base"]:
        home.kill_daemon()
        times = os.stat(path)
        damage(path, flip)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        refused(home, "s", "SHA-256|sense|disagree|no memory diff")
        home.ramet("snapshot", "verify", "s", status=1)
        damage(path, flip)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.rename(made["base"], made["base"] + ".away")
    home.kill_daemon()
    refused(home, "s", "No such file")
    os.rename(made["base"] + ".away", made["base"])
    check_shared(home, fork(home, "s", 2), wanted, inspect(home, "s"))
    home.ramet("rm", "-f", "of-s-1", "of-s-2")
    home.check_no_leftovers()


def test_killed_while_it_is_made(home):
    """The next daemon makes it anew; nothing of the first try stays."""
    wanted = prepared(home)
    snapshot(home, "p", "s")
    home.kill_daemon()
    home.ramet("ps")
    pid = home.daemon_pid()
    process = home.start("fork", "s", "--name", "lost")
    wait_until(lambda: memfds(pid) or process.poll() is not None, "a memfd")
    home.end_daemon(pid)
    process.communicate()
    check_shared(home, fork(home, "s", 2), wanted, inspect(home, "s"))


def memfds(pid):
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            pass
    return [one for one in found if "ramet-mem-" in one]


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    harness.main()
