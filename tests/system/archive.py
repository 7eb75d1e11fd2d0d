#!/usr/bin/env python3
"""Images and snapshots going out of a home and into another: commit, export, import."""
import contextlib
import hashlib
import json
import os
import re
import socket
import stat
import subprocess

import harness
import oci
import oci_images
from harness import expect, expect_equal, expect_match


@harness.booted
def test_commit(home):
    home.ramet("seed", "create", "work", "--from", make_folder(home, "seed\n"))
    home.ramet("run", "-d", "--name", "a", "--seed", "work:/work", "busybox")
    home.ramet("exec", "a", "--", "sh", "-c", "echo kept >/root/file; echo 7 >>/work/file")
    home.ramet("commit", "a", "nosuch/name", status=2)
    home.ramet("commit", "nosuch", "made", status=3)
    home.ramet("commit", "a", "busybox", status=4)
    made = home.json("commit", "a", "made")
    expect_equal(made["name"], "made")
    expect_match(made["source"], r"^commit of VM a$")
    expect_equal(home.ramet("exec", "a", "cat", "/root/file").out, "kept\n", "the VM goes on")
    home.ramet("exec", "a", "--", "sh", "-c", "echo later >/root/file; sync")
    expect_equal(home.ramet("run", "--name", "b", "made", "--", "sh", "-c", "cat /root/file /work/file; hostname").out,
                 "kept\nseed\n7\nb\n")
    home.ramet("stop", "a")  # without memory
    home.ramet("commit", "a", "made", status=4)
    home.ramet("commit", "a", "made", "--replace")
    home.ramet("rm", "-f", "a", "b")
    home.ramet("image", "rm", "busybox")
    expect_equal(home.ramet("run", "--rm", "made", "--", "cat", "/root/file").out, "later\n", "it stands alone")
    expect_equal([one["name"] for one in home.json("image", "ls")], ["made"])
    expect("made" not in home.json("prune", "--keep-bytes", "0")["images"], "there is no other of it")
    home.ramet("image", "rm", "made")
    home.ramet("seed", "rm", "work")
    expect_equal(os.listdir(os.path.join(home.path, "seeds")), [], "seeds")
    expect_equal([name for name in os.listdir(os.path.join(home.path, "images")) if name.endswith(".raw")], [])
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [])
    expect(not [name for name in os.listdir(os.path.join(home.path, "locks")) if "adopt" in name], "locks stay")
    home.check_no_leftovers()


def damage(path, damaged, change):
    """A copy of an archive in which something is another."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data = change(data) or data
    with open(damaged, "wb") as file:
        file.write(data)


def flip(at):
    def change(data):
        data[at] ^= 0x10
    return change


def check_clean(home, images=()):
    """Nothing half made is left."""
    expect_equal([one["name"] for one in home.json("image", "ls")], list(images))
    expect_equal(home.json("snapshot", "ls", "-a"), [], "snapshots")
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")
    expect_equal(os.listdir(os.path.join(home.path, "layers")), [], "layers")
    expect_equal(os.listdir(os.path.join(home.path, "snapshots")), [], "snapshots' folders")


@harness.booted
def test_image(home):
    file = os.path.join(home.folder, "busybox.ramet")
    source = home.json("image", "inspect", "busybox")
    made = home.json("image", "export", "busybox", file)
    expect_equal(made["bytes"], os.path.getsize(file))
    home.ramet("image", "export", "nosuch", file + "2", status=3)
    expect(not os.path.exists(file + "2"), "a failed export left a file")
    piped = home.ramet("image", "export", "busybox", "-", binary=True).out
    with open(file, "rb") as whole:
        same = whole.read()
    expect(len(piped) == len(same), "standard output has other bytes")

    check_special(home, len(piped))
    home.ramet("image", "import", file)  # it is here: only read
    changed = os.path.join(home.folder, "changed.ramet")
    damage(file, changed, flip(len(piped) // 2))
    expect("damaged" in home.ramet("image", "import", changed, "--name", "twin", status=1).err, "what is here hid the damage")
    home.ramet("image", "import", file, "--name", "twin")
    expect_equal(home.json("image", "inspect", "twin")["digest"], source["digest"])

    other = harness.Home(template=None)
    try:
        damaged = os.path.join(home.folder, "damaged.ramet")
        size = os.path.getsize(file)
        cases = [(flip(20), "damaged"), (flip(8), "newer ramet"), (flip(90), "damaged"), (flip(size // 2), "damaged"),
                 (flip(size - 20), "damaged"), (lambda data: data + b"x", "after its end")]
        cases += [(lambda data, end=end: data[:end], "damaged") for end in (17, 70, 5000, size // 2, size - 64, size - 1)]
        for change, message in cases:
            damage(file, damaged, change)
            result = other.ramet("image", "import", damaged, status=1)
            expect(message in result.err, f"{result.err} says nothing of {message}")
            check_clean(other)
        expect_equal(os.listdir(os.path.join(other.path, "images")), [], "bases")
        expect_equal(os.listdir(os.path.join(other.path, "kernels")), [], "kernels")
        other.ramet("image", "import", file, "--sha256", "0" * 64, status=2)
        with open(file, "rb") as stream:
            imported = other.ramet("image", "import", "-", "--json", stdin=stream.read()).json()
        expect_equal(imported["name"], "busybox")
        for key in ("digest", "kernel", "minimum_disk_bytes", "init"):
            expect_equal(imported[key], source[key], key)
        other.ramet("image", "import", file)  # what it is already
        expect_equal(other.ramet("run", "--name", "a", "busybox", "--", "hostname").out, "a\n")
        other.ramet("rm", "-f", "a")
    finally:
        other.close()
    home.ramet("image", "rm", "twin")


def check_special(home, size):
    """Where no file belongs none is made: a pipe is written to, and stays."""
    pipe = os.path.join(home.folder, "pipe")
    os.mkfifo(pipe)
    with subprocess.Popen(["wc", "-c", pipe], stdout=subprocess.PIPE) as reader:
        home.ramet("image", "export", "busybox", pipe)
        expect_equal(int(reader.communicate(timeout=harness.BOUND)[0].split()[0]), size, "bytes through a pipe")
    expect(stat.S_ISFIFO(os.stat(pipe).st_mode), "an export replaced a pipe")
    os.unlink(pipe)
    home.ramet("image", "export", "busybox", home.folder, status=1)


def tell_otherwise(path, changed, change):
    """A copy of an archive whose manifest says something else, with a SHA-256 that fits."""
    with open(path, "rb") as file:
        data = file.read()
    head, record, rest = data[:16], data[16:80], data[80:]
    size = int.from_bytes(record[20:24], "little")
    manifest = json.loads(rest[:size])
    change(manifest)
    text = json.dumps(manifest).encode()
    length, hashed = len(text).to_bytes(4, "little"), hashlib.sha256(text).digest()
    with open(changed, "wb") as file:
        file.write(head + record[:16] + length + length + record[24:32] + hashed + text + rest[size:-32] + hashed)


def hostile(manifest):
    """What no archive may say of an image with seeds."""
    image = manifest["image"]
    digest = image["seeds"][0]["digest"]
    return [(image["seeds"][0], "path", "/proc/x"), (image["seeds"][0], "path", "/srv/../x"), (image["seeds"][0], "path", "/srv/two"),
            (image["seeds"][0], "digest", "tree1:../../x"), (image["seeds"][0], "digest", "clone:" + digest[6:]),
            (image["seeds"][0], "digest", digest[:-1] + ("0" if digest[-1] != "0" else "1")), (image["seeds"][0], "source", "a\nb"),
            (image, "seeds", image["seeds"] * 8), (image, "config", {"env": ["=x"]}), (image, "config", {"stop_signal": 65}),
            (image, "config", {"ports": ["80/sctp"]}), (image, "config", {"directory": "x" * 5000}),
            (image, "config", {"labels": {"a": 1}}), (manifest, "firmware", "uefi"), (manifest, "firmware", "../x")]


def make_folder(home, text):
    folder = os.path.join(home.folder, "work")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
        file.write(text)
    return folder


@harness.booted
def test_image_with_seeds(home):
    """They go along, checked, and a VM of the image has its disks elsewhere."""
    file, damaged = (os.path.join(home.folder, name) for name in ("dev.ramet", "damaged.ramet"))
    folder = make_folder(home, "ready\n")
    home.ramet("image", "build", "dev", "--from", "busybox", "--seed", f"{folder}:/root", "--seed", f"{folder}:/srv/two")
    seeds = home.json("image", "inspect", "dev")["seeds"]
    home.ramet("image", "export", "dev", file)
    with open(file, "rb") as archive:
        expect_equal(archive.read(12)[8:], b"\2\0\0\0", "the format, which earlier versions refuse")
    other = harness.Home(template=None)
    try:
        damage(file, damaged, flip(os.path.getsize(file) - 64 - 40))  # in the last seed
        expect("damaged" in other.ramet("image", "import", damaged, status=1).err, "a seed's damage is not told of")
        check_clean(other)
        expect_equal(os.listdir(os.path.join(other.path, "seeds")), [], "seeds")
        for at in range(15):
            def change(manifest, at=at):
                where, key, value = hostile(manifest)[at]
                where[key] = value
            tell_otherwise(file, damaged, change)
            expect("damaged" in other.ramet("image", "import", damaged, status=1).err, f"hostile manifest {at} is not told of")
            check_clean(other)
        expect_equal([os.listdir(os.path.join(other.path, folder)) for folder in ("seeds", "kernels")], [[], []], "of hostile ones")
        tell_otherwise(file, damaged, lambda manifest: manifest["image"].update(config={"env": ["A=b"], "command": ["true"]}))
        expect_equal(other.json("image", "import", damaged, "--name", "mine")["config"]["env"], ["A=b"], "what it says of itself")
        other.ramet("image", "rm", "mine")
        imported = other.json("image", "import", file, "--name", "mine")
        expect_equal(imported["seeds"], seeds, "what its VMs have")
        other.ramet("image", "import", file, "--name", "mine")  # what it is already
        out = other.ramet("run", "--rm", "--name", "a", "mine", "--", "sh", "-c", "cat /root/file /srv/two/file; echo x >/root/file").out
        expect_equal(out, "ready\nready\n", "the seeds")
        other.ramet("image", "rm", "mine")
        expect_equal(os.listdir(os.path.join(other.path, "seeds")), [], "seeds without an image")
        expect(not [name for name in os.listdir(os.path.join(other.path, "locks")) if "adopt" in name], "locks stay")
    finally:
        other.close()
    home.ramet("image", "rm", "dev")


def counter(home, vm):
    """What a program in its memory counts, which no reboot would know."""
    return home.ramet("exec", vm, "cat", "/dev/shm/count").out.strip()


@harness.booted
def test_snapshot(home):
    """Exported here, forked there, and its memory is alive."""
    file, later = (os.path.join(home.folder, name) for name in ("warm.ramet", "later.ramet"))
    home.ramet("seed", "create", "work", "--from", make_folder(home, "seed\n"))
    home.ramet("volume", "create", "data", "--size", "32M")
    home.ramet("run", "-d", "--name", "a", "--seed", "work:/work:128M", "--volume", "data:/data", "--config-disk",
               make_folder(home, "seed\n"), "busybox")
    home.ramet("exec", "a", "--", "sh", "-c", "head -c 8m /dev/urandom >/dev/shm/x; md5sum </dev/shm/x >/dev/shm/count; "
               "echo disk >/root/file; echo data >/data/file; cat /work/file >/work/own; sync")
    home.ramet("snapshot", "create", "a", "warm", "--clone-volumes")
    count = counter(home, "a")
    home.ramet("snapshot", "export", "warm", file)
    home.ramet("fork", "warm", "--name", "b")
    home.ramet("exec", "b", "--", "sh", "-c", "head -c 1m /dev/urandom >/dev/shm/y; md5sum </dev/shm/y >/dev/shm/count; "
               "echo later >/root/file; echo more >>/work/own; sync")
    home.ramet("snapshot", "create", "b", "later")
    second = counter(home, "b")
    home.ramet("snapshot", "export", "later", later, "--since", "warm")
    home.ramet("snapshot", "export", "later", later + "2", "--since", "later", status=2)
    home.ramet("snapshot", "export", "later", later + "2", "--since", "nosuch", status=3)
    expect(os.path.getsize(later) < os.path.getsize(file) / 3, "what warm has is not left out")
    home.ramet("snapshot", "import", file, status=4)
    home.ramet("snapshot", "import", file, "--name", "again")
    expect_equal(home.ramet("fork", "again", "--name", "c", "--", "cat", "/root/file").out, "disk\n")

    other = harness.Home(template=None)
    try:
        result = other.ramet("snapshot", "import", later, status=3)
        expect("snapshot warm" in result.err, result.err)
        check_clean(other)
        damaged = os.path.join(home.folder, "damaged.ramet")
        for change in (flip(os.path.getsize(file) // 3), flip(os.path.getsize(file) - 400), lambda data: data[:len(data) - 70]):
            damage(file, damaged, change)
            expect("damaged" in other.ramet("snapshot", "import", damaged, status=1).err, "damage is not told of")
            check_clean(other)
        for at in range(7):
            def change(manifest, at=at):
                mounts = manifest["snapshot"]["data"]["spec"]["mounts"]
                where, key, value = [(mounts[0], "path", "/proc"), (mounts[0], "kind", "volume"), (mounts[0], "bytes", 512),
                                     (mounts[0], "name", "../x"), (manifest, "disks", []), (mounts[1], "path", mounts[0]["path"]),
                                     (manifest["disks"][-1]["layers"][0], "id", "../x")][at]
                where[key] = value
            tell_otherwise(file, damaged, change)
            expect("damaged" in other.ramet("snapshot", "import", damaged, status=1).err, f"hostile manifest {at} is not told of")
            check_clean(other)
        other.ramet("image", "import", file, status=2)
        shown = other.json("snapshot", "import", file)
        expect_equal(shown["name"], "warm")
        expect_equal(shown["memory"]["kind"], "full")
        verified = other.json("snapshot", "verify", "warm")
        expect(verified["ok"], f"{verified}")
        vms = other.json("fork", "warm", "-n", "2", "--name", "v")
        expect_equal([vm["boot"] for vm in vms], ["forked", "forked"])
        for vm in ("v-1", "v-2"):
            expect_equal(counter(other, vm), count, "its memory")
            expect_equal(other.ramet("exec", vm, "--", "sh", "-c", "md5sum </dev/shm/x").out.split()[0], count.split()[0])
            expect_equal(other.ramet("exec", vm, "cat", "/root/file", "/work/own", "/data/file", "/media/config/file").out,
                         "disk\nseed\ndata\nseed\n")
        with open(later, "rb") as stream:
            shown = other.ramet("snapshot", "import", "-", "--json", stdin=stream.read()).json()
        expect_equal(shown["memory"]["kind"], "diff")
        expect(other.json("snapshot", "verify", "later")["ok"], "later is not what it was")
        other.ramet("fork", "later", "--name", "w")
        expect_equal(counter(other, "w"), second, "its memory")
        expect_equal(other.ramet("exec", "w", "cat", "/root/file", "/work/own").out, "later\nseed\nmore\n")
        expect("needed by" in other.ramet("snapshot", "rm", "warm", status=4).err, "later stands on warm")
        other.ramet("stop", "w")
        other.ramet("start", "w")  # boots with the kernel that came along
        expect_equal(other.ramet("exec", "w", "cat", "/root/file", "/work/file").out, "later\nseed\n")
        other.ramet("rm", "-f", "v-1", "v-2", "w")
        other.ramet("snapshot", "rm", "later", "warm")
        check_clean(other)
        expect_equal([name for name in os.listdir(os.path.join(other.path, "images")) if name.endswith(".raw")], [])
        expect_equal(os.listdir(os.path.join(other.path, "seeds")), [])
    finally:
        other.close()


class Registry:
    """Debian's docker-registry on the loopback, with a folder of its own."""

    def __init__(self, folder):
        self.port = harness.free_port()
        self.log = os.path.join(folder, "registry.log")
        config = os.path.join(folder, "registry.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
                       f"http: {{addr: '127.0.0.1:{self.port}'}}\n")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        harness.wait_until(self.answers, "the registry")

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def reference(self, name):
        return f"docker://127.0.0.1:{self.port}/{name}:1"

    def is_idle(self):
        """Nobody is connected: it closes a connection once it has written what it logs of that."""
        with open("/proc/net/tcp", encoding="ascii") as file:
            ends = [line.split() for line in file]
        return not any(end[1].endswith(f":{self.port:04X}") and end[3] in ("01", "08") for end in ends)

    def sent_bytes(self):
        harness.wait_until(self.is_idle, "the registry to have served all")
        with open(self.log, "rb") as file:
            return sum(int(number) for number in re.findall(rb"http.response.written=(\d+)", file.read()))

    def close(self):
        self.process.terminate()
        self.process.wait()


@harness.booted
def test_registry(home):
    """What a second host has already is not fetched."""
    plain = ["--tls-verify", "false"]
    registry = Registry(home.folder)
    other = harness.Home(template=None)
    try:
        home.ramet("run", "-d", "--name", "a", "busybox")
        home.ramet("exec", "a", "--", "sh", "-c", "echo first >/dev/shm/count")
        home.ramet("snapshot", "create", "a", "warm")
        home.ramet("fork", "warm", "--name", "b")
        home.ramet("exec", "b", "--", "sh", "-c", "head -c 1m /dev/urandom >/dev/shm/x; echo second >/dev/shm/count")
        made = home.json("snapshot", "create", "b", "later")
        home.ramet("snapshot", "push", "warm", registry.reference("warm"), *plain)
        home.ramet("snapshot", "push", "later", registry.reference("later"), "--since", "warm", *plain)
        home.ramet("snapshot", "push", "warm", "oci:somewhere", status=2)
        expect("--insecure" in home.ramet("image", "push", "busybox", registry.reference("x"), status=1).err, "hint for plain http")
        other.ramet("snapshot", "pull", registry.reference("later"), *plain, status=3)
        other.ramet("snapshot", "pull", registry.reference("none"), *plain, status=3)
        check_clean(other)
        other.ramet("snapshot", "pull", registry.reference("warm"), *plain)
        before = registry.sent_bytes()
        other.ramet("snapshot", "pull", registry.reference("later"), *plain)
        moved = registry.sent_bytes() - before
        expect(0 < moved <= 1.05 * made["memory"]["allocated_bytes"], f"{moved} bytes for {made['memory']}")
        before = registry.sent_bytes()
        other.ramet("snapshot", "pull", registry.reference("warm"), "--name", "again", *plain)
        memory = other.json("snapshot", "inspect", "warm")["memory"]["allocated_bytes"]
        expect(registry.sent_bytes() - before < memory, "disk or kernel were fetched again")
        other.ramet("fork", "later", "--name", "v")
        expect_equal(counter(other, "v"), "second")
        home.ramet("image", "push", "busybox", registry.reference("busybox"), "--insecure")
        expect("ramet image pull" in other.ramet("snapshot", "pull", registry.reference("busybox"), *plain, status=2).err, "hint")
        expect("snapshot pull" in other.ramet("image", "pull", registry.reference("warm"), "--insecure", status=2).err, "hint")
        before = registry.sent_bytes()
        other.ramet("image", "pull", registry.reference("busybox"), "--insecure", "--name", "same")
        disk = other.json("image", "inspect", "same")
        expect(registry.sent_bytes() - before < 300000, f"{registry.sent_bytes() - before} bytes of what was here")
        expect_equal(disk["digest"], home.json("image", "inspect", "busybox")["digest"])
        other.ramet("rm", "-f", "v")
        image_pulls(home, registry)
    finally:
        other.close()
        registry.close()


def image_pulls(home, registry):
    """Into a home that has nothing: from a registry that breaks off, that lies, and from a good one."""
    pushed = oci_images.Pushed(registry.reference("busybox"))
    first, *parts = [one["digest"] for one in pushed.manifest["layers"]]
    kernel = max(parts, key=lambda name: len(pushed.blobs[name]))
    others = [name for name in parts if name != kernel]
    fake = oci_images.FakeRegistry({"web:1": pushed})
    reference = f"docker://{fake.address}/web:1"
    new = harness.Home(template=None)
    try:
        fake.changed[pushed.top["digest"]] = pushed.blobs[pushed.top["digest"]].replace(b'"layers"', b' "layers"')
        new.ramet("image", "pull", f"docker://{fake.address}/web@{pushed.top['digest']}", "--insecure", status=1)
        fake.changed.clear()
        fake.changed[first] = pushed.blobs[first][:-1] + b"x"
        new.ramet("image", "pull", reference, "--insecure", status=1)
        fake.changed.clear()
        fake.cut.add(kernel)
        new.ramet("image", "pull", reference, "--insecure", status=1)
        check_clean(new)
        fake.cut.clear()
        new.ramet("prune", "--all")
        fake.held.add(kernel)
        client = new.start("image", "pull", reference, "--insecure")
        expect(fake.waits.wait(harness.BOUND), "the part was not asked for")
        for name in (first, *others):  # they have come, and are not lost with the daemon
            path = f"{new.path}/oci/sha256/{name.removeprefix('sha256:')}"
            harness.wait_until(lambda path=path: os.path.exists(path), f"{path}")
        new.kill_daemon()
        client.communicate(timeout=harness.BOUND)
        harness.wait_until(lambda: not oci.skopeos(new), "the end of skopeo")
        fake.held.clear()
        fake.go.set()
        check_clean(new)
        fake.asked.clear()
        new.ramet("image", "pull", reference, "--insecure", "--size", "1G", status=2)
        made = new.ramet("image", "pull", reference, "--insecure", "--json").json()
        expect_equal((made["name"], made["source"]), ("web", reference), "what it is called")
        expect(kernel in fake.asked, "the part that broke off was fetched")
        expect_equal([name for name in fake.asked if name in (first, *others)], [], "parts that had come and were fetched again")
        expect_equal(new.ramet("run", "--rm", "--name", "a", "web", "--", "hostname").out, "a\n")
        new.ramet("image", "rm", "web")
        fake.asked.clear()
        new.ramet("image", "pull", reference, "--insecure")
        expect_equal([name for name in fake.asked if name in (kernel, *others)], [], "parts that were fetched twice")
        new.ramet("image", "pull", reference, "--insecure")  # what it is already
        new.ramet("image", "rm", "web")
    finally:
        new.close()
        fake.close()


def half_an_import(home, file):
    """The daemon has read half of an image's archive, whose rest it waits for: a function that lets it go."""
    with open(file, "rb") as archive:
        data = archive.read()
    reader, writer = os.pipe()
    client = home.start("image", "import", "-", stdin=reader)
    os.close(reader)
    with open(writer, "wb", buffering=0, closefd=False) as pipe:
        pipe.write(data[:len(data) // 2])
    return client, lambda: os.close(writer)


def has_written(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/io", encoding="utf-8") as file:
            return int(re.search(r"wchar: (\d+)", file.read())[1]) > 100000
    return True


def half_a_snapshot(home, file):
    """The same of a snapshot's, which the daemon reads itself, from a pipe."""
    path = os.path.join(home.folder, "fifo")
    os.mkfifo(path)
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.path.join(home.path, "ramet.sock"))
    body = json.dumps({"path": path}).encode()
    client.sendall(b"POST /v1/snapshots/import HTTP/1.1\r\nHost: ramet\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                   b"\r\n%s" % (len(body), body))
    with open(path, "wb", buffering=0) as pipe, open(file, "rb") as archive:
        data = archive.read()
        at = 0
        while at < len(data) // 2:  # what is not read yet is in the pipe: 64 KiB at most
            at += pipe.write(data[at:len(data) // 2])
        home.kill_daemon()
    client.close()
    os.unlink(path)


@harness.booted
def test_killed(home):
    """kill -9 in the middle of each: nothing is left of it, and the next try succeeds."""
    image, snapshot = (os.path.join(home.folder, name) for name in ("image.ramet", "snapshot.ramet"))
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("snapshot", "create", "a", "warm")
    home.ramet("rm", "-f", "a")
    home.ramet("image", "export", "busybox", image)
    home.ramet("snapshot", "export", "warm", snapshot)
    other = harness.Home(template=None)
    try:
        other.ramet("ps")
        client, end = half_an_import(other, image)
        other.kill_daemon()
        client.communicate(timeout=harness.BOUND)  # though what it reads is silent
        end()
        expect(client.returncode != 0, "the import that was killed went well")
        other.ramet("ps")
        check_clean(other)
        half_a_snapshot(other, snapshot)
        check_clean(other)
        expect_equal([os.listdir(os.path.join(other.path, name)) for name in ("images", "kernels")], [[], []], "what was read")
        other.ramet("snapshot", "import", snapshot)
        other.ramet("image", "import", image)
        other.ramet("snapshot", "rm", "warm")
    finally:
        other.close()
    # the daemon's end, and the client's, in an export
    folder = os.path.join(home.folder, "out")
    os.mkdir(folder)
    client = home.start("snapshot", "export", "warm", "-")
    client.stdout.read(100000)
    home.kill_daemon()
    client.communicate(timeout=harness.BOUND)
    expect(client.returncode != 0, "an export that was cut went well")
    client = home.start("snapshot", "export", "warm", os.path.join(folder, "x"))
    harness.wait_until(lambda: client.poll() is not None or has_written(client.pid), "the export")
    client.kill()
    client.communicate(timeout=harness.BOUND)
    expect(os.listdir(folder) in ([], ["x"]), f"a killed export left {os.listdir(folder)}")
    home.ramet("snapshot", "export", "warm", os.path.join(folder, "x"))
    expect_equal(os.path.getsize(os.path.join(folder, "x")) // 1000, os.path.getsize(snapshot) // 1000, "the next one")
    killed_push(home)
    home.ramet("snapshot", "rm", "warm")


def killed_push(home):
    """What a push that was killed had ready goes with the next one."""
    folder = os.path.join(home.folder, "push")
    os.mkdir(folder)
    with socket.create_server(("127.0.0.1", 0)) as server:  # a registry that never answers
        client = home.start("image", "push", "busybox", f"docker://127.0.0.1:{server.getsockname()[1]}/x:1", "--tls-verify", "false",
                            env={"TMPDIR": folder})
        server.settimeout(harness.BOUND)
        connection, _ = server.accept()
        client.kill()
        client.communicate(timeout=harness.BOUND)
        connection.settimeout(harness.BOUND)
        while connection.recv(65536):  # skopeo ends with it
            pass
        connection.close()
    expect_equal(len(os.listdir(folder)), 1, "what the killed push left")
    registry = Registry(home.folder)
    try:
        home.ramet("image", "push", "busybox", registry.reference("x"), "--tls-verify", "false", env={"TMPDIR": folder})
    finally:
        registry.close()
    expect_equal(os.listdir(folder), [], "what the next push left")


def test_no_room(home):
    """A full disk, where an archive goes and where its content comes to: it is said, and nothing stays."""
    file, small = (os.path.join(home.folder, name) for name in ("busybox.ramet", "small"))
    home.ramet("image", "export", "busybox", file)
    other = harness.Home(template=None)
    other.ramet("image", "ls")
    try:
        with oci.little_room(small, "1m"):
            error = home.ramet("image", "export", "busybox", os.path.join(small, "x"), "--json", status=1).json()["error"]
            expect_equal(error["code"], "no_space", str(error))
            expect_equal(os.listdir(small), [], "what an export left")
            result = home.ramet("image", "push", "busybox", "docker://127.0.0.1:9/x:1", status=1, env={"TMPDIR": small})
            expect("No space left" in result.err, result.err)
            expect_equal(os.listdir(small), [], "what a push left")
        with oci.little_room(f"{other.path}/tmp", "1m"):
            error = other.ramet("image", "import", file, "--json", status=1).json()["error"]
            expect_equal(error["code"], "no_space", str(error))
            expect_equal(os.listdir(f"{other.path}/tmp"), [], "what an import left")
        check_clean(other)
        other.ramet("image", "import", file)
    finally:
        other.close()


if __name__ == "__main__":
    harness.main()
