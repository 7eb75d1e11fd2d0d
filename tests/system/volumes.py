#!/usr/bin/env python3
"""Volumes: disks that outlive VMs; one VM writes to one, or several read it."""
import filecmp
import os
import signal
import subprocess
import threading

import harness
from harness import expect, expect_equal, expect_match, wait_until


def guest(home, vm, line):
    return home.ramet("exec", vm, "--", "sh", "-c", line).out


def volume(home, name="data"):
    return home.json("volume", "inspect", name)


def test_life_of_a_volume(home):
    made = home.json("volume", "create", "data", "--size", "1G")
    expect_equal(made["virtual_bytes"], 1 << 30)
    expect(made["allocated_bytes"] < 64 << 20, made)
    home.ramet("volume", "create", "data", "--size", "1G", status=4)
    home.ramet("run", "-d", "--name", "a", "--volume", "data:/srv/data", "busybox")
    guest(home, "a", "echo one >/srv/data/file")
    result = home.ramet("run", "-d", "--name", "b", "--volume", "data:/srv/data:ro", "busybox", status=4)
    expect("in use by a" in result.err, result.err)
    home.ramet("volume", "export", "data", os.path.join(home.folder, "x"), status=4)
    home.ramet("volume", "rm", "data", status=4)
    expect_equal([user["name"] for user in volume(home)["users"]], ["a"])
    kinds = {kind["kind"]: kind for kind in home.json("df")["kinds"]}
    expect_equal((kinds["volumes"]["count"], kinds["volumes"]["used"]), (1, 1))
    home.ramet("stop", "a")
    home.ramet("start", "a")
    expect_equal(guest(home, "a", "cat /srv/data/file"), "one\n")

    # whoever reads it does so together, and nobody writes meanwhile
    home.ramet("stop", "a")
    for name in "bc":
        home.ramet("run", "-d", "--name", name, "--volume", "data:/mnt:ro", "busybox")
        expect_equal(guest(home, name, "cat /mnt/file; echo x 2>/dev/null >/mnt/file || echo refused"), "one\nrefused\n")
    home.ramet("start", "a", status=4)
    home.ramet("fork", "b", "--name", "d")
    expect_equal(guest(home, "d", "cat /mnt/file"), "one\n", "a clone reads it, too")
    home.ramet("rm", "-f", "b", "c", "d")

    for form in ("raw", "qcow2"):
        path = os.path.join(home.folder, f"out.{form}")
        home.ramet("volume", "export", "data", path)  # by its name
        with open(path, "rb") as file:
            expect_equal(file.read(4) == b"QFI\xfb", form == "qcow2", path)
        home.ramet("volume", "export", "data", path, status=4)
        home.ramet("volume", "export", "data", "-", status=2)
        home.ramet("volume", "create", form, "--from", path)
        expect_equal(home.ramet("run", "--rm", "--volume", f"{form}:/mnt:ro", "busybox", "--", "cat", "/mnt/file").out,
                     "one\n", form)
    expect_equal(sorted(os.listdir(home.folder)), sorted({*os.listdir(home.folder)} - {"out.raw.part"}))
    home.ramet("rm", "a")
    home.ramet("volume", "rm", "data", "raw", "qcow2")
    expect_equal(os.listdir(os.path.join(home.path, "volumes")), [])


def test_crashes(home):
    """The lock is QEMU's: it outlives the daemon, and ends with it however it ends."""
    home.ramet("volume", "create", "data", "--size", "64M")
    home.ramet("run", "-d", "--name", "a", "--volume", "data:/srv", "busybox")
    home.kill_daemon()
    home.ramet("create", "--name", "b", "--volume", "data:/srv", "busybox")
    home.ramet("start", "b", status=4)
    os.kill(home.vm("a")["qemu_pid"], signal.SIGKILL)
    wait_until(lambda: home.vm("a")["state"] in ("failed", "stopped"), "the end of a")
    home.ramet("start", "b")
    home.ramet("kill", "b")

    # another home that has the same file
    other = harness.Home()
    try:
        other.ramet("volume", "create", "same", "--size", "64M")
        target = volume(other, "same")["path"]
        os.unlink(target)
        os.link(volume(home)["path"], target)
        other.ramet("run", "-d", "--name", "c", "--volume", "same:/srv", "busybox")
        result = home.ramet("start", "b", status=4)
        expect("another home" in result.err, result.err)
        other.ramet("rm", "-f", "c")
        other.check_reports()
    finally:
        other.close()
    home.ramet("start", "b")


def test_snapshots(home):
    home.ramet("volume", "create", "data", "--size", "64M")
    home.ramet("run", "-d", "--name", "a", "--volume", "data:/srv", "busybox")
    guest(home, "a", "echo then >/srv/file")
    for words in (("snapshot", "create", "a", "s"), ("fork", "a", "--name", "b")):
        result = home.ramet(*words, status=4)
        expect("--clone-volumes" in result.err, result.err)
    expect_equal(home.json("snapshot", "ls"), [])
    home.ramet("snapshot", "create", "a", "s", "--clone-volumes")
    guest(home, "a", "echo now >/srv/file; sync")
    home.ramet("fork", "s", "--name", "b")
    home.ramet("fork", "s", "--name", "c")
    expect_equal(guest(home, "b", "cat /srv/file; echo b >/srv/file; cat /srv/file"), "then\nb\n")
    expect_equal(guest(home, "c", "cat /srv/file"), "then\n")
    expect_equal(guest(home, "a", "cat /srv/file"), "now\n")
    home.ramet("fork", "b", "--name", "e")  # a clone's is its own already
    expect_equal(guest(home, "e", "cat /srv/file; echo e >/srv/file; cat /srv/file"), "b\ne\n")
    home.ramet("standby", "b")  # right after it wrote, and nobody syncs
    home.ramet("stop", "b")
    home.ramet("start", "b")
    expect_equal(guest(home, "b", "cat /srv/file"), "b\n")
    home.ramet("commit", "a", "made")
    check_nothing_swells(home)

    # in standby it goes on with the volume that it left, and nobody writes to that meanwhile
    home.ramet("standby", "a")
    home.ramet("create", "--name", "d", "--volume", "data:/srv", "busybox")
    home.ramet("start", "d", status=4)
    home.ramet("resume", "a")
    expect_equal(guest(home, "a", "cat /srv/file"), "now\n")
    home.ramet("volume", "rm", "data", status=4)
    home.ramet("rm", "-f", "a", "b", "c", "d", "e")
    home.ramet("snapshot", "rm", "s")
    expect_equal(os.listdir(os.path.join(home.path, "seeds")), [], "copies that nobody has")
    home.ramet("volume", "rm", "data")


def check_nothing_swells(home):
    """Zeros that a guest writes take no room on the host, and what it trims is given back."""
    root = home.vm("a")["disk"]["path"]

    def allocated():
        return os.stat(root).st_blocks * 512, volume(home)["allocated_bytes"]
    before = allocated()
    guest(home, "a", "for at in / /srv; do dd if=/dev/zero of=$at/zeros bs=1M count=16 2>&- || exit; done; sync")
    grown = [now - then for now, then in zip(allocated(), before)]
    expect(max(grown) < 4 << 20, f"root and volume grew by {grown} bytes for 16 MiB of zeros")
    guest(home, "a", "rm /srv/zeros && dd if=/dev/urandom of=/srv/noise bs=1M count=8 2>&- && sync")
    full = allocated()[1]
    expect(full - before[1] > 6 << 20, f"{full} bytes with 8 MiB of noise, {before[1]} before")
    guest(home, "a", "rm /srv/noise && sync && fstrim /srv")
    expect(full - allocated()[1] > 6 << 20, f"{allocated()[1]} bytes after a trim, {full} before")


def test_reader_of_what_changed(home):
    home.ramet("volume", "create", "data", "--size", "64M")
    home.ramet("run", "-d", "--name", "a", "--volume", "data:/srv:ro", "busybox")
    home.ramet("snapshot", "create", "a", "s")
    home.ramet("stop", "a")
    home.ramet("fork", "s", "--name", "b")
    home.ramet("rm", "-f", "b")
    home.ramet("run", "--rm", "--volume", "data:/srv", "busybox", "--", "sh", "-c", "echo x >/srv/x")
    result = home.ramet("fork", "s", "--name", "b", status=4)
    expect("was written to since" in result.err, result.err)
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["a"])


def config(home, vm, line="cat /media/config/name"):
    return guest(home, vm, line).strip()


def make_config(home, name, text):
    path = os.path.join(home.folder, name)
    os.makedirs(os.path.join(path, "deep", "er"), exist_ok=True)
    for file in ("name", "deep/er/A name that is longer than those of ISO 9660.txt"):
        with open(os.path.join(path, file), "w", encoding="utf-8") as out:
            out.write(text + "\n")
    os.chmod(os.path.join(path, "name"), 0o640)
    return path


def test_config_disks(home):
    """What one VM reads alone: of a folder and of a file; kept by snapshots, standby and forks, or replaced there."""
    one, two = (make_config(home, name, name) for name in ("one", "two"))
    os.symlink("name", os.path.join(one, "link"))
    raw = os.path.join(home.folder, "raw")
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "mine", "-d", make_config(home, "three", "three"), raw, "3M"],
                   check=True)
    home.ramet("run", "-d", "--name", "a", "--config-disk", one, "busybox")
    expect_equal(config(home, "a", "cd /media/config; cat link deep/er/A*; stat -c '%a %u %h' name; echo x 2>&- >name || echo ro"),
                 "one\none\n640 0 1\nro")
    disk = home.vm("a")["disks"][1]
    expect_equal((disk["kind"], disk["serial"], disk["mounted_at"], disk["read_only"]),
                 ("config", "config-1", "/media/config", True))

    # a clone has its source's, or another one, whatever that is and however large
    home.ramet("snapshot", "create", "a", "s")
    checks = home.json("snapshot", "verify", "s")["checks"]
    expect_equal(sum(check["what"] == "config disk" and check["ok"] for check in checks), 1, checks)
    home.ramet("fork", "s", "--name", "b")
    expect_equal(config(home, "b"), "one")
    os.makedirs(f"{home.folder}/empty")
    home.ramet("run", "-d", "--name", "nothing", "--config-disk", f"{home.folder}/empty", "busybox")
    home.ramet("fork", "nothing", "--name", "something", "--config-disk", one)
    expect_equal(config(home, "something"), "one", "of a clone whose source had an empty folder")
    home.ramet("rm", "-f", "something", "nothing")
    guest(home, "a", "cd /media/config && sleep 1000 >/dev/null 2>&1 &")
    for source, clone, path in (("a", "c", raw), ("s", "d", two), ("c", "e", two)):
        home.ramet("fork", source, "--name", clone, "--config-disk", path)
        expect_equal(config(home, clone), "three" if path == raw else "two", clone)
        expect(home.vm(clone)["disks"][1]["digest"] != disk["digest"], "its own disk")
    expect_equal(config(home, "a"), "one")
    home.ramet("standby", "e")
    home.ramet("resume", "e")
    expect_equal(config(home, "e"), "two")
    home.ramet("restart", "c", "--cold")
    expect_equal(config(home, "c"), "three", "after a cold start")
    result = home.ramet("run", "--rm", "busybox", "--", "ls", "/media/config", status=1)
    expect("No such file" in result.err, result.err)

    # its file goes with the last one that has it
    home.ramet("snapshot", "rm", "s", status=4)
    home.ramet("rm", "-f", "a", "b", "c", "d", "e")
    home.ramet("snapshot", "rm", "s")
    expect_equal(os.listdir(os.path.join(home.path, "seeds")), [])


def test_config_disks_that_cannot_be(home):
    folder = make_config(home, "one", "one")
    named = os.path.join(home.folder, "file")

    def refused(path, text, status=2):
        result = home.ramet("create", "--config-disk", path, "busybox", status=status)
        expect(text in result.err, result.err)

    refused(os.path.join(home.folder, "absent"), "cannot read", 3)
    for size, text in ((0, "empty"), ((1 << 30) + 1, "larger than")):
        with open(named, "wb") as file:
            file.truncate(size)
        refused(named, text)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", named, "1M"], check=True)
    refused(named, "qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", named, "1M"], check=True)
    refused(named, "vmdk")
    subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", named, "1M"], check=True)
    refused(named, "this is a VDI image", None)
    refused("/dev/null", "neither a file nor a folder")
    os.mkfifo(os.path.join(folder, "deep", "pipe"))
    refused(folder, "deep/pipe is a socket")
    os.unlink(os.path.join(folder, "deep", "pipe"))
    os.symlink("..", os.path.join(folder, "deep", "loop"))  # a link is a link
    with open(os.path.join(folder, "large"), "wb") as file:
        file.truncate((64 << 20) + 1)
    refused(folder, "at most 64")
    os.unlink(os.path.join(folder, "large"))

    def changes(path):
        """One that was made between two changes is no fault; sooner or later one is not."""
        result = home.ramet("create", "--name", "x", "--config-disk", path, "busybox", status=None)
        if result.status == 0:
            home.ramet("rm", "x")
            return False
        expect_equal(result.status, 4, result.err)
        expect("changed while it was read" in result.err, result.err)
        return True

    with open(os.path.join(folder, "deep", "long"), "wb") as file:
        file.write(os.urandom(16 << 20))
    stop = threading.Event()

    def write():
        with open(os.path.join(folder, "name"), "ab") as file:
            while not stop.is_set():
                file.write(b"x" * 4096)
                file.flush()
                file.truncate(4096)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: changes(folder), "a folder that changed")
        wait_until(lambda: changes(os.path.join(folder, "name")), "a file that changed")
    finally:
        stop.set()
        writer.join()
    home.ramet("create", "--name", "plain", "busybox")
    result = home.ramet("fork", "plain", "--config-disk", folder, status=2)
    expect("has no config disk" in result.err, result.err)
    expect("an empty folder will do" in result.err, result.err)
    home.ramet("create", "--name", "a", "--config-disk", folder, "busybox")
    home.ramet("create", "--config-disk", folder, "--volume", "absent:/srv", "busybox", status=3)
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["plain", "a"])
    expect_equal(len(os.listdir(os.path.join(home.path, "seeds"))), 1)
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")


def test_from_a_seed_and_refusals(home):
    folder = os.path.join(home.folder, "work")
    os.mkdir(folder)
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
        file.write("of the seed\n")
    home.ramet("seed", "create", "work", "--from", folder)
    home.ramet("volume", "create", "data", "--from", "work", "--size", "1G")
    out = home.ramet("run", "--rm", "--volume", "data:/srv", "busybox", "--", "sh", "-c",
                     "cat /srv/file; df -m /srv | tail -1").out.split()
    expect_equal(out[:3], ["of", "the", "seed"])
    expect(int(out[4]) > 900, f"its file system did not grow: {out}")
    home.ramet("volume", "create", "x", status=2)
    home.ramet("volume", "create", "x", "--size", "4K", status=2)
    home.ramet("volume", "create", "../x", "--size", "64M", status=2)
    expect_match(home.ramet("volume", "create", "x", "--size", "4M", status=2).err, "needs 8 MiB", "the least that has a journal")
    home.ramet("volume", "create", "least", "--size", "8M")
    home.ramet("volume", "rm", "least")
    with open(os.path.join(home.folder, "vast"), "wb") as file:
        try:
            file.truncate(1000 << 40)
        except OSError:  # this file system has no such files
            expect_match(home.ramet("volume", "create", "x", "--size", "1000T", status=1).err, "file system.*smaller --size", "why")
    os.unlink(file.name)
    home.ramet("volume", "create", "x", "--from", os.path.join(home.folder, "absent"), status=3)
    home.ramet("create", "--volume", "absent:/srv", "busybox", status=3)
    home.ramet("create", "--volume", "data:/a", "--volume", "data:/b", "busybox", status=2)
    home.ramet("create", "--volume", "data:/a:wo", "busybox", status=2)
    bad = os.path.join(home.folder, "bad.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/hostname", bad], check=True)
    home.ramet("volume", "create", "x", "--from", bad, status=None)
    foreign = os.path.join(home.folder, "foreign.vdi")
    subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", foreign, "4M"], check=True)
    expect("this is a VDI image" in home.ramet("volume", "create", "x", "--from", foreign, status=None).err, "a VDI")
    expect_equal([one["name"] for one in home.json("volume", "ls")], ["data"])
    plain = os.path.join(home.folder, "plain")
    with open(plain, "wb") as file:
        file.write(b"what is on it\n" + os.urandom(4096))
        file.truncate(8 << 20)
    for form in ("vmdk", "vhdx"):  # taken as raw they would be another disk
        image, out = (os.path.join(home.folder, f"{name}.{form}") for name in ("image", "out"))
        subprocess.run(["qemu-img", "convert", "-O", form, plain, image], check=True)
        home.ramet("volume", "create", form, "--from", image)
        home.ramet("volume", "export", form, out)
        expect(filecmp.cmp(plain, out, shallow=False), f"a volume of a {form} is another")
        home.ramet("volume", "rm", form)
    expect_equal(len(os.listdir(os.path.join(home.path, "volumes"))), 1)
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")


def test_end_right_after_writing(home):
    """What was written is there, as that of a process that is killed is in its file."""
    home.ramet("volume", "create", "data", "--size", "64M")
    home.ramet("run", "--rm", "--volume", "data:/srv", "busybox", "--", "sh", "-c", "echo one >/srv/one")
    home.ramet("run", "-d", "--name", "a", "--volume", "data:/srv", "busybox")
    expect_equal(guest(home, "a", "cat /srv/one; echo two >/srv/two"), "one\n")
    home.ramet("rm", "-f", "a")
    client = home.start("run", "--rm", "--name", "b", "--volume", "data:/srv", "busybox", "--", "sh", "-c",
                        "cat /srv/one /srv/two; echo three >/srv/three; echo written; sleep 1000")
    expect_equal([client.stdout.readline() for _ in range(3)], [b"one\n", b"two\n", b"written\n"])
    client.kill()
    client.communicate()
    wait_until(lambda: not home.json("ps", "-a"), "the end of a VM whose client is gone")
    expect_equal(home.ramet("run", "--rm", "--volume", "data:/srv:ro", "busybox", "--", "cat", "/srv/three").out, "three\n")


def test_kill_while_one_is_made(home):
    source = os.path.join(home.folder, "large")
    with open(source, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(4 << 20))
    home.ramet("ps")
    process = home.start("volume", "create", "data", "--from", source)
    wait_until(lambda: os.listdir(os.path.join(home.path, "tmp")) or process.poll() is not None, "its scratch")
    home.kill_daemon()
    process.communicate()
    home.ramet("volume", "rm", "data", status=None)
    home.ramet("volume", "create", "data", "--from", source)
    expect_equal(len(os.listdir(os.path.join(home.path, "volumes"))), 1)
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")
    path = os.path.join(home.folder, "out")
    process = home.start("volume", "export", "data", path, "--format", "qcow2")
    wait_until(lambda: home.json("volume", "ls"), "the daemon")
    home.kill_daemon()
    process.communicate()
    expect("out.part" not in os.listdir(home.folder), "what is half made")
    if not os.path.exists(path):
        home.ramet("volume", "export", "data", path, "--format", "qcow2")


if __name__ == "__main__":
    harness.main()
