#!/usr/bin/env python3
"""snapshot, fork, standby, resume: what grows from what, what is shared, what stays as it was, what a crash leaves."""
import contextlib
import hashlib
import os
import signal
import socket
import sqlite3

import harness
from harness import expect, expect_equal, expect_match, is_alive, wait_until

MARK = "echo kept >/root/file; sync; echo secret >/run/secret"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source(home, name="a"):
    """Booted, so that its first snapshot is a whole one; with little memory, since much here reads all of it."""
    home.ramet("run", "-d", "--cold", "--memory", "128M", "--name", name, "busybox")
    home.ramet("exec", name, "--", "sh", "-c", MARK)


def snapshot(home, vm, name):
    return home.ramet("snapshot", "create", vm, name, "--json").json()


def run(home, vm, script):
    return home.ramet("exec", vm, "--", "sh", "-c", script).out


def expect_same_memory(home, vm):
    expect_equal(run(home, vm, "cat /run/secret /root/file"), "secret\nkept\n", f"memory and disk of {vm}")


def folder(home, name):
    return sorted(os.listdir(os.path.join(home.path, name)))


def test_fork_of_a_running_vm(home):
    source(home)
    made = snapshot(home, "a", "s")
    expect_equal(made["memory"]["kind"], "full")
    before = (os.stat(made["memory"]["path"]).st_ino, sha256(made["memory"]["path"]), sha256(made["disk"]["path"]))
    expect_equal(before, (made["memory"]["inode"], made["memory"]["sha256"], made["disk"]["sha256"]), "what was recorded")
    run(home, "a", "echo later >/root/later")
    vms = home.ramet("fork", "s", "-n", "4", "--name", "c", "--json").json()
    expect_equal([vm["name"] for vm in vms], ["c-1", "c-2", "c-3", "c-4"])
    expect_equal(len({vm["memory"]["base_inode"] for vm in vms}), 1, "memory bases of siblings")
    for key in ("id", "mac", "hostname"):
        expect_equal(len({vm[key] for vm in vms}), 4, f"different values of {key}")
    seen = set()
    for vm in vms:
        expect_equal((vm["boot"], vm["snapshot"]), ("forked", made["id"]))
        harness.check_contiguous(vm["stages"])
        expect_same_memory(home, vm["name"])
        expect(run(home, vm["name"], "ls /root/later 2>/dev/null; true") == "", "it sees what its source wrote later")
        seen.add(run(home, vm["name"], "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id"))
        run(home, vm["name"], f"echo {vm['name']} >/root/own; head -c 2000000 /dev/urandom >/run/own")
    expect_equal(len(seen), 4, "distinct identities")
    for vm in vms:
        expect_equal(run(home, vm["name"], "cat /root/own"), vm["name"] + "\n", "its own write")
    expect_equal((os.stat(made["memory"]["path"]).st_ino, sha256(made["memory"]["path"]), sha256(made["disk"]["path"])),
                 before, "the frozen files")
    expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")
    expect_equal(run(home, "a", "cat /root/later"), "later\n", "the source's own write")


def test_forks_of_forks(home):
    source(home)
    snapshot(home, "a", "s0")
    parent = "s0"
    for generation in range(1, 5):
        home.ramet("fork", parent, "--name", f"g{generation}")
        run(home, f"g{generation}", f"echo {generation} >>/root/generations; echo {generation} >>/run/generations")
        made = snapshot(home, f"g{generation}", f"s{generation}")
        expect_equal(made["memory"]["kind"], "diff")
        expect_equal(made["memory"]["base"], home.json("snapshot", "inspect", parent)["memory"]["path"], "what it stands on")
        parent = f"s{generation}"
    home.ramet("fork", parent, "--name", "last")
    expect_equal(run(home, "last", "cat /root/generations /run/generations"), "1\n2\n3\n4\n" * 2)
    expect_same_memory(home, "last")
    expect_equal(home.json("snapshot", "inspect", "s1")["parent"], home.json("snapshot", "inspect", "s0")["id"])
    expect_equal([one["name"] for one in home.json("snapshot", "inspect", "s0", "s1")], ["s0", "s1"])
    expect_match(home.ramet("snapshot", "inspect", "s0").out, r"(?m)^memory\.bytes +[0-9.]+ MiB$", "sizes for people")


def test_deep_chains_are_flattened(home):
    source(home)
    for i in range(10):
        run(home, "a", f"echo {i} >>/root/count; sync")
        made = snapshot(home, "a", f"s{i}")
        expect(made["disk"]["depth"] <= 8, f"a chain of {made['disk']['depth']} layers")
    home.ramet("fork", "s9", "--name", "deep")
    expect_equal(run(home, "deep", "wc -l </root/count").strip(), "10")
    home.ramet("stop", "a")
    home.ramet("start", "a")
    expect_equal(run(home, "a", "wc -l </root/count").strip(), "10")
    expect(home.json("snapshot", "verify", "s9")["ok"], "verify fails")


def test_clones_do_not_get_host_ports(home):
    """A port is forwarded once: the source keeps it, also over standby, and fork says that its clones have none."""
    port = harness.free_port()
    home.ramet("run", "-d", "--name", "a", "-p", f"{port}:80", "busybox")
    run(home, "a", "mkdir /www; echo served >/www/index.html; httpd -p 80 -h /www")

    def served():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            return b"served" in b"".join(iter(lambda: client.recv(4096), b""))
        return False
    wait_until(served, "the forwarded port")
    result = home.ramet("fork", "a", "--name", "f")
    expect_match(result.err, "ports of a are not forwarded to its clones", "what fork says")
    wait_until(served, "the source's port after a fork")
    home.ramet("standby", "a")
    home.ramet("resume", "a")
    wait_until(served, "the source's port after standby")
    expect("ports" not in home.ramet("fork", "f", "--name", "h").err, "a clone has no ports to tell of")


def test_a_snapshot_is_as_large_as_what_was_written(home):
    """The dirty pages and no more than 64 KiB beside them."""
    source(home)
    snapshot(home, "a", "s")
    home.ramet("fork", "s", "--name", "f")
    run(home, "f", "head -c 8388608 /dev/urandom >/run/fill; sync")
    made = snapshot(home, "f", "g")
    expect_equal(made["memory"]["kind"], "diff")
    expect(8 << 20 <= made["dirty_bytes"] <= 64 << 20, f"{made['dirty_bytes']} dirty bytes for 8 MiB and a start")
    files = os.path.join(home.path, "snapshots", made["id"])
    stored = sum(os.stat(os.path.join(files, name)).st_blocks * 512 for name in os.listdir(files))
    expect(stored <= made["dirty_bytes"] + (64 << 10), f"{stored} bytes for {made['dirty_bytes']} dirty ones")
    expect(made["pause_us"] > 0, "no pause was measured")


def test_paused_and_stopped(home):
    source(home)
    home.ramet("pause", "a")
    snapshot(home, "a", "paused")
    expect_equal(home.vm("a")["state"], "paused")
    home.ramet("unpause", "a")
    expect_same_memory(home, "a")
    home.ramet("fork", "paused", "--name", "p")
    expect_same_memory(home, "p")
    home.ramet("stop", "a")
    made = snapshot(home, "a", "stopped")
    expect_equal(made["memory"], None)
    home.ramet("fork", "stopped", "--name", "b")
    expect_equal(home.vm("b")["boot"], "cold")
    expect_equal(run(home, "b", "cat /root/file"), "kept\n")
    home.ramet("start", "a")
    expect_equal(run(home, "a", "cat /root/file"), "kept\n")


def test_standby_and_resume(home):
    source(home)
    before = home.vm("a")
    home.ramet("standby", "a")
    vm = home.vm("a")
    expect_equal((vm["state"], vm["qemu_pid"]), ("standby", None))
    expect(not is_alive(before["qemu_pid"]) and not is_alive(before["keeper_pid"]), "processes live on")
    home.ramet("standby", "a", status=4)
    home.ramet("exec", "a", "true", status=125)
    home.ramet("fork", "a", "--name", "f")
    snapshot(home, "a", "s")
    expect_same_memory(home, "f")
    home.ramet("resume", "a")
    after = home.vm("a")
    for key in ("id", "name", "mac", "hostname", "ip"):
        expect_equal(after[key], before[key], key)
    expect_equal((after["state"], after["boot"]), ("running", "restored"))
    expect_same_memory(home, "a")
    home.ramet("resume", "a", status=4)
    home.ramet("standby", "a")
    home.ramet("start", "a")
    expect_same_memory(home, "a")
    home.ramet("standby", "a")
    home.kill_daemon()
    expect_equal(home.vm("a")["state"], "standby")
    check_damaged_standby(home)
    run(home, "a", "echo late >/root/late")  # right before, and nobody syncs
    home.ramet("standby", "a")
    result = home.ramet("stop", "a")
    expect_match(result.err, "discard", "what stop says")
    home.ramet("start", "a")
    expect_equal(run(home, "a", "cat /root/file /root/late; ls /run/secret 2>/dev/null; true"), "kept\nlate\n")
    home.ramet("standby", "a")
    home.ramet("start", "--cold", "a")
    expect_equal(home.vm("a")["boot"], "cold")
    expect_match(home.ramet("rm", "-f", "a", "nosuch", "f", status=3).err, "nosuch", "what cannot be removed")
    home.ramet("snapshot", "rm", "s")
    expect_equal((folder(home, "snapshots"), folder(home, "layers")), ([], []), "files that are left")
    home.check_no_leftovers()


def check_damaged_standby(home):
    """Nothing is made of it, not even a cold start that would lose what is in it; once it is mended it goes on."""
    memory = next(one for one in home.json("snapshot", "ls", "-a") if one["purpose"] == "standby")["memory"]
    damage_unseen(memory["path"])
    if memory["protection"] == "sealed memfd":  # else nobody reads it before the guest does
        for verb in ("resume", "start"):
            expect_match(home.ramet(verb, "a", status=1).err, "SHA-256|damaged", f"what {verb} says")
            expect_equal(home.vm("a")["state"], "standby", f"state after {verb}")
    damage_unseen(memory["path"])
    home.ramet("resume", "a")
    expect_same_memory(home, "a")


def test_removal(home):
    source(home)
    snapshot(home, "a", "s")
    home.ramet("fork", "s", "--name", "f")
    expect_match(home.ramet("snapshot", "rm", "s", status=4).err, r"VM f", "who needs it")
    snapshot(home, "f", "child")
    home.ramet("rm", "-f", "f")
    expect_match(home.ramet("snapshot", "rm", "s", status=4).err, r"snapshot child", "who needs it")
    home.ramet("snapshot", "create", "a", "s", status=4)
    home.ramet("snapshot", "inspect", "nosuch", status=3)
    home.ramet("fork", "nosuch", status=3)
    result = home.ramet("snapshot", "rm", "--cascade", "s")
    expect_match(result.err, "removed snapshot child", "what went")
    expect_equal(home.json("snapshot", "ls", "-a"), [])
    home.ramet("exec", "a", "true")
    home.ramet("rm", "-f", "a")
    expect_equal((folder(home, "snapshots"), folder(home, "layers")), ([], []), "files that are left")
    home.check_no_leftovers()


def test_automatic_snapshots_go(home):
    source(home)
    home.ramet("fork", "a", "--name", "f", "-n", "2")
    expect_equal(len(home.json("snapshot", "ls")), 1, "the unnamed one")
    home.ramet("rm", "-f", "f-1")
    expect_equal(len(home.json("snapshot", "ls")), 1, "still needed")
    home.ramet("rm", "-f", "f-2")
    expect_equal(home.json("snapshot", "ls"), [])
    expect_same_memory(home, "a")


def test_commands_in_forks(home):
    source(home)
    snapshot(home, "a", "s")
    result = home.ramet("fork", "s", "-n", "2", "--name", "x", "--rm", "--", "sh", "-c", "cat /run/secret; hostname; exit 3",
                        status=3)
    for name in ("x-1", "x-2"):
        expect_match(result.out, rf"{name} +secret", "output with names")
        expect_match(result.out, rf"{name} +{name}", "host names")
    result = home.ramet("fork", "s", "--rm", "--", "cat", "/run/secret")
    expect_equal(result.out, "secret\n")
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["a"], "VMs after --rm")
    home.ramet("fork", "s", "--name", "y", "--rm")
    expect_equal(home.vm("y")["state"], "running", "one that no command ends")
    home.ramet("stop", "y")
    wait_until(lambda: len(home.json("ps", "-a")) == 1, "the removal of one that has stopped")


def test_clones_end_with_their_client(home):
    """Those of fork --rm, whether they were made for it or waited in a pool."""
    source(home)
    snapshot(home, "a", "s")
    for warm in (0, 1):
        home.ramet("pool", "set", "s", str(warm), "--wait")
        client = home.start("fork", "s", "-n", "2", "--name", "x", "--rm", "--", "sh", "-c", "echo begun; sleep 1000")
        for _ in range(2):
            expect_match(client.stdout.readline().decode(), "begun", "a command's first line")
        expect_equal(sorted(vm["boot"] for vm in home.json("ps") if vm["name"] != "a"),
                     ["claimed", "forked"] if warm else ["forked", "forked"])
        client.kill()
        client.communicate()
        wait_until(lambda: [vm["name"] for vm in home.json("ps", "-a")] == ["a"], "the end of both clones")


def damage(path, change):
    mode = os.stat(path).st_mode
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        change(file)
    os.chmod(path, mode)


def flip(file):
    file.seek(1000)
    byte = file.read(1)
    file.seek(1000)
    file.write(bytes([byte[0] ^ 1]))


def test_damaged_files_are_refused(home):
    source(home)
    made = snapshot(home, "a", "s")
    state = os.path.join(os.path.dirname(made["memory"]["path"]), "state")
    for path, what in ((state, "state"), (made["memory"]["path"], "memory"), (made["disk"]["path"], "layer")):
        with open(path, "rb") as file:
            good = file.read()
        times = os.stat(path)
        for change in (flip, lambda file: file.truncate(os.fstat(file.fileno()).st_size // 2)):
            damage(path, change)
            result = home.ramet("fork", "s", status=None)
            expect(result.status not in (0, 5), f"a damaged {what} was forked: {result.err}")
            expect_match(result.err, r"SHA-256|was cut", f"message for a damaged {what}")
            expect_equal(home.ramet("snapshot", "verify", "s", status=1).out.count("BAD"), 1, f"damaged files ({what})")

            def restore(file, content=good):
                file.truncate(0)
                file.write(content)
            damage(path, restore)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    home.ramet("fork", "s", "--name", "good")
    expect_same_memory(home, "good")
    expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")


def sha256_in_list(home):
    return [(one["name"], one["memory"]["sha256"]) for one in home.json("snapshot", "ls")]


def test_sha256_when_asked(home):
    """Neither a snapshot nor its first fork waits for the SHA-256 of the memory; inspect does, once. Snapshots of an
    earlier version have nothing else, and are checked by it."""
    source(home)
    home.ramet("snapshot", "create", "a", "s")
    home.ramet("fork", "s", "--name", "f")
    expect_same_memory(home, "f")
    expect_equal(sha256_in_list(home), [("s", None)], "before it was asked for")
    expect_problem(home)
    memory = home.json("snapshot", "inspect", "s")["memory"]
    expect_equal(memory["sha256"], sha256(memory["path"]), "the digest")
    expect_equal(sha256_in_list(home), [("s", memory["sha256"])], "afterwards")
    home.ramet("rm", "-f", "f")
    for older in (False, True):
        home.kill_daemon()  # with its hot memory
        if older:
            forget_trees(home)
        damage_unseen(memory["path"])
        if memory["protection"] == "sealed memfd":  # else nobody reads it before the guest does
            expect_refused(home, "s")
        home.ramet("snapshot", "verify", "s", status=1)
        damage_unseen(memory["path"])
        home.ramet("fork", "s", "--name", "f")
        expect_same_memory(home, "f")
        expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")
        home.ramet("rm", "-f", "f")


def expect_problem(home):
    """A damaged memory whose SHA-256 nobody asked for has none, but the snapshot can be looked at."""
    path = home.json("snapshot", "ls")[0]["memory"]["path"]
    damage_unseen(path)
    memory = home.json("snapshot", "inspect", "s")["memory"]
    expect_equal(memory["sha256"], None, "the digest of a damaged memory")
    expect_match(memory["problem"], "SHA-256", "what inspect says")
    damage_unseen(path)


def forget_trees(home):
    """As if all snapshots had been saved by a version that had no tree digests. No daemon runs."""
    with contextlib.closing(sqlite3.connect(f"{home.path}/ramet.db")) as database:
        changed = database.execute("UPDATE snapshots SET data = json_remove(data, '$.files.memory.tree')"
                                   " WHERE json_extract(data, '$.files.memory.tree') IS NOT NULL").rowcount
        database.commit()
    expect(changed > 0, "no snapshot has a tree digest")


def compress(home, vm, name):
    return home.ramet("snapshot", "create", vm, name, "--compress", "zstd", "--json").json()


def test_compressed(home):
    """Whole memory and diffs: smaller, the same content, refused when damaged even where the file's times are as before."""
    source(home)
    plain, made = snapshot(home, "a", "plain")["memory"], compress(home, "a", "s")["memory"]
    expect_equal((made["kind"], made["compressed"], plain["compressed"]), ("full", "zstd", None))
    expect_equal((made["bytes"], os.path.basename(made["path"])), (plain["bytes"], "memory.base.zst"))
    expect(made["stored_bytes"] < plain["allocated_bytes"], f"{made['stored_bytes']} bytes are not smaller")
    expect_equal(os.stat(made["path"]).st_mode & 0o777, 0o444, "mode")
    expect_equal(made["protection"], "sealed memfd")
    content = hashlib.sha256(harness.subprocess.check_output(["zstd", "-dcq", made["path"]])).hexdigest()
    expect_equal(content, made["sha256"], "digest of the content")
    expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")
    home.ramet("fork", "s", "-n", "2", "--name", "c")
    for name in ("c-1", "c-2"):
        expect_same_memory(home, name)
    run(home, "c-1", "echo own >/run/own")
    diff = compress(home, "c-1", "d")["memory"]
    expect_equal((diff["kind"], os.path.basename(diff["path"])), ("diff", "memory.diff.zst"))
    expect(diff["stored_bytes"] < diff["bytes"], "a diff is not smaller")
    home.ramet("fork", "d", "--name", "e")
    expect_same_memory(home, "e")
    expect_equal(run(home, "e", "cat /run/own"), "own\n")
    expect(home.json("snapshot", "verify", "d")["ok"], "verify fails")
    home.ramet("standby", "c-2")
    compress(home, "c-2", "from-standby")
    home.ramet("fork", "from-standby", "--name", "f")
    expect_same_memory(home, "f")
    home.ramet("resume", "c-2")
    expect_same_memory(home, "c-2")
    home.ramet("rm", "-f", "e")  # which would still have what was read
    check_damaged_diff(home, diff["path"])
    home.ramet("rm", "-f", "c-1", "c-2", "f", "a")
    check_damaged_base(home, made["path"])
    for name in ("d", "from-standby", "s", "plain"):
        home.ramet("snapshot", "rm", name)
    expect_equal((folder(home, "snapshots"), folder(home, "layers")), ([], []), "files that are left")
    home.check_no_leftovers()


def damage_unseen(path):
    times = os.stat(path)
    damage(path, flip)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def expect_refused(home, name):
    result = home.ramet("fork", name, status=None)
    expect(result.status not in (0, 5), f"a damaged memory was forked: {result.err}")
    expect_match(result.err, r"SHA-256|damaged", "message")
    home.ramet("snapshot", "verify", name, status=1)


def check_damaged_diff(home, path):
    """It is read again when what was made of it is not in memory any more."""
    home.kill_daemon()
    damage_unseen(path)
    expect_refused(home, "d")
    damage_unseen(path)
    expect(home.json("snapshot", "verify", "d")["ok"], "verify fails")
    damage(path, flip)
    expect_refused(home, "d")
    damage(path, flip)


def check_damaged_base(home, path):
    """What was read before is still held, and right; a file that changed is refused all the same."""
    home.kill_daemon()
    damage(path, flip)
    expect_refused(home, "s")
    damage(path, flip)
    home.ramet("fork", "s", "--name", "good")
    expect_same_memory(home, "good")
    home.ramet("rm", "-f", "good")


def hot_inode(home, name):
    return home.json("snapshot", "inspect", name)["memory"]["hot_inode"]


def test_hot_memory_outlives_the_daemon(home):
    """The same memfd after the daemon ended in either way; what is unknown or not wanted any more is not kept."""
    manager = harness.ServiceManager(home)
    manager.start()
    source(home)
    if snapshot(home, "a", "s")["memory"]["hot_inode"] is None:
        raise harness.Skip("this QEMU maps the file itself")
    inode = hot_inode(home, "s")
    home.ramet("rm", "-f", "a")
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        manager.stop(how)
        manager.kept.append(("ramet-mem-unknown", os.memfd_create("unknown")))
        manager.start()
        expect_equal(len(manager.kept), 1, "what is kept")
        expect_equal(hot_inode(home, "s"), inode, "taken back")
        vm = home.ramet("fork", "s", "--name", "f", "--json").json()
        expect_equal(vm["memory"]["base_inode"], inode, f"the base after {number + 1} restarts")
        expect_same_memory(home, "f")
        expect(home.json("snapshot", "verify", "s")["ok"], "verify fails")
        home.ramet("rm", "-f", "f")
    check_only_the_right_memory_is_taken_back(home, manager)
    home.ramet("snapshot", "rm", "s")
    manager.receive_until(lambda message: "FDSTOREREMOVE=1" in message)
    expect_equal(manager.kept, [], "what is kept")
    home.check_no_leftovers()
    manager.close()


def check_only_the_right_memory_is_taken_back(home, manager):
    """Not what is beyond the budget, nor of the right name but not sealed; it is filled anew, and that is kept."""
    manager.stop(signal.SIGTERM)
    (name, _), = manager.kept
    home.env["RAMET_HOT_MEMORY"] = "1M"
    manager.start()
    expect_equal((manager.kept, hot_inode(home, "s")), ([], None), "memory beyond the budget")
    manager.stop(signal.SIGTERM)
    del home.env["RAMET_HOT_MEMORY"]
    manager.kept = [(name, os.memfd_create("false"))]
    manager.start()
    expect_equal((manager.kept, hot_inode(home, "s")), ([], None), "false memory")
    home.ramet("fork", "s", "--name", "f")
    expect_same_memory(home, "f")
    home.ramet("rm", "-f", "f")
    manager.receive_until(lambda message: "FDSTORE=1" in message)
    expect_equal([kept for kept, _ in manager.kept], [name], "what is kept")


def test_hot_memory_keeps_to_its_budget(home):
    """Room for one of two bases: the one that was not used for longest goes."""
    source(home)
    first = snapshot(home, "a", "one")
    home.ramet("snapshot", "create", "a", "two")
    allocated = max(home.json("snapshot", "inspect", name)["memory"]["allocated_bytes"] for name in ("one", "two"))
    home.ramet("daemon", "stop")
    home.env["RAMET_HOT_MEMORY"] = str(allocated * 3 // 2)
    home.ramet("fork", "one", "--name", "f")
    if hot_inode(home, "one") is None:
        raise harness.Skip("this QEMU maps the file itself")
    home.ramet("rm", "-f", "f")
    home.ramet("fork", "two", "--name", "f")
    expect(hot_inode(home, "two") and not hot_inode(home, "one"), "not one alone is hot")
    home.ramet("daemon", "stop")
    home.env["RAMET_HOT_MEMORY"] = "1M"
    home.ramet("snapshot", "create", "a", "three")
    expect(not hot_inode(home, "three"), "hot memory beyond the budget")
    result = home.ramet("fork", "one", "--name", "g", status=1)
    expect_match(result.err, r"budget for hot memory.*RAMET_HOT_MEMORY", "message")
    expect_same_memory(home, "f")
    expect(os.path.exists(first["memory"]["path"]), "the base's file")
    home.ramet("rm", "-f", "a", "f")
    home.check_no_leftovers()


def test_other_qemu_is_refused(home):
    source(home)
    snapshot(home, "a", "s")
    home.ramet("daemon", "stop")
    wait_until(lambda: not os.path.exists(os.path.join(home.path, "ramet.sock")), "the daemon's end")
    other = os.path.join(home.folder, "qemu")
    with open(other, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    os.chmod(other, 0o755)
    home.env["RAMET_QEMU"] = other
    expect_match(home.ramet("fork", "s", status=1).err, r"made by (the )?QEMU", "message")
    expect_equal(len(home.json("ps", "-a")), 1, "VMs")


def test_daemon_killed_in_between(home):
    """kill -9 of the daemon at some points of a snapshot, a fork and a standby; the source always goes on."""
    source(home)
    for i, verb in enumerate((["snapshot", "create", "a"], ["fork", "a"], ["standby", "a"]) * 3):
        daemon = home.daemon_pid()
        client = home.start(*verb)
        harness.time.sleep(0.02 * (i + 1))  # a different step each time; every one must be survived
        home.end_daemon(daemon)
        client.communicate(timeout=harness.BOUND)
        # what its keeper is at may take longer than the next daemon lets us wait
        wait_until(lambda: home.vm("a")["state"] in ("running", "standby"), f"the source's state after {verb[0]}")
        if home.vm("a")["state"] == "standby":
            home.ramet("resume", "a")
        expect_equal(home.vm("a")["state"], "running", f"state of the source after {verb[0]}")
        expect_same_memory(home, "a")
        for other in home.json("ps", "-a"):
            if other["name"] != "a":
                home.ramet("rm", "-f", other["name"])
        for left in home.json("snapshot", "ls"):
            home.ramet("snapshot", "rm", left["id"])
    home.ramet("rm", "-f", "a")
    expect_equal((folder(home, "snapshots"), folder(home, "layers")), ([], []), "files that are left")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
