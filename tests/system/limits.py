#!/usr/bin/env python3
"""What a VM may use of its network, of its disks and of the host: from the start and at run time, kept by clones, restarts and new switches."""
import os
import signal
import socket
import time

import harness
from harness import expect, expect_equal, expect_match
from networks import ping

LIMITS = {"in_bits": 50000000, "out_bits": None, "packets": 5000, "connections": 2}


class Server:
    """On the host's loopback, which the network may reach; it keeps every connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def accept(self):
        self.socket.settimeout(harness.BOUND)
        return self.socket.accept()[0]

    def close(self):
        self.socket.close()


def connect(home, vm, port):
    """A connection of the guest, open as long as the process runs."""
    gateway = home.json("network", "inspect", "lan")["gateway"]
    return home.start("exec", "-i", vm, "--", "nc", gateway, str(port), stdin=-1)


def drops(home, vm):
    return home.json("stats", vm)[0]["networks"][0]["drops"]


def check_two_connections(home, vm, server):
    before = drops(home, vm).get("connections", 0)
    pairs = [(connect(home, vm, server.port), server.accept()) for _ in range(2)]
    third = connect(home, vm, server.port)
    expect(third.wait(harness.BOUND) != 0, "a third connection")
    expect_match(third.stderr.read().decode(), "refused", "what the guest says of a third connection")
    expect_equal(drops(home, vm)["connections"], before + 1, "refused connections")
    for process, peer in pairs:
        peer.sendall(b"still here\n")
        expect_equal(process.stdout.readline(), b"still here\n")
        peer.close()
        process.stdin.close()
        process.wait(harness.BOUND)


def test_connections(home):
    home.ramet("network", "create", "lan", "--backend", "switch", "--allow-host")
    vm = home.json("run", "-d", "--name", "a", "--network", "lan", "--net-limit", "in=50M,packets=5k,connections=2", "busybox")
    expect_equal((vm["net_limit"], home.vm("a")["net_limit"]), (LIMITS, LIMITS))
    server = Server()
    check_two_connections(home, "a", server)
    check_two_connections(home, "a", server)  # those before have ended
    expect_equal(home.json("fork", "a", "--name", "clone")["net_limit"], LIMITS)
    check_two_connections(home, "clone", server)
    home.ramet("standby", "a")
    home.ramet("resume", "a")
    check_two_connections(home, "a", server)
    switch = [pid for pid in harness.processes_of(home.path) if harness.is_switch(pid) and not harness.is_user_switch(pid)]
    os.kill(switch[0], signal.SIGKILL)
    ping(home, "a", home.json("network", "inspect", "lan")["gateway"])
    harness.wait_until(lambda: home.json("stats", "a")[0]["networks"][0]["sent_packets"], "the next switch")
    check_two_connections(home, "a", server)
    expect_equal(home.json("network", "limit", "a")["net_limit"], None)
    for process, peer in [(connect(home, "a", server.port), server.accept()) for _ in range(4)]:
        peer.close()
        process.stdin.close()
        process.wait(harness.BOUND)
    server.close()
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")
    home.check_no_leftovers()


def test_packets(home):
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    gateway = home.json("network", "inspect", "lan")["gateway"]
    expect_equal(home.ramet("network", "limit", "a", "packets=5").out, "a\n")
    home.ramet("exec", "a", "--", "sh", "-c", f"for i in $(seq 60); do ping -c 1 -w 2 {gateway} >/dev/null & done; wait")
    counted = home.json("stats", "a")[0]["networks"][0]
    expect(counted["drops"].get("limit", 0) > 0, f"nothing was dropped: {counted}")
    expect(counted["sent_packets"] > 0, f"nothing came through: {counted}")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def test_what_is_refused(home):
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("create", "--name", "off", "--network", "lan", "--net-limit", "out=1M", "busybox")
    home.ramet("create", "--name", "cut", "--network", "none", "busybox")
    expect_match(home.ramet("create", "--network", "none", "--net-limit", "in=1M", "busybox", status=2).err, "in none")
    for text in ("in=1", "in=x", "in=1M,in=2M", "speed=1M", "connections=65536"):
        home.ramet("create", "--network", "lan", "--net-limit", text, "busybox", status=2)
        home.ramet("network", "limit", "off", text, status=2)
    expect_match(home.ramet("network", "limit", "cut", "in=1M", status=4).err, "in no network")
    home.ramet("network", "limit", "nosuch", "in=1M", status=3)
    expect_equal(home.vm("off")["net_limit"]["out_bits"], 1000000)
    home.ramet("network", "limit", "off", "in=2M")
    expect_equal(home.vm("off")["net_limit"], {"in_bits": 2000000, "out_bits": None, "packets": None, "connections": None})
    expect_equal(len(home.json("ps", "-a")), 2, "VMs that were made")
    home.ramet("rm", "*")
    home.ramet("network", "rm", "lan")


MIB = 1 << 20


def write_seconds(home, vm, size):
    """How long it takes to write so many bytes. A limit bounds that from below, however slow the machine is."""
    begun = time.monotonic()
    home.ramet("exec", vm, "--", "sh", "-c", f"dd if=/dev/zero of=/file bs=64k count={size >> 16} 2>/dev/null && sync && rm /file")
    return time.monotonic() - begun


def check_writes(home, vm, rate):
    took = write_seconds(home, vm, 3 * rate)
    expect(took >= 2, f"{vm} wrote {3 * rate} bytes within {took} s")


def limits_of(home, vm):
    return home.vm(vm)["limits"]


def test_disks(home):
    """From the first byte, of clones and after standby, too; changed while it runs; a limit that was taken away is no more."""
    wanted = {"cpus": None, "memory_bytes": None, "pids": None, "io_bytes": 2 * MIB, "io_ops": 5000}
    vm = home.json("run", "-d", "--name", "a", "--io-limit", "bytes=2M,ops=5000", "busybox")
    expect_equal((vm["limits"], limits_of(home, "a")), (wanted, wanted))
    check_writes(home, "a", 2 * MIB)
    expect_equal(home.json("fork", "a", "--name", "clone")["limits"], wanted)
    check_writes(home, "clone", 2 * MIB)
    expect_equal(home.json("fork", "a", "--name", "other", "--io-limit", "bytes=1M")["limits"]["io_bytes"], MIB)
    check_writes(home, "other", MIB)
    home.ramet("standby", "a")
    home.ramet("update", "a", "--io-limit", "bytes=1M")
    home.ramet("resume", "a")
    check_writes(home, "a", MIB)
    home.ramet("update", "a", "--io-limit", "bytes=64K")
    check_writes(home, "a", 65536)
    home.ramet("update", "a", "--io-limit", "0")
    expect_equal(limits_of(home, "a"), None)
    took = write_seconds(home, "a", 16 * MIB)  # 256 s with the limit
    expect(took < 180, f"the limit that was taken away still holds: {took} s")
    home.ramet("rm", "-f", "*")


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return [line.rstrip("\n")[3:] for line in file if line.startswith("0::")][0]


def check_kept(home):
    """Where the kernel can: keeper and QEMU are in one folder, which goes with them."""
    home.ramet("run", "-d", "--name", "kept", "--cpu-limit", "0.8", "--memory-limit", "1G", "--pids-limit", "100", "busybox")
    vm = home.vm("kept")
    expect_equal(vm["limits"], {"cpus": 0.8, "memory_bytes": 1 << 30, "pids": 100, "io_bytes": None, "io_ops": None})
    path = cgroup_of(vm["qemu_pid"])
    expect(vm["id"] in path, f"QEMU is in {path}")
    expect_equal(cgroup_of(vm["keeper_pid"]), path)
    home.ramet("update", "kept", "--cpu-limit", "0")
    home.ramet("kill", "kept")
    home.ramet("start", "kept")
    home.ramet("rm", "-f", "kept")


def test_host(home):
    """CPUs, memory and processes are the kernel's to limit. Where that cannot, nothing is made, and the reason is told."""
    checks = {check["name"]: check for check in home.json("doctor")["checks"]}
    limits = checks["limits"]
    expect_match(limits["found"], "limited")
    if limits["status"] == "ok":
        check_kept(home)
        return
    home.ramet("run", "-d", "--name", "plain", "busybox")
    for option in (["--cpu-limit", "0.5"], ["--memory-limit", "1G"], ["--pids-limit", "100"]):
        for verb in (["create", *option, "busybox"], ["run", "-d", *option, "busybox"], ["fork", "plain", *option], ["update", "plain", *option]):
            refused = home.ramet(*verb, "--json", status=1).json()["error"]
            expect_equal(refused["code"], "unsupported", " ".join(verb))
            expect_match(refused["message"], "cgroup")
            expect_match(refused["hint"], "cgroup")
    expect_equal(limits_of(home, "plain"), None)
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["plain"])
    for option in (["--cpu-limit", "0.001"], ["--cpu-limit", "x"], ["--memory-limit", "1K"], ["--pids-limit", "2"], ["--io-limit", "10M"]):
        home.ramet("create", *option, "busybox", status=2)
        home.ramet("update", "plain", *option, status=2)
    home.ramet("rm", "-f", "plain")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
