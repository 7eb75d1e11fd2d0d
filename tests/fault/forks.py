#!/usr/bin/env python3
"""Snapshots and forks when things go wrong: damaged files, another QEMU, full disks, processes killed at each step,
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
QEMU, KEEPER = "qemu-system-x86_64", "ramet-keeper"


def make_snapshot(home, name="s"):
    """A snapshot of a VM that has something in memory; the VM runs on."""
    home.ramet("run", "-d", "--name", "src", "--cold", "--memory", "96M", "busybox")  # little to hash
    home.ramet("exec", "src", "--", "sh", "-c", "echo kept >/dev/shm/x; echo kept >/kept; sync")
    return home.json("snapshot", "create", "src", name)


def check_source(home, name="src"):
    expect_equal(home.vm(name)["state"], "running", f"state of {name}")
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
        wait_until(same, "what was there before")
    now = count(home)
    folder = f"/proc/{home.daemon_pid()}/fd"
    expect(all(now[what] <= before[what] for what in before),
           f"leaked: before {before}, now {now}: {sorted(os.readlink(f'{folder}/{fd}') for fd in os.listdir(folder))}")


# --- damaged files -----------------------------------------------------------------------------------------------

@contextlib.contextmanager
def cut(path):
    """Another file in its place, with half of its bytes."""
    os.rename(path, path + ".whole")
    subprocess.run(["cp", "-p", "--sparse=always", path + ".whole", path], check=True)
    os.truncate(path, os.path.getsize(path) // 2)
    try:
        yield
    finally:
        os.replace(path + ".whole", path)


@contextlib.contextmanager
def flip(path):
    """The same file with one bit changed in the middle of its data."""
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        at = os.lseek(file.fileno(), size // 2, os.SEEK_DATA)
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), at)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), bytes([byte]), at)


def snapshot_files(home, snapshot):
    folder = os.path.join(home.path, "snapshots", snapshot["id"])
    return {"memory": snapshot["memory"]["path"], "state": os.path.join(folder, "state"),
            "disk": snapshot["disk"]["path"]}


def test_damaged_files(home):
    """Of a whole memory and of a diff; each is refused with the reason, and good again once it is put back."""
    whole = make_snapshot(home)
    home.ramet("fork", "s", "--name", "f")
    home.ramet("exec", "f", "--", "sh", "-c", "head -c 1000000 /dev/urandom >/dev/shm/own")
    diff = home.json("snapshot", "create", "f", "d")
    expect_equal((whole["memory"]["kind"], diff["memory"]["kind"]), ("full", "diff"), "kinds")
    for snapshot, files in ((whole, ("memory", "state", "disk")), (diff, ("memory",))):
        for which in files:
            for change in (cut, flip):
                check_refused(home, snapshot["name"], which, snapshot_files(home, snapshot)[which], change)
        home.ramet("fork", snapshot["name"], "--name", "good")
        check_source(home, "good")
        home.ramet("rm", "-f", "good")
    check_source(home)
    clean_up(home)
    home.check_no_leftovers()


def check_refused(home, name, which, path, change):
    with change(path):
        result = home.ramet("fork", name, "--name", "bad", status=None)
        expect(result.status != 0, f"a fork of {name} whose {which} file had a {change.__name__} got ready")
        expect_match(result.err, r"(?i)chang|cut|size|sha-?256|content|written|corrupt|damaged|differ",
                     f"message for the {which} file ({change.__name__})")
        if change is flip:  # once for each: it reads everything, which takes its time
            verify = home.ramet("snapshot", "verify", name, status=1)
            expect("BAD" in verify.out, f"verify of the {which} file: {verify.out}")
    expect_equal(sorted(vm["name"] for vm in home.json("ps", "-a")), ["f", "src"], "VMs")


def test_made_elsewhere(home):
    """By another accelerator, machine, CPU, QEMU, version of the files, kind of network."""
    snapshot = make_snapshot(home)
    home.ramet("rm", "-f", "src")
    other = "kvm" if snapshot["accel"] == "tcg" else "tcg"
    for fact, value, pattern in (("accel", other, f"accelerator {other}"), ("machine", "q35", "machine"),
                                 ("machine_options", "microvm,isa-serial=off", "machine microvm,isa-serial"),
                                 ("cpu", "486", "CPU model 486"), ("host_cpu", "another", "another CPU"),
                                 ("qemu_sha256", "0" * 64, "QEMU .*build 000000000000"),
                                 ("format", 0, "another version"), ("network", "bridge", "network bridge")):
        with fact_changed(home, fact, value):
            result = home.ramet("fork", "s", "--name", "bad", status=None)
            expect(result.status != 0, f"a snapshot with another {fact} was restored")
            expect_match(result.err, f"made by.*{pattern}", f"message for {fact}")
    home.ramet("fork", "s", "--name", "good")
    check_source(home, "good")
    home.ramet("rm", "-f", "good")
    home.ramet("daemon", "stop")
    path = f"{home.folder}/qemu"  # a QEMU of another build: the wrapper's bytes are not the program's
    with open(path, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    os.chmod(path, 0o755)
    os.chmod(home.folder, 0o755)
    home.env["RAMET_QEMU"] = path
    result = home.ramet("fork", "s", "--name", "bad", status=None)
    expect(result.status != 0, "a snapshot of one QEMU build was restored by another")
    expect_match(result.err, r"made by QEMU", "message")
    expect_equal(home.json("ps", "-a"), [], "VMs")
    clean_up(home)


@contextlib.contextmanager
def fact_changed(home, fact, value):
    """As if the snapshot had been made by something else. The daemon, which has the database open, is stopped."""
    def put(value):
        home.ramet("daemon", "stop", status=None)
        with contextlib.closing(sqlite3.connect(f"{home.path}/ramet.db")) as database:
            old = database.execute(f"SELECT json_extract(data, '$.facts.{fact}') FROM snapshots WHERE name = 's'")
            old = old.fetchone()[0]
            database.execute(f"UPDATE snapshots SET data = json_set(data, '$.facts.{fact}', ?) WHERE name = 's'", (value,))
            database.commit()
        return old
    old = put(value)
    try:
        yield
    finally:
        put(old)


# --- full disks --------------------------------------------------------------------------------------------------

# A snapshot switches disks, and the keeper looks for room before; a standby does not.
FULL = {"snapshot": r"no room for its memory: .* are to be written", "standby": r"cannot write .*No space left"}


def test_disk_full_while_saving(home):
    if os.geteuid() != 0:
        raise harness.Skip("mounting a small file system needs root")
    folder = f"{home.folder}/small"
    os.mkdir(folder)
    size = allocated_mib(harness.TEMPLATE) + 300
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=755", "none", folder],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise harness.Skip(f"no mount here: {mounted.stderr.strip()}")
    inner = None
    try:
        os.chmod(home.folder, 0o755)
        inner = small_home(folder)
        inner.ramet("run", "-d", "--name", "src", "--cold", "busybox")
        inner.ramet("exec", "src", "--", "sh", "-c", "echo kept >/dev/shm/x; echo kept >/kept; sync")
        inner.ramet("exec", "src", "--", "sh", "-c", "head -c 90000000 /dev/urandom >/dev/shm/fill")
        fill(folder, leave=80 << 20)  # enough to begin
        for arguments in (("snapshot", "create", "src", "s"), ("standby", "src")):
            result = inner.ramet(*arguments, status=None)
            expect(result.status != 0, f"{arguments[0]}: more was saved than there is room for")
            expect_match(result.err, FULL[arguments[0]], f"message of {arguments[0]}")
            check_source(inner)
        check_fork_without_room(inner)
        os.unlink(f"{folder}/ballast")
        fill(folder, leave=1 << 20)
        for arguments in (("snapshot", "create", "src", "s"), ("standby", "src")):
            result = inner.ramet(*arguments, status=None)
            expect(result.status != 0, f"{arguments[0]} on a full disk")
            expect_match(result.err, r"the disk of .* is full", f"message of {arguments[0]}")
        check_source(inner)
        os.unlink(f"{folder}/ballast")
        expect_equal(inner.json("snapshot", "ls", "-a"), [], "snapshots")
        inner.ramet("snapshot", "create", "src", "s")
        inner.ramet("fork", "s", "--name", "f")
        check_source(inner, "f")
        clean_up(inner)
        inner.check_no_leftovers()
    except Exception:
        harness.show_logs(inner or home)
        raise
    finally:
        if inner:
            inner.close()
        subprocess.run(["umount", "-l", folder], check=True)


def check_fork_without_room(inner):
    """It needs none; what is to be written behind it is not, which takes no room and harms nobody."""
    inner.ramet("fork", "src", "--name", "live")
    check_source(inner, "live")
    log = f"{inner.path}/rametd.log"
    wait_until(lambda: "No space left" in open(log, encoding="utf-8").read(), "what the daemon says of it")
    made, = (one["id"] for one in inner.json("snapshot", "ls", "-a"))
    expect_equal(os.stat(f"{inner.path}/snapshots/{made}/memory.base").st_blocks, 0, "what it takes")
    check_source(inner)
    check_source(inner, "live")
    inner.ramet("rm", "-f", "live")
    wait_until(lambda: inner.json("snapshot", "ls", "-a") == [], "the end of its snapshot")


def allocated_mib(folder):
    kib = subprocess.run(["du", "-sk", folder], check=True, capture_output=True, text=True).stdout.split()[0]
    return int(kib) // 1024 + 1


def small_home(folder):
    inner = harness.Home(template=None, parent=folder)
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

def end(pid):
    """When it returns, the process is no more: whoever looks afterwards sees what was struck."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), f"the end of process {pid}")


def settle(home):
    wait_until(lambda: all(vm["state"] in SETTLED for vm in home.json("ps", "-a")), "settled states")


def youngest(home, program):
    """The process of this home that runs the program and started last."""
    found = []
    for pid in harness.processes_of(home.path):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                start = int(file.read().rsplit(")", 1)[1].split()[19])
            if os.path.basename(arguments[0].decode()) == program:
                found.append((start, pid))
    return max(found)[1] if found else None


def begin(home):
    """Snapshot s, and a clone f of it that is worked on."""
    make_snapshot(home)
    home.ramet("rm", "-f", "src")
    home.ramet("fork", "s", "--name", "f")


def finish(home):
    home.ramet("snapshot", "verify", "s")
    clean_up(home)
    home.check_no_leftovers()


def await_end_of_struck(home, vm):
    """A VM that was ready before the blow fell is running for a moment. Was it struck?"""
    struck = vm["state"] == "running" and not (is_alive(vm["qemu_pid"]) and is_alive(vm["keeper_pid"]))
    if struck:
        wait_until(lambda: home.vm(vm["name"])["state"] == "failed", f"the end of {vm['name']}")
    return struck


def remove_clones(home, count):
    """All that there are beside f are good, and all of them are there or none."""
    settle(home)
    found = [vm for vm in home.json("ps", "-a") if vm["name"] != "f"]
    for vm in found:
        if await_end_of_struck(home, vm):
            vm["state"] = "failed"
    good = [vm for vm in found if vm["state"] == "running"]
    expect(len(good) in (0, count), f"{len(good)} of {count} clones were left")
    for vm in good:
        check_source(home, vm["name"])
    if found:
        home.ramet("rm", "-f", *[vm["name"] for vm in found])


def remove_snapshot(home, name):
    """If there is one, it is whole."""
    if name in [snapshot["name"] for snapshot in home.json("snapshot", "ls")]:
        home.ramet("snapshot", "verify", name)
        home.ramet("snapshot", "rm", name)


def go_on(home):
    """f goes on wherever it was left: it was never lost."""
    settle(home)
    state = home.vm("f")["state"]
    if state == "standby":
        home.ramet("resume", "f")
    elif state == "paused":
        home.ramet("unpause", "f")
    check_source(home, "f")


def renew(home):
    """f was lost, and another one takes its place."""
    home.ramet("rm", "-f", "f")
    home.ramet("fork", "s", "--name", "f")


def strike_each(home, path, body, stages, arm, check):
    """The request once for each of the stages. arm() gives what is to be called when the stage begins, and
    check(stage, result, error) looks at what is left."""
    for stage in stages:
        result, error, seen = harness.ask(home, path, body, stage, arm())
        try:
            expect(stage in seen, f"it has no such stage: {seen}, {error}")
            check(stage, result, error)
        except harness.Failure as failure:
            raise harness.Failure(f"{path}, stage {stage}: {failure}") from failure


BOOT_STAGES = ("plan", "memory", "keeper", "sandbox", "qemu", "load", "agent", "identity")
SAVE_STAGES = ("plan", "sync", "copy", "freeze", "pause", "memory", "state", "disks", "write", "publish")


def test_daemon_killed_at_each_step(home):
    begin(home)

    def arm():
        pid = home.daemon_pid()

        return lambda: home.end_daemon(pid)

    def check_saved(_stage, _result, _error):
        go_on(home)
        remove_snapshot(home, "n")

    def arm_in_standby():
        home.ramet("standby", "f")
        return arm()

    def arm_with_pool():
        home.ramet("pool", "set", "--wait", "s", "1")
        return arm()

    strike_each(home, "/v1/vms/f/snapshot", {"name": "n"}, SAVE_STAGES, arm, check_saved)
    strike_each(home, "/v1/vms/f/standby", {}, (*SAVE_STAGES, "end"), arm, lambda *_: go_on(home))
    strike_each(home, "/v1/vms/f/resume", {}, BOOT_STAGES, arm_in_standby, lambda *_: go_on(home))
    strike_each(home, "/v1/fork", {"source": "s", "name": "n", "count": 2}, (*BOOT_STAGES, "overlay"), arm,
                lambda *_: remove_clones(home, 2))
    strike_each(home, "/v1/fork", {"source": "f", "name": "n"}, ("freeze", "write", "publish", "qemu"), arm,
                lambda *_: (remove_clones(home, 1), go_on(home)))
    strike_each(home, "/v1/fork", {"source": "s", "name": "n"}, ("plan", "claim", "identity"), arm_with_pool,
                lambda *_: remove_clones(home, 1))
    home.ramet("pool", "set", "s", "0")
    finish(home)


def killed_at_each_step(home, program, key):
    """QEMU or its keeper dies while a VM is saved, loaded and claimed."""
    begin(home)

    def arm_f():
        pid = home.vm("f")[key]
        return lambda: end(pid)

    def arm_new():
        spared = youngest(home, program)

        def strike():
            pid = youngest(home, program)
            if pid and pid != spared:
                end(pid)
        return strike

    def arm_in_standby():
        home.ramet("standby", "f")
        return arm_new()

    def arm_warm():
        home.ramet("pool", "set", "--wait", "s", "1")
        pid = youngest(home, program)
        return lambda: end(pid)

    def check_saved(_stage, result, error):
        expect(result or error["message"], "neither a snapshot nor an error")
        wait_until(lambda: home.vm("f")["state"] == "failed", "the end of f")
        remove_snapshot(home, "n")
        renew(home)

    def check_standby(stage, result, error):
        expect(result or error["message"], "neither standby nor an error")
        wait_until(lambda: home.vm("f")["state"] in ("failed", "standby"), "the end of f")
        if home.vm("f")["state"] == "standby":
            go_on(home)
        else:
            expect(stage != "end", "f was lost after it had been saved")
            renew(home)

    def check_resumed(stage, result, error):
        expect(result or error["message"], "neither a VM nor an error")
        settle(home)
        ran = await_end_of_struck(home, home.vm("f")) or result or stage in ("load", "agent", "identity")
        if ran and home.vm("f")["state"] == "failed":
            renew(home)  # the guest ran on before it was struck, and may have written to its disk
        else:
            go_on(home)

    def check_forked(_stage, result, error):
        expect(result or error["message"], "neither a VM nor an error")
        remove_clones(home, 1)

    def check_claimed(_stage, result, error):
        vm = result["vms"][0] if result else None
        expect(vm or error["message"], "neither a VM nor an error")
        expect(not vm or vm["boot"] == "claimed" or vm["fallback"]["message"], f"a fork that does not say why: {vm}")
        remove_clones(home, 1)

    strike_each(home, "/v1/vms/f/snapshot", {"name": "n"}, SAVE_STAGES[1:-1], arm_f, check_saved)
    strike_each(home, "/v1/vms/f/standby", {}, ("freeze", "state", "write", "end"), arm_f, check_standby)
    strike_each(home, "/v1/vms/f/resume", {}, BOOT_STAGES[3:-1], arm_in_standby, check_resumed)
    strike_each(home, "/v1/fork", {"source": "s", "name": "n"}, BOOT_STAGES[3:], arm_new, check_forked)
    strike_each(home, "/v1/fork", {"source": "s", "name": "n"}, ("claim", "identity"), arm_warm, check_claimed)
    home.ramet("pool", "set", "s", "0")
    finish(home)


def test_qemu_killed_at_each_step(home):
    killed_at_each_step(home, QEMU, "qemu_pid")


def test_keeper_killed_at_each_step(home):
    killed_at_each_step(home, KEEPER, "keeper_pid")


# --- races -------------------------------------------------------------------------------------------------------

def test_fork_of_a_vm_that_is_being_removed(home):
    begin(home)
    for number in range(6):
        home.ramet("fork", "s", "--name", "a")
        remove = home.start("rm", "-f", "a")
        time.sleep(0.01 * number)  # the race itself
        fork = home.ramet("fork", "a", "--name", "b", status=None)
        remove.communicate(timeout=harness.BOUND)
        expect_equal(remove.returncode, 0, "exit status of rm")
        expect(fork.status in (0, 3, 4, 1), f"exit status {fork.status}: {fork.err}")
        left = sorted(vm["name"] for vm in home.json("ps", "-a"))
        expect_equal(left, ["b", "f"] if fork.status == 0 else ["f"], "VMs")
        remove_clones(home, 1)
    finish(home)


def test_fifty_forks_at_once_and_nothing_leaks(home):
    """Of fifty clients, and of one that goes away while most of its forks wait for their turn."""
    begin(home)
    before = count(home)

    def fork(number):
        return home.ramet("fork", "s", "--name", f"n{number}", status=None, timeout=600)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        results = list(pool.map(fork, range(50)))
    expect_equal([result.err for result in results if result.status != 0], [], "errors")
    vms = {vm["name"]: vm for vm in home.json("ps", "-a")}
    names = [f"n{number}" for number in range(50)]
    expect_equal(sorted(vms), sorted(["f", *names]), "VMs")
    expect_equal({vm["state"] for vm in vms.values()}, {"running"}, "states")
    expect_equal(len({vm["mac"] for vm in vms.values()}), len(vms), "MACs")
    home.ramet("rm", "-f", *names, timeout=600)
    check_nothing_leaked(home, before)
    leaving = home.start("fork", "s", "-n", "60", "--name", "n")
    wait_until(lambda: (youngest(home, QEMU) or 0) != vms["f"]["qemu_pid"], "the first clone")
    leaving.kill()
    leaving.communicate(timeout=harness.BOUND)
    # One descriptor more was seen once in twenty runs on a busy machine, and is not explained; one a fork would be many.
    check_nothing_leaked(home, {**before, "fds": before["fds"] + 1})
    check_source(home, "f")
    finish(home)


def test_prove_leaves_nothing(home):
    begin(home)
    report = home.json("snapshot", "prove", "s", "-n", "2", timeout=600)
    expect(report["ok"], f"prove: {[check for check in report['checks'] if not check['ok']]}")
    before = count(home)
    for strike in (lambda process: process.send_signal(signal.SIGINT), lambda process: process.kill(),
                   lambda _process: home.kill_daemon()):
        process = home.start("snapshot", "prove", "s", "-n", "2")
        wait_until(lambda: len(home.json("ps")) > 1 or process.poll() is not None, "clones")
        strike(process)
        process.communicate(timeout=harness.BOUND)
        wait_until(lambda: len(home.json("ps", "-a")) == 1, "the end of the clones")
        check_nothing_leaked(home, {**before, "fds": before["fds"] + 8})  # another daemon may use a few more
    check_source(home, "f")
    finish(home)


if __name__ == "__main__":
    harness.main()
