#!/usr/bin/env python3
"""Impairment of networks over a bridge, in a network namespace of its own: what is lost, what waits, and what is left of it."""
import os
import signal
import socket
import time

import harness
from bridges import check_nothing_left, clean, create, enter_namespace, links, ping, run, start
from harness import expect, expect_equal, expect_match

RATE = 400000
BYTES = 100 * 1024


def lines():
    return [name for name in links() if name.startswith("ri")]


def queues(kind):
    return [line.split()[4] for line in run("tc", "qdisc").splitlines() if line.split()[1] == kind]


def has_netem():
    run("ip", "link", "add", "probe", "type", "dummy", check=False)
    run("ip", "link", "add", "probe", "type", "veth", "peer", "name", "prober", check=False)
    run("tc", "qdisc", "add", "dev", "probe", "root", "netem", "delay", "1ms", check=False)
    found = "probe" in queues("netem")
    run("ip", "link", "del", "probe", check=False)
    return found


def answers(home, vm, target, count):
    """How many of so many pings are answered."""
    out = home.ramet("exec", vm, "--", "ping", "-q", "-c", str(count), "-i", "0.02", "-W", "1", target, status=None).out
    return int(out.split(" packets received")[0].split()[-1])


@clean
def test_loss(home):
    """Of a VM both ways, of a network for all; a cut is the loss of all."""
    create(home, "lan")
    start(home, "a", "b", "c")
    ip, gateway = home.vm("b")["ip"], home.json("network", "inspect", "lan")["gateway"]
    answer = home.json("network", "impair", "b", "--cut")
    expect_equal(answer["impair"]["cut"], True)
    ping(home, "a", ip, status=1)
    ping(home, "b", gateway, status=1)
    ping(home, "a", "c")
    home.ramet("network", "impair", "b")
    ping(home, "a", ip)
    home.ramet("network", "impair", "b", "--loss", "100")
    ping(home, "a", ip, status=1)
    home.ramet("network", "impair", "b", "--loss", "50")
    harness.wait_until(lambda: 0 < answers(home, "a", ip, 60) < 60, "some of the frames")  # ARP may be lost, too
    home.ramet("network", "impair", "lan", "--cut")
    expect_equal(home.json("network", "inspect", "lan")["impair"]["cut"], True)
    ping(home, "a", "c", status=1)
    start(home, "late")
    ping(home, "late", gateway, status=1)
    home.ramet("network", "impair", "lan")
    ping(home, "a", "c")
    harness.wait_until(lambda: 0 < answers(home, "a", ip, 60) < 60, "b's own loss, which is still there")
    home.kill_daemon()
    home.ramet("ps")
    run("nft", "flush", "ruleset")
    harness.wait_until(lambda: "0-499999" in run("nft", "list", "ruleset"), "what is lost, in the next tables")
    home.ramet("network", "impair", "b")
    harness.wait_until(lambda: answers(home, "a", ip, 20) == 20, "nothing lost any more")
    check_nothing_left(home, "lan")


def time_to_host(home, vm, gateway):
    """How long a transfer takes from the first byte on. Little of it is taken before we look, however late that is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BYTES // 16)
        client = home.start("exec", vm, "--", "sh", "-c",
                            f"dd if=/dev/zero bs={BYTES} count=1 2>/dev/null | nc {gateway} {listener.getsockname()[1]}")
        listener.settimeout(harness.BOUND)
        connection = listener.accept()[0]
        begin, size = time.monotonic(), 0
        while size < BYTES:
            size += len(connection.recv(65536))
        seconds = time.monotonic() - begin
        connection.close()
        client.communicate(timeout=harness.BOUND)
        return seconds


def time_from_host(home, vm, gateway):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = home.start("exec", vm, "--", "sh", "-c", f"nc {gateway} {listener.getsockname()[1]} | wc -c")
        listener.settimeout(harness.BOUND)
        connection = listener.accept()[0]
        begin = time.monotonic()
        connection.sendall(bytes(BYTES))
        connection.shutdown(socket.SHUT_WR)
        expect_equal(int(client.communicate(timeout=harness.BOUND)[0]), BYTES, "bytes that came")
        return time.monotonic() - begin


def check_slow(seconds):
    expect(seconds > BYTES * 8 / RATE / 2, f"{BYTES} bytes took {seconds} s at {RATE} bits a second")


@clean
def test_rate(home):
    """Of a VM each way, of a network what comes from its VMs; kept by a daemon's end, a start, and whoever removes devices."""
    create(home, "lan", "--allow-host", "--taps", "2")
    start(home, "a")
    gateway = home.json("network", "inspect", "lan")["gateway"]
    home.ramet("network", "impair", "a", "--rate", str(RATE))
    check_slow(time_to_host(home, "a", gateway))
    check_slow(time_from_host(home, "a", gateway))
    expect_equal((len(lines()), len(queues("tbf")), len(queues("ingress"))), (1, 2, 1), "devices, queues, ways in")
    run("ip", "link", "del", lines()[0])
    harness.wait_until(lambda: len(lines()) == 1, "the line that was removed")
    check_slow(time_to_host(home, "a", gateway))
    home.kill_daemon()
    run("ip", "link", "del", lines()[0])
    home.ramet("ps")
    harness.wait_until(lambda: len(lines()) == 1, "the line in the next daemon")
    home.ramet("restart", "a")
    check_slow(time_to_host(home, "a", gateway))
    home.ramet("network", "impair", "a")
    expect_equal((lines(), queues("tbf"), queues("ingress")), ([], [], []), "devices, queues, ways in")
    home.ramet("network", "impair", "lan", "--rate", str(RATE))
    start(home, "b")
    check_slow(time_to_host(home, "a", gateway))
    check_slow(time_to_host(home, "b", gateway))
    expect_equal((len(lines()), len(queues("tbf")), len(queues("ingress"))), (1, 1, 2), "one line for both")
    home.ramet("network", "impair", "b", "--rate", str(10 * RATE))
    check_slow(time_to_host(home, "b", gateway))
    expect_equal((len(lines()), len(queues("tbf")), len(queues("ingress"))), (2, 3, 2), "a line of its own")
    home.ramet("network", "impair", "lan")
    expect_equal((len(lines()), len(queues("tbf")), len(queues("ingress"))), (1, 2, 1), "b's own")
    qemu = home.vm("b")["qemu_pid"]
    home.kill_daemon()
    os.kill(qemu, signal.SIGKILL)
    harness.wait_until(lambda: len([name for name in links() if name.startswith("rt")]) == 1, "the end of the device of b")
    home.ramet("ps")
    harness.wait_until(lambda: lines() == [], "the end of a line without a card")
    check_nothing_left(home, "lan")


@clean
def test_latency(home):
    if not has_netem():
        raise harness.Skip("this kernel has no netem")
    create(home, "lan")
    start(home, "a", "b")
    for target in ("a", "lan"):
        home.ramet("network", "impair", target, "--latency", "300")
        out = home.ramet("exec", "a", "--", "ping", "-c", "3", "-w", "60", home.vm("b")["ip"]).out
        expect(float(out.split("min/avg/max = ")[1].split("/")[0]) >= 600, out)
        home.ramet("network", "impair", target)
    expect_equal((lines(), queues("netem")), ([], []))
    check_nothing_left(home, "lan")


@clean
def test_no_latency(home):
    """A kernel that cannot says so, and what helps; nothing is changed."""
    if has_netem():
        raise harness.Skip("this kernel has netem")
    create(home, "lan")
    start(home, "a")
    for target in ("a", "lan"):
        refused = home.ramet("network", "impair", target, "--latency", "300", status=None)
        expect(refused.status not in (0, 2, 3), f"exit status {refused.status}")
        expect_match(refused.err, "kernel.*netem")
        expect_match(refused.err, "--backend switch")
    expect_equal((home.json("network", "inspect", "lan")["impair"], lines()), (None, []))
    check_nothing_left(home, "lan")


@clean
def test_auto(home):
    """A bridge where it can all that a switch can; it tells why."""
    lan = home.json("network", "create", "lan")
    can = has_netem()
    expect_equal(lan["backend"], "bridge" if can else "switch")
    expect_match(lan["chosen"], "^auto: this host can" if can else "^auto: this kernel lacks netem")
    found = next(check for check in home.json("doctor")["checks"] if check["name"] == "bridges")
    expect_match(found["found"], f"auto is a {lan['backend']}")
    event = next(event for event in home.json("events", "--no-follow", "--since", "0") if (event["type"], event.get("name")) == ("network.created", "lan"))
    expect_equal(event["detail"], {"backend": lan["backend"], "chosen": lan["chosen"]})
    expect_equal(create(home, "asked")["chosen"], None)
    home.ramet("network", "rm", "lan", "asked")
    expect_equal(lines(), [], "what the trials left")


if __name__ == "__main__":
    enter_namespace()
    harness.main(harness.BOOTED)
