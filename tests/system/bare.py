#!/usr/bin/env python3
"""The bare guest (tests/guests/bare) goes through a VM's life, once emulated and once under KVM where /dev/kvm opens, also
where it is too slow for a kernel: registers, FPU, timers, time, memory and disk of two CPUs in each clone."""
import os
import time

import harness
from harness import Skip, expect, expect_equal, wait_until

GUEST = os.path.join(harness.BUILD, "tests/guests/bare/bare-guest")
DEVICE = "/dev/kvm"
# docs/emulated.md; iomem=relaxed is what lets the agent put ticks off
EMULATION_KERNEL = ("mitigations=off", "iomem=relaxed", "tsc=reliable")
EMULATION_QEMU = ("tcg", "qemu64", "arat", "tsc_early_khz", "mitigations", "iomem=", "tsc=")
SLACK_USEC = 100_000


def import_guest(home):
    """Its disk has nothing but room and the signature of a partition table."""
    disk = os.path.join(home.folder, "disk.img")
    with open(disk, "wb") as file:
        file.write(bytes(510) + b"\x55\xaa" + bytes((1 << 20) - 512))
    home.ramet("image", "import", disk, "--name", "bare", "--kernel", GUEST)


def run(home, vm, *words, status=0):
    return home.ramet("exec", vm, "--", *words, status=status).out


def parse(text):
    """What `check` says: of the guest, and of each CPU."""
    guest, *cpus = text.split("cpu=")
    def pairs(part):
        return dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
    return pairs(guest), [pairs("number=" + part) for part in cpus]


def check(home, vm, accel, greetings):
    """All that a guest finds out about itself; it fails by itself when something is not as it was."""
    guest, cpus = parse(run(home, vm, "check"))
    expect_equal((guest["cpus"], guest["time"], len(cpus)), ("2", "goes on", 2), f"{vm}'s CPUs and time")
    expect_equal(guest["hypervisor"], {"kvm": "KVMKVMKVM", "tcg": "TCGTCGTCGTCG"}[accel], "who runs it")
    expect_equal(guest["greetings"], str(greetings), f"times that {vm}'s memory knows of")
    for cpu in cpus:
        expect_equal((cpu["goes_on"], cpu["damaged_registers"], cpu["fpu"]), ("yes", "0", "ok"), f"{vm}: {cpu}")
        expect(int(cpu["skew_us"]) < 1000, f"time stamps of {vm}'s CPUs are apart: {cpu}")
    return guest


def expect_no_time_slept(guest, began):
    """While it was frozen on disk no time passed for it: its uptime has grown by less than the host's time since."""
    grown = int(guest["uptime_us"]) - int(guest["frozen_uptime_us"])
    passed = (time.monotonic() - began) * 1e6
    expect(0 < grown < passed + SLACK_USEC, f"its uptime grew by {grown} us, and {passed:.0f} us have passed")


def arguments_of(vm):
    with open(f"/proc/{vm['qemu_pid']}/cmdline", encoding="utf-8") as file:
        return file.read().split("\0")


def expect_only_emulated(arguments, accel):
    """Of what is for emulation only, QEMU under KVM is given nothing."""
    if accel == "kvm":
        found = [argument for argument in arguments if any(word in argument for word in EMULATION_QEMU)]
        expect_equal(found, [], "what only emulation needs")
        expect_equal(arguments[arguments.index("-cpu") + 1].split(",")[0], "host")
    else:
        expect_equal(arguments[arguments.index("-cpu") + 1], "qemu64,+arat")


def expect_qemu(home, vm, accel):
    """What is for emulation only, is there only then; and the VM's user has gained nothing but the device."""
    facts = home.vm(vm)
    expect_equal(facts["accel"], accel)
    arguments = arguments_of(facts)
    expect_equal(arguments[arguments.index("-accel") + 1], {"kvm": "kvm", "tcg": "tcg,thread=multi"}[accel])
    kernel = arguments[arguments.index("-append") + 1]
    for word in EMULATION_KERNEL:
        expect_equal(word in kernel, accel == "tcg", f"{word} in {kernel!r}")
    expect_only_emulated(arguments, accel)
    with open(f"/proc/{facts['qemu_pid']}/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    expect_equal(int(status["CapEff"], 16), 0, "QEMU's capabilities")
    if os.geteuid() == 0:
        expect("0" not in status["Uid"].split(), f"QEMU runs as {status['Uid']}")
        expect("0" not in status["Groups"].split(), f"QEMU has the groups {status['Groups']}")


def boot(home, accel):
    import_guest(home)
    home.ramet("run", "-d", "--cold", "--memory", "192M", "--cpus", "2", "--name", "a", "bare")
    expect_qemu(home, "a", accel)
    expect_equal(run(home, "a", "hello", "  bare ", "guest"), "hello   bare  guest\n")
    run(home, "a", "false", status=1)
    check(home, "a", accel, 1)
    run(home, "a", "fill", "2", "7")
    run(home, "a", "write", "source")


def forks(home, accel):
    """Four of a running VM, one of one of them."""
    began = time.monotonic()
    home.ramet("snapshot", "create", "a", "s")
    check(home, "a", accel, 1)
    vms = home.ramet("fork", "s", "-n", "4", "--name", "c", "--json").json()
    for vm in vms:
        expect_equal(vm["boot"], "forked")
        expect_only_emulated(arguments_of(vm), accel)
        expect_no_time_slept(check(home, vm["name"], accel, 2), began)
        run(home, vm["name"], "filled", "2", "7")
        expect_equal(run(home, vm["name"], "read"), "source source\n", "mark in memory and on disk")
    run(home, "c-1", "fill", "2", "9")
    run(home, "c-1", "write", "first")
    home.ramet("fork", "c-1", "--name", "d")
    check(home, "d", accel, 3)
    run(home, "d", "filled", "2", "9")
    expect_equal(run(home, "d", "read"), "first first\n")
    for vm in "a", "c-2":
        run(home, vm, "filled", "2", "7")
        expect_equal(run(home, vm, "read"), "source source\n")


def ends(home, accel):
    """A clone that powers itself off, and one that resets and is booted again; neither says how its command went."""
    home.ramet("exec", "c-3", "--", "poweroff", status=None)
    home.ramet("wait", "c-3")
    expect_equal(home.vm("c-3")["exit"]["cause"], "poweroff")
    home.ramet("exec", "c-2", "--", "reset", status=None)
    wait_until(lambda: (home.vm("c-2")["state"], home.vm("c-2")["boot"]) == ("running", "cold"), "another boot of c-2")
    check(home, "c-2", accel, 1)
    home.ramet("rm", "-f", "c-1", "c-2", "c-3", "c-4", "d")


def warm(home, accel):
    home.ramet("pool", "set", "--wait", "s", "1")
    expect_equal(home.ramet("fork", "s", "--name", "w", "--json").json()["boot"], "claimed")
    check(home, "w", accel, 3)  # it was somebody before it was claimed
    run(home, "w", "filled", "2", "7")
    home.ramet("rm", "-f", "w")
    home.ramet("pool", "set", "s", "0")


def sleep_and_prove(home, accel):
    began = time.monotonic()
    home.ramet("standby", "a")
    home.ramet("resume", "a")
    expect_no_time_slept(check(home, "a", accel, 2), began)
    run(home, "a", "filled", "2", "7")
    home.ramet("snapshot", "create", "a", "old")
    report = home.ramet("snapshot", "prove", "old", "-n", "2", "--json").json()
    expect(report["ok"], f"not proven: {[one for one in report['checks'] if not one['ok']]}")
    home.ramet("stop", "a")
    expect_equal(home.vm("a")["exit"]["cause"], "poweroff")
    home.ramet("start", "a")
    check(home, "a", accel, 1)
    expect_equal(run(home, "a", "read"), " source\n", "mark in new memory and on the old disk")


def grow_thin(home, accel):
    """After a snapshot the VM maps its memory, with all that it wrote: the guest finds everything as it was, also its clocks."""
    run(home, "a", "fill", "100", "5")
    home.ramet("snapshot", "create", "a", "large")
    made = home.json("snapshot", "inspect", "large")
    expect_equal(made["adoption"], "offered")
    wait_until(lambda: home.vm("a")["memory"]["base_inode"] == made["memory"]["hot_inode"], "a to map its snapshot's memory")
    wait_until(lambda: home.vm("a")["memory"]["guest_bytes"] < 40 << 20, "the fall of what a has of its own")
    check(home, "a", accel, 1)
    run(home, "a", "filled", "100", "5")
    run(home, "a", "fill", "2", "7")
    home.ramet("snapshot", "create", "a", "small")
    home.ramet("fork", "small", "--name", "e")
    check(home, "e", accel, 2)
    run(home, "e", "filled", "2", "7")
    home.ramet("rm", "-f", "e")
    home.ramet("snapshot", "rm", "small", "large")
    check(home, "a", accel, 1)


def live(home, accel):
    home.env.update(RAMET_ACCEL=accel, RAMET_ADOPT="on")
    boot(home, accel)
    grow_thin(home, accel)
    forks(home, accel)
    ends(home, accel)
    warm(home, accel)
    sleep_and_prove(home, accel)
    home.ramet("rm", "-f", "a")
    home.ramet("snapshot", "rm", "s", "old")
    home.check_no_leftovers()


def test_emulated(home):
    live(home, "tcg")


def test_under_kvm(home):
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
        before = os.stat(DEVICE)
    except OSError as error:
        raise Skip(f"{DEVICE} does not open: {error.strerror}") from error
    live(home, "kvm")
    after = os.stat(DEVICE)
    expect_equal((after.st_mode, after.st_uid, after.st_gid, after.st_ino),
                 (before.st_mode, before.st_uid, before.st_gid, before.st_ino), "the host's /dev/kvm")


if __name__ == "__main__":
    harness.main(None)
