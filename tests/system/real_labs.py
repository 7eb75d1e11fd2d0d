#!/usr/bin/env python3
"""The labs of examples/, frozen under load and forked: what was acknowledged is there, connections go on, copies go ways of
their own, and a fault that is made in one of them is in no other."""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys

import harness
from harness import expect, expect_equal, wait_until

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
LABS = harness.TEMPLATE + "-labs"  # a home with the images, which have booted once; made by the first run
LONG = 1800
# What the labs ask for, in two images: an idle PostgreSQL costs a router little.
IMAGES = {
    "lab-etcd": "etcd-server,etcd-client,python3",
    "lab-postgres": "postgresql,nftables",
}
TAGS = {"lab-router": "lab-postgres"}


def ramet(home, *arguments):
    return subprocess.run([harness.RAMET, *arguments], env=dict(os.environ, RAMET_HOME=home), capture_output=True, text=True, check=False)


def build_image(home, image):
    built = ramet(home, "image", "build", image, "--from", "debian", "--include", IMAGES[image])
    if built.returncode != 0 and ("resolve" in built.stderr or "fetch" in built.stderr):
        raise harness.Skip("Debian's mirror cannot be reached: " + built.stderr.strip().splitlines()[-1])
    expect_equal(built.returncode, 0, f"status of building {image} ({built.stderr})")
    booted = ramet(home, "run", "--rm", "--memory", "512M", image, "--", "true")
    expect_equal(booted.returncode, 0, f"status of booting {image} ({booted.stderr})")


def make_home():
    """All at once: each build waits for the mirror and for its packages' scripts."""
    made = LABS + ".new"
    shutil.rmtree(made, ignore_errors=True)
    harness.copy_home(harness.BOOTED, made)
    try:
        with concurrent.futures.ThreadPoolExecutor() as threads:
            list(threads.map(lambda image: build_image(made, image), IMAGES))
        for tag, image in TAGS.items():
            expect_equal(ramet(made, "image", "tag", image, tag).returncode, 0, f"status of calling {image} {tag}")
    finally:
        ramet(made, "daemon", "stop")
    os.rename(made, LABS)


def up(home, name):
    home.ramet("lab", "up", os.path.join(EXAMPLES, name, "lab.yaml"), "--name", name, timeout=LONG)


def guest(home, lab, vm, script, status=0):
    return home.ramet("lab", "exec", lab, vm, "--", "sh", "-c", script, status=status, timeout=600).out.strip()


def number(home, lab, path):
    text = guest(home, lab, "client", f"cat {path}")
    return int(text) if text else 0


def wait_for_more(home, lab, path, than, what):
    """In the guest, where looking costs little."""
    status = home.ramet("lab", "exec", lab, "client", "--", "sh", "-c", f"for i in $(seq 1800); do "
                        f"[ \"$(cat {path})\" -gt {than} ] && exit 0; sleep 0.3; done; exit 1", status=None, timeout=900).status
    expect_equal(status, 0, f"whether there is {what} in {lab}")


def copies_of(home, snapshot, count):
    home.ramet("lab", "fork", snapshot, "-n", str(count), timeout=LONG)
    return [f"{snapshot}-{i}" for i in range(1, count + 1)]


# etcd

def members(home, lab, vm="n1"):
    """{name: (term, whether it leads)} as that node knows it."""
    found = {}
    for line in json.loads(guest(home, lab, vm, "etcdctl --command-timeout=60s --endpoints n1:2379,n2:2379,n3:2379 "
                                                "endpoint status -w json 2>/dev/null || true") or "[]"):
        status = line["Status"]
        name = line["Endpoint"].split(":")[0]
        found[name] = (status["raftTerm"], status.get("leader") == status["header"]["member_id"])
    return found


def leader_of(found):
    leads = [name for name, (_, is_leader) in found.items() if is_leader]
    return leads[0] if len(leads) == 1 else None


def etcd_number(home, lab, vm="n1"):
    return int(guest(home, lab, vm, "etcdctl --command-timeout=60s get --print-value-only number"))


def check_etcd(home, lab, acknowledged, connections):
    wait_for_more(home, lab, "/run/acknowledged", acknowledged, "the client's writes to go on")
    expect_equal(number(home, lab, "/run/connections"), connections, f"the client's connections in {lab}")
    said = number(home, lab, "/run/acknowledged")
    expect(etcd_number(home, lab) >= said >= acknowledged, f"an acknowledged write is missing in {lab}")
    wait_until(lambda: leader_of(members(home, lab)), f"a leader in {lab}", bound=600)


def test_etcd(home):
    up(home, "etcd")
    wait_for_more(home, "etcd", "/run/acknowledged", 5, "writes")
    expect(leader_of(members(home, "etcd")), "there is a leader")
    acknowledged, connections = number(home, "etcd", "/run/acknowledged"), number(home, "etcd", "/run/connections")
    home.ramet("lab", "snapshot", "etcd", "frozen", timeout=LONG)
    check_etcd(home, "etcd", acknowledged, connections)
    home.ramet("lab", "down", "etcd", timeout=LONG)
    # Four copies, of which two run at a time: an emulated cluster wants a processor of its own.
    for first in (1, 3):
        labs = copies_of(home, "frozen", 2)
        for lab in labs:
            check_etcd(home, lab, acknowledged, connections)
        if first == 1:
            check_divergence(home, *labs)
            check_failover(home, *labs)
        home.ramet("lab", "down", *labs, timeout=LONG)
    home.ramet("lab", "snapshot", "rm", "frozen")
    home.check_no_leftovers()


def check_divergence(home, lab, other):
    guest(home, lab, "n2", f"etcdctl --command-timeout=60s put own {lab}")
    for where, wanted in [(lab, lab), (other, "")]:
        expect_equal(guest(home, where, "n3", "etcdctl --command-timeout=60s get --print-value-only own"), wanted, f"what {where} has")


def check_failover(home, lab, other):
    """The leader is cut off: who is left elects another one, in that copy only."""
    found, elsewhere = members(home, lab), members(home, other)
    leader = leader_of(found)
    expect(leader, f"there is a leader in {lab}: {found}")
    left = [name for name in found if name != leader]
    home.ramet("network", "impair", f"{lab}/{leader}", "--cut")

    def has_new_leader():
        new = leader_of({name: member for name, member in members(home, lab, left[0]).items() if name in left})
        return new in left
    wait_until(has_new_leader, f"another leader in {lab}", bound=900)
    guest(home, lab, left[1], "etcdctl --command-timeout=60s put after failover")
    expect_equal(leader_of(members(home, other)), leader_of(elsewhere), f"the leader of {other}")
    home.ramet("network", "impair", f"{lab}/{leader}")
    wait_until(lambda: leader_of(members(home, lab)) in left, f"the old leader follows in {lab}", bound=900)


# PostgreSQL

def rows(home, lab, vm):
    return int(guest(home, lab, vm, "cd /; runuser -u postgres -- psql -Atc 'select coalesce(max(number), 0) from written'"))


def replica_is(home, lab):
    return guest(home, lab, "replica", "cd /; runuser -u postgres -- psql -Atc 'select status from pg_stat_wal_receiver'")


def check_postgres(home, lab, acknowledged):
    wait_for_more(home, lab, "/run/acknowledged", acknowledged, "the client's writes to go on")
    said = number(home, lab, "/run/acknowledged")
    expect(rows(home, lab, "primary") >= said, f"an acknowledged write is missing in {lab}")
    wait_until(lambda: rows(home, lab, "replica") >= said, f"the replica of {lab} to follow", bound=600)
    expect_equal(replica_is(home, lab), "streaming", f"the replica of {lab}")


def test_postgres(home):
    up(home, "postgres")
    wait_for_more(home, "postgres", "/run/acknowledged", 5, "writes")
    acknowledged = number(home, "postgres", "/run/acknowledged")
    home.ramet("lab", "snapshot", "postgres", "frozen", timeout=LONG)
    check_postgres(home, "postgres", acknowledged)
    home.ramet("lab", "down", "postgres", timeout=LONG)
    for first in (1, 3):
        labs = copies_of(home, "frozen", 2)
        for lab in labs:
            check_postgres(home, lab, acknowledged)
        if first == 1:
            check_promotion(home, *labs)
        home.ramet("lab", "down", *labs, timeout=LONG)
    home.ramet("lab", "snapshot", "rm", "frozen")
    home.check_no_leftovers()


def check_promotion(home, lab, other):
    """The primary is cut off, and the replica takes over, in that copy only."""
    home.ramet("network", "impair", f"{lab}/primary", "--cut")
    guest(home, lab, "replica", "cd /; runuser -u postgres -- psql -Atc 'select pg_promote(true, 600)'")
    guest(home, lab, "replica", "cd /; runuser -u postgres -- psql -qc 'insert into written values (1000000)'")
    expect_equal(replica_is(home, other), "streaming", f"the replica of {other}")
    expect(rows(home, other, "primary") < 1000000, f"{other} has a write of {lab}")


# NAT

def test_nat(home):
    up(home, "nat")
    home.ramet("lab", "snapshot", "nat", "frozen", timeout=LONG)
    labs = copies_of(home, "frozen", 2)
    for lab in labs:
        for i in "12":
            expect_equal(guest(home, lab, f"client{i}", "timeout 60 wget -qO- http://10.90.0.80:8080/"), "hello")
            guest(home, lab, f"client{i}", "! ping -c 1 -W 2 10.9%d.0.2" % (3 - int(i)))  # the other home's
    home.ramet("network", "impair", f"{labs[0]}/router1", "--cut")
    guest(home, labs[0], "client1", "! timeout 5 wget -qO- http://10.90.0.80:8080/")
    expect_equal(guest(home, labs[1], "client1", "timeout 60 wget -qO- http://10.90.0.80:8080/"), "hello")
    seen = home.ramet("lab", "logs", labs[1]).out
    expect("10.90.0.11]:" in seen, f"the server saw the router: {seen}")
    expect("10.91.0." not in seen, f"the server saw an address of a home: {seen}")
    for lab in labs + ["nat"]:
        home.ramet("lab", "down", lab, timeout=LONG)
    home.ramet("lab", "snapshot", "rm", "frozen")
    home.check_no_leftovers()


def main():
    try:
        if not os.path.exists(LABS):
            make_home()
    except harness.Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(77)
    harness.main(LABS)


if __name__ == "__main__":
    main()
