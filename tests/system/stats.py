#!/usr/bin/env python3
"""What VMs use, once and following: processors, memory, frames of their cards, disks."""
import json
import signal

import harness
from harness import expect, expect_equal, expect_match

WRITTEN = 8 << 20


def stats(home, *names):
    found = {vm["name"]: vm for vm in home.json("stats", *names)}
    for vm in found.values():
        expect_match(vm["at"], r"^\d{4}-\d\d-\d\dT.*Z$", "time of a sample")
    return found


def ping(home, vm, target, count=1):
    home.ramet("exec", vm, "--", "ping", "-c", str(count), "-s", "1000", "-w", "60", target)


def test_networks(home):
    home.ramet("network", "create", "lan", "--backend", "switch", "--isolated")
    for name in "a", "b":
        home.ramet("run", "-d", "--name", name, "--network", "lan", "--network", "user", "busybox")
    gateway, b = home.json("network", "inspect", "lan")["gateway"], home.vm("b")["ip"]
    ping(home, "a", gateway)
    before = stats(home)
    expect_equal(sorted(before), ["a", "b"])
    ping(home, "a", gateway, 5)
    home.ramet("exec", "a", "--", "sh", "-c", f"ping -c 3 -W 2 {b}; true")
    after = stats(home)
    card, old = after["a"]["networks"][0], before["a"]["networks"][0]
    expect_equal((card["name"], card["card"]), ("lan", "eth0"))
    for key in "sent", "received":
        packets, size = card[f"{key}_packets"] - old[f"{key}_packets"], card[f"{key}_bytes"] - old[f"{key}_bytes"]
        expect(packets >= 5 and size >= 5 * 1028, f"{packets} packets {key} with {size} bytes in five pings")
    expect(card["drops"].get("unreachable", 0) > old["drops"].get("unreachable", 0), f"dropped to a sibling: {card['drops']}")
    expect_equal(card["dropped_packets"], sum(card["drops"].values()))
    user = after["a"]["networks"][1]
    expect_equal([user["name"], user["card"]], ["user", "eth1"])
    expect(user["received_bytes"] >= 0 and user["sent_packets"] >= 0, f"counters of user: {user}")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")
    home.check_no_leftovers()


def test_processors_memory_disks(home):
    home.ramet("run", "-d", "--name", "busy", "busybox")
    home.ramet("run", "-d", "--name", "idle", "busybox")
    home.ramet("create", "--name", "off", "busybox")
    home.ramet("exec", "-d", "busy", "--", "sh", "-c", "while :; do :; done")
    before = stats(home, "busy")["busy"]
    home.ramet("exec", "busy", "--", "sh", "-c", f"head -c {WRITTEN} /dev/urandom >/root/x; sync")
    now = stats(home)
    expect_equal(sorted(now), ["busy", "idle"], "those that run")
    busy, idle = now["busy"], now["idle"]
    expect(busy["cpu"]["percent"] > idle["cpu"]["percent"], f"percent of {busy['cpu']} and {idle['cpu']}")
    expect(busy["cpu"]["total_us"] > before["cpu"]["total_us"], "no time used by an endless loop")
    for vm in busy, idle:
        expect(0 < vm["memory"]["private_bytes"] < 600 << 20 and vm["memory"]["shared_bytes"] > 0, f"memory {vm['memory']}")
    written = busy["disk"]["write_bytes"] - before["disk"]["write_bytes"]
    expect(WRITTEN <= written < 8 * WRITTEN, f"{written} bytes written for {WRITTEN}")
    expect(busy["disk"]["write_operations"] > before["disk"]["write_operations"], "no operations")
    off = stats(home, "off")["off"]
    expect_equal((off["state"], off["cpu"]["total_us"], off["memory"]["private_bytes"], off["disk"]["read_bytes"]),
                 ("created", None, None, None))
    home.ramet("pause", "idle")
    paused = stats(home, "idle")["idle"]
    expect_equal(paused["state"], "paused")
    expect(paused["disk"]["read_bytes"] is not None, "disks of a paused VM")
    home.ramet("stats", "nosuch", status=3)
    table = home.ramet("stats", "busy", "off").out.splitlines()
    expect_match(table[0], r"^NAME +CPU % +CPU TIME +PRIVATE +SHARED +RECEIVED +SENT +DROPPED +READ +WRITTEN")
    expect_equal([line.split()[0] for line in table[1:]], ["busy", "off"])
    expect_match(table[2], r"^off( +-){9}")
    home.ramet("rm", "-f", "*")
    expect_equal(home.json("stats"), [])
    home.check_no_leftovers()


def test_follow(home):
    home.ramet("run", "-d", "--name", "a", "busybox")
    home.ramet("run", "-d", "--name", "b", "busybox")
    follower = home.start("stats", "-f", "--json")
    lines = [json.loads(follower.stdout.readline()) for _ in range(6)]
    expect_equal([line["name"] for line in lines], ["a", "b"] * 3)
    expect(lines[0]["at"] < lines[2]["at"] < lines[4]["at"], "times do not grow")
    expect(lines[0]["cpu"]["total_us"] <= lines[4]["cpu"]["total_us"], "used time does not grow")
    home.ramet("rm", "-f", "b")
    while "b" in [json.loads(follower.stdout.readline())["name"], json.loads(follower.stdout.readline())["name"]]:
        pass
    follower.send_signal(signal.SIGINT)
    expect_equal(follower.wait(harness.BOUND), -signal.SIGINT)
    named = home.start("stats", "-f", "a")
    expect_match(named.stdout.readline().decode(), "^NAME ")
    expect_match(named.stdout.readline().decode(), "^a ")
    home.ramet("rm", "-f", "a")
    expect_equal(named.wait(harness.BOUND), 3, "status after the VM was removed")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
