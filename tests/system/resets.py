#!/usr/bin/env python3
"""A guest that resets, panics or powers off ends its QEMU, whatever way its VM came up, and is started again or stopped."""
import glob
import os
import signal

import harness
from harness import expect, expect_equal, expect_match, wait_until

KERNEL_RESETS = ["acpi", "efi", "kbd", "pci", "triple"]  # what /sys/kernel/reboot/type may say, each another way of the kernel
SOFTDOG = "insmod /watchdog.ko && insmod /softdog.ko soft_margin=1 && exec 3>/dev/watchdog && printf x >&3 && sleep 600"
WAYS = {
    "reboot": ("reboot", "reboot"),  # of busybox, which asks PID 1 by a signal
    "poweroff": ("poweroff", "poweroff"),
    "halt": ("halt", "poweroff"),
    "reboot -f": ("reboot -f", "reboot"),
    "emergency": ("echo b >/proc/sysrq-trigger", "reboot"),
    "panic": ("echo c >/proc/sysrq-trigger", "reboot"),
    "poweroff -f": ("poweroff -f", "poweroff"),
    "watchdog": (SOFTDOG, "reboot"),
    **{f"reset by {how}": (f"echo {how} >/sys/kernel/reboot/type && reboot -f", "reboot") for how in KERNEL_RESETS},
}
ORDERLY = ["reboot", "poweroff", "halt"]
BRIEFLY = ["reboot -f", "panic", "reset by triple", "poweroff -f"]


def last_event(home):
    return max((event["id"] for event in home.json("events", "--no-follow")), default=0)


def end_of(home, name, since):
    """The cause of the VM's first end after that event; None: it goes on."""
    for event in home.json("events", "--no-follow", "--since", str(since)):
        if event["name"] == name and event["type"] in ("vm.stopped", "vm.failed"):
            return event["detail"]["cause"]
    return None


def add_watchdog(home, name):
    for module in ("watchdog.ko", "softdog.ko"):
        found = glob.glob(f"{home.path}/kernels/*/lib/modules/*/kernel/drivers/watchdog/{module}")
        expect(found, f"the kernel has no {module}")
        home.ramet("cp", found[0], f"{name}:/{module}")


def check_end(home, name, how):
    command, cause = WAYS[how]
    since = last_event(home)
    client = home.start("exec", name, "--", "sh", "-c", command)
    found = wait_until(lambda: end_of(home, name, since), f"the end of {name} after {how}")
    expect_equal(found, cause, f"how {name} ended after {how}")
    client.communicate(timeout=harness.BOUND)
    expect_equal(client.returncode, 0 if how in ORDERLY else 125, f"status of an exec over the end ({how})")


def check_restart(home, name):
    """After a reset: started again, cold, as it is itself. An exec waits for that."""
    wait_until(lambda: home.vm(name)["state"] in ("starting", "running"), f"{name} to be started again")
    expect_equal(home.ramet("exec", name, "hostname").out.strip(), name, "its name")
    expect_equal(home.vm(name)["boot"], "cold", "how it was started again")


def ends_every_way(home, cpus):
    home.ramet("run", "-d", "--name", "forked", "--cpus", cpus, "busybox")
    expect_equal(home.vm("forked")["boot"], "forked")
    add_watchdog(home, "forked")
    home.ramet("snapshot", "create", "forked", "whole")
    clones = [vm["name"] for vm in home.json("fork", "whole", "--name", "c", "-n", str(len(WAYS)))]
    for name, how in zip(clones, WAYS):
        check_end(home, name, how)
        if WAYS[how][1] == "poweroff":
            expect_equal(home.vm(name)["state"], "stopped")
        home.ramet("rm", "-f", name)
    check_end(home, "forked", "reboot -f")
    check_restart(home, "forked")
    check_end(home, "forked", "panic")  # now it is cold
    check_restart(home, "forked")
    home.ramet("rm", "-f", "forked")
    home.ramet("snapshot", "rm", "--cascade", "whole")


@harness.booted
def test_one_cpu(home):
    ends_every_way(home, "1")
    home.check_no_leftovers()


@harness.booted
def test_two_cpus(home):
    ends_every_way(home, "2")
    home.check_no_leftovers()


def clone(home, source, name):
    home.ramet("fork", source, "--name", name)
    return home.vm(name)


@harness.booted
def test_fork_of_a_fork_and_resumed(home):
    home.ramet("run", "-d", "--name", "first", "--cpus", "2", "busybox")
    clone(home, "first", "second")
    for how in BRIEFLY:
        expect_equal(clone(home, "second", "third")["boot"], "forked")
        check_end(home, "third", how)
        home.ramet("rm", "-f", "third")
        clone(home, "second", "idle")
        home.ramet("standby", "idle")
        home.ramet("resume", "idle")
        expect_equal(home.vm("idle")["boot"], "restored")
        check_end(home, "idle", how)
        home.ramet("rm", "-f", "idle")


@harness.booted
def test_claimed_and_cold(home):
    home.json("pool", "set", "--wait", "busybox", "2")
    for how in BRIEFLY:
        wait_until(lambda: home.json("pool", "ls")[0]["warm"] >= 1, "a warm clone")
        expect_equal(home.ramet("run", "-d", "--json", "--name", "claimed", "busybox").json()["boot"], "claimed")
        check_end(home, "claimed", how)
        home.ramet("rm", "-f", "claimed")
    home.ramet("pool", "set", "busybox", "0")
    home.ramet("run", "-d", "--cold", "--name", "cold", "busybox")
    for how in BRIEFLY:
        check_end(home, "cold", how)
        if how == "poweroff -f":
            break
        check_restart(home, "cold")


SPIN = "echo 0 >/proc/sys/kernel/panic; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &"
SILENT = r"does not answer .*ramet logs"


def shown_state(home, name):
    return next(line.split()[3] for line in home.ramet("ps", "-a").out.splitlines() if line.split()[1] == name)


@harness.booted
def test_silent_guest_is_noticed(home):
    """One spins after a panic; the QEMU of the other stands still, and goes on later."""
    for name in ("spins", "stands"):
        home.ramet("run", "-d", "--name", name, "busybox")
    home.ramet("exec", "spins", "--", "sh", "-c", SPIN)
    os.kill(home.vm("stands")["qemu_pid"], signal.SIGSTOP)
    waiting = {name: home.start("exec", name, "--", "sleep", "1000") for name in ("spins", "stands")}
    for name, client in waiting.items():
        _, err = client.communicate(timeout=harness.BOUND)
        expect_equal(client.returncode, 125, f"status of an exec on one that {name}")
        expect_match(err.decode(), SILENT, "the error")
        wait_until(lambda vm=name: shown_state(home, vm) == "unresponsive", f"{name} in ps")
        expect_equal([home.vm(name)[key] for key in ("state", "responsive")], ["running", False])
        for command in (["exec", name, "true"], ["cp", f"{name}:/etc/hosts", "-"], ["snapshot", "create", name, "x"]):
            expect_match(home.ramet(*command, status=None).err, SILENT, f"what {command} says")
    os.kill(home.vm("stands")["qemu_pid"], signal.SIGCONT)
    wait_until(lambda: shown_state(home, "stands") == "running", "the other to go on")
    expect_equal(home.ramet("exec", "stands", "echo", "back").out, "back\n")
    expect_equal(home.vm("stands")["responsive"], True)
    expect_match(home.ramet("stop", "--time", "1800", "spins").err, "spins did not shut down in time, and was killed")
    expect_equal([home.vm("spins")[key] for key in ("state", "responsive")], ["stopped", None])


if __name__ == "__main__":
    harness.main()
