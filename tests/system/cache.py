#!/usr/bin/env python3
"""The boot cache: an image is booted once, first starts are forked from that; what cannot be restored is told."""
import os

import harness
from harness import expect, expect_equal


def entries(home):
    return [s for s in home.json("snapshot", "ls", "-a") if s["vm"].startswith("cache-")]


def boot(home, *options):
    """How a run came up; the VM is gone again."""
    vm = home.ramet("run", "-d", "--json", *options, "busybox").json()
    home.ramet("rm", "-f", vm["name"])
    return vm["boot"]


def test_four_at_once_prepare_once(home):
    running = [home.start("run", "-d", "--json", "--name", f"n{i}", "busybox") for i in range(4)]
    for process in running:
        out, err = process.communicate(timeout=600)
        expect(process.returncode == 0, f"a run failed: {err.decode()}")
        expect(b'"forked"' in out, f"not forked: {out.decode()}")
    expect_equal(len(entries(home)), 1, "entries of the cache")
    ids = {home.ramet("exec", f"n{i}", "cat", "/etc/machine-id").out for i in range(4)}
    expect_equal(len(ids), 4, "machine-ids")
    expect_equal(home.ramet("exec", "n2", "hostname").out, "n2\n")
    home.ramet("rm", "-f", "n0", "n1", "n2", "n3")
    home.check_no_leftovers()


@harness.booted
def test_keys_and_cold(home):
    expect_equal(boot(home, "--cold", "--memory", "128M"), "cold")
    expect_equal(boot(home), "forked")
    expect_equal(len(entries(home)), 1, "entries: --cold makes none, a second run neither")
    expect_equal(boot(home, "--memory", "128M"), "forked")
    expect_equal(boot(home, "--cpus", "2"), "forked")
    expect_equal(boot(home, "--network", "none"), "forked")
    expect_equal(len(entries(home)), 4, "entries for other sizes and networks")
    home.env["RAMET_BOOT_CACHE"] = "off"
    home.ramet("daemon", "stop")
    expect_equal(boot(home), "cold")


@harness.booted
def test_created_vm_and_larger_disk(home):
    home.ramet("create", "--name", "a", "--disk", "3G", "-e", "COLOUR=blue", "busybox")
    home.ramet("start", "a")
    expect_equal(home.vm("a")["boot"], "forked")
    blocks = int(home.ramet("exec", "a", "--", "sh", "-c", "df -k / | tail -n 1 | awk '{print $2}'").out)
    expect(blocks > 2.5 * (1 << 20), f"the file system has {blocks} KiB")
    expect_equal(home.ramet("exec", "a", "--", "sh", "-c", "echo $COLOUR").out, "blue\n")
    home.ramet("exec", "a", "--", "sh", "-c", "echo kept >/root/file; sync")
    home.ramet("restart", "a")
    expect_equal(home.vm("a")["boot"], "cold")
    expect_equal(home.ramet("exec", "a", "cat", "/root/file").out, "kept\n")
    home.ramet("rm", "-f", "a")


def test_damage_is_told(home):
    boot(home)
    entry = entries(home)[0]
    home.ramet("daemon", "stop")  # hot memory is forgotten, so that the file is read again
    path = os.path.join(home.path, "snapshots", entry["id"], "memory.base")
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        file.write(b"flipped")
    result = home.ramet("run", "-d", "--json", "--name", "a", "busybox")
    vm = result.json()
    expect_equal(vm["boot"], "cold")
    expect(vm["fallback"] and vm["fallback"]["message"], "the failure is not in the VM's JSON")
    expect("booting cold" in result.err, f"the failure was not told: {result.err}")
    home.ramet("rm", "-f", "a")
    expect_equal(boot(home), "forked")
    expect(entries(home)[0]["id"] != entry["id"], "the damaged entry is still there")


@harness.booted
def test_image_rm_removes_its_entries(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("image", "rm", "busybox", status=4)
    home.ramet("rm", "-f", "a")
    home.ramet("image", "rm", "busybox")
    expect_equal(entries(home), [], "entries of an image that is gone")
    kernels = [s["id"] for s in home.json("snapshot", "ls", "-a") if s["vm"].startswith("kernel-")]
    expect_equal(os.listdir(os.path.join(home.path, "snapshots")), kernels, "snapshots: the next image may want it")
    expect_equal(os.listdir(os.path.join(home.path, "layers")), [], "layers")
    home.check_no_leftovers()


def test_daemon_killed_while_preparing(home):
    process = home.start("run", "-d", "--name", "a", "busybox")
    harness.wait_until(home.vm_folders, "the hidden VM")
    home.kill_daemon()
    process.communicate(timeout=harness.BOUND)
    expect_equal(home.json("ps", "-a"), [], "VMs after the crash")
    home.check_no_leftovers()
    expect_equal(boot(home), "forked")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
