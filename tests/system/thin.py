#!/usr/bin/env python3
"""After a snapshot its VM maps the snapshot's memory, and has of its own only what it wrote since: the guest notices nothing, the
snapshot stays as it was, and what comes next (diffs, forks, standby, removal, another daemon) stands on what is mapped."""
import os
import signal
import sqlite3

import flat
import harness
import snapshots
from harness import expect, expect_equal, expect_match, wait_until

WRITTEN = 128 << 20
THIN = 40 << 20

# Writes records with their digests one after the other over a ring of 64, and reads all back: a page that is lost or old shows.
WRITER = """mkdir -p /run/w; cd /run/w; i=0
while [ ! -e /run/stop ]; do
    n=$((i % 64)); head -c 20000 /dev/urandom >r$n; echo $i >>r$n; md5sum r$n >d$n
    [ $n = 63 ] && { cat d* | md5sum -c >/run/out 2>&1 || cp /run/out /run/bad; }
    i=$((i + 1)); echo $i >/run/count
done; echo done >/run/stopped"""


def run(home, vm, script):
    return snapshots.run(home, vm, script)


def prepared(home, *options):
    home.env["RAMET_ADOPT"] = "on"
    home.ramet("run", "-d", "--cold", "--memory", "768M", *options, "--name", "a", "busybox")
    return flat.write(home, "a", WRITTEN)


def memory(home, vm):
    return home.vm(vm)["memory"]


def guest_bytes(home, vm):
    return memory(home, vm)["guest_bytes"]


def listed(home, name):
    """Unlike inspect it does not have the memory hashed."""
    one, = (one for one in home.json("snapshot", "ls") if one["name"] == name)
    return one


def is_adopted(home, vm, name):
    """The daemon says so and the process maps it."""
    inode = memory(home, vm)["base_inode"]
    if inode != listed(home, name)["memory"]["hot_inode"]:
        return False
    with open(f"/proc/{home.vm(vm)['qemu_pid']}/maps", encoding="utf-8") as file:
        return any(line.split()[4] == str(inode) and line.split()[1] == "rw-p" for line in file)


def await_adopted(home, vm, name):
    wait_until(lambda: is_adopted(home, vm, name), f"{vm} to map the memory of {name}")


def adopt(home, vm, name):
    made = snapshots.snapshot(home, vm, name)
    expect_equal(made["adoption"], "offered", f"adoption of {name}")
    await_adopted(home, vm, name)
    return made



def check_private(home, vm, before):
    wait_until(lambda: guest_bytes(home, vm) < THIN, f"the fall of what {vm} has of its own, {before >> 20} MiB before")
    wait_until(lambda: len(ram_areas(home, vm)) == 1, "the end of its old memory")


def ram_areas(home, vm):
    """Mappings of files without a name that are as large as its memory."""
    with open(f"/proc/{home.vm(vm)['qemu_pid']}/maps", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    def size(line):
        start, end = (int(part, 16) for part in line[0].split("-"))
        return end - start
    return [line for line in lines if len(line) > 5 and "memfd:" in line[5] and size(line) >= 128 << 20]


def flags(home, vm):
    """How the kernel is to treat the guest's memory."""
    inode = str(memory(home, vm)["base_inode"])
    found = set()
    inside = False
    with open(f"/proc/{home.vm(vm)['qemu_pid']}/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if "-" in words[0]:
                inside = len(words) > 4 and words[4] == inode
            elif inside and words[0] == "VmFlags:":
                found |= set(words[1:])
    return found - {"sd", "um", "uw"}  # soft-dirty, userfaultfd


def check_files(made, before):
    """Nobody has changed what is frozen."""
    expect_equal((os.stat(made["memory"]["path"]).st_ino, snapshots.sha256(made["memory"]["path"])), before, "the file")


def test_source_gets_thin(home):
    wanted = prepared(home)
    before, kept = guest_bytes(home, "a"), flags(home, "a")
    expect(before > WRITTEN, f"only {before} bytes are the guest's")
    made = adopt(home, "a", "s")
    file = os.stat(made["memory"]["path"]).st_ino, snapshots.sha256(made["memory"]["path"])
    check_private(home, "a", before)
    expect_equal(flags(home, "a"), kept, "flags of its memory")
    expect_equal(flat.content(home, "a"), wanted)
    expect_equal(os.stat(memory(home, "a")["base"]).st_ino, memory(home, "a")["base_inode"], "the base that is named")
    run(home, "a", "head -c 3000000 /dev/urandom >/run/own")
    own = run(home, "a", "md5sum /run/own")
    later = snapshots.snapshot(home, "a", "later")
    expect_equal((later["memory"]["kind"], later["memory"]["base"], later["adoption"]),
                 ("diff", made["memory"]["path"], "little-to-gain"))
    expect(later["memory"]["allocated_bytes"] < THIN, f"the diff takes {later['memory']['allocated_bytes']} bytes")
    for source, vm in ("later", "b"), ("b", "c"), ("s", "d"):
        home.ramet("fork", source, "--name", vm)
        expect_equal(flat.content(home, vm), wanted, f"what {vm} has")
        expect_equal(run(home, vm, "md5sum /run/own 2>&1; true") == own, vm != "d", f"{vm} has what was written later")
    flat.write(home, "a", 8 << 20)
    for vm in "b", "c", "d":
        expect_equal(flat.content(home, vm), wanted, f"what {vm} has after a wrote")
    check_files(made, file)
    for name in "s", "later":
        expect(home.json("snapshot", "verify", name)["ok"], f"verify of {name} fails")
    removal(home, own)


def removal(home, own):
    """The VM does not keep the snapshot whose memory it maps, and goes on without it."""
    expect_match(home.ramet("snapshot", "rm", "s", status=4).err, "needed by", "what stands on it")
    home.ramet("rm", "-f", "b", "c", "d")
    wait_until(lambda: len(home.json("snapshot", "ls")) == 2, "the end of the automatic snapshot")
    home.ramet("snapshot", "rm", "later", "s")
    expect_equal(run(home, "a", "md5sum /run/own"), own)
    wanted = flat.content(home, "a")
    last = snapshots.snapshot(home, "a", "last")
    expect_equal(last["memory"]["kind"], "full", "what stands on no snapshot")
    home.ramet("fork", "last", "--name", "e")
    expect_equal((flat.content(home, "e"), run(home, "e", "md5sum /run/own")), (wanted, own))


def check_records(home, vm):
    run(home, vm, "touch /run/stop; while [ ! -e /run/stopped ]; do sleep 0.1; done")
    bad = run(home, vm, "cat /run/bad 2>/dev/null; cd /run/w; cat d* | md5sum -c | grep -vc OK; true")
    expect_equal(bad, "0\n", f"bad records in {vm}")


def write_beside(home, cpus, count):
    """Snapshots, each with much to adopt, while the guest writes; the budget has room for a few."""
    home.env.update(RAMET_ADOPT="on", RAMET_HOT_MEMORY=str(2 << 30))
    home.ramet("run", "-d", "--cold", "--memory", "512M", "--cpus", str(cpus), "--name", "a", "busybox")
    run(home, "a", "mkdir -p /mnt/t; mount -t tmpfs t /mnt/t")
    home.ramet("exec", "-d", "a", "--", "sh", "-c", WRITER)
    adopted = 0
    for i in range(count):
        run(home, "a", "cd /mnt/t; head -c 4000000 /dev/urandom >part; for n in $(seq 30); do cat part; done >new")
        home.ramet("snapshot", "create", "a", f"s{i}")
        if listed(home, f"s{i}")["adoption"] == "offered":
            await_adopted(home, "a", f"s{i}")
            adopted += 1
    expect(adopted > count * 0.7, f"{adopted} snapshots were adopted")
    wanted = run(home, "a", "md5sum </mnt/t/part; md5sum </mnt/t/new")
    expect_equal(wanted, run(home, "a", "cd /mnt/t; md5sum <part; for n in $(seq 30); do cat part; done | md5sum"), "the file")
    home.ramet("fork", f"s{count - 1}", "--name", "b")
    expect_equal(run(home, "b", "md5sum </mnt/t/part; md5sum </mnt/t/new"), wanted)
    for vm in "a", "b":
        check_records(home, vm)
        expect(int(run(home, vm, "cat /run/count")) > 10, "the writer hardly wrote")


def test_writer_goes_on_beside_snapshots(home):
    write_beside(home, 1, 4)


def test_writers_on_two_cpus(home):
    write_beside(home, 2, 4)


def set_row(home, **values):
    with sqlite3.connect(os.path.join(home.path, "ramet.db")) as store:
        for key, value in values.items():
            store.execute(f"UPDATE vms SET runtime = json_set(runtime, '$.{key}', ?) WHERE name = 'a'", (value,))


def test_daemon_dies_before_its_row(home):
    """The next one hears from the keeper what the VM maps, and makes diffs over that."""
    wanted = prepared(home)
    old = memory(home, "a")
    made = adopt(home, "a", "s")
    home.kill_daemon()
    set_row(home, memory_owner="", memory_adopted=0, memory_inode=old["base_inode"], memory_base=old["base"])
    home.ramet("ps")
    wait_until(lambda: home.vm("a")["state"] == "running", "the VM's state")
    expect_equal(memory(home, "a")["base_inode"], made["memory"]["hot_inode"] or flat.inspect(home, "s")["hot_inode"], "what it maps")
    later = snapshots.snapshot(home, "a", "later")["memory"]
    expect_equal((later["kind"], later["base"]), ("diff", made["memory"]["path"]))
    home.ramet("fork", "later", "--name", "b")
    expect_equal(flat.content(home, "b"), wanted)


def test_killed_while_it_adopts(home):
    """Whenever that is: row and keeper agree afterwards, and the next snapshot is right."""
    prepared(home)
    for i in range(3):
        wanted = flat.write(home, "a", 112 << 20)
        snapshots.snapshot(home, "a", f"s{i}")
        run(home, "a", f"sleep {0.1 + 0.04 * i}")  # it begins 0.2 s later
        home.kill_daemon()
        wait_until(lambda: home.vm("a")["state"] == "running", "the VM's state")
        snapshots.snapshot(home, "a", f"t{i}")
        home.ramet("fork", f"t{i}", "--name", f"b{i}")
        expect_equal((flat.content(home, "a"), flat.content(home, f"b{i}")), (wanted, wanted), f"after crash {i}")
        home.ramet("rm", "-f", f"b{i}")


def test_standby_and_eviction(home):
    wanted = prepared(home)
    adopt(home, "a", "s")
    run(home, "a", "head -c 3000000 /dev/urandom >/run/own")
    own = run(home, "a", "md5sum /run/own")
    home.kill_daemon()
    home.env["RAMET_HOT_MEMORY"] = str(100 << 20)  # nothing has room
    home.ramet("ps")
    expect_equal(flat.inspect(home, "s")["hot_inode"], None, "hot memory beyond the budget")
    expect_equal(flat.content(home, "a"), wanted)
    home.env["RAMET_HOT_MEMORY"] = str(4 << 30)
    home.kill_daemon()
    home.ramet("standby", "a")
    home.ramet("resume", "a")
    expect_equal((flat.content(home, "a"), run(home, "a", "md5sum /run/own")), (wanted, own), "after standby")
    expect_equal(memory(home, "a")["base_inode"], flat.inspect(home, "s")["hot_inode"], "what it maps then")
    wanted = flat.write(home, "a", 128 << 20)
    adopt(home, "a", "t")
    home.ramet("stop", "a")
    home.ramet("start", "a")
    home.ramet("fork", "t", "--name", "b")
    expect_equal((flat.content(home, "b"), run(home, "b", "md5sum /run/own")), (wanted, own), "what a clone has")


def test_paused_vm(home):
    """One that is paused stays so."""
    wanted = prepared(home)
    home.ramet("pause", "a")
    adopt(home, "a", "s")
    check_private(home, "a", WRITTEN)
    expect_equal(home.vm("a")["state"], "paused")
    home.ramet("unpause", "a")
    expect_equal(flat.content(home, "a"), wanted)


def test_not_without_the_zygote(home):
    """It keeps its own memory, and the snapshot says why."""
    home.env["RAMET_ZYGOTE"] = "off"
    wanted = prepared(home)
    old = memory(home, "a")["base_inode"]
    made = snapshots.snapshot(home, "a", "s")
    expect_equal(made["adoption"], "no-zygote")
    expect(guest_bytes(home, "a") > WRITTEN, "it has lost something")
    expect_equal((memory(home, "a")["base_inode"], flat.content(home, "a")), (old, wanted))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    harness.main()
