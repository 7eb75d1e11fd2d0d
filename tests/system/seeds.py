#!/usr/bin/env python3
"""Seeds: frozen folders, over which VMs have disks of their own."""
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import threading

import harness
from harness import expect, expect_equal, wait_until


def make_folder(home, name="work"):
    path = os.path.join(home.folder, name)
    os.makedirs(os.path.join(path, "sub"))
    with open(os.path.join(path, "greeting"), "w", encoding="utf-8") as file:
        file.write("hello\n")
    os.chmod(os.path.join(path, "greeting"), 0o640)
    os.chown(os.path.join(path, "greeting"), 1000, 1001)
    os.symlink("greeting", os.path.join(path, "link"))
    os.chmod(path, 0o750)
    return path


def bases(home):
    return sorted(os.listdir(os.path.join(home.path, "seeds")))


def cache_keys(home):
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        return store.execute("SELECT count(DISTINCT key) FROM snapshots WHERE purpose = 'cache' AND image != ''").fetchone()[0]


def guest(home, vm, line):
    return home.ramet("exec", vm, "--", "sh", "-c", line).out


def test_life_of_a_seed(home):
    folder = make_folder(home)
    seed = home.json("seed", "create", "work", "--from", folder)
    expect_equal(seed["entries"], 3)
    expect_equal(home.json("seed", "create", "again", "--from", folder)["digest"], seed["digest"], "the same folder")
    copy = os.path.join(home.folder, "copy")
    os.mkdir(copy, 0o700)
    for name in sorted(os.listdir(folder), reverse=True):  # another order on the host
        subprocess.run(["cp", "-a", os.path.join(folder, name), copy], check=True)
    shutil.copystat(folder, copy)
    os.chown(copy, os.stat(folder).st_uid, os.stat(folder).st_gid)
    expect_equal(home.json("seed", "create", "copied", "--from", copy)["digest"], seed["digest"], "a copy of the folder")
    home.ramet("seed", "rm", "again", "copied")
    home.ramet("run", "-d", "--name", "a", "--seed", "work:/srv/work:8G", "busybox")
    expect_equal(guest(home, "a", "cat /srv/work/link; stat -c '%a %u %g' /srv/work/greeting; stat -c %a /srv/work"),
                 "hello\n640 1000 1001\n750\n")
    expect_equal(guest(home, "a", "ls -A /srv/work"), "greeting\nlink\nsub\n", "what the folder has")
    expect_equal([user["name"] for user in home.json("seed", "ls")[0]["users"]], ["a"], "not the boot cache")
    blocks = int(guest(home, "a", "df -k /srv/work | tail -1").split()[1])
    expect(blocks > 7 << 20, f"it did not grow: {blocks} KiB")
    disks = home.vm("a")["disks"]
    expect_equal([(disk["kind"], disk["mounted_at"]) for disk in disks], [("root", "/"), ("seed", "/srv/work")])
    expect_equal(disks[1]["virtual_bytes"], 8 << 30)

    # both disks are frozen at one moment, and each clone writes to its own
    guest(home, "a", "echo a >/srv/work/who; echo a >/who")
    home.ramet("fork", "a", "--name", "b")
    expect_equal(guest(home, "b", "cat /srv/work/who /who; echo b >/srv/work/who; sync"), "a\na\n")
    expect_equal(guest(home, "a", "cat /srv/work/who"), "a\n")
    home.ramet("standby", "b")
    home.kill_daemon()
    home.ramet("resume", "b")
    expect_equal(guest(home, "b", "cat /srv/work/who"), "b\n")
    home.ramet("snapshot", "create", "b", "s")
    home.ramet("stop", "b")
    home.ramet("start", "b")
    expect_equal(guest(home, "b", "cat /srv/work/who"), "b\n", "after a cold start")

    # another seed under the name: who has the first one keeps it, as long as anybody has
    with open(os.path.join(folder, "greeting"), "w", encoding="utf-8") as file:
        file.write("later\n")
    home.ramet("seed", "create", "work", "--from", folder, status=4)
    expect_equal(len(bases(home)), 1, "bases after a conflict")
    home.ramet("seed", "create", "work", "--from", folder, "--replace")
    expect_equal(len(bases(home)), 2, "bases")
    home.ramet("rm", "-f", "a")
    home.ramet("fork", "s", "--name", "c")
    expect_equal(guest(home, "c", "cat /srv/work/greeting"), "hello\n")
    home.ramet("seed", "rm", "work")
    home.ramet("rm", "-f", "b", "c")
    home.ramet("snapshot", "rm", "s")
    home.ramet("image", "rm", "busybox")  # and with it what its boot cache holds
    expect_equal(bases(home), [], "bases that nobody has")


def test_what_knows_of_seeds(home):
    """df, prune, verify, export, commit, VMs that start cold, and others of the boot cache."""
    folder = make_folder(home)
    seed = home.json("seed", "create", "work", "--from", folder)
    home.ramet("seed", "create", "idle", "--from", os.path.join(folder, "sub"))
    home.ramet("run", "-d", "--cold", "--name", "a", "--seed", "work:/root", "busybox")
    guest(home, "a", "echo mine >/root/own; sync")
    home.ramet("snapshot", "create", "a", "s")
    checks = home.json("snapshot", "verify", "s")["checks"]
    expect_equal([check["path"] for check in checks if check["what"] == "seed"], [seed["path"]])
    expect_equal(sum(check["what"] == "disk layer" for check in checks), 2)
    kinds = {kind["kind"]: kind for kind in home.json("df")["kinds"]}
    expect_equal((kinds["seeds"]["count"], kinds["seeds"]["used"]), (2, 1))
    made = home.json("commit", "a", "made")
    expect_equal([one["path"] for one in made["seeds"]], ["/root"], "seeds of what was committed")
    home.ramet("image", "rm", "made")
    home.ramet("prune")
    expect_equal(len(home.json("seed", "ls")), 2)
    expect("in use by VM a, snapshot s;" in home.ramet("seed", "rm", "work", status=4).err, "who has it is not told")
    home.ramet("rm", "-f", "a")
    home.ramet("seed", "create", "other", "--from", folder)  # the content has another name, and then no other
    home.ramet("seed", "rm", "work")
    home.ramet("seed", "rm", "other", status=4)
    home.ramet("seed", "create", "other", "--from", os.path.join(folder, "sub"), "--replace")
    home.ramet("seed", "rm", "other")
    would = home.json("prune", "--dry-run", "--all")  # the snapshot, too, and with it what it stands on
    expect_equal((len(would["seeds"]), "idle" in would["seeds"]), (2, True))
    home.ramet("seed", "create", "work", "--from", folder)
    home.ramet("fork", "s", "--name", "b")
    expect_equal(home.json("prune", "--all")["seeds"], ["idle"])
    expect_equal([one["name"] for one in home.json("seed", "ls")], ["work"], "VM b stands on it")
    expect_equal(guest(home, "b", "cat /root/own /root/greeting"), "mine\nhello\n")


def test_odd_content(home):
    """Sockets, devices, names that are no UTF-8, holes, attributes, times; and a folder that nobody may read."""
    folder = os.fsencode(make_folder(home))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(folder + b"/socket")
    os.mkfifo(folder + b"/fifo")
    os.mknod(folder + b"/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with open(folder + b"/\xff\xfe", "wb") as file:
        file.truncate(64 << 20)
    os.link(folder + b"/greeting", folder + b"/hard")
    os.setxattr(folder + b"/greeting", "user.colour", b"green")
    os.utime(folder + b"/greeting", ns=(0, 5_000_000_000_123_456_789))
    result = home.ramet("seed", "create", "odd", "--from", os.fsdecode(folder))
    expect("nobody listens: 1" in result.err, result.err)
    home.ramet("run", "-d", "--name", "a", "--seed", "odd:/srv", "busybox")
    expect_equal(guest(home, "a", "cd /srv && stat -c '%F %h' socket fifo null greeting && stat -c %Y greeting"),
                 "socket 1\nfifo 1\ncharacter special file 1\nregular file 2\n5000000000\n")
    expect_equal(guest(home, "a", "cd /srv && stat -c %b $(printf '\\377\\376')"), "0\n", "a hole")
    listener.close()


def test_sizes(home):
    folder = make_folder(home)
    with open(os.path.join(folder, "large"), "wb") as file:
        file.write(bytes(range(256)) * (8 << 12))
    for size in (4, 10):
        err = home.ramet("seed", "create", "work", "--from", folder, "--size", f"{size}M", status=1).err
        expect(f"{size} MiB are too little for it: it needs at least 14 MiB" in err and "leave the size out" in err, err)
    expect_equal(bases(home), [])
    home.ramet("seed", "create", "least", "--from", folder, "--size", "14M")
    home.ramet("seed", "rm", "least")
    err = home.ramet("seed", "create", "work", "--from", os.path.join(folder, "sub"), "--size", "4M", status=1).err
    expect("4 MiB are too little for it: it needs at least 8 MiB" in err, err)
    seed = home.json("seed", "create", "work", "--from", folder, "--size", "1G")
    head = subprocess.run(["dumpe2fs", "-h", seed["path"]], check=True, capture_output=True, encoding="utf-8").stdout
    expect("Flex block group size:    256" in head, f"it grows in steps of few groups: {head}")
    expect_equal(seed["virtual_bytes"], 1 << 30)
    expect("smaller than the seed work" in home.ramet("create", "--seed", "work:/root:512M", "busybox", status=2).err, "size")
    os.unlink(seed["path"])
    expect("seed create --replace" in home.ramet("create", "--seed", "work:/root", "busybox", status=3).err, "no file")
    home.ramet("seed", "create", "work", "--from", folder, "--size", "1G", "--replace")
    home.ramet("create", "--seed", "work:/root", "busybox")


def test_growing_by_much(home):
    """More than a TiB is told on the console, TiB by TiB, and the file system is whole."""
    home.ramet("seed", "create", "work", "--from", make_folder(home))
    home.ramet("run", "-d", "--cold", "--name", "a", "--seed", "work:/mnt:2T", "busybox", timeout=900)
    mib = int(home.ramet("exec", "a", "--", "sh", "-c", "df -m /mnt | tail -1 | awk '{print $2}'").out)
    expect(mib > 2000000, f"{mib} MiB")
    wait_until(lambda: "growing /mnt: 1 of 2 TiB" in home.ramet("logs", "a").out, "what its console says")
    home.ramet("stop", "a")
    raw = f"{home.folder}/raw"
    overlay = f"{home.path}/vms/{home.vm('a')['id']}/seed-1.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "raw", "-S", "4k", overlay, raw], check=True)
    subprocess.run(["e2fsck", "-fn", raw], check=True, capture_output=True)
    os.unlink(raw)


def test_no_room(home):
    """The new file system's own file cannot be written: limit of the daemon's process."""
    folder = make_folder(home)
    with open(os.path.join(folder, "large"), "wb") as file:
        file.write(os.urandom(8 << 20))
    home.ramet("daemon", "stop", status=None)
    environment = dict(home.env)
    limited = subprocess.run(["prlimit", f"--fsize={4 << 20}", "--", harness.RAMET, "seed", "create", "work", "--from",
                              folder], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             check=False)
    expect_equal(limited.returncode, 1, limited.stderr)
    expect_equal(bases(home), [])
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")
    home.ramet("daemon", "stop")
    home.ramet("seed", "create", "work", "--from", folder)


def test_full_disk(home):
    """There is room to begin, and not enough to end: on a file system of its own, after which a smaller folder is made a seed of."""
    folder = make_folder(home)
    with open(os.path.join(folder, "large"), "wb") as file:
        for _ in range(10):
            file.write(os.urandom(16 << 20))
    small = os.path.join(home.folder, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128M,mode=755", "ramet-test", small], check=False).returncode:
        raise harness.Skip("no file system can be mounted here")
    other = harness.Home(template=None, parent=small)
    try:
        result = other.ramet("seed", "create", "work", "--from", folder, status=1)
        expect("o space left" in result.err or "full" in result.err, result.err)
        expect_equal(other.json("seed", "ls"), [])
        expect_equal(bases(other), [])
        expect_equal(os.listdir(os.path.join(other.path, "tmp")), [], "scratch")
        os.unlink(os.path.join(folder, "large"))
        other.ramet("seed", "create", "work", "--from", folder)
        other.check_reports()
    finally:
        other.close()
        subprocess.run(["umount", "-l", small], check=True)


def test_refusals(home):
    folder = make_folder(home)
    home.ramet("seed", "create", "work", "--from", folder)
    for place in ("work:/", "work:root", "work:/a/../b", "work:/proc/x", "work:/a//b", "work", "work:/root:none"):
        home.ramet("create", "--seed", place, "busybox", status=2)
    home.ramet("create", "--seed", "work:/root", "--seed", "work:/root", "busybox", status=2)
    home.ramet("create", "--seed", "work:/root:4M", "busybox", status=2)
    many = [word for n in range(8) for word in ("--seed", f"work:/m{n}")]
    expect("too many seeds: 8, and at most 7 can be given" in home.ramet("create", *many, "busybox", status=2).err, "eight seeds")
    error = home.ramet("create", *many[:14], "--config-disk", folder, "busybox", status=2).err
    expect("/media/config is one disk too many: a VM has at most 7 beside its root" in error, error)
    home.ramet("create", "--seed", "absent:/root", "busybox", status=3)
    home.ramet("seed", "inspect", "absent", status=3)
    home.ramet("seed", "create", "other", "--from", os.path.join(folder, "greeting"), status=2)
    home.ramet("seed", "create", "../x", "--from", folder, status=2)
    expect_equal(home.json("ps", "-a"), [])


def test_a_folder_that_changes(home):
    """Somebody writes to it all the time."""
    folder = make_folder(home)
    for i in range(300):
        with open(os.path.join(folder, "sub", str(i)), "wb") as file:
            file.write(os.urandom(20000))
    stop = threading.Event()

    def write():
        while not stop.is_set():
            with open(os.path.join(folder, "sub", "0"), "ab") as file:
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = home.ramet("seed", "create", "work", "--from", folder, status=4)
    finally:
        stop.set()
        writer.join()
    expect("changed while it was read" in result.err, result.err)
    expect_equal(bases(home), [])
    home.ramet("seed", "create", "work", "--from", folder)


def test_files_that_vanish(home):
    """They are there at the first look, and gone when their turn comes. A try between two changes is none."""
    folder = make_folder(home)
    for i in range(300):
        with open(os.path.join(folder, "sub", str(i)), "wb") as file:
            file.write(os.urandom(20000))
    stop = threading.Event()

    def vanish():
        path = os.path.join(folder, "sub", "passing")
        while not stop.is_set():
            with open(path, "wb") as file:
                file.write(b"x" * 5000)
            os.unlink(path)

    def changes():
        result = home.ramet("seed", "create", "work", "--from", folder, "--replace", status=None)
        expect(result.status in (0, 4), result.err)
        expect(result.status == 0 or "changed while it was read" in result.err, result.err)
        return result.status == 4

    writer = threading.Thread(target=vanish)
    writer.start()
    try:
        wait_until(changes, "a folder whose files vanish")
    finally:
        stop.set()
        writer.join()
    home.ramet("seed", "create", "work", "--from", folder, "--replace")
    expect_equal(len(bases(home)), 1)
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")


def test_kill_while_one_is_made(home):
    folder = make_folder(home)
    for i in range(2000):
        with open(os.path.join(folder, "sub", str(i)), "wb") as file:
            file.write(os.urandom(20000))
    home.ramet("ps")
    process = subprocess.Popen([harness.RAMET, "seed", "create", "work", "--from", folder], env=home.env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: os.listdir(os.path.join(home.path, "tmp")), "its scratch")
    home.kill_daemon()
    process.wait()
    home.ramet("seed", "create", "work", "--from", folder)
    expect_equal(len(bases(home)), 1)
    expect_equal(os.listdir(os.path.join(home.path, "tmp")), [], "scratch")


def test_image_with_a_seed(home):
    folder = make_folder(home)
    home.ramet("image", "build", "dev", "--from", "busybox", "--seed", f"{folder}/absent:/root", status=3)
    home.ramet("image", "inspect", "dev", status=3)
    home.ramet("image", "build", "dev", "--from", "busybox", "--seed", f"{folder}:/root")
    image = home.json("image", "inspect", "dev")
    expect_equal([seed["path"] for seed in image["seeds"]], ["/root"])
    out = home.ramet("run", "--rm", "dev", "--", "cat", "/root/greeting").out
    expect_equal(out, "hello\n")
    expect_equal(cache_keys(home), 1, "entries of the boot cache with the seed")
    os.unlink(os.path.join(home.path, "seeds", bases(home)[0]))
    result = home.ramet("run", "--rm", "dev", "--", "sh", "-c", "ls /root/greeting 2>/dev/null || echo none")
    expect_equal(result.out, "none\n")
    expect("seed for /root cannot be had" in result.err, result.err)
    expect_equal(cache_keys(home), 2, "and without it")


LAB = """
vms:
  one:
    image: busybox
    seeds: ["work:/root"]
    volumes: ["data:/srv", "shared:/mnt:ro"]
    config_disk: work
  two:
    image: busybox
    volumes: ["shared:/mnt:ro"]
"""


def test_lab(home):
    """Disks of all kinds in a lab's file, its snapshot and its copies."""
    home.ramet("seed", "create", "work", "--from", make_folder(home))
    home.ramet("volume", "create", "data", "--size", "64M")
    home.ramet("volume", "create", "shared", "--from", "work")
    file = os.path.join(home.folder, "lab.yaml")

    def write(text):
        with open(file, "w", encoding="utf-8") as lab:
            lab.write(text)
        return file

    for text, what in ((LAB.replace("disk: work", "disk: absent"), ":7: config_disk: cannot read"),
                       (LAB.replace("disk: work", "disk: ../work"), "not below the lab's folder")):
        result = home.ramet("lab", "up", write(text), "--name", "lab", status=2)
        expect(what in result.err, result.err)
    result = home.ramet("lab", "up", write(LAB.replace('["shared:/mnt:ro"]', '["data:/mnt:ro"]')), "--name", "lab", status=4)
    expect("volume data is in use" in result.err, result.err)
    expect_equal(home.json("ps", "-a"), [])
    home.ramet("lab", "up", write(LAB), "--name", "lab")
    home.ramet("lab", "exec", "lab", "one", "--", "sh", "-c", "echo mine >/root/own; echo then >/srv/own; sync")
    for words in (("lab", "snapshot", "lab", "frozen"), ("lab", "fork", "lab")):
        result = home.ramet(*words, status=4)
        expect("--clone-volumes" in result.err, result.err)
    home.ramet("lab", "snapshot", "lab", "frozen", "--clone-volumes")
    home.ramet("lab", "exec", "lab", "one", "--", "sh", "-c", "echo now >/srv/own")
    home.ramet("lab", "fork", "frozen", "--name", "copy")
    out = home.ramet("lab", "exec", "copy", "one", "--", "cat", "/root/own", "/root/greeting", "/srv/own", "/mnt/greeting",
                     "/media/config/greeting").out
    expect_equal(out, "mine\nhello\nthen\nhello\nhello\n")
    expect_equal(home.ramet("lab", "exec", "copy", "two", "--", "cat", "/mnt/greeting").out, "hello\n")
    expect_equal(home.ramet("lab", "exec", "lab", "one", "--", "cat", "/srv/own").out, "now\n")

    # what the lab's snapshot has is told by its name, and stays
    for lab in ("lab", "copy"):
        home.ramet("lab", "down", lab)
    expect_equal([(user["name"], user["state"]) for user in home.json("volume", "inspect", "shared")["users"]],
                 [("frozen", "lab snapshot")])
    expect("in use by lab snapshot frozen;" in home.ramet("seed", "rm", "work", status=4).err, "who has it is not told")
    home.ramet("volume", "rm", "shared", status=4)
    home.ramet("lab", "snapshot", "rm", "frozen")
    home.ramet("seed", "rm", "work")
    home.ramet("volume", "rm", "shared", "data")


if __name__ == "__main__":
    harness.main()
