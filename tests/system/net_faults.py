#!/usr/bin/env python3
"""What must not hurt a network, of a switch and over a bridge: guests that flood, a daemon that ends at any step of a card."""
import os
import re
import sys

import harness
from bridges import check_nothing_left, clean, create, enter_namespace, links, ping, run, start
from harness import expect, expect_equal
from labs import sweep

BACKENDS = ("switch", "bridge")
BYTES = 256 * 1024
# Takes what comes to a port, again and again.
SINK = "nc -ll -p 5001 -e sh -c 'exec cat >/dev/null' >/dev/null 2>&1 & while ! netstat -ltn | grep -q :5001; do usleep 10000; done"


def pings(home, vm, target):
    """How many of 20 were answered, and the mean time in milliseconds."""
    out = home.ramet("exec", vm, "--", "ping", "-q", "-c", "20", "-i", "0.1", "-w", "60", target, status=None).out
    times = re.findall(r"min/avg/max = [0-9.]+/([0-9.]+)/", out)
    return int(re.findall(r"(\d+) packets received", out)[0]), float(times[0]) if times else None


def transfer(home, vm, target):
    """The seconds that a stream from one guest to the other took."""
    out = home.ramet("exec", vm, "--", "sh", "-c",
                     f"time -p sh -c 'dd if=/dev/zero bs={BYTES} count=1 2>/dev/null | nc {target} 5001'")
    return float(re.findall(r"real ([0-9.]+)", out.err)[0])


def check_flood(home, network):
    guests = [f"{network}-{name}" for name in ("bad", "one", "two")]
    start(home, *guests, network=network)
    bad, one, two = guests
    target, mac = home.vm(two)["ip"], home.vm(two)["mac"]
    home.ramet("exec", two, "--", "sh", "-c", SINK)
    home.ramet("cp", os.path.join(harness.BUILD, "tests/system/spoofer"), f"{bad}:/spoofer")
    before = (*pings(home, one, target), transfer(home, one, target))
    home.ramet("exec", "-d", bad, "--", "/spoofer", "flood", mac, target)
    during = (*pings(home, one, target), transfer(home, one, target))
    print(f"{network}: pings answered, ms, s of a stream: {before} before a flood, {during} in it", file=sys.stderr)
    expect(during[0] > 0, f"the neighbours still hear each other on a {network}")
    ping(home, one, home.json("network", "inspect", network)["gateway"])
    home.ramet("rm", "-f", *guests)


@clean
def test_floods(home):
    """One that sends broadcasts and unicasts without an end does not starve its neighbours."""
    for backend in BACKENDS:
        home.ramet("network", "create", backend, "--backend", backend)
        check_flood(home, backend)
    home.ramet("network", "rm", *BACKENDS)
    expect_equal([name for name in links() if name.startswith(("ramet", "rt", "ri"))], [], "devices that are left")


def cards():
    return [name for name in links() if name.startswith("rt")]


def check_no_card(home):
    """Neither devices nor rules of a VM that does not run."""
    harness.wait_until(lambda: not cards(), "the end of the card's device")
    table = next(line.split()[2] for line in run("nft", "list", "tables", "bridge").splitlines() if "ramet-" in line)
    for name in ("macs", "sources", "sources6"):
        expect("elements" not in run("nft", "list", "set", "bridge", table, name), f"{name} that are left")
    expect("elements" not in run("nft", "list", "map", "inet", table, "forwards_any"), "forwards that are left")
    expect_equal([vm["name"] for vm in home.json("network", "inspect", "lan")["vms"]], ["v"], "who has an address")


def end(home):
    """Whatever another daemon finds of it, the VM ends."""
    home.ramet("ps")
    home.ramet("kill", "v", status=None)
    harness.wait_until(lambda: home.vm("v")["state"] in ("stopped", "failed", "created"), "the end of the VM")


@clean
def test_daemon_killed_at_every_step_of_attach(home):
    """Either the VM runs with its card, or nothing is left of that."""
    create(home, "lan")
    home.ramet("create", "--name", "v", "--network", "lan", "-p", "0.0.0.0:8080:80", "busybox")
    start(home, "other")  # for the boot cache
    home.ramet("rm", "-f", "other")

    def check(finished):
        if finished:
            ping(home, "v", home.json("network", "inspect", "lan")["gateway"])
        end(home)
        check_no_card(home)
    sweep(home, ["start", "v"], check)
    check_nothing_left(home, "lan")


@clean
def test_daemon_killed_at_every_step_of_detach(home):
    create(home, "lan")
    home.ramet("run", "-d", "--name", "v", "--network", "lan", "-p", "0.0.0.0:8080:80", "busybox")

    def check(_):
        end(home)
        check_no_card(home)
        home.ramet("start", "v")
    sweep(home, ["kill", "v"], check)
    check_nothing_left(home, "lan")


if __name__ == "__main__":
    enter_namespace()
    harness.main(harness.BOOTED)
