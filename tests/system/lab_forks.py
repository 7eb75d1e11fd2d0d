#!/usr/bin/env python3
"""Labs frozen at one moment, and their copies: connections that go on, who meets whom, and copies that are warm. What is left when
somebody dies: tests/fault/labs.py."""
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

import harness
from harness import expect, expect_equal, expect_match, wait_until
from networks import ping

# Each client counts over one connection, whose end would end it; the server says back what it hears.
COUNT = "until nc a 7000 < /dev/null; do sleep 0.3; done; (n=0; while :; do n=$((n+1)); echo $n; sleep 0.3; done) | nc a 7000 > /run/heard"
LAB = f"""
networks:
  lan: {{subnet: 10.207.0.0/24}}
vms:
  a: {{image: busybox, memory: 128M, networks: ["lan,ip=10.207.0.9"], run: "nc -ll -p 7000 -e cat"}}
  b: {{image: busybox, memory: 128M, networks: [lan], run: "{COUNT}"}}
  c: {{image: busybox, memory: 128M, networks: [lan], run: "{COUNT}"}}
"""
CLIENTS = ("b", "c")
WHO = "hostname; cat /etc/machine-id /sys/class/net/eth0/address; ip -4 -o addr show eth0 | sed 's,.*inet \\([^ ]*\\) .*,\\1,'; cat /etc/resolv.conf"


def up(home, name="lab"):
    path = os.path.join(home.folder, "lab.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(LAB)
    home.ramet("lab", "up", "--name", name, path)
    check_connections(home, name)


def guest(home, vm, command, status=0):
    return home.ramet("exec", vm, "--", "sh", "-c", command, status=status).out


def heard(home, vm):
    """The last number that came back to a client."""
    text = guest(home, vm, "tail -n 2 /run/heard; true").split()
    return int(text[-1]) if text else 0


def goes_on(home, vm, beyond=None):
    first = heard(home, vm) if beyond is None else beyond
    wait_until(lambda: heard(home, vm) > first + 3, f"{vm} to hear more than {first}")


def check_connections(home, *labs):
    for lab in labs:
        for client in CLIENTS:
            goes_on(home, f"{lab}/{client}")


def counts(home):
    """Rows that labs and their snapshots leave."""
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        return {table: store.execute(f"SELECT count(*) FROM {table}" + (" WHERE id <> 'user'" if table == "networks" else "")).fetchone()[0]
                for table in ("labs", "vms", "networks", "leases", "lab_snapshots", "lab_snapshot_members")}


def switches(home):
    return [pid for pid in harness.processes_of(home.path) if harness.is_switch(pid) and not harness.is_user_switch(pid)]


def end(home):
    """All labs, all snapshots, and nothing is left."""
    labs = [lab["name"] for lab in home.json("lab", "ls")]
    if labs:
        home.ramet("lab", "down", *labs)
    snapshots = [snapshot["name"] for snapshot in home.json("lab", "snapshot", "ls")]
    if snapshots:
        home.ramet("lab", "snapshot", "rm", *snapshots)
    expect_equal({table: count for table, count in counts(home).items() if count}, {}, "rows")
    expect_equal([row for row in home.json("snapshot", "ls", "-a") if row["memory"]["kind"] and row["vm"].startswith("lab")], [], "snapshots")
    expect_equal(switches(home), [], "switches")
    home.check_no_leftovers()


def host_address():
    """An address of this host that is not its loopback's; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def test_connections_go_on(home):
    """Under load; in the source, and in three copies, which then go ways of their own."""
    up(home)
    expect_equal(home.ramet("lab", "snapshot", "lab", "base").out, "base\n")
    snapshot = home.json("lab", "snapshot", "inspect", "base")
    expect_equal(sorted(vm["name"] for vm in snapshot["vms"]), ["a", "b", "c"], "VMs")
    expect(0 <= snapshot["spread_us"] <= snapshot["held_us"], f"all stand still while frames are held: {snapshot}")
    check_connections(home, "lab")
    copies = [lab["name"] for lab in home.json("lab", "fork", "base", "-n", "3")]
    expect_equal(copies, ["base-1", "base-2", "base-3"])
    check_connections(home, "lab", *copies)
    for vm in ("a", "b", "c"):
        who = {guest(home, f"{lab}/{vm}", WHO) for lab in ["lab", *copies]}
        expect_equal(len(who), 1, f"{vm} is who it was: {who}")
        for path in ("/proc/sys/kernel/random/boot_id", "/run/ramet/generation"):
            expect_equal(len({guest(home, f"{lab}/{vm}", f"cat {path}") for lab in ["lab", *copies]}), 4, f"{path} of {vm}")
        expect_equal(len({guest(home, f"{lab}/{vm}", "head -c 16 /dev/urandom | od -An -tx1") for lab in ["lab", *copies]}), 4, "random numbers")
        before = int(time.time())
        expect(before - 1 <= int(guest(home, f"base-2/{vm}", "date +%s")) <= int(time.time()) + 1, "the time is right")

    for proven in ("base", "base-2"):
        report = home.json("lab", "prove", proven)
        expect(report["ok"] and all(check["ok"] for check in report["checks"]), f"what is promised: {report['checks']}")
        found = [check["message"] for check in report["checks"] if check["what"].startswith("connections")]
        expect_match(found[0], r"^[1-9]", "connections")
    expect_match(home.ramet("lab", "prove", "lab", status=2).err, "no copy")
    expect_equal([lab["name"] for lab in home.json("lab", "ls")], ["lab", *copies], "nothing is left of a proof")

    guest(home, "base-1/a", "echo one > /run/mark")
    expect_equal(guest(home, "base-2/a", "cat /run/mark 2>/dev/null; true"), "", "copies diverge")
    home.ramet("network", "impair", "base-2/b", "--cut")
    stopped = wait_until(lambda: (lambda first: first if (time.sleep(1), heard(home, "base-2/b"))[1] == first else None)(heard(home, "base-2/b")),
                         "base-2/b to hear no more")
    check_connections(home, "lab", "base-1", "base-3")
    expect_equal(heard(home, "base-2/b"), stopped, "only there")
    goes_on(home, "base-2/c")
    home.ramet("network", "impair", "base-2/b")
    goes_on(home, "base-2/b", stopped)

    home.ramet("lab", "down", "base-3")
    ping(home, "base-2/a", "c")
    guest(home, "base-1/c", "ip link set eth0 down")
    home.ramet("exec", "base-1/a", "--", "ping", "-c", "2", "-W", "3", "c", status=1)
    ping(home, "base-2/a", "c")
    check_connections(home, "lab", "base-2")
    end(home)


def test_ways_out_are_reset(home):
    """A connection to the outside goes on in the source, and ends at once in a copy."""
    address = host_address()
    if not address:
        raise harness.Skip("this host has no address but its loopback's")
    up(home)
    with socket.create_server((address, 0)) as server:
        server.settimeout(harness.BOUND)
        guest(home, "lab/b", f"(while :; do echo x; sleep 0.1; done) | nc {address} {server.getsockname()[1]} >/dev/null 2>&1 & echo $! > /run/out; true")
        connection, _ = server.accept()
        with connection:
            connection.settimeout(harness.BOUND)
            expect(connection.recv(2), "it speaks")
            home.ramet("lab", "snapshot", "lab", "base")
            home.ramet("lab", "fork", "base")
            wait_until(lambda: guest(home, "base-1/b", "pidof nc | wc -w").strip() == "1", "the copy's way out to end")
            for _ in range(5):
                expect(connection.recv(2), "the source's goes on")
    check_connections(home, "lab", "base-1")
    end(home)


def test_what_belongs_together(home):
    """Names, conflicts, and what may not go alone."""
    up(home)
    home.ramet("lab", "snapshot", "lab", "base")
    expect_match(home.ramet("lab", "snapshot", "lab", "base", status=4).err, "base already")
    home.ramet("lab", "snapshot", "nosuch", "x", status=3)
    for word in ("ls", "inspect", "rm"):
        expect_match(home.ramet("lab", "fork", "base", "--name", word, status=2).err, f"cannot be called {word}; .*--name")
    home.ramet("lab", "fork", "nosuch", status=3)
    expect_match(home.ramet("lab", "snapshot", "ls").out, r"base +lab +3 +[0-9.]+ ms +0 ")
    member = home.json("lab", "snapshot", "inspect", "base")["vms"][0]["snapshot"]
    for how in ([], ["--cascade"]):
        expect_match(home.ramet("snapshot", "rm", *how, member, status=4).err, "ramet lab snapshot rm base")
    home.ramet("prune")
    expect_equal(home.ramet("lab", "fork", "base").out, "base-1\n")
    expect_equal(home.ramet("lab", "fork", "base").out, "base-2\n", "the next name that is free")
    expect_equal(home.ramet("lab", "fork", "base", "--name", "try").out, "try\n")
    home.ramet("lab", "fork", "base", "--name", "try", status=4)
    answer = home.ramet("lab", "fork", "base", "--name", "base", "-n", "3", "--json", status=1)
    expect_equal([lab["name"] for lab in answer.json()], ["base-3"], "each copy as a whole or not at all")
    expect_match(home.ramet("lab", "snapshot", "rm", "base", status=4).err, "4 labs grow from")
    expect_equal(sorted(home.json("lab", "snapshot", "inspect", "base")["copies"]), ["base-1", "base-2", "base-3", "try"])
    home.ramet("lab", "down", "base-1", "base-2", "base-3")

    home.ramet("lab", "down", "lab")
    expect_equal(home.ramet("lab", "fork", "base", "--name", "later").out, "later\n", "the source may be gone")
    check_connections(home, "try", "later")
    expect_equal(home.ramet("lab", "fork", "try").out, "try-1\n", "a copy that runs")
    home.ramet("lab", "snapshot", "later", "second")
    home.ramet("lab", "fork", "second")
    check_connections(home, "try", "later", "try-1", "second-1")
    expect_equal(guest(home, "second-1/b", "cat /etc/machine-id"), guest(home, "try/b", "cat /etc/machine-id"), "of a copy's copy")

    home.ramet("pause", "try/c")
    expect_match(home.ramet("lab", "snapshot", "try", "x", status=4).err, "try/c is paused.*ramet unpause try/c")
    home.ramet("unpause", "try/c")
    home.ramet("stop", "try/c")
    home.ramet("start", "try/c")
    who = [guest(home, f"{lab}/c", WHO).split() for lab in ("try", "later")]
    expect_equal(who[0][:2] + who[0][3:], who[1][:2] + who[1][3:], "who it is after a boot, to others; its card it calls by the network's name")
    end(home)


def test_stopped_vm(home):
    """One that is stopped when the lab is frozen is so in copies, and boots there from the disk that it had."""
    up(home)
    guest(home, "lab/c", "echo kept > /kept; sync")
    home.ramet("stop", "lab/c")
    home.ramet("lab", "snapshot", "lab", "base")
    states = {vm["name"]: vm["state"] for vm in home.json("lab", "snapshot", "inspect", "base")["vms"]}
    expect_equal(states, {"a": "running", "b": "running", "c": "stopped"}, "states")
    home.ramet("pool", "set", "--wait", "base", "1")
    for way, copy in (("claimed", "base-1"), ("forked", "base-2")):
        home.ramet("pool", "set", "base", "1" if way == "claimed" else "0")
        expect_equal(home.ramet("lab", "fork", "base").out, f"{copy}\n")
        expect_equal([home.vm(f"{copy}/{vm}")["state"] for vm in "abc"], ["running", "running", "stopped"], f"states in {copy}")
        expect_equal(home.vm(f"{copy}/b")["boot"], way)
        goes_on(home, f"{copy}/b")
    expect(home.json("lab", "prove", "base-1")["ok"], "what is promised")
    home.ramet("start", "base-1/c")
    expect_equal(guest(home, "base-1/c", "cat /kept; hostname"), "kept\nc\n")
    goes_on(home, "base-1/c")
    end(home)


# Warm copies

def pools(home):
    return {pool["source"]: (pool["kind"], pool["warm"], pool["wanted"]) for pool in home.json("pool", "ls")}


def await_warm(home, source, count):
    wait_until(lambda: pools(home).get(source) == ("lab", count, count), f"{count} warm copies ({pools(home)})")


def boots(home, lab):
    return {home.vm(f"{lab}/{vm}")["boot"] for vm in ("a", "b", "c")}


def test_warm_copies(home):
    """They are claimed as a whole, and are as copies that are made; there are as many again soon, also after a restart."""
    up(home)
    home.ramet("lab", "snapshot", "lab", "base")
    frozen_at = time.time()
    home.ramet("pool", "set", "--wait", "base", "1")
    expect_equal(pools(home), {"base": ("lab", 1, 1)}, "pools")
    expect_equal([names(home, "lab", "ls"), names(home, "network", "ls"), len(home.json("ps", "-a"))], [["lab"], ["lab/lan"], 3], "what is shown")
    expect_match(home.ramet("lab", "snapshot", "rm", "base", status=4).err, "ramet pool set base 0")
    expect_equal(home.json("lab", "snapshot", "inspect", "base")["copies"], [], "copies")

    copies = [lab["name"] for lab in home.json("lab", "fork", "base", "-n", "2")]
    expect_equal(sorted(boots(home, lab).pop() for lab in copies), ["claimed", "forked"], "one was warm")
    expect(all(len(boots(home, lab)) == 1 for lab in copies), "and that as a whole")
    check_connections(home, "lab", *copies)
    for vm in ("a", "b", "c"):
        who = {guest(home, f"{lab}/{vm}", WHO) for lab in ["lab", *copies]}
        expect_equal(len(who), 1, f"{vm} is who it was: {who}")
        expect_equal(len({guest(home, f"{lab}/{vm}", "cat /run/ramet/generation; head -c 16 /dev/urandom | od -An -tx1") for lab in copies}), 2,
                     "random numbers")
        before = int(time.time())
        expect(max(before - 1, int(frozen_at)) <= int(guest(home, f"{copies[0]}/{vm}", "date +%s")) <= int(time.time()) + 1, "the time is right")

    await_warm(home, "base", 1)
    home.kill_daemon()
    await_warm(home, "base", 1)
    claimed = home.json("lab", "fork", "base")["name"]
    expect_equal(boots(home, claimed), {"claimed"}, "after a restart")
    check_connections(home, claimed, *copies)
    expect(home.json("lab", "prove", claimed)["ok"], "what is promised")
    await_warm(home, "base", 1)
    check_broken_copy(home)
    home.ramet("pool", "set", "base", "0")
    expect_equal(len(switches(home)), len(names(home, "lab", "ls")), "switches once there is no pool")
    end(home)


def warm_vms(home):
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        rows = store.execute("SELECT id, runtime FROM vms WHERE state = 'warm'").fetchall()
    return [json.loads(runtime)["keeper"]["pid"] for _, runtime in rows]


def check_broken_copy(home):
    """A copy of which a VM ended is not claimed, and another takes its place; neither is one whose VM does not answer."""
    first = warm_vms(home)
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: len(warm_vms(home)) == 3 and not set(first) & set(warm_vms(home)), "another copy")
    await_warm(home, "base", 1)
    home.ramet("lab", "down", *names(home, "lab", "ls")[1:])
    daemon = home.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)  # it does not see the end of the keeper before it claims it
    os.kill(warm_vms(home)[0], signal.SIGKILL)
    with subprocess.Popen([harness.RAMET, "lab", "fork", "base", "--name", "try"], env=home.env) as fork:
        os.kill(daemon, signal.SIGCONT)
        expect_equal(fork.wait(harness.BOUND), 0, "exit status")
    check_connections(home, "try")


def names(home, *list_verb):
    return [row["name"] for row in home.json(*list_verb)]


if __name__ == "__main__":
    harness.main(harness.BOOTED)
