#!/usr/bin/env python3
"""The network user: one switch of a home, in which each VM is alone."""
import os
import re
import signal
import socket

import harness
import networks
from harness import expect, expect_equal, expect_match, wait_until
from networks import answers, ping, serve, switches


def test_ends(home):
    """A switch or a daemon that is killed is there again, with forwards, limits and impairment; with the last VM it ends."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("run", "-d", "--name", "b", "-p", "0:80", "--net-limit", "connections=9", "busybox")
    serve(home, "b")
    port = home.vm("b")["forwards"][0]["host_port"]
    wait_until(lambda: answers(port), "the forward")
    home.ramet("network", "impair", "a", "--cut")
    before = switches(home, user=True)
    expect_equal(len(before), 1, "one switch for all")
    home.kill_daemon()
    expect(answers(port), "a switch lives on without a daemon")
    os.kill(before[0], signal.SIGKILL)
    home.ramet("ps")
    wait_until(lambda: len(switches(home, user=True)) == 1 and answers(port), "another switch with the forward")
    ping(home, "b", "10.0.2.2")
    ping(home, "a", "10.0.2.2", status=1)
    os.kill(switches(home, user=True)[0], signal.SIGKILL)
    wait_until(lambda: answers(port), "the forward once more")
    home.ramet("network", "impair", "a")
    ping(home, "a", "10.0.2.2")
    expect_equal(home.json("network", "ls"), [], "user is none that was made")
    home.ramet("network", "inspect", "user", status=3)
    home.ramet("network", "rm", "user", status=3)
    home.ramet("rm", "-f", "*")
    wait_until(lambda: not switches(home, user=True), "the end of the switch that nobody needs")
    home.ramet("run", "-d", "--name", "a", "busybox")
    ping(home, "a", "10.0.2.2")
    home.ramet("rm", "-f", "a")
    home.check_no_leftovers()


def test_what_networks_can(home):
    """Limits, impairment, captures and counters, as with a name."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("network", "limit", "a", "packets=5k")
    expect_equal(home.vm("a")["net_limit"]["packets"], 5000)
    path = os.path.join(home.path, "captured")
    client = home.start("network", "capture", "a", path)
    wait_until(lambda: os.path.exists(path) and os.path.getsize(path) >= 28, "the capture to begin")
    ping(home, "a", "10.0.2.2")
    wait_until(lambda: any(packet[23] == 1 for packet in networks.packets_of(path)), "the ping in the capture")
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=harness.BOUND)
    card = home.json("stats", "a")[0]["networks"][0]
    expect(card["sent_packets"] > 0 and card["received_packets"] > 0, f"counters: {card}")
    home.ramet("network", "impair", "a", "--latency", "300")
    expect(networks.round_trip(home, "a", "10.0.2.2") >= 600, "both ways are late")
    home.ramet("network", "capture", "user", "/dev/null", status=3)
    home.ramet("network", "impair", "user", "--cut", status=3)
    home.ramet("rm", "-f", "a")


def test_clones(home):
    """Forks, warm clones, standby and snapshots have their network; the card stays, its network has another address."""
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("fork", "a", "--name", "b", "-n", "2")
    expect_equal({networks.card(home, vm)[0] for vm in ("a", "b-1", "b-2")}, {networks.card(home, "a")[0]}, "cards of clones")
    expect_equal(len({home.vm(vm)["mac"] for vm in ("a", "b-1", "b-2")}), 3, "addresses in the network")
    home.ramet("standby", "b-1")
    home.ramet("resume", "b-1")
    home.ramet("snapshot", "create", "a", "ready")
    home.ramet("pool", "set", "--wait", "ready", "1")
    expect_equal(home.json("fork", "ready", "--name", "c", "-p", "0:80")["boot"], "claimed")
    serve(home, "c")
    port = home.vm("c")["forwards"][0]["host_port"]
    expect_equal(networks.read_from(port), b"c\n", "what a claimed clone's port gives")
    for vm in ("a", "b-1", "b-2", "c"):
        ping(home, vm, "10.0.2.2")
    home.ramet("network", "create", "lan")
    expect_equal(home.json("fork", "ready", "--name", "d", "--network", "lan")["boot"], "forked")
    home.ramet("pool", "set", "ready", "0")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")
    home.ramet("snapshot", "rm", "ready")


def test_host_where_it_is_allowed(home):
    """--network user,allow-host opens the host's own addresses to that VM alone, and to its clones."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reach = f"nc -w 20 10.0.2.2 {listener.getsockname()[1]} </dev/null"
        home.ramet("run", "-d", "--name", "open", "--network", "user,allow-host", "busybox")
        home.ramet("run", "-d", "--name", "closed", "busybox")
        home.ramet("fork", "open", "--name", "clone")
        for vm in ("open", "clone"):
            running = home.start("exec", vm, "--", "sh", "-c", reach)
            listener.settimeout(harness.BOUND)
            listener.accept()[0].close()
            running.communicate(timeout=harness.BOUND)
        home.ramet("exec", "closed", "--", "sh", "-c", "! " + reach)
    expect_match(home.ramet("create", "--network", "none,allow-host", "busybox", status=2).err, "allow-host")
    home.ramet("rm", "-f", "*")


def test_no_network_of_the_host(home):
    """QEMU and keeper need none of the host's network, and where the daemon may make another, they are in that."""
    if os.geteuid() != 0:
        raise harness.Skip("only root's VMs are in a network namespace of their own")
    home.ramet("run", "-d", "--name", "a", "busybox")
    vm = home.vm("a")
    own = os.readlink("/proc/self/ns/net")
    spaces = {os.readlink(f"/proc/{vm[key]}/ns/net") for key in ("qemu_pid", "keeper_pid")}
    expect(len(spaces) == 1 and own not in spaces, f"network namespaces: {spaces}, the host's is {own}")
    with open(f"/proc/{vm['qemu_pid']}/net/dev", encoding="utf-8") as file:
        expect_equal(re.findall(r"^ *(\w+):", file.read(), re.M), ["lo"], "devices there")
    ping(home, "a", "10.0.2.2")
    home.ramet("rm", "-f", "a")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
