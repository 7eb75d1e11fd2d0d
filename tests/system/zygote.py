#!/usr/bin/env python3
"""QEMUs that are forked off one: what they are, and what becomes of VMs without it."""
import contextlib
import os
import signal

import harness
from harness import expect, expect_equal, wait_until

QEMU = os.path.realpath(os.environ.get("RAMET_QEMU", "/usr/bin/qemu-system-x86_64"))


def run(home, name):
    return home.ramet("run", "-d", "--json", "--name", name, "busybox").json()


def read(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read().decode()


def parent_of(pid):
    return int(read(pid, "stat").rsplit(")", 1)[1].split()[1])


def is_forked(vm):
    return "ramet-zygote.so" in read(vm["qemu_pid"], "maps")


def zygotes(home):
    found = []
    for pid in harness.processes_of(home.path):
        with contextlib.suppress(OSError):  # others come and go
            found += [pid] if read(pid, "comm") == "ramet-zygote\n" else []
    return found


def ended(pid):
    """Also one that nobody has reaped yet."""
    try:
        return read(pid, "stat").rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@harness.booted
def test_what_a_forked_qemu_is(home):
    vm = run(home, "a")
    pid = vm["qemu_pid"]
    expect(is_forked(vm), "QEMU was spawned")
    expect_equal(parent_of(pid), vm["keeper_pid"], "QEMU's parent")
    expect_equal([parent_of(vm["keeper_pid"])], zygotes(home), "the keeper's parent")
    arguments = read(pid, "cmdline").split("\0")
    expect_equal(arguments[0], QEMU, "the program's name")
    expect("-sandbox" in arguments and arguments[-1] == "", f"arguments: {arguments}")
    expect_equal(read(pid, "comm"), "qemu-system-x86\n")
    expect_equal(os.readlink(f"/proc/{pid}/exe"), QEMU)
    status = dict(line.split(":\t", 1) for line in read(pid, "status").splitlines() if ":\t" in line)
    expect_equal((status["NoNewPrivs"], status["CapEff"].strip("0"), status["CapBnd"].strip("0")), ("1", "", ""))
    expect(int(status["Seccomp"]) == 2, "QEMU runs without a filter of system calls")
    if os.geteuid() == 0:
        expect(int(status["Uid"].split()[0]) >= 600000000, f"QEMU's user: {status['Uid']}")
    expect("LD_PRELOAD" not in home.ramet("exec", "a", "env").out, "the guest has our environment")
    home.ramet("rm", "-f", "a")
    home.check_no_leftovers()


@harness.booted
def test_without_it_vms_live_on(home):
    a = run(home, "a")
    first = zygotes(home)
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: ended(first[0]), "the zygote's end")
    expect_equal(home.ramet("exec", "a", "echo", "here").out, "here\n")
    b = run(home, "b")
    expect(is_forked(b), "no zygote took the first one's place")
    second = zygotes(home)
    expect(len(second) == 1 and second != first, f"zygotes: {first}, then {second}")
    home.kill_daemon()
    wait_until(lambda: ended(second[0]), "the end of a dead daemon's zygote")
    expect_equal(home.ramet("exec", "b", "echo", "here").out, "here\n")
    c = run(home, "c")
    expect(is_forked(c), "the next daemon has no zygote")
    expect_equal({harness.is_alive(vm[who]) for vm in (a, b, c) for who in ("qemu_pid", "keeper_pid")}, {True})
    home.ramet("rm", "-f", "a", "b", "c")
    home.check_no_leftovers()


def check_spawned(home, name):
    vm = run(home, name)
    expect(not is_forked(vm), "there is a zygote")
    expect_equal(parent_of(vm["qemu_pid"]), vm["keeper_pid"], "QEMU's parent")
    expect_equal(zygotes(home), [])
    home.ramet("rm", "-f", name)


@harness.booted
def test_turned_off(home):
    home.env["RAMET_ZYGOTE"] = "off"
    check_spawned(home, "a")
    home.check_no_leftovers()


def test_script_for_a_qemu(home):
    script = os.path.join(home.folder, "qemu")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {QEMU} "$@"\n')
    os.chmod(script, 0o755)
    home.env["RAMET_QEMU"] = script
    home.env["RAMET_BOOT_CACHE"] = "off"
    check_spawned(home, "a")
    with open(os.path.join(home.path, "rametd.log"), encoding="utf-8") as file:
        expect("without a zygote: the binary is no ELF file" in file.read(), "the log does not say why")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
