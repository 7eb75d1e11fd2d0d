#!/usr/bin/env python3
"""What a VM may use of its network: from the start and at run time, kept by clones, restarts and new switches."""
import os
import signal
import socket

import harness
from harness import expect, expect_equal, expect_match

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
    home.ramet("exec", "a", "--", "ping", "-c", "1", "-w", "60", home.json("network", "inspect", "lan")["gateway"])
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


if __name__ == "__main__":
    harness.main(harness.BOOTED)
