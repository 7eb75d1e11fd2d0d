#!/usr/bin/env python3
"""A kernel is booted once for all images that have it: what goes on from it is as itself as what booted."""
import os

import harness
from harness import expect, expect_equal

IDENTITY = "cat /etc/machine-id /proc/sys/kernel/random/boot_id; hostname; head -c 16 /dev/urandom | od -An -tx1"


def kernels(home):
    return [s for s in home.json("snapshot", "ls", "-a") if s["vm"].startswith("kernel-")]


def add_image(home, name, vm="source"):
    """An image of the same kernel with another disk."""
    home.ramet("exec", vm, "--", "sh", "-c", f"echo {name} >/root/name; sync")
    home.ramet("commit", vm, name)


def guest(home, vm, command):
    return home.ramet("exec", vm, "--", "sh", "-c", command).out


def run(home, name, image, *options):
    result = home.ramet("run", "-d", "--json", "--name", name, *options, image)
    vm = result.json()
    expect_equal(vm["boot"], "forked")
    return vm, result.err


@harness.booted
def test_images_share_it(home):
    home.ramet("run", "-d", "--cold", "--name", "source", "--disk", "1G", "busybox")
    add_image(home, "one")
    add_image(home, "two")
    home.ramet("rm", "-f", "source")
    expect_equal(len(kernels(home)), 1, "kernels: that of busybox")
    began = kernels(home)[0]["id"]
    run(home, "a", "one")
    run(home, "b", "two", "--disk", "2G")
    expect_equal([k["id"] for k in kernels(home)], [began], "kernels")
    expect_equal([guest(home, vm, "cat /root/name") for vm in "ab"], ["one\n", "two\n"])
    found = [guest(home, vm, IDENTITY).split("\n")[:-1] for vm in "ab"]
    expect_equal([len(lines) for lines in found], [4, 4], "lines")
    for one, other in zip(*found):
        expect(one != other, f"the same in both: {one}")
    kib = int(guest(home, "b", "df -k / | tail -n 1 | awk '{print $2}'"))
    expect(kib > 1.5 * (1 << 20), f"the file system has {kib} KiB")
    skew = abs(int(guest(home, "a", "date +%s")) - int(home.ramet("exec", "b", "date", "+%s").out))
    expect(skew < 60, f"the clocks are {skew} s apart")
    for vm in "ab":
        home.ramet("restart", vm)
        expect_equal(home.vm(vm)["boot"], "cold")
    run(home, "c", "one", "--memory", "128M")
    expect_equal(len(kernels(home)), 2, "kernels: another size, another one")
    home.ramet("rm", "-f", "a", "b", "c")
    home.ramet("prune")
    expect_equal(kernels(home), [], "kernels after a prune")
    home.check_no_leftovers()


@harness.booted
def test_damaged_one_is_told_and_goes(home):
    home.ramet("run", "-d", "--cold", "--name", "source", "busybox")
    add_image(home, "one")
    add_image(home, "two")
    home.ramet("rm", "-f", "source")
    damaged = kernels(home)[0]
    path = os.path.join(home.path, "snapshots", damaged["id"], "state")
    with open(path, "rb") as file:
        state = file.read()
    os.unlink(path)  # the template has the same file
    with open(path, "wb") as file:
        file.write(state[:len(state) // 2] + b"flipped" + state[len(state) // 2 + 7:])
    _, said = run(home, "a", "one")
    expect("booting cold" in said, f"it was not told: {said}")
    expect_equal(guest(home, "a", "cat /root/name"), "one\n")
    expect_equal(kernels(home), [], "the damaged one")
    _, said = run(home, "b", "two")
    expect("booting cold" not in said, f"a cold boot: {said}")
    expect_equal(len(kernels(home)), 1, "kernels")
    expect_equal(guest(home, "b", "cat /root/name"), "two\n")


def test_daemon_killed_while_it_is_made(home):
    process = home.start("run", "-d", "--name", "a", "busybox")
    harness.wait_until(lambda: len(home.vm_folders()) > 1, "the hidden VMs")
    home.kill_daemon()
    process.communicate(timeout=harness.BOUND)
    expect_equal(home.json("ps", "-a"), [], "VMs after the crash")
    expect_equal(kernels(home), [], "kernels after the crash")
    home.check_no_leftovers()
    run(home, "a", "busybox")
    expect_equal(len(kernels(home)), 1, "kernels")


if __name__ == "__main__":
    harness.main()
