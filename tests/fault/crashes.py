#!/usr/bin/env python3
"""Ends the daemon, the CLI, a keeper and QEMU with SIGKILL at chosen and at swept moments, and breaks QEMU."""
import os
import signal
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
from harness import expect, expect_equal, expect_match, is_alive, wait_until  # noqa: E402

SETTLED = ("created", "running", "stopped", "failed")


def test_vms_outlive_the_daemon(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("exec", "a", "--", "sh", "-c", "echo alive >/tmp/x")
    before = home.vm("a")
    home.kill_daemon()
    expect(is_alive(before["qemu_pid"]) and is_alive(before["keeper_pid"]), "the VM ended with the daemon")
    wait_until(lambda: home.vm("a")["state"] == "running", "the next daemon to know it")
    after = home.vm("a")
    expect_equal((after["qemu_pid"], after["mac"]), (before["qemu_pid"], before["mac"]))
    expect_equal(home.ramet("exec", "a", "cat", "/tmp/x").out, "alive\n")
    home.ramet("daemon", "stop")
    expect(is_alive(before["qemu_pid"]), "the VM ended with an orderly stop of the daemon")
    home.ramet("stop", "a")
    home.ramet("rm", "a")
    home.check_no_leftovers()


def test_exec_outlives_the_daemon(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    process = home.start("exec", "-i", "a", "--", "sh", "-c", "echo first; read line; echo $line",
                         stdin=__import__("subprocess").PIPE)
    expect_equal(process.stdout.readline(), b"first\n")
    home.kill_daemon()
    out, _ = process.communicate(b"second\n", timeout=harness.BOUND)
    expect_equal(out, b"second\n")
    home.ramet("rm", "-f", "a")


def sweep(home, victim, arguments, check, factor=1.3):
    """Runs the CLI again and again and kills the victim later each time, until a run got through untouched."""
    delay = 0.0
    for number in range(40):
        name = f"s{number}"
        home.ramet("ps")
        process = home.start(*[argument.replace("NAME", name) for argument in arguments])
        time.sleep(delay)  # the sweep itself: the moment of the kill
        finished = process.poll() is not None
        victim(process)
        process.communicate(timeout=harness.BOUND)
        check(name)
        if finished:
            return
        delay = delay * factor + 0.02
    raise harness.Failure("no run got through")


def check_after_daemon(home):
    """What stands after the daemon's end is whole: a VM that runs is ready, and all can be removed."""
    wait_until(lambda: all(vm["state"] in SETTLED for vm in home.json("ps", "-a")), "settled states")
    for vm in home.json("ps", "-a"):
        if vm["state"] == "running":
            expect_equal(home.ramet("exec", vm["name"], "hostname").out.strip(), vm["hostname"])
        home.ramet("rm", "-f", vm["name"])
    home.check_no_leftovers()


def check_after_client(home):
    wait_until(lambda: home.json("ps", "-a") == [], "the end of the VM whose client is gone")
    home.check_no_leftovers()


def kill_client(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)


# The way through the boot cache is short, and swept in fine steps; a boot is long, and most of it is waiting.

def test_daemon_killed_at_every_step_of_run(home):
    sweep(home, lambda _: home.kill_daemon(), ["run", "-d", "--name", "NAME", "busybox"],
          lambda _: check_after_daemon(home))


def test_daemon_killed_at_every_step_of_a_boot(home):
    sweep(home, lambda _: home.kill_daemon(), ["run", "--cold", "-d", "--name", "NAME", "busybox"],
          lambda _: check_after_daemon(home), factor=2)


def test_client_of_rm_killed_at_every_step(home):
    sweep(home, kill_client, ["run", "--rm", "--name", "NAME", "busybox", "--", "true"],
          lambda _: check_after_client(home))


def test_client_of_rm_killed_at_every_step_of_a_boot(home):
    sweep(home, kill_client, ["run", "--cold", "--rm", "--name", "NAME", "busybox", "--", "true"],
          lambda _: check_after_client(home), factor=2)


def test_client_and_daemon_killed(home):
    process = home.start("run", "--rm", "--name", "both", "busybox", "--", "sh", "-c", "echo up; sleep 100000")
    expect_equal(process.stdout.readline(), b"up\n")
    vm = home.vm("both")
    home.kill_daemon()
    process.kill()
    process.communicate()
    wait_until(lambda: not is_alive(vm["qemu_pid"]), "the end of QEMU: its client is gone")
    wait_until(lambda: home.json("ps", "-a") == [], "the end of the --rm VM")
    home.check_no_leftovers()


def test_keeper_killed(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    vm = home.vm("a")
    os.kill(vm["keeper_pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(vm["qemu_pid"]), "the end of QEMU after its keeper")
    wait_until(lambda: home.vm("a")["state"] == "failed", "state failed")
    expect_match(str(home.vm("a")["error"]), r"(?i)keeper")
    home.ramet("start", "a")
    home.ramet("rm", "-f", "a")
    home.check_no_leftovers()


def test_keeper_killed_while_the_daemon_is_away(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    vm = home.vm("a")
    home.kill_daemon()
    os.kill(vm["keeper_pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(vm["qemu_pid"]), "the end of QEMU after its keeper")
    wait_until(lambda: home.vm("a")["state"] == "failed", "the next daemon to know of its end")
    home.ramet("rm", "a")
    home.check_no_leftovers()


def test_qemu_killed(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    process = home.start("exec", "a", "--", "sh", "-c", "echo up; sleep 100000")
    expect_equal(process.stdout.readline(), b"up\n")
    os.kill(home.vm("a")["qemu_pid"], signal.SIGKILL)
    process.communicate(timeout=harness.BOUND)
    expect_equal(process.returncode, 125, "exit status of the exec whose VM died")
    wait_until(lambda: home.vm("a")["state"] == "failed", "state failed")
    home.ramet("rm", "a")
    home.check_no_leftovers()


def wrapper(home, name, body):
    path = f"{home.folder}/{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + body)
    os.chmod(path, 0o755 | stat.S_IXOTH)
    os.chmod(home.folder, 0o755)
    return path


def test_qemu_missing_or_broken(home):
    home.env["RAMET_QEMU"] = "/no/such/qemu"
    result = home.ramet("run", "-d", "--name", "a", "busybox", status=None)
    expect(result.status != 0, "a VM ran without QEMU")
    expect("/no/such/qemu" in result.err, f"the message does not name it: {result.err}")
    expect_equal(home.json("ps", "-a"), [], "VMs")
    home.ramet("daemon", "stop")

    # Answers the probe like the real one, and breaks when it is to run a VM.
    home.env["RAMET_QEMU"] = wrapper(
        home, "qemu", 'case "$*" in *microvm,*) echo "qemu: cannot do this today" >&2; exit 1;; esac\n'
                      'exec qemu-system-x86_64 "$@"\n')
    result = home.ramet("run", "-d", "--name", "a", "busybox", status=None)
    expect(result.status != 0, "a VM ran on a broken QEMU")
    expect("cannot do this today" in result.err, f"QEMU's own words are missing: {result.err}")
    home.check_no_leftovers()


def test_guest_that_never_speaks(home):
    # QEMU starts with its virtual CPUs stopped, so that not one byte comes from the guest.
    home.env["RAMET_QEMU"] = wrapper(
        home, "qemu", 'case "$*" in *microvm,*) set -- "$@" -S;; esac\nexec qemu-system-x86_64 "$@"\n')
    home.env["RAMET_SILENCE_TIMEOUT_S"] = "3"
    result = home.ramet("run", "-d", "--name", "mute", "busybox", status=5)
    expect_match(result.err, r"(?i)console|silent|nothing|not (get )?ready", "message")
    home.check_no_leftovers()


def test_image_that_does_not_boot(home):
    import subprocess
    disk = f"{home.folder}/empty.img"
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk], check=True)
    with open(disk, "r+b") as file:  # the file system looks like one from afar and is none
        file.seek(2048)
        file.write(b"\xff" * (8 << 20))
    home.ramet("image", "import", disk, "--name", "broken")
    result = home.ramet("run", "--cold", "-d", "--name", "a", "broken", status=5)
    expect_match(result.err, r"(?i)mount|root|console", "message with the console's last lines")
    home.check_no_leftovers()


def test_console_flood(home):
    home.ramet("run", "-d", "--name", "loud", "busybox")
    home.ramet("exec", "loud", "--", "sh", "-c", "yes flood | head -c 300000 >/dev/console; echo end >/dev/console")
    wait_until(lambda: home.ramet("logs", "--tail", "3", "loud").out.rstrip().endswith("end"), "the end of the flood")
    folder = os.path.join(home.path, "vms", home.vm("loud")["id"])
    total = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if name.startswith("console"))
    expect(total < 9 << 20, f"console logs take {total} bytes")
    home.ramet("exec", "loud", "true")
    home.ramet("rm", "-f", "loud")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
