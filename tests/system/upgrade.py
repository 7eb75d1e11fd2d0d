#!/usr/bin/env python3
"""A home of an earlier version (old_home/make.py tells what is in it) goes on: its images, VMs and snapshots are served.

Device state loads only into the QEMU that saved it. With that one clones are forked, and a VM comes back from standby; with
another those are refused by name, and all that needs no state works as before."""
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess

import harness
import old_home.make as make_home
from harness import expect, expect_equal, expect_match, wait_until

ARCHIVE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "old_home/home.tar.zst")
PATH = "/var/tmp/ramet-old-home"
OTHER_QEMU = r"cannot .* it was made by QEMU .* \(build .*\), this is .* \(build [0-9a-f]{12}\)"


@contextlib.contextmanager
def old_home(home):
    """The home, at the one path that its rows and disks name, for one test at a time."""
    with open(PATH + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = home.path, home.env
        home.path, home.env = PATH, home.env | {"RAMET_HOME": PATH, "RAMET_ACCEL": "tcg"}
        end(home)
        subprocess.run(["tar", "-C", os.path.dirname(PATH), "--numeric-owner", "-I", "zstd", "-xpf", ARCHIVE], check=True)
        renew_inodes()
        try:
            yield
            home.check_reports()
        except Exception:
            harness.show_logs(home)
            raise
        finally:
            end(home)
            home.path, home.env = before  # without the lock it is another test's


def renew_inodes():
    """An upgrade leaves files where they are; those that an archive held have other inodes than the rows remember."""
    def renew(stamp, path):
        stamp["inode"] = os.stat(path).st_ino
    with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db")) as store, store:
        for row, text in store.execute("SELECT id, data FROM snapshots").fetchall():
            data = json.loads(text)
            for file in data["files"].values():
                renew(file["stamp"], f"{PATH}/snapshots/{row}/{file['name']}")
            store.execute("UPDATE snapshots SET data = ? WHERE id = ?", (json.dumps(data), row))
        for row, text in store.execute("SELECT id, stamp FROM layers").fetchall():
            stamp = json.loads(text)
            renew(stamp, f"{PATH}/layers/{row}.qcow2")
            store.execute("UPDATE layers SET stamp = ? WHERE id = ?", (json.dumps(stamp), row))
        row, text = store.execute("SELECT id, runtime FROM vms WHERE name = 'sleeper'").fetchone()
        runtime = json.loads(text)
        renew(runtime["standby_disk"], f"{PATH}/vms/{row}/disk.qcow2")
        store.execute("UPDATE vms SET runtime = ? WHERE id = ?", (json.dumps(runtime), row))


def end_processes():
    def kill_all():
        found = harness.processes_of(PATH)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, harness.signal.SIGKILL)
        return not found
    wait_until(kill_all, "the end of all processes")


def end(home):
    end_processes()
    shutil.rmtree(home.path, ignore_errors=True)


def qemu_of_home():
    """The SHA-256 of the QEMU that saved the snapshots."""
    with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db")) as store:
        (data,) = store.execute("SELECT data FROM snapshots WHERE name = 'first'").fetchone()
    return json.loads(data)["facts"]["qemu_sha256"]


def is_same_qemu():
    path = shutil.which("qemu-system-x86_64")
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() == qemu_of_home()


def run(home, vm, *words):
    return home.ramet("exec", vm, "--", *words).out


def check_marks(home, vm, mark):
    run(home, vm, "filled", "2", str(len(mark)))
    expect_equal(run(home, vm, "read"), f"{mark} {mark}\n", f"marks in memory and on disk of {vm}")


def check_lists(home):
    """All that was there is there, images have a digest each, and the frozen files are what they were."""
    images = {image["name"]: image for image in home.json("image", "ls")}
    expect_equal(sorted(images), ["bare", "later"], "images")
    for image in images.values():
        kind = {"bare": "sha256", "later": "tree1"}[image["name"]]
        expect_match(image["digest"], kind + ":[0-9a-f]{64}$", f"digest of {image['name']}")
        expect(os.path.isfile(image["path"]), f"{image['path']} is gone")
    vms = {vm["name"]: vm for vm in home.json("ps", "-a")}
    states = {name: vm["state"] for name, vm in vms.items()}
    expect(states.pop("cached") in ("stopped", "failed"), f"a VM that a power cut ended is {vms['cached']}")
    expect_equal(states, {"a": "stopped", "early": "created", "sleeper": "standby"}, "VMs")
    expect_equal(vms["early"]["image_digest"], images["later"]["digest"], "digest of the VM's image")
    snapshots = {one["name"]: one for one in home.json("snapshot", "ls")}
    expect_equal((sorted(snapshots), snapshots["again"]["parent"], snapshots["again"]["memory"]["kind"]),
                 (["again", "first"], snapshots["first"]["id"], "diff"), "snapshots")
    for name in snapshots:
        report = home.json("snapshot", "verify", name)
        expect(report["ok"], f"snapshot {name}: {report}")
    expect_equal([(pool["source"], pool["wanted"]) for pool in home.json("pool", "ls")], [("first", 1)], "pools")


def check_boots(home):
    """What needs no device state: VMs that were created or stopped, and new ones."""
    home.ramet("start", "a")
    expect_equal(run(home, "a", "read"), " first\n", "mark in new memory and on the old disk")
    home.ramet("start", "early")
    expect_equal(run(home, "early", "read"), " another disk\n", "marks of a VM that never ran")
    home.ramet("run", "-d", "--memory", "128M", "--cold", "--name", "new", "bare")
    expect_equal(run(home, "new", "read"), " \n", "marks of a new VM")
    expect_equal(home.vm("early")["image_digest"], home.json("image", "inspect", "later")["digest"])


def check_import(home):
    """The disk of an image that has its old name still is known again; under another name it is another one."""
    before = home.json("image", "inspect", "bare")
    disk = make_home.make_disk(os.path.join(home.folder, "disk.img"))
    kernel = os.path.join(PATH, "kernels", before["kernel_key"], "vmlinux")
    again = home.json("image", "import", disk, "--name", "bare", "--kernel", kernel)
    expect_equal((again["digest"], again["path"]), (before["digest"], before["path"]), "the image imported again")
    new = home.json("image", "import", disk, "--name", "new", "--kernel", kernel)
    expect_match(new["path"], "/tree1-[0-9a-f]{64}[.]raw$", "base of a new image")
    home.ramet("image", "rm", "new")


def check_proof(home):
    """An agent of that version does not say what it takes the time for, so on a busy host its clock is off by half of what it
    took to answer: all but clocks is proven."""
    report = home.json("snapshot", "prove", "again", "-n", "2", status=None)
    wrong = [one for one in report["checks"] if not one["ok"] and one["what"] != "clock within 50 ms of the host's"]
    expect(len(report["checks"]) > 5 and not wrong, f"not proven: {wrong}")


def check_restores(home):
    for name in "first", "again":
        for vm in home.json("fork", name, "-n", "2", "--name", f"of-{name}"):
            expect(vm["boot"] in ("forked", "claimed"), f"{vm['name']} was {vm['boot']}")
            check_marks(home, vm["name"], name)
    home.ramet("resume", "sleeper")
    run(home, "sleeper", "filled", "2", "5")
    expect_equal(run(home, "sleeper", "read"), "sleeper sleeper\n", "marks of a VM that was in standby")
    home.ramet("snapshot", "create", "of-again-1", "next")
    home.ramet("fork", "next", "--name", "of-next")
    check_marks(home, "of-next", "again")
    check_proof(home)


def check_refusals(home):
    for words in ("fork", "first", "--name", "no"), ("fork", "again", "--name", "no"), ("resume", "sleeper"):
        expect_match(home.ramet(*words, status=1).err, OTHER_QEMU, f"refusal of {words}")
    expect_equal(home.vm("sleeper")["state"], "standby", "state of a VM that could not be resumed")


def remove_all(home):
    """Whatever stands on the bases can go, and then these."""
    home.ramet("pool", "set", "first", "0")
    home.ramet("rm", "-f", *(vm["name"] for vm in home.json("ps", "-a")))
    home.ramet("snapshot", "rm", "--cascade", "first")
    home.ramet("image", "rm", "bare")
    home.ramet("image", "rm", "later")
    home.check_no_leftovers()
    left = [name for name in os.listdir(f"{PATH}/images") if name.endswith(".raw")]
    expect_equal((left, os.listdir(f"{PATH}/snapshots"), os.listdir(f"{PATH}/layers")), ([], [], []), "what is left")


def test_as_it_was(home):
    with old_home(home):
        same = is_same_qemu()
        check_lists(home)
        check_import(home)
        (check_restores if same else check_refusals)(home)
        check_boots(home)
        remove_all(home)


def test_with_another_qemu(home):
    with old_home(home):
        saved_by = qemu_of_home()
        with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db")) as store, store:
            store.execute("UPDATE snapshots SET data = replace(data, ?, ?)", (saved_by, "0" * 64))
        check_lists(home)
        check_refusals(home)
        check_boots(home)
        remove_all(home)


if __name__ == "__main__":
    harness.main(None)
