#!/usr/bin/env python3
"""Daemon and switches killed at each step of what is done to labs. After each: the labs that were there run on with their
connections, each lab and each snapshot is there as a whole or not at all, and nothing else is: no row, process or file.

A request that goes on beyond a step shows that what was half made before does not keep it from that, so the next one is the
second try of the one before."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
import lab_forks  # noqa: E402
from harness import expect, wait_until  # noqa: E402
from lab_forks import check_connections, counts, names, switches  # noqa: E402

VMS = 3
VM_STEPS = ("overlay", "memory", "keeper", "sandbox", "qemu", "load", "agent", "identity")
SNAPSHOT_STEPS = ("plan", "copy", "freeze", "pause", "state", "write", "publish")
SNAPSHOT, FORK = "/v1/labs/lab/snapshot", "/v1/lab-fork"


def count_entries(home, folder):
    path = os.path.join(home.path, folder)
    return len(os.listdir(path)) if os.path.isdir(path) else 0


def processes(home, program):
    found = 0
    for pid in harness.processes_of(home.path):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                found += file.read().startswith(program)
        except OSError:
            pass
    return found


def await_whole(home, warm=0, standby=0):
    """There is what labs, snapshots and warm copies (that have not been claimed) need, and no more. standby: so many VMs at
    the most map the memory that they waited in."""
    labs, snapshots = len(names(home, "lab", "ls")), len(names(home, "lab", "snapshot", "ls"))
    copies = labs + warm
    wanted = {"labs": copies, "vms": VMS * copies, "networks": copies, "leases": VMS * labs, "lab_snapshots": snapshots,
              "lab_snapshot_members": VMS * snapshots, "folders of VMs": VMS * copies, "files of networks": 2 * copies,
              "switches": copies, "keepers": VMS * copies, "of the labs' VMs": VMS * snapshots, "scratch": 0}

    def look():
        return {**counts(home), "folders of VMs": count_entries(home, "vms"), "files of networks": len(harness.network_files(home)),
                "switches": len(switches(home)), "keepers": processes(home, "ramet-keeper"), "scratch": count_entries(home, "tmp"),
                "of the labs' VMs": len([row for row in home.json("snapshot", "ls", "-a") if "/" in row["vm"]])}
    def is_whole():
        found = look()
        resumed = found["of the labs' VMs"] - wanted["of the labs' VMs"]
        return 0 <= resumed <= standby and {**found, "of the labs' VMs": wanted["of the labs' VMs"]} == wanted
    try:
        wait_until(is_whole, "whole labs only")
    except harness.Failure as failure:
        raise harness.Failure(f"{failure}: {look()}, expected {wanted}") from failure


def strike_each(home, path, body, steps, arm, check):
    """The request once for each of the steps, and once to its end. arm() gives what is called when the step begins."""
    for step in (*steps, None):
        result, error, seen = harness.ask(home, path, body, step, arm())
        try:
            expect(step is None or step in seen, f"it has no such step: {seen}, {error}")
            expect(step or result, f"nothing came of the last try: {error}")
            check(result, error)
        except harness.Failure as failure:
            raise harness.Failure(f"{path}, step {step}: {failure}") from failure


def arm_daemon(home):
    pid = home.daemon_pid()
    return lambda: home.end_daemon(pid)


def arm_switch(home):
    """The newest one."""
    def strike():
        running = sorted(switches(home), key=lambda pid: os.stat(f"/proc/{pid}").st_ctime_ns)
        if running:
            os.kill(running[-1], signal.SIGKILL)
    return strike


def check_snapshots(home):
    check_connections(home, "lab")
    await_whole(home)
    kept = names(home, "lab", "snapshot", "ls")
    if kept:
        home.ramet("lab", "snapshot", "rm", *kept)


def check_copies(home, warm=0):
    labs = names(home, "lab", "ls")
    check_connections(home, *labs)
    await_whole(home, warm)
    if labs[1:]:
        home.ramet("lab", "down", *labs[1:])


def expect_word(result, error):
    expect(result or error["message"], "neither a result nor an error")


def test_daemon_killed_at_each_step_of_a_snapshot(home):
    lab_forks.up(home)
    strike_each(home, SNAPSHOT, {"name": "n"}, SNAPSHOT_STEPS, lambda: arm_daemon(home), lambda *_: check_snapshots(home))
    lab_forks.end(home)


def test_daemon_killed_at_each_step_of_a_fork(home):
    lab_forks.up(home)
    home.ramet("lab", "snapshot", "lab", "base")
    strike_each(home, FORK, {"source": "base", "count": 2}, ("plan", "networks", "vms", *VM_STEPS, "release"), lambda: arm_daemon(home),
                lambda *_: check_copies(home))
    lab_forks.end(home)


def test_daemon_killed_at_each_step_of_a_claim(home):
    lab_forks.up(home)
    home.ramet("lab", "snapshot", "lab", "base")

    def arm():
        home.ramet("pool", "set", "--wait", "base", "1")
        return arm_daemon(home)

    def check(*_):
        lab_forks.await_warm(home, "base", 1)
        check_copies(home, 1)
    strike_each(home, FORK, {"source": "base"}, ("networks", "vms", "claim", "identity", "release"), arm, check)
    home.ramet("pool", "set", "base", "0")
    lab_forks.end(home)


def test_switch_killed_at_each_step(home):
    """The guests see a short loss. A snapshot or a copy that does not come says why."""
    lab_forks.up(home)
    strike_each(home, SNAPSHOT, {"name": "n"}, SNAPSHOT_STEPS, lambda: arm_switch(home),
                lambda result, error: (expect_word(result, error), check_snapshots(home)))
    home.ramet("lab", "snapshot", "lab", "base")
    strike_each(home, FORK, {"source": "base"}, ("vms", "keeper", "qemu", "identity", "release"), lambda: arm_switch(home),
                lambda result, error: (expect_word(result, error), check_copies(home)))
    lab_forks.end(home)


def go_on(home):
    """b runs again, however far it came, and its card is in its network once more."""
    state = wait_until(lambda: (lambda now: now if now in ("standby", "running", "paused") else None)(home.vm("lab/b")["state"]),
                       "lab/b to have a state that stays")
    if state != "running":
        home.ramet("resume" if state == "standby" else "unpause", "lab/b")
    check_connections(home, "lab")
    await_whole(home, standby=1)


def test_killed_at_each_step_of_attach_and_detach(home):
    """A VM's card leaves its network with standby, and comes back with resume."""
    lab_forks.up(home)
    for arm_strike in (arm_daemon, arm_switch):
        def arm_in_standby(arm_strike=arm_strike):
            home.ramet("standby", "lab/b")
            return arm_strike(home)
        strike_each(home, "/v1/vms/lab%2Fb/standby", {}, ("state", "write", "end"), lambda arm=arm_strike: arm(home), lambda *_: go_on(home))
        strike_each(home, "/v1/vms/lab%2Fb/resume", {}, ("memory", "keeper", "sandbox", "qemu", "load", "identity"), arm_in_standby,
                    lambda *_: go_on(home))
    lab_forks.end(home)


if __name__ == "__main__":
    harness.main(harness.BOOTED)
