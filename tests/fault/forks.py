#!/usr/bin/env python3
"""Snapshots and forks when things go wrong: damaged files, another QEMU, full disks, processes killed at swept moments,
fifty forks at once. Whatever happens, the answer is a ready VM or a clear error, and nothing is left over."""
import concurrent.futures
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
from harness import expect, expect_equal, expect_match, is_alive, wait_until  # noqa: E402

SETTLED = ("created", "running", "paused", "standby", "stopped", "failed")


def make_snapshot(home, name="s"):
    """A snapshot of a VM that has something in memory; the VM runs on."""
    home.ramet("run", "-d", "--name", "src", "--cold", "busybox")
    home.ramet("exec", "src", "--", "sh", "-c", "echo kept >/dev/shm/x; echo kept >/kept; sync")
    return home.json("snapshot", "create", "src", name)


def check_source(home, name="src"):
    expect_equal(home.vm(name)["state"], "running", "state of the source")
    expect_equal(home.ramet("exec", name, "--", "cat", "/dev/shm/x", "/kept").out, "kept\nkept\n")


def clean_up(home):
    vms = [vm["name"] for vm in home.json("ps", "-a")]
    if vms:
        home.ramet("rm", "-f", *vms)
    for snapshot in home.json("snapshot", "ls", "--all"):
        home.ramet("snapshot", "rm", "--cascade", snapshot["id"], status=None)
    home.ramet("prune")


def count(home):
    """Everything that could leak: processes and their roles, the daemon's descriptors, files, rows."""
    daemon = home.daemon_pid()
    fds = len(os.listdir(f"/proc/{daemon}/fd"))
    files = sum(len(names) for folder in ("vms", "snapshots", "layers", "tmp")
                for _, _, names in os.walk(os.path.join(home.path, folder)))
    with contextlib.closing(sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True)) as database:
        rows = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("vms", "snapshots", "layers")}
    return {"processes": len(harness.processes_of(home.path)), "fds": fds, "files": files, **rows}


def check_nothing_leaked(home, before):
    def same():
        now = count(home)
        return all(now[what] <= before[what] for what in before)
    with contextlib.suppress(harness.Failure):
        wait_until(same, "what was there before", 60)
    now = count(home)
    expect(all(now[what] <= before[what] for what in before), f"leaked: before {before}, now {now}")


# --- damaged files -----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def damaged(path, change):
    """The file with other content under the same name, as a careless tool would leave it; put back afterwards."""
    with open(path, "rb") as file:
        whole = file.read()
    mode = os.stat(path).st_mode & 0o777
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        change(file, len(whole))
    os.chmod(path, mode)
    try:
        yield
    finally:
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.truncate(len(whole))
            file.write(whole)
        os.chmod(path, mode)


def cut(file, size):
    file.truncate(size // 2)


def flip(file, size):
    file.seek(size // 2)
    byte = file.read(1)[0]
    file.seek(size // 2)
    file.write(bytes([byte ^ 1]))


def snapshot_files(home, snapshot):
    folder = os.path.join(home.path, "snapshots", snapshot["id"])
    return {"memory": snapshot["memory"]["path"], "state": os.path.join(folder, "state"),
            "disk": snapshot["disk"]["path"]}


def test_damaged_files(home):
    snapshot = make_snapshot(home)
    for which, path in snapshot_files(home, snapshot).items():
        for change in (cut, flip):
            with damaged(path, change):
                result = home.ramet("fork", "s", "--name", "bad", status=None)
                expect(result.status != 0, f"a fork from a snapshot whose {which} file had a {change.__name__} got ready")
                expect_match(result.err, r"(?i)chang|cut|size|sha-?256|content|written|corrupt|damaged|differ",
                             f"message for the {which} file ({change.__name__})")
                verify = home.ramet("snapshot", "verify", "s", status=1)
                expect("BAD" in verify.out, f"verify of the {which} file ({change.__name__}): {verify.out}")
            expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["src"], "VMs")
    check_source(home)
    clean_up(home)
    home.check_no_leftovers()


def test_made_by_another_qemu(home):
    make_snapshot(home)
    home.ramet("fork", "s", "--name", "first")
    home.ramet("rm", "-f", "first", "src")
    home.ramet("daemon", "stop")
    path = f"{home.folder}/qemu"
    with open(path, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    os.chmod(path, 0o755)
    os.chmod(home.folder, 0o755)
    home.env["RAMET_QEMU"] = path
    result = home.ramet("fork", "s", "--name", "second", status=None)
    expect(result.status != 0, "a snapshot of one QEMU build was restored by another")
    expect_match(result.err, r"(?i)made by|qemu", "message")
    expect_equal(home.json("ps", "-a"), [], "VMs")
    clean_up(home)


def test_made_under_another_accelerator(home):
    snapshot = make_snapshot(home)
    home.ramet("rm", "-f", "src")
    home.ramet("daemon", "stop")
    with contextlib.closing(sqlite3.connect(f"{home.path}/ramet.db")) as database:
        other = "kvm" if snapshot["accel"] == "tcg" else "tcg"
        database.execute("UPDATE snapshots SET data = json_set(data, '$.facts.accel', ?)", (other,))
        database.commit()
    result = home.ramet("fork", "s", "--name", "bad", status=None)
    expect(result.status != 0, "a snapshot of another accelerator was restored")
    expect_match(result.err, r"(?i)kvm|tcg|accel", "message")
    expect_equal(home.json("ps", "-a"), [], "VMs")


# --- full disks --------------------------------------------------------------------------------------------------

def test_disk_full_while_saving(home):
    if os.geteuid() != 0:
        raise harness.Skip("mounting a small file system needs root")
    folder = f"{home.folder}/small"
    os.mkdir(folder)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=420m,mode=755", "none", folder],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise harness.Skip(f"no mount here: {mounted.stderr.strip()}")
    inner = None
    try:
        os.chmod(home.folder, 0o755)
        inner = small_home(folder)
        inner.ramet("run", "-d", "--name", "src", "--cold", "busybox")
        inner.ramet("exec", "src", "--", "sh", "-c", "echo kept >/dev/shm/x; echo kept >/kept; sync")
        inner.ramet("exec", "src", "--", "sh", "-c", "head -c 40000000 /dev/urandom >/dev/shm/fill")
        fill(folder, leave=30 << 20)
        result = inner.ramet("snapshot", "create", "src", "s", status=None)
        expect(result.status != 0, "a snapshot larger than the room was made")
        expect_match(result.err, r"(?i)space|full|room", "message")
        os.unlink(f"{folder}/ballast")
        check_source(inner)
        expect_equal(inner.json("snapshot", "ls"), [], "snapshots")
        inner.ramet("snapshot", "create", "src", "s")
        inner.ramet("fork", "s", "--name", "f")
        check_source(inner, "f")
        clean_up(inner)
        inner.check_no_leftovers()
    finally:
        if inner:
            inner.close()
        subprocess.run(["umount", "-l", folder], check=True)


def small_home(folder):
    inner = harness.Home(template=False, parent=folder)
    os.chmod(inner.folder, 0o755)
    subprocess.run(["cp", "-a", "--sparse=always", harness.TEMPLATE, inner.path], check=True)
    for name in ("ramet.sock", "vms", "tmp"):
        subprocess.run(["rm", "-rf", os.path.join(inner.path, name)], check=True)
    return inner


def fill(folder, leave):
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    with open(f"{folder}/ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))


# --- processes killed --------------------------------------------------------------------------------------------

def sweep(home, kill, arguments, check, attempts=8, first=0.0, factor=1.6):
    """Runs the CLI again and again and lets `kill` strike later each time, until a run got through untouched."""
    delay = first
    for number in range(attempts):
        home.ramet("ps")
        process = home.start(*[argument.replace("NAME", f"n{number}") for argument in arguments])
        time.sleep(delay)  # the sweep itself: the moment of the kill
        finished = process.poll() is not None
        kill()
        _, err = process.communicate(timeout=harness.BOUND)
        check(f"n{number}", process.returncode, err.decode(errors="replace"))
        if finished:
            return
        delay = delay * factor + 0.03


def settle(home):
    wait_until(lambda: all(vm["state"] in SETTLED for vm in home.json("ps", "-a")), "settled states")


def kill_newest(home, program):
    """SIGKILL to the youngest process of this home that runs the program, if there is one."""
    found = []
    for pid in harness.processes_of(home.path):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                name = os.path.basename(file.read().split(b"\0")[0].decode())
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                start = int(file.read().rsplit(")", 1)[1].split()[19])
            if name == program:
                found.append((start, pid))
    if found:
        with contextlib.suppress(OSError):
            os.kill(max(found)[1], signal.SIGKILL)


def test_daemon_killed_while_a_snapshot_is_taken(home):
    make_snapshot(home)

    def check(name, _status, _err):
        settle(home)
        check_source(home)
        names = [snapshot["name"] for snapshot in home.json("snapshot", "ls")]
        if name in names:
            home.ramet("snapshot", "verify", name)
            home.ramet("fork", name, "--name", "f")
            check_source(home, "f")
            home.ramet("rm", "-f", "f")
            home.ramet("snapshot", "rm", name)

    sweep(home, home.kill_daemon, ["snapshot", "create", "src", "NAME"], check)
    clean_up(home)
    home.check_no_leftovers()


def test_daemon_killed_while_forking(home):
    make_snapshot(home)

    def check(_name, _status, _err):
        settle(home)
        for vm in home.json("ps", "-a"):
            if vm["name"] != "src" and vm["state"] == "running":
                check_source(home, vm["name"])
            if vm["name"] != "src":
                home.ramet("rm", "-f", vm["name"])
        check_source(home)

    sweep(home, home.kill_daemon, ["fork", "s", "-n", "2", "--name", "NAME"], check)
    clean_up(home)
    home.check_no_leftovers()


def test_daemon_killed_while_in_standby_and_back(home):
    make_snapshot(home)
    home.ramet("fork", "s", "--name", "f")

    def go_on(_name, _status, _err):
        settle(home)
        state = home.vm("f")["state"]
        expect(state in ("running", "paused", "standby"), f"f is {state}: {home.vm('f').get('error')}")
        if state == "standby":
            home.ramet("resume", "f")
        elif state == "paused":
            home.ramet("unpause", "f")
        check_source(home, "f")

    def go_standby(_name, _status, _err):
        go_on(_name, _status, _err)
        home.ramet("standby", "f")

    sweep(home, home.kill_daemon, ["standby", "f"], go_on, attempts=6)
    home.ramet("standby", "f")
    sweep(home, home.kill_daemon, ["resume", "f"], go_standby, attempts=6)
    clean_up(home)
    home.check_no_leftovers()


def killed_guest_program(home, program):
    """QEMU or its keeper dies while a fork loads and while a clone is saved."""
    make_snapshot(home)

    def check_fork(_name, status, err):
        settle(home)
        for vm in home.json("ps", "-a"):
            if vm["name"] == "src":
                continue
            if vm["state"] == "running":
                check_source(home, vm["name"])
            home.ramet("rm", "-f", vm["name"])
        expect(status == 0 or err.startswith("ramet:"), f"no clear error: {err}")
        if home.vm("src")["state"] != "running":  # the kill met the source: nothing newer was there yet
            home.ramet("rm", "-f", "src")
            home.ramet("fork", "s", "--name", "src")

    sweep(home, lambda: kill_newest(home, program), ["fork", "s", "--name", "NAME"], check_fork, first=0.02)

    def check_save(name, status, err):
        expect(status == 0 or err.startswith("ramet:"), f"no clear error: {err}")
        wait_until(lambda: home.vm("f")["state"] == "failed", "the end of the clone")
        for snapshot in home.json("snapshot", "ls"):
            if snapshot["name"] == name:
                home.ramet("snapshot", "verify", name)
                home.ramet("snapshot", "rm", name)
        home.ramet("rm", "-f", "f")
        home.ramet("fork", "s", "--name", "f")

    home.ramet("fork", "s", "--name", "f")
    sweep(home, lambda: kill_newest(home, program), ["snapshot", "create", "f", "NAME"], check_save, attempts=5)
    home.ramet("snapshot", "verify", "s")
    clean_up(home)
    home.check_no_leftovers()


def test_qemu_killed_while_loading_and_saving(home):
    killed_guest_program(home, "qemu-system-x86_64")


def test_keeper_killed_while_loading_and_saving(home):
    killed_guest_program(home, "ramet-keeper")


# --- races -------------------------------------------------------------------------------------------------------

def test_fork_of_a_vm_that_is_being_removed(home):
    for number in range(4):
        home.ramet("run", "-d", "--name", "a", "--cold", "busybox")
        remove = home.start("rm", "-f", "a")
        time.sleep(0.02 * number)  # the race itself
        fork = home.ramet("fork", "a", "--name", "b", status=None)
        remove.communicate(timeout=harness.BOUND)
        expect_equal(remove.returncode, 0, "exit status of rm")
        expect(fork.status in (0, 3, 4, 1), f"exit status {fork.status}: {fork.err}")
        left = [vm["name"] for vm in home.json("ps", "-a")]
        expect_equal(left, ["b"] if fork.status == 0 else [], "VMs")
        clean_up(home)
    home.check_no_leftovers()


def test_fifty_forks_at_once_and_nothing_leaks(home):
    make_snapshot(home)
    home.ramet("fork", "s", "--name", "warm-up")
    home.ramet("rm", "-f", "warm-up")
    before = count(home)

    def fork(number):
        return home.ramet("fork", "s", "--name", f"f{number}", status=None, timeout=600)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        results = list(pool.map(fork, range(50)))
    ready = [number for number, result in enumerate(results) if result.status == 0]
    for result in results:
        expect(result.status == 0 or result.err.startswith("ramet:"), f"no clear error: {result.err}")
    expect(ready, f"none of fifty got ready: {results[0].err}")
    vms = {vm["name"]: vm for vm in home.json("ps", "-a")}
    expect_equal(sorted(vms), sorted(["src"] + [f"f{number}" for number in ready]), "VMs")
    expect_equal(len({vm["mac"] for vm in vms.values()}), len(vms), "MACs")
    home.ramet("rm", "-f", *[f"f{number}" for number in ready], timeout=600)
    check_nothing_leaked(home, before)
    check_source(home)
    home.ramet("snapshot", "verify", "s")


def test_prove_leaves_nothing(home):
    make_snapshot(home)
    report = home.json("snapshot", "prove", "s", "-n", "3", timeout=600)
    expect(report["ok"], f"prove: {[check for check in report['checks'] if not check['ok']]}")
    before = count(home)
    for delay in (0.1, 0.6, 1.5, 3):
        process = home.start("snapshot", "prove", "s", "-n", "3")
        time.sleep(delay)  # the moment of the interruption
        process.send_signal(signal.SIGINT if delay < 1 else signal.SIGKILL)
        process.communicate(timeout=harness.BOUND)
        wait_until(lambda: len(home.json("ps", "-a")) == 1, "the end of the clones")
        check_nothing_leaked(home, before)
    process = home.start("snapshot", "prove", "s", "-n", "3")
    wait_until(lambda: len(home.json("ps")) > 1 or process.poll() is not None, "clones")
    home.kill_daemon()
    process.communicate(timeout=harness.BOUND)
    wait_until(lambda: len(home.json("ps", "-a")) == 1, "the end of the clones of a daemon that died")
    check_source(home)
    clean_up(home)
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
