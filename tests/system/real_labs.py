#!/usr/bin/env python3
"""The labs of examples/, frozen under load and forked: what was acknowledged is there, connections go on, copies go ways of
their own, and a fault that is made in one of them is in no other."""
import json
import os
import shutil
import subprocess
import sys

import harness
from harness import expect, expect_equal, wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
LABS = harness.TEMPLATE + "-labs"  # a home with the image, which has booted once; made by the first run
LONG = 1800
# One image for all labs, since making one takes longer than what idles in it does.
PACKAGES = "etcd-server,etcd-client,python3,postgresql,nftables"
IMAGES = ["lab-etcd", "lab-postgres", "lab-router"]


def ramet(*arguments, status=0):
    done = subprocess.run([harness.RAMET, *arguments], env=dict(os.environ, RAMET_HOME=LABS), capture_output=True, text=True, check=False)
    if status is not None:
        expect_equal(done.returncode, status, f"status of {' '.join(arguments)} ({done.stderr})")
    return done


def build_image():
    built = ramet("image", "build", IMAGES[0], "--from", "debian", "--include", PACKAGES, status=None)
    if built.returncode != 0 and ("resolve" in built.stderr or "fetch" in built.stderr):
        raise harness.Skip("Debian's mirror cannot be reached: " + built.stderr.strip().splitlines()[-1])
    expect_equal(built.returncode, 0, f"status of building the image ({built.stderr})")


def make_home():
    """In its place, since overlays name their bases by path. The last image's name tells that it is whole."""
    if not os.path.exists(os.path.join(LABS, "ramet.db")):
        shutil.rmtree(LABS, ignore_errors=True)
        harness.copy_home(harness.BOOTED, LABS)
    try:
        if ramet("image", "inspect", IMAGES[-1], status=None).returncode != 0:
            build_image()
            ramet("run", "--rm", "--memory", "512M", IMAGES[0], "--", "true")  # fills the boot cache
            for name in IMAGES[1:]:
                ramet("image", "tag", IMAGES[0], name)
    finally:
        ramet("daemon", "stop", status=None)


def up(home, name):
    home.ramet("lab", "up", os.path.join(EXAMPLES, name, "lab.yaml"), "--name", name, timeout=LONG)


def guest(home, lab, vm, script, status=0):
    return home.ramet("lab", "exec", lab, vm, "--", "sh", "-c", script, status=status, timeout=LONG).out.strip()


def guest_until(home, lab, vm, script, what):
    """Runs it again until it succeeds: in the guest, where trying costs little. What it says at last."""
    tried = home.ramet("lab", "exec", lab, vm, "--", "sh", "-c", "for i in $(seq 3000); do out=$(" + script + ") && "
                       "{ echo \"$out\"; exit 0; }; sleep 0.3; done; exit 1", status=None, timeout=LONG)
    expect_equal(tried.status, 0, f"status of what waits for {what} in {lab} ({tried.out} {tried.err})")
    return tried.out.strip()


def wait_for_more(home, lab, than):
    guest_until(home, lab, "client", f"[ \"$(cat /run/acknowledged)\" -gt {than} ]", "the client's writes to go on")


def acknowledged_in(home, lab):
    return int(guest(home, lab, "client", "cat /run/acknowledged"))


def copies_of(home, snapshot):
    """Two: an emulated cluster wants a processor of its own."""
    home.ramet("lab", "fork", snapshot, "-n", "2", timeout=LONG)
    return [f"{snapshot}-1", f"{snapshot}-2"]


def remove_all(home, snapshot, labs):
    home.ramet("lab", "down", *labs, timeout=LONG)
    home.ramet("lab", "snapshot", "rm", snapshot, timeout=LONG)
    home.check_no_leftovers()


# etcd

NODES = ("n1", "n2", "n3")


def leader_of(home, lab, nodes=NODES):
    """Which of these nodes leads, as all of them say; None when one does not answer, or they do not agree."""
    endpoints = ",".join(f"{node}:2379" for node in nodes)
    said = json.loads(guest(home, lab, nodes[0], f"etcdctl --command-timeout=60s --endpoints {endpoints} endpoint status -w json "
                                                 "2>/dev/null || true") or "[]")
    names = {one["Status"]["header"]["member_id"]: one["Endpoint"].split(":")[0] for one in said}
    leaders = {one["Status"].get("leader") for one in said}
    return names.get(leaders.pop()) if len(names) == len(nodes) and len(leaders) == 1 else None


def wait_for_leader(home, lab, nodes=NODES):
    return wait_until(lambda: leader_of(home, lab, nodes), f"a leader of {nodes} in {lab}", bound=LONG)


def etcdctl(home, lab, vm, command):
    """A slow cluster may elect just then, and refuse."""
    return guest_until(home, lab, vm, f"etcdctl --command-timeout=60s {command}", f"etcdctl {command}")


def value_of(home, lab, vm, key):
    return etcdctl(home, lab, vm, f"get --print-value-only {key}")


def check_etcd(home, lab, acknowledged, connections):
    wait_for_more(home, lab, acknowledged)
    expect_equal(guest(home, lab, "client", "cat /run/connections"), connections, f"the client's connections in {lab}")
    said = acknowledged_in(home, lab)
    expect(int(value_of(home, lab, "n1", "number")) >= said, f"an acknowledged write is missing in {lab}")
    wait_for_leader(home, lab)


def test_etcd(home):
    up(home, "etcd")
    wait_for_more(home, "etcd", 5)
    acknowledged, connections = acknowledged_in(home, "etcd"), guest(home, "etcd", "client", "cat /run/connections")
    home.ramet("lab", "snapshot", "etcd", "frozen", timeout=LONG)
    check_etcd(home, "etcd", acknowledged, connections)
    home.ramet("lab", "down", "etcd", timeout=LONG)
    labs = copies_of(home, "frozen")
    for lab in labs:
        check_etcd(home, lab, acknowledged, connections)
    check_divergence(home, *labs)
    check_failover(home, *labs)
    remove_all(home, "frozen", labs)


def check_divergence(home, lab, other):
    etcdctl(home, lab, "n2", f"put own {lab}")
    expect_equal(value_of(home, lab, "n3", "own"), lab, f"what {lab} has")
    expect_equal(value_of(home, other, "n3", "own"), "", f"what {other} has")


def check_failover(home, lab, other):
    """The leader is cut off: who is left elects another one, in that copy only. Once it is back it follows."""
    leader = wait_for_leader(home, lab)
    left = [node for node in NODES if node != leader]
    home.ramet("network", "impair", f"{lab}/{leader}", "--cut")
    wait_for_leader(home, lab, left)
    etcdctl(home, lab, left[1], "put after failover")
    wait_for_leader(home, other)
    expect_equal(value_of(home, other, leader, "after"), "", f"what {other} has of the failover in {lab}")
    home.ramet("network", "impair", f"{lab}/{leader}")
    wait_for_leader(home, lab)
    expect_equal(value_of(home, lab, leader, "after"), "failover", f"what {leader} has once it is back")


# PostgreSQL

def psql(sql):
    return f"runuser -u postgres -- psql -d postgres -Atc \"{sql}\""


def wait_for_replica(home, lab, number):
    """It has that row, or a later one, and follows."""
    state = psql(f"select status, exists (select from written where number >= {number}) from pg_stat_wal_receiver")
    guest_until(home, lab, "replica", f"cd /; [ \"$({state})\" = 'streaming|t' ]", f"the replica to have {number}")


def check_postgres(home, lab, acknowledged):
    wait_for_more(home, lab, acknowledged)
    said = acknowledged_in(home, lab)
    written = guest(home, lab, "primary", "cd /; " + psql("select max(number) from written"))
    expect(int(written) >= said, f"an acknowledged write is missing in {lab}: {written} of {said}")
    wait_for_replica(home, lab, said)


def test_postgres(home):
    up(home, "postgres")
    wait_for_more(home, "postgres", 5)
    acknowledged = acknowledged_in(home, "postgres")
    home.ramet("lab", "snapshot", "postgres", "frozen", timeout=LONG)
    check_postgres(home, "postgres", acknowledged)
    home.ramet("lab", "down", "postgres", timeout=LONG)
    labs = copies_of(home, "frozen")
    for lab in labs:
        check_postgres(home, lab, acknowledged)
    check_promotion(home, *labs)
    remove_all(home, "frozen", labs)


def check_promotion(home, lab, other):
    """The primary is cut off, and the replica takes over, in that copy only."""
    home.ramet("network", "impair", f"{lab}/primary", "--cut")
    expect_equal(guest(home, lab, "replica", "cd /; " + psql("select pg_promote(true, 1800)")), "t", f"whether the replica of {lab} took over")
    guest(home, lab, "replica", "cd /; " + psql("insert into written values (1000000)"))
    said = acknowledged_in(home, other)
    wait_for_more(home, other, said)
    wait_for_replica(home, other, said)
    expect_equal(guest(home, other, "primary", "cd /; " + psql("select count(*) from written where number >= 1000000")), "0",
                 f"how many writes of {lab} are in {other}")


# NAT

SERVER = "http://10.90.0.80:8080/"


def check_nat(home, lab, i):
    """A client reaches the server through its router, and nothing of the other home."""
    said = guest(home, lab, f"client{i}", f"timeout 900 wget -qO- {SERVER} && ! ping -c 1 -W 1 10.9{3 - i}.0.2 >/dev/null")
    expect_equal(said, "hello", f"what client{i} in {lab} got")


def test_nat(home):
    up(home, "nat")
    home.ramet("lab", "snapshot", "nat", "frozen", timeout=LONG)
    home.ramet("lab", "down", "nat", timeout=LONG)
    labs = copies_of(home, "frozen")
    for lab in labs:
        check_nat(home, lab, 1)
        check_nat(home, lab, 2)
    home.ramet("network", "impair", f"{labs[0]}/router1", "--cut")
    guest(home, labs[0], "client1", f"! timeout 3 wget -qO- {SERVER}")
    check_nat(home, labs[1], 1)
    seen = wait_until(lambda: [line for line in home.ramet("lab", "logs", labs[1]).out.splitlines() if "10.90.0.12]:" in line],
                      "what the server says of the other router")
    expect("10.91.0." not in home.ramet("lab", "logs", labs[1]).out, f"the server saw an address of a home: {seen}")
    remove_all(home, "frozen", labs)


def main():
    try:
        make_home()
    except harness.Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(77)
    harness.main(LABS)


if __name__ == "__main__":
    main()
