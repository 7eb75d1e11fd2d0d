#!/usr/bin/env python3
"""A host whose disk is full: what makes something says so, leaves nothing, and succeeds once there is room."""
import contextlib
import json
import os
import shutil
import subprocess

import harness
import oci
import oci_images
from harness import expect_equal, expect_match, wait_until
from recipes import cached, hidden, steps, write

MIB = 1 << 20
LEFT = 70 * MIB  # enough for what is tried to begin (home/admission.c)
NOISE = 88 * MIB  # too much
WRITE_NOISE = "head -c 4194304 /dev/urandom > /piece; for i in $(seq 22); do cat /piece >> /big; done"


@contextlib.contextmanager
def small_home(home, more):
    """A home on a file system of its own, with so many MiB more than it begins with."""
    folder = f"{home.folder}/small"
    kib = subprocess.run(["du", "-lsk", harness.BOOTED], check=True, capture_output=True, encoding="utf-8").stdout.split()[0]
    with oci.little_room(folder, f"{int(kib) // 1024 + more}m"):
        os.chmod(folder, 0o755)
        os.chmod(home.folder, 0o755)
        inner = harness.Home(template=None, parent=folder)
        subprocess.run(["cp", "-a", "--sparse=always", harness.BOOTED, inner.path], check=True)
        subprocess.run(["rm", "-rf", *(f"{inner.path}/{name}" for name in ("ramet.sock", "vms", "tmp", "locks"))], check=True)
        try:
            yield inner
            inner.check_reports()
        except Exception:
            harness.show_logs(inner)
            raise
        finally:
            inner.close()


def fill(home):
    """A file that leaves LEFT."""
    path = f"{home.folder}/ballast"
    room = os.statvfs(home.folder)
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - LEFT)
    return path


FILLS = f"""base: busybox
disk: 1G
steps:
  - run: echo one > /one
  - run: {WRITE_NOISE}; sync; md5sum /big > /sum
    timeout: TIMEOUT
"""


def build_until_room(inner, ballast):
    """The build's answer, and what it said; there is room once it said that there is none."""
    process = inner.start("image", "build", "made", "-f", write(inner, FILLS.replace("TIMEOUT", "900")), "--json")
    said = ""
    for line in process.stderr:
        said += line.decode()
        if b"no room" in line:
            os.unlink(ballast)
    out = process.stdout.read()
    expect_equal(process.wait(timeout=harness.BOUND), 0, said)
    return json.loads(out), said


def test_recipe(home):
    """Who builds is told that a step waits for room and that it goes on; where there is none, the step fails."""
    with small_home(home, more=500) as inner:
        inner.ramet("run", "--rm", "busybox", "--", "true")  # what the boot cache lacks takes room, too
        ballast = fill(inner)
        result = inner.ramet("image", "build", "made", "-f", write(inner, FILLS.replace("TIMEOUT", "90")), "--json", status=1)
        error = result.json()["error"]
        expect_equal(error["code"], "no_space")
        expect_match(error["message"], r"recipe\.yaml:5: step 2 of 2, run head .*: the host has no room for what the guest writes")
        expect_match(error["hint"], "ramet df")
        expect_equal((steps(inner), hidden(inner), inner.vm_folders()), (1, 0, []), "steps, VMs and folders")
        inner.check_no_leftovers()
        os.unlink(ballast)
        made, said = build_until_room(inner, fill(inner))
        expect_match(said, r"step 2 of 2.*\n.*no room .* 300 s at most.*ramet prune.*\n.*room again")
        expect_equal(cached(made), [True, False])
        expect_equal(inner.ramet("run", "--rm", "made", "--", "md5sum", "-c", "/sum").out, "/big: OK\n")


def test_snapshot(home):
    """What the guest has yet to write finds no room while it is saved: that is told at once, also of one that is paused, and the VM goes on later."""
    with small_home(home, more=400) as inner:
        inner.ramet("run", "-d", "--disk", "1G", "--memory", "512M", "--name", "a", "busybox")
        before = inner.json("snapshot", "ls", "-a")
        ballast = fill(inner)
        inner.ramet("exec", "a", "--", "sh", "-c", "for f in writeback_centisecs:0 ratio:90 background_ratio:90; do"
                                                   f" echo ${{f#*:}} > /proc/sys/vm/dirty_${{f%:*}}; done; {WRITE_NOISE}")
        error = inner.ramet("snapshot", "create", "a", "s", "--json", status=1).json()["error"]
        expect_equal(error["code"], "no_space", str(error))
        expect_match(error["message"], "no room for what the guest writes|is full")  # so when it wrote some by itself meanwhile
        inner.ramet("pause", "a")
        error = inner.ramet("snapshot", "create", "a", "s", "--json", status=1).json()["error"]
        expect_equal((error["code"], inner.vm("a")["state"], inner.vm("a")["no_room"]), ("no_space", "paused", False), str(error))
        expect_equal(inner.json("snapshot", "ls", "-a"), before, "snapshots")
        os.unlink(ballast)
        inner.ramet("unpause", "a")
        wait_until(lambda: inner.vm("a")["state"] == "running" and not inner.vm("a")["no_room"], "the VM to go on")
        inner.ramet("snapshot", "create", "a", "s")
        inner.ramet("rm", "-f", "a")


def make_inputs(home):
    """Things of NOISE bytes that cannot be packed: a folder, a file, an image's folder, a disk."""
    os.makedirs(f"{home.folder}/tree")
    noise = os.urandom(NOISE)
    for name in ("tree/noise", "noise"):
        with open(f"{home.folder}/{name}", "wb") as file:
            file.write(noise)
    layers = [oci_images.base_layer(), oci_images.layer(oci_images.entry("noise", noise))]
    oci_images.write_folder(f"{home.folder}/layout", {"x": oci_images.Image(layers)})
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", f"{home.folder}/tree", f"{home.folder}/disk.img", "128M"], check=True)


def makers(home, out):
    """What is made: its words, what it leaves to look at, and what removes it. In this order, since one is of another."""
    there = home.folder
    return [
        (["seed", "create", "s", "--from", f"{there}/tree"], None),
        (["volume", "create", "v", "--size", "96M", "--from", f"{there}/noise"], None),
        (["volume", "create", "w", "--size", "256M", "--from", "s"], ["volume", "rm", "w"]),
        (["volume", "export", "v", f"{out}/v.raw"], None),
        (["image", "pull", f"oci:{there}/layout:x", "--name", "pulled"], ["image", "rm", "pulled"]),
        (["image", "import", f"{there}/disk.img", "--name", "disk"], ["image", "rm", "disk"]),
        (["snapshot", "create", "a", "shot"], None),
        (["snapshot", "export", "shot", f"{out}/shot.ramet"], ["snapshot", "rm", "shot"]),
        (["snapshot", "import", f"{there}/shot.ramet", "--name", "again"], ["snapshot", "rm", "again"]),
        (["commit", "b", "committed"], None),
        (["image", "export", "committed", f"{out}/committed.ramet"], ["image", "rm", "committed"]),
        (["image", "import", f"{there}/committed.ramet", "--name", "other"], ["image", "rm", "other"]),
    ]


def state(inner, out):
    """All that there is, but for layers: what was frozen for a commit that fails stays a part of its VM's disk."""
    found = {what: inner.json(what, "ls") for what in ("image", "seed", "volume", "snapshot")}
    files = {name: sorted(os.listdir(f"{inner.path}/{name}")) for name in ("tmp", "seeds", "volumes", "images", "snapshots")
             if os.path.isdir(f"{inner.path}/{name}")}
    return [sorted(one["name"] for one in found[what]) for what in found], files, sorted(os.listdir(out))


def test_layers(home):
    """A snapshot that fails for want of room leaves its VM's disk in as many layers as it was, how often that may be."""
    with small_home(home, more=600) as inner:
        inner.ramet("run", "-d", "--disk", "1G", "--name", "a", "busybox")
        inner.ramet("exec", "a", "--", "sh", "-c", f"mount -t tmpfs none /mnt; head -c {NOISE} /dev/urandom > /mnt/noise; sync")
        before = sorted(os.listdir(f"{inner.path}/layers"))
        ballast = fill(inner)
        for _ in range(3):
            inner.ramet("exec", "a", "--", "sh", "-c", "date > /file; sync")
            error = inner.ramet("snapshot", "create", "a", "s", "--json", status=1).json()["error"]
            expect_equal(error["code"], "no_space", str(error))
            expect_match(error["message"], r"no room for its memory: [\d.]+ MiB are to be written, and [\d.]+ MiB are left")
            expect_equal(sorted(os.listdir(f"{inner.path}/layers")), before, "layers")
        os.unlink(ballast)
        inner.ramet("snapshot", "create", "a", "s")
        expect_equal(inner.ramet("fork", "s", "--rm", "--", "sh", "-c", "test -s /file && wc -c < /mnt/noise").out, f"{NOISE}\n")
        inner.ramet("stop", "a")
        inner.ramet("snapshot", "create", "a", "t")
        after = sorted(os.listdir(f"{inner.path}/layers"))
        inner.ramet("snapshot", "create", "a", "u")
        expect_equal(sorted(os.listdir(f"{inner.path}/layers")), after, "layers of a disk that nobody wrote to since")
        expect_equal(inner.ramet("fork", "u", "--rm", "--", "test", "-s", "/file").out, "")
        inner.ramet("rm", "-f", "a")


def try_to_make(inner, out, words, undo):
    before = state(inner, out)
    ballast = fill(inner)
    result = inner.ramet(*words, "--json", status=None)
    os.unlink(ballast)
    expect_equal((result.status, result.out and json.loads(result.out)["error"]["code"]), (1, "no_space"),
                 f"{' '.join(words)}: {result.out} {result.err}")
    expect_equal(state(inner, out), before, f"what {words[:2]} left")
    inner.ramet(*words)
    if undo:
        inner.ramet(*undo)


def test_each(home):
    """Each thing that is made, on a disk that has not enough room for it."""
    make_inputs(home)
    with small_home(home, more=1200) as inner:
        out = f"{inner.folder}/out"
        os.mkdir(out)
        before = os.listdir(f"{inner.path}/layers")
        for name in ("a", "b"):
            inner.ramet("run", "-d", "--disk", "1G", "--name", name, "busybox")
            inner.ramet("exec", name, "--", "sh", "-c", WRITE_NOISE + "; sync")
        inner.ramet("stop", "b")
        for words, undo in makers(home, out):
            for name in ("shot", "committed"):
                if f"{home.folder}/{name}.ramet" in words:
                    shutil.move(f"{out}/{name}.ramet", f"{home.folder}/{name}.ramet")
            try_to_make(inner, out, words, undo)
        inner.ramet("rm", "-f", "a", "b")
        expect_equal(os.listdir(f"{inner.path}/layers"), before, "layers")
        inner.check_no_leftovers()


if __name__ == "__main__":
    harness.main(None)
