#!/usr/bin/env python3
"""What takes room, and what of it goes: ramet df adds up, prune keeps what something grows from, also beside creates."""
import datetime
import os
import shutil
import threading

import harness
import oci
from harness import expect, expect_equal, expect_match, wait_until


def kinds(home):
    return {one["kind"]: one for one in home.json("df")["kinds"]}


def other_image(home, name):
    """One of its own content."""
    path = os.path.join(home.folder, name + ".raw")
    shutil.copyfile(home.json("image", "inspect", "busybox")["path"], path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(512)  # before the file system's superblock
        file.write(os.urandom(16))
    home.ramet("image", "import", path, "--name", name)
    os.unlink(path)


@harness.booted
def test_what_is_told(home):
    """A dry run speaks of what would be, and calls each thing what it is; what was made ahead is as old as its last use."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "warm")
    told = home.ramet("prune", "-n")
    expect_match(told.err, r"would keep boot cache entry \w+: needed by VM a, snapshot warm\n")
    expect_match(told.err, r"would remove boot cache entry \w+, [\d.]+ MiB\n")
    expect_match(told.err, r"would keep snapshot warm: it has a name\n")
    expect_match(told.out, r"^1 boot cache entry\b.* would be removed")
    home.ramet("rm", "-f", "a")
    home.ramet("snapshot", "rm", "warm")
    since = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    home.ramet("run", "--rm", "busybox", "--", "true")
    removed = home.json("prune", "--until", since)["removed"]
    expect_equal([one["what"] for one in removed], ["boot cache entry"], "the booted kernel; the entry was used since")
    began = [event["id"] for event in home.json("events", "--no-follow")][-1]
    home.ramet("run", "-d", "--name", "b", "busybox")
    made = [event for event in home.json("events", "--no-follow") if event["id"] > began and event["type"] == "snapshot.created"]
    expect_equal(made, [], "what was booted for it")
    home.ramet("rm", "-f", "b")


@harness.booted
def test_df_and_prune(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "warm")
    home.ramet("snapshot", "create", "a")
    home.ramet("fork", "warm", "--name", "b")
    other_image(home, "spare")
    shown = kinds(home)
    expect_equal(shown["images"]["count"], 2)
    expect_equal(shown["images"]["used"], 1, "images in use")
    expect_equal(shown["VM disks"]["count"], 2)
    expect_equal(shown["snapshots"]["count"], 2)
    expect_equal(shown["boot cache"]["count"], 2, "the image's entry, and the kernel that it was booted from")
    expect(shown["images"]["shared_bytes"] > 0, "busybox is shared")
    for one in shown.values():
        expect(0 <= one["reclaimable_bytes"] <= one["bytes"], f"does not add up: {one}")
        expect(one["shared_bytes"] <= one["bytes"], f"does not add up: {one}")
    table = home.ramet("df").out
    for kind in shown:
        expect(kind in table, f"{kind} is not in the table: {table}")
    verbose = home.ramet("df", "-v").out
    expect("spare" in verbose and "something stands on it" in verbose, verbose)

    dry = home.json("prune", "--all", "--dry-run")
    expect_equal(dry["images"], ["spare"])
    expect(dry["dry_run"] and dry["freed_bytes"] > 0, f"{dry}")
    expect_equal(kinds(home)["images"]["count"], 2, "a dry run removed something")
    expect_equal(home.json("prune", "--until", "1h")["images"], [], "it is a minute old")
    kept = home.json("prune", "--until", "1h")["kept"]
    expect(any(one.get("image") == "spare" and "old" in one["why"] for one in kept), f"{kept}")
    expect_equal(home.json("prune", "--keep-bytes", "100G")["images"], [], "it is within the budget")
    first = home.json("prune")  # the snapshot without a name, and the booted kernel; names stay
    expect_equal(len(first["snapshots"]), 2, "snapshots that went")
    expect_equal(sorted(one["what"] for one in first["removed"]), ["boot cache entry", "snapshot"], "what they are called")
    expect_equal(sorted(one["what"] for one in first["removed"]), ["boot cache entry", "snapshot"], "what they are called")
    expect_equal(first["images"], [])
    home.ramet("snapshot", "inspect", "warm")
    expect_equal(home.json("prune", "--keep-bytes", "0")["images"], ["spare"])
    home.ramet("image", "inspect", "spare", status=3)
    home.ramet("prune", "--keep-bytes", "some", status=2)
    expect_equal(home.ramet("exec", "b", "hostname").out, "b\n")
    home.ramet("rm", "-f", "a", "b")
    last = home.json("prune", "--all")
    expect("warm" in last["snapshots"] and last["images"] == ["busybox"], f"{last}")
    shown = kinds(home)
    for kind in ("images", "layers", "VM disks", "snapshots", "boot cache", "hot memory", "scratch"):
        expect_equal(shown[kind]["count"], 0, kind)
    home.check_no_leftovers()


@harness.booted
def test_scratch(home):
    """What a thread left that is gone goes; what is worked on, or is nobody's, stays."""
    home.ramet("ps")
    pid = home.json("daemon", "status")["pid"]
    names = {"old": f"snapshots-{pid}-4194303-00", "new": f"snapshots-{pid}-{pid}-00", "else": "somebody"}
    for name in names.values():
        os.makedirs(os.path.join(home.path, "tmp", name, "x"))
    expect_equal(home.json("prune")["scratch"], 1)
    expect_equal(sorted(os.listdir(os.path.join(home.path, "tmp"))), sorted([names["new"], names["else"]]))
    for name in ("new", "else"):
        shutil.rmtree(os.path.join(home.path, "tmp", names[name]))


@harness.booted
def test_boot_files(home):
    """Kernels and initramfs go as images do, but for those that something stands on or that were just used."""

    def folders():
        return {name: set(os.listdir(os.path.join(home.path, name))) - {"debian.json"} for name in ("kernels", "initramfs")}

    def age(name):
        os.utime(os.path.join(home.path, name), (0, 0))

    home.json("prune", "--all")  # what the template was made with
    home.ramet("run", "-d", "--name", "a", "busybox")
    used = folders()
    left = {"initramfs": {"0" * 64 + ".cpio", "1" * 64 + ".iso"}, "kernels": {"2" * 64}}
    os.mkdir(os.path.join(home.path, "kernels", "2" * 64))
    for name in left["initramfs"]:
        with open(os.path.join(home.path, "initramfs", name), "wb") as file:
            file.write(bytes(100000))
    shown = kinds(home)
    expect_equal((shown["initramfs"]["count"], shown["initramfs"]["used"]), (len(used["initramfs"]) + 2, 1))
    expect_equal(shown["kernels"]["count"], len(used["kernels"]) + 1)
    expect_equal(home.json("prune", "--all", "--dry-run")["boot_files"], 0, "just made")
    for folder in ("kernels", "initramfs"):
        for name in folders()[folder]:
            age(os.path.join(folder, name))
    expect_equal(home.json("prune")["boot_files"], 0, "by itself")
    report = home.json("prune", "--all")
    expect(report["boot_files"] >= 3 and report["freed_bytes"] >= 200000, f"{report}")
    expect(not any(left[name] & folders()[name] for name in left), f"{folders()}")
    home.ramet("restart", "a")
    home.ramet("rm", "-f", "a")
    for folder in ("kernels", "initramfs"):
        for name in folders()[folder]:
            age(os.path.join(folder, name))
    home.json("prune", "--all")
    expect_equal(folders(), {"kernels": set(), "initramfs": set()}, "with the last that stood on them")
    expect_equal(home.ramet("run", "--rm", "busybox", "--", "echo", "again").out, "again\n", "they are made again")
    home.check_no_leftovers()


@harness.booted
def test_beside_creates(home):
    """Each create is whole or refused, whatever goes meanwhile."""
    stop = threading.Event()

    def prune():
        while not stop.is_set():
            home.json("prune", "--keep-bytes", "0")

    home.ramet("create", "--name", "stay", "busybox")
    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for i in range(3):
            home.ramet("run", "-d", "--name", f"v{i}", "busybox")
            home.ramet("fork", f"v{i}", "--name", f"w{i}")
            expect_equal(home.ramet("exec", f"w{i}", "hostname").out, f"w{i}\n")
            home.ramet("rm", "-f", f"v{i}", f"w{i}")
    finally:
        stop.set()
        thread.join()
    home.ramet("rm", "-f", "stay")
    home.ramet("prune")
    home.check_no_leftovers()


def events(home, kind):
    return [event for event in home.json("events", "--no-follow") if event["type"] == kind]


def test_full_host(home):
    """A guest whose write finds no room on the host waits for some, and nothing is lost."""
    vms = os.path.join(home.path, "vms")
    os.makedirs(vms, mode=0o755, exist_ok=True)
    mode = os.stat(vms).st_mode & 0o7777
    with oci.little_room(vms, "96m"):
        os.chmod(vms, mode)
        home.ramet("run", "-d", "--disk", "1G", "--name", "a", "busybox")
        filler = os.path.join(vms, "filler")
        room = os.statvfs(vms)
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (24 << 20))
        client = home.start("exec", "a", "--", "sh", "-c", "head -c 50331648 /dev/urandom >/root/f; sync; md5sum /root/f")
        wait_until(lambda: events(home, "vm.no_room"), "word that there is no room")
        expect_equal((client.poll(), home.vm("a")["no_room"]), (None, True))
        os.unlink(filler)
        out, err = client.communicate(timeout=harness.BOUND)
        expect_equal((client.returncode, err), (0, b""))
        wait_until(lambda: events(home, "vm.room"), "word that there is room")
        vm = home.vm("a")
        expect_equal((vm["state"], vm["no_room"]), ("running", False))
        again = home.ramet("exec", "a", "--", "sh", "-c", "echo 3 >/proc/sys/vm/drop_caches; md5sum /root/f").out
        expect_equal(again, out.decode(), "what was written")
        home.ramet("rm", "-f", "a")
        home.ramet("daemon", "stop")


if __name__ == "__main__":
    harness.main()
