#!/usr/bin/env python3
"""`ramet run`: what the command prints and returns is what the caller gets; --rm leaves nothing; ready means ready."""
import contextlib
import json
import os
import socket

import harness
from harness import expect, expect_equal, expect_match

def test_prints_and_returns_the_command(home):
    result = home.ramet("run", "--rm", "busybox", "--", "sh", "-c", "echo out; echo err >&2; exit 7", status=7)
    expect_equal(result.out, "out\n", "stdout")
    expect("err" in result.err, f"stderr of the command is missing: {result.err}")
    expect_equal(home.json("ps", "-a"), [], "VMs after --rm")
    home.check_no_leftovers()


def test_without_rm_the_vm_stays(home):
    home.ramet("run", "--cold", "--name", "keep", "busybox", "--", "true")
    vm = home.vm("keep")
    expect_equal((vm["name"], vm["state"], vm["boot"]), ("keep", "running", "cold"))
    home.ramet("rm", "keep", status=4)
    home.ramet("rm", "-f", "keep")
    home.check_no_leftovers()


def test_detached_is_ready(home):
    result = home.ramet("run", "-d", "--name", "web-1", "--json", "busybox")
    vm = result.json()
    expect_equal(vm["state"], "running")
    # Ready: the agent answered and the identity is applied.
    out = home.ramet("exec", "web-1", "--", "sh", "-c",
                     "hostname; cat /etc/machine-id; cat /sys/class/net/eth0/address; ip -4 addr show eth0; ip route").out
    lines = out.splitlines()
    expect_equal(lines[0], "web-1", "hostname")
    expect_match(lines[1], r"^[0-9a-f]{32}$", "machine-id")
    expect_equal(lines[2], vm["networks"][0]["guest_mac"] or vm["mac"], "MAC address")
    expect(f"inet {vm['ip']}/" in out, f"{vm['ip']} is not on eth0: {out}")
    expect("default via" in out, f"no default route: {out}")
    expect_equal(home.ramet("exec", "web-1", "hostname", "-f").out, "web-1\n", "the name as the resolver knows it")
    harness.check_contiguous(vm["stages"])
    home.ramet("rm", "-f", "web-1")


def test_vm_json_has_the_contract_fields(home):
    vm = home.ramet("run", "-d", "--json", "--cold", "--memory", "192M", "--cpus", "2", "busybox").json()
    for key in ("id name state image image_digest accel machine memory_bytes cpus qemu_pid keeper_pid ip mac hostname "
                "boot snapshot created_at disk memory stages").split():
        expect(key in vm, f"{key} is missing in {sorted(vm)}")
    expect_equal(vm["memory_bytes"], 192 << 20)
    expect_equal(vm["cpus"], 2)
    for key in ("path", "backing", "virtual_bytes", "allocated_bytes"):
        expect(key in vm["disk"], f"disk.{key} is missing")
    for key in ("base", "base_inode", "private_bytes"):
        expect(key in vm["memory"], f"memory.{key} is missing")
    expect_equal(os.stat(vm["memory"]["base"]).st_ino, vm["memory"]["base_inode"], "memory.base_inode")
    expect(os.path.exists(vm["disk"]["path"]), "disk.path does not exist")
    for pid in (vm["qemu_pid"], vm["keeper_pid"]):
        expect(harness.is_alive(pid), f"process {pid} is not alive")
    expect_equal(home.ramet("exec", vm["id"], "nproc").out.strip(), "2")
    home.ramet("rm", "-f", vm["id"])


def test_refuses_what_is_wrong(home):
    cases = [
        (["run", "--name", "a/b", "busybox"], 2),
        (["run", "--name", "Upper", "busybox"], 2),
        (["run", "--memory", "12parsecs", "busybox"], 2),
        (["run", "--network", "nosuch", "busybox"], None),
        (["run", "-p", "99999:1", "busybox"], 2),
        (["bench", "nosuch"], 2),
        (["pool", "set", "busybox", "many"], 2),
        (["inspect", "nosuch"], 3),
        (["rm", "nosuch"], 3),
        (["frobnicate"], 2),
        (["run", "--no-such-option", "busybox"], 2),
    ]
    for arguments, status in cases:
        result = home.ramet(*arguments, status=status)
        expect(result.status != 0, f"{arguments} succeeded")
        expect_match(result.err, r"^ramet: ", f"message of {arguments}")
    expect_equal(home.json("ps", "-a"), [], "VMs after refused runs")


def test_error_as_json(home):
    result = home.ramet("inspect", "nosuch", "--json", status=3)
    error = json.loads(result.out)["error"]
    expect_equal(error["code"], "not_found")
    expect("nosuch" in error["message"], error["message"])


def test_name_taken(home):
    home.ramet("create", "--name", "one", "busybox")
    home.ramet("run", "-d", "--name", "one", "busybox", status=4)
    expect_equal(home.vm("one")["state"], "created", "state of the VM that was there")
    home.ramet("rm", "one")


def test_no_network(home):
    home.ramet("run", "--cold", "-d", "--name", "alone", "--network", "none", "busybox")
    # All VMs have the card, so that all have one device list; here it has neither cable nor address.
    out = home.ramet("exec", "alone", "--", "sh", "-c", "ip -4 addr show eth0; ip route").out
    expect("inet " not in out and "default" not in out, f"there is a network: {out}")
    expect(not home.vm("alone")["ip"], "an address without a network")
    home.ramet("rm", "-f", "alone")


def test_port_forward(home):
    port = harness.free_port()
    home.ramet("run", "-d", "--name", "web", "-p", f"{port}:80", "busybox")
    home.ramet("exec", "web", "--", "sh", "-c",
               "mkdir -p /www; echo served >/www/index.html; httpd -p 80 -h /www")

    def fetch():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            return b"served" in b"".join(iter(lambda: client.recv(4096), b""))
        return False
    harness.wait_until(fetch, "the forwarded port to serve")
    result = home.ramet("run", "-d", "--name", "web2", "-p", f"{port}:80", "busybox", status=4)
    expect(str(port) in result.err, f"the message does not name the port: {result.err}")
    expect("booting" not in result.err, f"it was tried all the same: {result.err}")
    home.ramet("rm", "-f", "web")
    expect_equal(home.json("ps", "-a"), [], "VMs at the end")


def test_environment_and_stages(home):
    result = home.ramet("run", "--rm", "--stages", "-e", "COLOUR=blue", "busybox", "--", "sh", "-c", "echo $COLOUR")
    expect_equal(result.out, "blue\n")
    expect("kernel" in result.err or "agent" in result.err, f"no table of stages: {result.err}")


def test_eight_at_once_share_one_base(home):
    running = [home.start("run", "-d", "--json", "--name", f"n{i}", "busybox") for i in range(8)]
    vms = []
    for process in running:
        out, err = process.communicate(timeout=600)
        expect(process.returncode == 0, f"a start failed: {err}")
        vms.append(json.loads(out))
    for key in ("mac", "hostname", "id"):
        expect_equal(len({vm[key] for vm in vms}), 8, f"different values of {key}")
    expect_equal(len({vm["disk"]["backing"] for vm in vms}), 1, "bases of eight VMs")
    expect_equal(len({vm["memory"]["base_inode"] for vm in vms}), 1, "memory bases of eight VMs")
    ids = home.ramet("exec", "n3", "cat", "/etc/machine-id").out, home.ramet("exec", "n4", "cat", "/etc/machine-id").out
    expect(ids[0] != ids[1], "two VMs have one machine-id")
    home.ramet("rm", "-f", *[vm["name"] for vm in vms])
    home.check_no_leftovers()


@harness.without_template
def test_absent_recipe_image_is_built(home):
    result = home.ramet("run", "--rm", "busybox", "--", "echo", "built", timeout=600)
    expect_equal(result.out, "built\n")
    expect_match(result.err, r"(?i)build", "what it says about the build")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
