#!/usr/bin/env python3
"""Pools of warm clones: filled, claimed and filled again; they outlive the daemon; nothing leaks."""
import contextlib
import json
import os
import signal

import harness
from harness import expect, expect_equal, wait_until


def warm(home):
    """The processes of warm clones: all QEMUs of the home that belong to no VM that is shown."""
    shown = {vm["qemu_pid"] for vm in home.json("ps", "-a")}
    found = []
    for pid in harness.processes_of(home.path):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                name = file.read()
        except OSError:
            continue
        if name.startswith("qemu") and pid not in shown:
            found.append(pid)
    return sorted(found)


def run(home, name, *options):
    return home.ramet("run", "-d", "--json", "--name", name, *options, "busybox").json()


def test_image_pool(home):
    pool = home.json("pool", "set", "--wait", "busybox", "2")
    expect_equal((pool["warm"], pool["wanted"], pool["kind"]), (2, 2, "image"))
    expect_equal(home.json("ps", "-a"), [], "VMs shown while the pool is warm")
    a = run(home, "a", "-e", "X=1")
    expect_equal(a["boot"], "claimed")
    harness.check_contiguous(a["stages"])
    out = home.ramet("exec", "a", "--", "sh", "-c",
                     "hostname; cat /sys/class/net/eth0/address; echo $X; ip -4 addr show eth0").out
    expect_equal(out.splitlines()[:3], ["a", a["networks"][0]["guest_mac"] or a["mac"], "1"])
    expect(f"inet {a['ip']}/" in out, f"no address: {out}")
    home.json("pool", "set", "--wait", "busybox", "2")
    b = run(home, "b")
    expect_equal(b["boot"], "claimed")
    expect(a["mac"] != b["mac"] and a["id"] != b["id"], "two VMs are one")
    ids = {home.ramet("exec", n, "cat", "/proc/sys/kernel/random/boot_id").out for n in "ab"}
    expect_equal(len(ids), 2, "boot ids")
    expect_equal(run(home, "c", "--memory", "192M")["boot"], "forked")
    expect_equal(home.ramet("run", "--rm", "busybox", "--", "echo", "hi").out, "hi\n")
    home.ramet("image", "rm", "busybox", status=4)
    home.ramet("rm", "-f", "a", "b", "c")
    home.ramet("pool", "set", "busybox", "0")
    expect_equal(home.json("pool", "ls"), [], "pools")
    home.check_no_leftovers()


def nice_values(pid):
    """Of all its threads, some of which come and go, and of its session where the kernel has such (autogroups, sched(7))."""
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getpriority(os.PRIO_PROCESS, int(thread)))
    try:
        with open(f"/proc/{pid}/autogroup", encoding="ascii") as file:
            found.add(int(file.read().split()[-1]))
    except (FileNotFoundError, IndexError):
        pass
    return found


def may_go_first():
    """Root may, but not in every container."""
    base = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, base - 1)
        os.setpriority(os.PRIO_PROCESS, 0, base)
    except PermissionError:
        return False
    return os.geteuid() == 0


def test_priorities(home):
    """Whoever is ready runs like others, however it was started; the daemon goes first."""
    home.json("pool", "set", "--wait", "busybox", "1")
    base = os.getpriority(os.PRIO_PROCESS, 0)
    expect_equal([nice_values(pid) for pid in warm(home)], [{base}], "nice values of a warm clone")
    home.ramet("pool", "set", "busybox", "0")
    vm = run(home, "forked")
    for pid in (vm["qemu_pid"], vm["keeper_pid"]):
        expect_equal(nice_values(pid), {base}, "nice values of a running VM")
    expect_equal(nice_values(home.daemon_pid()), {base - 10 if may_go_first() else base}, "nice values of the daemon")
    clones = home.json("fork", "forked", "-n", "3")
    for pid in (vm["qemu_pid"] for vm in clones):
        expect_equal(nice_values(pid), {base}, "nice values of a clone that was made with others")
    home.ramet("rm", "-f", "forked", *(vm["name"] for vm in clones))


def test_snapshot_pool(home):
    run(home, "source")
    home.ramet("exec", "source", "--", "sh", "-c", "echo inside >/tmp/file")
    home.ramet("snapshot", "create", "source", "ready")
    home.ramet("pool", "set", "--wait", "ready", "2")
    vms = home.json("fork", "ready", "-n", "3")
    expect(sum(vm["boot"] == "claimed" for vm in vms) >= 2, f"{[vm['boot'] for vm in vms]}")
    expect_equal(len({vm["mac"] for vm in vms}), 3, "MAC addresses")
    for vm in vms:
        expect_equal(home.ramet("exec", vm["name"], "cat", "/tmp/file").out, "inside\n")
        expect_equal(home.ramet("exec", vm["name"], "hostname").out.strip(), vm["hostname"])
    result = home.ramet("snapshot", "rm", "ready", status=4)
    expect("pool set ready 0" in result.err, f"no hint: {result.err}")
    home.ramet("snapshot", "rm", "--cascade", "ready")
    expect_equal(home.json("pool", "ls"), [], "pools after --cascade")
    home.ramet("rm", "-f", "source")
    home.check_no_leftovers()


def test_pool_outlives_the_daemon(home):
    home.ramet("pool", "set", "--wait", "busybox", "2")
    before = warm(home)
    expect_equal(len(before), 2, "warm QEMUs")

    def hot():
        return home.json("snapshot", "inspect", home.json("pool", "ls")[0]["snapshot"])["memory"]["hot_inode"]
    home.kill_daemon()
    expect_equal(home.json("pool", "ls")[0]["wanted"], 2)
    # the daemon may start a QEMU to look at it, which is gone in a moment
    wait_until(lambda: warm(home) == before, "the same warm QEMUs after a crash of the daemon")
    expect_equal(run(home, "a")["boot"], "claimed")
    home.json("pool", "set", "--wait", "busybox", "2")
    victim = warm(home)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not harness.is_alive(victim), "the end of QEMU")
    wait_until(lambda: len(warm(home)) == 2, "another clone in its place")
    wait_until(lambda: home.json("pool", "ls")[0]["warm"] == 2, "two warm clones")
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["a"], "VMs")
    home.kill_daemon()
    for pid in warm_pids(home):
        os.kill(pid, signal.SIGKILL)
    # for a moment the next daemon may count those that were killed
    wait_until(lambda: len(warm(home)) == 2 and home.json("pool", "ls")[0]["warm"] == 2, "two clones after all were killed")
    expect(hot(), "no hot memory is filled anew, which no clone held")
    expect_equal(run(home, "b")["boot"], "claimed")
    home.ramet("rm", "-f", "a", "b")
    home.ramet("pool", "set", "busybox", "0")
    home.check_no_leftovers()


def warm_pids(home):
    """Without asking the daemon, which would come back by that."""
    found = []
    for pid in harness.processes_of(home.path):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read().startswith("qemu"):
                found.append(pid)
    return found


def test_more_claims_than_clones(home):
    home.ramet("pool", "set", "--wait", "busybox", "2")
    running = [home.start("run", "-d", "--json", "--name", f"n{i}", "busybox") for i in range(6)]
    boots = []
    macs = set()
    for process in running:
        out, err = process.communicate(timeout=600)
        expect(process.returncode == 0, f"a run failed: {err.decode()}")
        vm = json.loads(out)
        boots.append(vm["boot"])
        macs.add(vm["mac"])
    expect(boots.count("claimed") >= 2 and set(boots) <= {"claimed", "forked"}, f"boots: {boots}")
    expect_equal(len(macs), 6, "MAC addresses")
    home.ramet("rm", "-f", *[f"n{i}" for i in range(6)])
    home.ramet("pool", "set", "busybox", "0")
    home.check_no_leftovers()


def test_budget_and_refusals(home):
    home.env["RAMET_POOL_MEMORY"] = "64M"
    result = home.ramet("pool", "set", "busybox", "100", status=None)
    expect(result.status != 0 and "budget" in result.err, f"not refused: {result.err}")
    home.ramet("pool", "set", "nosuch", "1", status=3)
    home.ramet("pool", "set", "busybox", "many", status=2)
    home.ramet("create", "--name", "off", "busybox")
    home.ramet("snapshot", "create", "off", "nomemory")
    result = home.ramet("pool", "set", "nomemory", "1", status=None)
    expect(result.status != 0 and "memory" in result.err, f"not refused: {result.err}")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
