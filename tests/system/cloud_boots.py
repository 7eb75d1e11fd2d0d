#!/usr/bin/env python3
"""Disks that boot by UEFI, with the variables of each VM, and what becomes of those and of config disks in clones and elsewhere.
By a BIOS: cloud_disks.py."""
import os

import disks
import harness
from cloud_disks import LONG, check_clones, image, look, run, write_folder
from harness import expect, expect_equal


def test_uefi(home):
    """By systemd-boot, with UEFI's variables for each VM."""
    if not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"):
        raise harness.Skip("ovmf is missing")
    home.ramet("image", "import", disks.get(home, "systemd-boot"), "--name", "systemd-boot")
    expect_equal(image(home, "systemd-boot")["kernel_key"], "uefi", "what boots it")
    work = write_folder(home, "work", "of the folder\n")
    home.ramet("seed", "create", "work", "--from", work)
    run(home, "u", "systemd-boot", "--cold", "--config-disk", work)
    home.ramet("exec", "u", "--", "test", "-d", "/sys/firmware/efi", timeout=LONG)
    set_variable(home, "u", "first")
    check_clones(home, "u", "cold")
    inodes = {os.stat(f"{home.path}/vms/{home.vm(name)['id']}/uefi-variables.fd").st_ino for name in ("u", "clone-1", "clone-2")}
    expect_equal(len(inodes), 3, "files of variables")
    check_second_generation(home)
    check_config_disks(home)
    go_elsewhere(home)
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


VARIABLE = "/sys/firmware/efi/efivars/ramet-cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0"  # Linux lets that GUID's be overwritten


def set_variable(home, name, value):
    home.ramet("exec", name, "--", "sh", "-c", rf"printf '\7\0\0\0{value}' >{VARIABLE}", timeout=LONG)


def variable(home, name):
    return home.ramet("exec", name, "--", "sh", "-c", f"cat {VARIABLE} | tail -c +5", timeout=LONG).out  # it cannot be sought in


def check_second_generation(home):
    """A clone of a clone is another one, and boots; its variables are those of the snapshot, whatever became of the source's."""
    set_variable(home, "u", "second")
    home.ramet("fork", "clone-1", "--name", "grandchild", timeout=LONG)
    guests = [look(home, name) for name in ("u", "clone-1", "grandchild")]
    for key in ("hostname", "machine_id", "host_key"):
        expect_equal(len({guest[key] for guest in guests}), 3, f"different {key}")
    expect_equal(variable(home, "grandchild"), "first", "a variable of a clone of a clone")
    home.ramet("restart", "--cold", "grandchild", timeout=LONG)
    expect_equal(home.vm("grandchild")["boot"], "cold")
    expect_equal((look(home, "grandchild"), variable(home, "grandchild")), (guests[2], "first"), "after a cold start")
    expect_equal(variable(home, "u"), "second", "the source's")


def check_config_disks(home):
    """A clone has its source's, or another in its place."""
    other = write_folder(home, "other", "of another\n")
    home.ramet("fork", "frozen", "--name", "configured", "--config-disk", other, timeout=LONG)
    for name, wanted in (("u", "of the folder\n"), ("clone-2", "of the folder\n"), ("configured", "of another\n")):
        expect_equal(home.ramet("exec", name, "--", "cat", "/media/config/file", timeout=LONG).out, wanted, f"config disk of {name}")


def go_elsewhere(home):
    """In another home a snapshot goes on, with cloud-init's disk and the variables that its VM had."""
    file = f"{home.folder}/frozen.ramet"
    home.ramet("snapshot", "export", "frozen", file, timeout=LONG)
    other = harness.Home(template=None)
    try:
        made = other.json("snapshot", "import", file, timeout=LONG)
        os.unlink(file)
        other.ramet("fork", "frozen", "--name", "far", timeout=LONG)
        expect_equal(other.ramet("exec", "far", "--", "cat", "/run/mine", "/root/kept", timeout=LONG).out, "mine\nkept\n", "what it has")
        names = (f"{home.path}/snapshots/{home.json('snapshot', 'inspect', 'frozen')['id']}", f"{other.path}/snapshots/{made['id']}")
        variables = []
        for name in names:
            with open(f"{name}/uefi-variables.fd", "rb") as content:
                variables.append(content.read())
        expect(variables[0] == variables[1], "the variables differ")
        other.ramet("rm", "-f", "far")
        other.ramet("snapshot", "rm", "frozen")
        other.check_no_leftovers()
    finally:
        other.close()


if __name__ == "__main__":
    harness.main(harness.KERNELS)
