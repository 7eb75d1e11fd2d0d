#!/usr/bin/env python3
"""Makes home.tar.zst, a home as a version of Ramet leaves it: make.py BUILD OUT, as root, BUILD being that version's build.

What there is now was made by commit 8b977eb, with QEMU 7.2 of Debian 12, emulated. The guest is the bare one, so that all of it is
small. In the home there are
    image bare       its digest known; and its boot cache entry
    image later      its digest not known yet, which that version left for later (rows and file say src:HEX)
    VM cached        running when the home was left, as by a power cut
    VM early         created from `later`, never started
    VM a             stopped; `first` is a snapshot of it, and `again` one of a clone of that: a diff to the memory of `first`
    VM sleeper       forked from `first`, in standby
    pool             of one clone, of `first`; the clone itself is gone
Each guest's memory and disk hold marks (see fill and write in tests/guests/bare). Rows and disks name files by absolute paths,
so the home is at one path, here and where it is used.
"""
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

HOME = "/var/tmp/ramet-old-home"


def main(build, out):
    ramet = os.path.join(build, "ramet")
    env = {**os.environ, "RAMET_HOME": HOME, "RAMET_ACCEL": "tcg"}

    def run(*words):
        return subprocess.run([ramet, *words], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    os.mkdir(HOME)
    disk = make_disk(HOME + "/disk.img")
    run("image", "import", disk, "--name", "bare", "--kernel", os.path.join(build, "tests/guests/bare/bare-guest"))
    run("run", "-d", "--memory", "128M", "--name", "cached", "bare")
    run("run", "-d", "--memory", "128M", "--cpus", "2", "--cold", "--name", "a", "bare")
    change(run, "a", "first")
    run("snapshot", "create", "a", "first")
    run("fork", "first", "--name", "b")
    change(run, "b", "again")
    run("snapshot", "create", "b", "again")
    run("rm", "-f", "b")
    run("fork", "first", "--name", "sleeper")
    run("exec", "sleeper", "--", "write", "sleeper")
    run("standby", "sleeper")
    run("pool", "set", "--wait", "first", "1")
    run("stop", "a")
    import_without_digest(run, build)
    os.unlink(disk)
    pack(out)
    shutil.rmtree(HOME)


def make_disk(path):
    with open(path, "wb") as file:
        file.write(bytes(510) + b"\x55\xaa" + bytes((1 << 20) - 512))
    return path


def change(run, vm, mark):
    run("exec", vm, "--", "fill", "2", str(len(mark)))
    run("exec", vm, "--", "write", mark)


def import_without_digest(run, build):
    """Whoever would compute the digest waits for a lock."""
    plain, packed = HOME + "/later.img", HOME + "/later.img.zst"
    make_disk(plain)
    with open(plain, "r+b") as file:
        file.seek(4096)
        file.write(b"another disk")
    subprocess.run(["zstd", "-q", "--rm", plain, "-o", packed], check=True)
    with open(packed, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open(f"{HOME}/locks/digest-{digest}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("image", "import", packed, "--name", "later", "--kernel", os.path.join(build, "tests/guests/bare/bare-guest"))
        run("create", "--memory", "128M", "--name", "early", "later")
        while kill_all():
            time.sleep(0.1)
    os.unlink(packed)


def kill_all():
    """As when the machine loses its power. Returns how many there were."""
    count = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                ours = f"RAMET_HOME={HOME}".encode() in file.read().split(b"\0")
            if ours and int(entry) != os.getpid():
                os.kill(int(entry), signal.SIGKILL)
                count += 1
        except OSError:
            pass
    return count


def pack(out):
    subprocess.run(["tar", "--create", "--format=posix", "--sparse", "--sort=name", "--numeric-owner", "-C", os.path.dirname(HOME),
                    "-I", "zstd -19", "-f", out, os.path.basename(HOME)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
