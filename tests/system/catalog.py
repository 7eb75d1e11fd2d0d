#!/usr/bin/env python3
"""Names of images move and are given away; what stands on an image keeps it; prune says what it keeps; numbers add up."""
import os
import shutil

import harness
from harness import expect, expect_equal, expect_match


def bases(home):
    return sorted(name for name in os.listdir(os.path.join(home.path, "images")) if name.endswith(".raw"))


def other_image(home):
    """A disk like busybox's with another content, outside of the home."""
    path = os.path.join(home.folder, "other.raw")
    shutil.copyfile(home.json("image", "inspect", "busybox")["path"], path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(512)  # before the file system's superblock
        file.write(os.urandom(16))
    return path


@harness.booted
def test_replace_and_tag(home):
    first = home.json("image", "inspect", "busybox")
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "warm")
    other = other_image(home)
    result = home.ramet("image", "import", other, "--name", "busybox", status=4)
    expect("--replace" in result.err, result.err)
    home.ramet("image", "import", other, "--name", "busybox", "--replace")
    second = home.json("image", "inspect", "busybox")
    expect(second["digest"] != first["digest"], "the name did not move")
    expect_equal(len(bases(home)), 2, "bases: the first one is still stood on")
    expect_equal(home.ramet("fork", "warm", "--name", "b", "--", "hostname").out, "b\n")
    home.ramet("restart", "a")
    expect_equal(home.ramet("exec", "a", "hostname").out, "a\n")
    expect_equal(home.vm("a")["image_digest"], first["digest"])
    fresh = home.ramet("run", "-d", "--json", "--name", "c", "busybox").json()
    expect_equal(fresh["image_digest"], second["digest"], "what a new VM stands on")
    home.ramet("daemon", "stop")  # the next daemon keeps the base that has no name, too
    expect_equal(home.ramet("fork", "warm", "--name", "d", "--", "hostname").out, "d\n")
    home.ramet("rm", "-f", "a", "b", "d")
    expect_equal(len(bases(home)), 2, "bases while the snapshot stands on the first one")
    home.ramet("snapshot", "rm", "warm")
    home.ramet("prune")
    expect_equal(len(bases(home)), 1, "bases once nothing stands on the first one")

    result = home.ramet("image", "import", other, "--name", "busybox", "--size", "1G", status=4)
    expect_match(result.err, r"image busybox of this disk already, whose VMs have \d.* \(wanted 1 GiB\); let --replace change its size")
    home.ramet("image", "import", other, "--name", "busybox", "--size", "1G", "--replace")
    for size in (["--size", "1G"], []):  # which it has
        grown = home.json("image", "import", other, "--name", "busybox", *size)
        expect_equal((grown["digest"], grown["minimum_disk_bytes"]), (second["digest"], 1 << 30))

    home.ramet("image", "tag", "busybox", "second")
    home.ramet("image", "tag", "nosuch", "second", status=3)
    home.ramet("image", "rm", "busybox")  # its VM has the other name
    result = home.ramet("image", "rm", "second", status=4)
    expect_match(result.err, r"in use by VM c\b")
    home.ramet("rm", "-f", "c")
    home.ramet("image", "rm", "second")
    expect_equal(bases(home), [], "bases of no image")
    home.check_no_leftovers()


@harness.booted
def test_who_is_in_the_way(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "warm")
    unnamed = home.json("snapshot", "create", "a")["id"]
    home.ramet("fork", "warm", "--name", "b")
    for label in ("VM a", "VM b", "snapshot warm", f"snapshot {unnamed[:12]}"):
        expect(label in home.ramet("image", "rm", "busybox", status=4).err, f"{label} is not named")
    listed = home.ramet("snapshot", "ls").out
    expect(unnamed[:12] in listed and unnamed not in listed, "the name in the list is another")
    expect("needed by VM b;" in home.ramet("snapshot", "rm", "warm", status=4).err, "VM b is not named")
    report = home.json("prune")
    expect(unnamed[:12] in report["snapshots"] and len(report["snapshots"]) == 2,
           f"prune took that without a name and the booted kernel: {report}")
    kept = {one["snapshot"]: one["why"] for one in report["kept"]}
    expect_equal(kept.pop("warm"), "it has a name")
    expect(any("VM a" in why and "snapshot warm" in why for why in kept.values()), f"the boot cache's reason: {kept}")
    home.ramet("rm", "-f", "a", "b")
    home.ramet("snapshot", "rm", "warm")
    expect_equal(len(home.json("prune")["snapshots"]), 1, "the entry of the boot cache")
    expect_equal(home.json("snapshot", "ls", "-a"), [])


@harness.booted
def test_numbers_and_statuses(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("exec", "a", "--", "sh", "-c", "head -c 8m /dev/urandom >/dev/shm/x")
    memory = home.vm("a")["memory"]
    expect_equal(memory["guest_bytes"] + memory["code_bytes"] + memory["qemu_bytes"], memory["private_bytes"], "the sum")
    expect(memory["guest_bytes"] >= 8 << 20, f"the guest wrote 8 MiB: {memory}")
    expect(memory["qemu_bytes"] > 0, "QEMU has nothing of its own")
    home.ramet("snapshot", "create", "a", "warm")
    listed = home.json("snapshot", "ls")[0]
    shown = home.json("snapshot", "inspect", "warm")

    def find(nodes):
        return next((n for n in nodes if n["name"] == "warm"), None) or next(
            (found for found in (find(n["children"]) for n in nodes) if found), None)

    node = find(home.json("snapshot", "tree"))
    for where in (listed, shown):
        expect_equal(where["memory"]["allocated_bytes"], node["memory_bytes"], "memory")
        expect_equal(where["disk"]["allocated_bytes"], node["disk_bytes"], "disk")

    for words in (["exec", "nosuch", "true"], ["run", "nosuch"], ["run", "nosuch", "true"], ["shell", "nosuch"]):
        home.ramet(*words, status=125)
    home.ramet("run", "-d", "nosuch", status=3)
    home.ramet("start", "nosuch", status=3)
    home.ramet("exec", "a", "--", "sh", "-c", "echo a line >/dev/console")
    harness.wait_until(lambda: "a line" in home.json("logs", "a")["log"], "the line in the console's log")
    home.ramet("create", "--name", "b", "busybox")
    expect_equal([one["name"] for one in home.json("rm", "-f", "a", "b")], ["a", "b"], "rm --json")
    home.ramet("create", "--name", "c", "busybox")
    expect_equal(home.json("rm", "c")["name"], "c")


if __name__ == "__main__":
    harness.main()
