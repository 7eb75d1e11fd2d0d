#!/usr/bin/env python3
"""Networks over a bridge, in a network namespace of its own: who reaches whom, what leaves and arrives, and what is left of
whose end. A second namespace is the world outside."""
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys

import harness
import networks
from harness import expect, expect_equal, expect_match
from networks import ping, serve

INSIDE = "BRIDGES_TEST_INSIDE"
HOST, WORLD = "198.51.100.1", "198.51.100.2"
METADATA = "169.254.169.254"
NOTHING = 5  # seconds in which nobody answers who would

# Says to each who connects what address it sees; and as the address of any name (RFC 1035).
SERVER = """
import socket, sys, threading
def tcp(s):
    while True:
        c, peer = s.accept()
        c.sendall(peer[0].encode() + b"\\n")
        c.close()
def names(s):
    while True:
        data, peer = s.recvfrom(512)
        end = data.index(b"\\0", 12) + 5
        known = data[end - 4:end - 2] == b"\\0\\1"
        s.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([known]) + b"\\0\\0\\0\\0" + data[12:end] +
                 (b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + socket.inet_aton(peer[0]) if known else b""), peer)
t = socket.create_server(("", 7000))
if "names" in sys.argv:
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 53))
    threading.Thread(target=names, args=(u,), daemon=True).start()
print("ready", flush=True)
tcp(t)
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), int(sys.argv[3])) as s:
    print(s.recv(100).decode(), end="")
"""
SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.argv[3].encode().ljust(16, b"\\0"), (sys.argv[1], int(sys.argv[2])))
"""


def run(*command, check=True):
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout


class World:
    """The namespace outside, behind a device of the host's."""

    def __init__(self):
        # pylint: disable=consider-using-with
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; echo ready; exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        expect_equal(self.holder.stdout.readline(), b"ready\n")
        run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0")
        run("ip", "link", "set", "out0", "netns", str(self.holder.pid))
        run("ip", "addr", "add", f"{HOST}/24", "dev", "up0")
        run("ip", "link", "set", "up0", "up")
        run("ip", "route", "add", "default", "via", WORLD)
        self.run("ip", "addr", "add", f"{WORLD}/24", "dev", "out0")
        self.run("ip", "link", "set", "out0", "up")
        self.server = subprocess.Popen([*self.enter(), sys.executable, "-c", SERVER, "names"], stdout=subprocess.PIPE)
        expect_equal(self.server.stdout.readline(), b"ready\n")

    def enter(self):
        return ["nsenter", "-t", str(self.holder.pid), "-n"]

    def run(self, *command, check=True):
        return run(*self.enter(), *command, check=check)

    def ask(self, port, patience=harness.BOUND):
        """What a port of the host says to somebody outside; who expects nothing is not that patient."""
        return self.run(sys.executable, "-c", ASK, HOST, str(port), str(patience), check=False)

    def send(self, port, text):
        self.run(sys.executable, "-c", SEND, HOST, str(port), text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.server, self.holder):
            process.kill()
            process.wait()
        run("ip", "link", "del", "up0", check=False)


def create(home, name, *options):
    return home.json("network", "create", name, "--backend", "bridge", *options)


def start(home, *names, network="lan", ports=()):
    for name in names:
        home.ramet("run", "-d", "--name", name, "--network", network, *ports, "busybox")


def ask(home, vm, address, port):
    """What a guest is told at an address."""
    return home.ramet("exec", vm, "--", "sh", "-c", f"nc {address} {port} </dev/null").out.strip()


def is_refused(home, vm, address, port):
    result = home.ramet("exec", vm, "--", "sh", "-c", f"nc {address} {port} </dev/null", status=1)
    expect_match(result.err, "refused", f"what {vm} hears of {address}:{port}")


def await_sleep(home, name):
    harness.wait_until(lambda: home.vm(name)["state"] == "standby" and home.vm(name)["qemu_pid"] is None, f"{name} to go to sleep")


def links():
    return [line.split()[0].split("@")[0] for line in run("ip", "-br", "link").splitlines()]


def bridge_of(home):
    return next(name for name in links() if name.startswith("ramet"))


def clean(function):
    """A test whose namespace has nothing of one that failed before."""
    def test(home):
        for name in links():
            if name.startswith(("ramet", "rt", "ri")):
                run("ip", "link", "del", name, check=False)
        run("nft", "flush", "ruleset")
        function(home)
    return test


def check_nothing_left(home, *networks):
    """Neither VMs, nor networks, nor anything of them in the host."""
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", *networks)
    expect_equal([name for name in links() if name.startswith(("ramet", "rt", "ri"))], [], "devices that are left")
    expect(" ramet-" not in run("nft", "list", "tables"), "tables are left")
    home.check_no_leftovers()


@clean
def test_siblings(home):
    """They find each other by name and by address, of both kinds; TAP devices are made ahead, and made again."""
    lan = create(home, "lan", "--subnet", "10.201.0.0/24", "--taps", "3")
    expect_equal([lan["backend"], lan["taps"]["size"]], ["bridge", 3])
    harness.wait_until(lambda: home.json("network", "inspect", "lan")["taps"]["free"] == 3, "a full pool")
    start(home, "a", "b")
    for target in ("10.201.0.3", "b", "b.lan.ramet", home.vm("b")["networks"][0]["ip6"], "10.201.0.1", lan["gateway6"]):
        ping(home, "a", target)
    ping(home, "b", "a")
    expect_match(home.ramet("exec", "a", "--", "nslookup", "10.201.0.3").out, r"b\.lan\.ramet")
    home.ramet("rename", "b", "renamed")
    ping(home, "a", "renamed")
    home.ramet("standby", "renamed")
    home.ramet("resume", "renamed")
    ping(home, "a", "renamed")
    ping(home, "renamed", "a")
    harness.wait_until(lambda: home.json("network", "inspect", "lan")["taps"]["free"] == 3, "a pool that is full again")
    home.ramet("network", "create", "other", "--subnet", "10.201.0.128/25", status=4)
    expect_match(home.ramet("network", "rm", "lan", status=4).err, "in use")
    check_nothing_left(home, "lan")


@clean
def test_reachability(home):
    """Of four networks: within each, between them, the gateways, and outside."""
    with World() as world:
        networks = {"open": (), "alone": ("--isolated",), "inner": ("--no-uplink",), "shut": ("--isolated", "--no-uplink")}
        for name, options in networks.items():
            create(home, name, *options)
            start(home, f"{name}-a", f"{name}-b", network=name)
        address = {vm["name"]: vm["ip"] for vm in home.json("ps")}
        for name, options in networks.items():
            guest = f"{name}-a"
            ping(home, guest, home.json("network", "inspect", name)["gateway"])
            ping(home, guest, address[f"{name}-b"], status=1 if "--isolated" in options else 0)
            ping(home, guest, address["inner-b" if name != "inner" else "open-b"], status=1)
            ping(home, guest, WORLD, status=1 if "--no-uplink" in options else 0)
        expect_equal(ask(home, "open-a", WORLD, 7000), HOST, "who comes to the world outside")
        expect_match(home.ramet("exec", "open-a", "--", "nslookup", "me.example", WORLD).out, rf"Address.*: {HOST}", "who comes by UDP")
        serve(home, "open-a")
        expect_equal(run(sys.executable, "-c", ASK, address["open-a"], "80", str(harness.BOUND)), "open-a\n", "what the host hears")
        world.run("ip", "route", "add", "10.77.0.0/16", "via", HOST)
        expect_equal(world.run(sys.executable, "-c", ASK, address["open-a"], "80", str(NOTHING), check=False), "", "what is heard outside")
        check_nothing_left(home, *networks)


def listen_everywhere():
    """A server of the host, at all of its addresses."""
    # pylint: disable=consider-using-with
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    expect_equal(server.stdout.readline(), b"ready\n")
    return server


def check_closed(home):
    create(home, "lan")
    create(home, "friends", "--allow-host")
    start(home, "a", network="lan")
    start(home, "f", network="friends")
    gateway, friend = (home.json("network", "inspect", name)["gateway"] for name in ("lan", "friends"))
    for address in (METADATA, gateway):
        is_refused(home, "a", address, 7000)
    home.ramet("exec", "a", "--", "ip", "route", "add", "127.0.0.9", "via", gateway, status=None)
    for address in ("100.100.100.200", "192.0.0.192"):
        is_refused(home, "a", address, 80)
    expect_match(ask(home, "a", HOST, 7000), r"^10\.77\.")
    expect_match(ask(home, "f", METADATA, 7000), r"^10\.77\.")
    expect_match(ask(home, "f", friend, 7000), r"^10\.77\.")


@clean
def test_closed(home):
    """The host's loopback, its link-local addresses and the clouds' metadata, and when they are open."""
    with World():
        run("ip", "addr", "replace", f"{METADATA}/32", "dev", "lo")
        server = listen_everywhere()
        try:
            check_closed(home)
        finally:
            server.kill()
            server.wait()
        check_nothing_left(home, "lan", "friends")


@clean
def test_spoofing(home):
    """Of all that a guest may forge its neighbour hears nothing."""
    create(home, "lan", "--subnet", "10.201.0.0/24")
    start(home, "a", "b")
    for name in ("a", "b"):
        home.ramet("cp", os.path.join(harness.BUILD, "tests/system/spoofer"), f"{name}:/spoofer")
    listener = home.start("exec", "b", "--", "/spoofer", "listen")
    expect_equal(listener.stdout.readline(), b"ready\n")
    home.ramet("exec", "a", "--", "/spoofer", "send", home.vm("b")["mac"], home.vm("b")["ip"])
    expect_equal(listener.communicate(timeout=harness.BOUND)[0], b"honest\n", "frames that arrived")
    check_nothing_left(home, "lan")


def said(port, patience=harness.BOUND):
    return run(sys.executable, "-c", ASK, "127.0.0.1", str(port), str(patience), check=False)


@clean
def test_forwards(home):
    """From the host and from outside, while the VM runs and after its next start; a port leads to one VM."""
    with World() as world:
        create(home, "lan", "--no-uplink")
        start(home, "b", ports=("-p", "0:80", "-p", "0.0.0.0:8080:80", "-p", "0.0.0.0:8081:7000/udp"))
        start(home, "c")
        serve(home, "b")
        serve(home, "c")
        port = home.vm("b")["forwards"][0]["host_port"]
        expect_equal(said(port), "b\n", "what the loopback gives")
        expect_equal(world.ask(8080), "b\n", "what is heard outside")
        expect_equal(world.ask(port, NOTHING), "", "a port of the loopback is not seen outside")
        home.ramet("cp", os.path.join(harness.BUILD, "tests/system/spoofer"), "b:/spoofer")
        listener = home.start("exec", "b", "--", "/spoofer", "listen")
        expect_equal(listener.stdout.readline(), b"ready\n")
        world.send(8081, "honest")
        expect_equal(listener.communicate(timeout=harness.BOUND)[0], b"honest\n", "what came by UDP")
        expect_match(home.ramet("port", "add", "c", "0.0.0.0:8080:80", status=4).err, "leads to another VM")
        home.ramet("port", "rm", "b", "8080")
        expect_equal(world.ask(8080, NOTHING), "", "a port that was removed")
        home.ramet("port", "add", "c", "0.0.0.0:8080:80")
        expect_equal(world.ask(8080), "c\n")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            home.ramet("port", "add", "b", f"{taken.getsockname()[1]}:80", status=4)
        home.ramet("stop", "b")
        home.ramet("start", "b")
        serve(home, "b")
        expect_equal(said(port), "b\n", "what the loopback gives after a start")
        check_nothing_left(home, "lan")


@clean
def test_sleep(home):
    """A connection wakes a VM that sleeps, and is not lost; what is sent over the bridge keeps one awake."""
    with World() as world:
        create(home, "lan")
        start(home, "b", ports=("-p", "0:80", "-p", "0.0.0.0:8080:80"))
        serve(home, "b")
        port = home.vm("b")["forwards"][0]["host_port"]
        expect_equal(said(port), "b\n", "what the loopback gives")
        card = home.json("stats", "b")[0]["networks"][0]
        expect(card["sent_packets"] > 0 and card["received_packets"] > 0, f"counters: {card}")
        home.ramet("update", "b", "--idle-standby", "3s")
        await_sleep(home, "b")
        expect_equal(said(port), "b\n", "what the loopback gives of one that slept")
        await_sleep(home, "b")
        expect_equal(world.ask(8080), "b\n", "what is heard outside of one that slept")
        await_sleep(home, "b")
        # over the end of the daemon, and of the tables; with ports that come and go meanwhile
        home.kill_daemon()
        run("nft", "flush", "ruleset")
        home.ramet("port", "rm", "b", "8080")
        home.ramet("port", "add", "b", "0.0.0.0:8081:80")
        expect_equal(home.vm("b")["state"], "standby", "state after a change of its ports")
        expect_equal(world.ask(8080, NOTHING), "", "a port that was removed")
        expect_equal(world.ask(8081), "b\n", "a port that came while it slept")
        await_sleep(home, "b")
        home.ramet("stop", "b")
        expect_equal(world.ask(8081, NOTHING), "", "a port of a VM that was stopped")
        home.ramet("run", "-d", "--name", "c", "--network", "lan", "-p", f"{port}:80", "busybox")
        check_nothing_left(home, "lan")


@clean
def test_forks(home):
    """Each has an address of its own; a snapshot fits networks of every kind."""
    create(home, "lan", "--taps", "4")
    home.ramet("network", "create", "switched", "--backend", "switch")
    start(home, "a")
    forks = home.json("fork", "a", "--name", "f", "-n", "6")
    expect_equal(len({vm["ip"] for vm in forks} | {home.vm("a")["ip"]}), 7, "different addresses")
    for i in range(6):
        ping(home, f"f-{i + 1}", f"f-{(i + 1) % 6 + 1}")
    home.ramet("rm", "-f", "f-*")
    home.ramet("fork", "a", "--name", "s", "-n", "2", "--network", "switched")
    ping(home, "s-1", "s-2")
    home.ramet("fork", "s-1", "--name", "back", "--network", "lan")
    ping(home, "back", "a")
    ping(home, "a", "back")
    left = home.json("fork", "back", "--name", "left", "--network", "user")
    expect_equal(left["ip"], "10.0.2.15")
    home.ramet("fork", "left", "--name", "joined", "--network", "lan")
    ping(home, "joined", "a")
    home.ramet("snapshot", "create", "a", "ready")
    home.ramet("pool", "set", "--wait", "ready", "1")
    expect_equal(home.json("fork", "ready", "--name", "claimed")["boot"], "claimed")
    ping(home, "claimed", "joined")
    home.ramet("pool", "set", "ready", "0")
    check_nothing_left(home, "lan", "switched")


FOREIGN = """table inet theirs {
\tset addresses {
\t\ttype ipv4_addr
\t\telements = { 10.1.2.3 }
\t}

\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr @addresses drop
\t}
}
"""


@clean
def test_neighbours(home):
    """Somebody else's table, and a device whose name is like ours, stay as they are; two homes do not meet."""
    other = harness.Home(template=harness.BOOTED)
    subprocess.run(["nft", "-f", "-"], input=FOREIGN, text=True, check=True)
    run("ip", "link", "add", "ramet12345678", "type", "bridge")
    try:
        create(home, "lan", "--subnet", "10.201.0.0/24")
        create(other, "lan", "--subnet", "10.202.0.0/24")
        other.ramet("network", "create", "more", "--backend", "bridge", "--subnet", "10.201.0.0/25", status=4)
        start(home, "a", ports=("-p", "0:80"))
        start(other, "a")
        ping(home, "a", "10.201.0.1")
        ping(other, "a", "10.202.0.1")
        ping(other, "a", home.vm("a")["ip"], status=1)
        expect_equal(run("nft", "list", "table", "inet", "theirs"), FOREIGN, "somebody else's table")
        home.ramet("rm", "-f", "a")
        home.ramet("network", "rm", "lan")
        ping(other, "a", "10.202.0.1")
        other.ramet("rm", "-f", "a")
        other.ramet("network", "rm", "lan")
        expect_equal([name for name in links() if name.startswith(("ramet", "rt", "ri"))], ["ramet12345678"], "devices")
        expect_equal(run("nft", "list", "table", "inet", "theirs"), FOREIGN, "somebody else's table")
    finally:
        other.close()
        run("ip", "link", "del", "ramet12345678", check=False)
        run("nft", "flush", "ruleset")


@clean
def test_ends(home):
    """Whatever is killed or removed is there again: the daemon, the switch that knows the names, the bridge, the tables."""
    create(home, "lan", "--taps", "2")
    start(home, "a")
    start(home, "b", ports=("-p", "0:80"))
    serve(home, "b")
    port, ip = home.vm("b")["forwards"][0]["host_port"], home.vm("b")["ip"]
    home.kill_daemon()
    expect_equal(said(port), "b\n", "a forward without a daemon")
    ping(home, "a", "b")
    harness.wait_until(lambda: home.json("network", "inspect", "lan")["taps"]["free"] == 2, "a pool of the next daemon")
    run("ip", "link", "del", bridge_of(home))
    harness.wait_until(lambda: any(name.startswith("ramet") for name in links()), "another bridge")
    ping(home, "a", ip)
    harness.wait_until(lambda: said(port, NOTHING) == "b\n", "the forward")
    run("nft", "flush", "ruleset")
    harness.wait_until(lambda: said(port, NOTHING) == "b\n", "the tables")
    os.kill(next(pid for pid in harness.processes_of(home.path) if harness.is_switch(pid)), signal.SIGKILL)
    harness.wait_until(lambda: home.ramet("exec", "a", "--", "nslookup", "b.lan.ramet", status=None).status == 0, "names")
    home.kill_daemon()
    run("ip", "link", "del", bridge_of(home))
    run("nft", "flush", "ruleset")
    ping(home, "a", ip)
    harness.wait_until(lambda: said(port, NOTHING) == "b\n", "all of it after another start")
    home.ramet("stop", "b")
    home.ramet("start", "b")
    ping(home, "a", "b")
    check_nothing_left(home, "lan")


@clean
def test_left_overs(home):
    """A bridge without a network, as a daemon leaves that is killed while it removes one."""
    create(home, "lan")
    alias = run("ip", "-d", "link", "show", bridge_of(home)).split("alias ")[1].splitlines()[0]
    home.kill_daemon()
    words = alias.split()
    words[2] = "0123456789abcdef" * 2
    run("ip", "link", "add", "ramet01234567", "type", "bridge")
    run("ip", "link", "set", "ramet01234567", "alias", " ".join(words))
    run("ip", "link", "add", "ramet89abcdef", "type", "bridge")
    home.json("network", "ls")
    harness.wait_until(lambda: "ramet01234567" not in links(), "the end of what was left")
    expect("ramet89abcdef" in links(), "somebody else's device is left alone")
    run("ip", "link", "del", "ramet89abcdef")
    start(home, "a")
    ping(home, "a", home.json("network", "inspect", "lan")["gateway"])
    check_nothing_left(home, "lan")


def count_answers(home, vm, target, count):
    """Of pings of 1,000 bytes that come one after the other."""
    out = home.ramet("exec", vm, "--", "sh", "-c", f"ping -q -s 1000 -i 0.05 -W 2 -c {count} {target}; true").out
    return int(re.search(r"(\d+) packets received", out).group(1))


@clean
def test_limits(home):
    """A rate drops what is beyond it, from a card and to it, until it goes; clones have it, and who is killed tells it again."""
    create(home, "lan")
    gateway = home.json("network", "inspect", "lan")["gateway"]
    start(home, "a", "b")
    home.ramet("network", "limit", "a", "connections=9", status=1)
    expect_equal(home.vm("a")["net_limit"], None)
    for limit in "packets=1", "out=12k", "in=12k":
        home.ramet("network", "limit", "a", limit)
        many = 60 if "packets" in limit else 200
        got = count_answers(home, "a", gateway, many)
        expect(0 < got < many, f"{got} of {many} answers with {limit}")
    home.ramet("network", "limit", "a", "packets=1,in=8M,out=8M")
    expect_equal(count_answers(home, "b", gateway, 60), 60, "answers for one that has no limit")
    home.ramet("fork", "a", "--name", "c")
    home.kill_daemon()
    run("nft", "flush", "ruleset")
    home.ramet("ps")
    ping(home, "b", gateway)
    for name in "a", "c":
        harness.wait_until(lambda vm=name: count_answers(home, vm, gateway, 60) < 60, f"the limit of {name} in the next tables")
    home.ramet("network", "limit", "a")
    expect_equal(count_answers(home, "a", gateway, 60), 60, "answers without a limit")
    check_nothing_left(home, "lan")


@clean
def test_capture(home):
    """Of a network all that passes, of a card what is its own, until it is interrupted or the VM's device goes."""
    create(home, "lan")
    start(home, "a", "b", "c")
    paths = [os.path.join(home.folder, name) for name in ("lan", "a", "c")]
    clients = [home.start("network", "capture", os.path.basename(path), path) for path in paths]
    for path in paths:
        harness.wait_until(lambda path=path: os.path.exists(path) and os.path.getsize(path) >= 48, "the capture to begin")
    for pair in ("a", "b"), ("b", "c"), ("a", None):
        ping(home, pair[0], home.vm(pair[1])["ip"] if pair[1] else home.json("network", "inspect", "lan")["gateway"])
    ips = {home.vm(name)["ip"]: name for name in ("a", "b", "c")}

    def pings(path):
        packets = [packet for packet in networks.packets_of(path) if packet[12:14] == b"\x08\0" and packet[23] == 1]
        return [(ips.get(socket.inet_ntoa(packet[26:30])), ips.get(socket.inet_ntoa(packet[30:34]))) for packet in packets]

    def wanted(*pairs):
        return sorted([pair for a, b in pairs for pair in ((a, b), (b, a))], key=str)
    cases = wanted(("a", "b"), ("b", "c"), ("a", None)), wanted(("a", "b"), ("a", None)), wanted(("b", "c"))
    for path, pairs in zip(paths, cases):
        harness.wait_until(lambda path=path, pairs=pairs: sorted(pings(path), key=str) == pairs, f"the pings in {path}")
    home.ramet("rm", "-f", "c")
    for client in clients:
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=harness.BOUND)
    home.ramet("network", "capture", "nosuch", "/dev/null", status=3)
    check_nothing_left(home, "lan")


@clean
def test_exhausted(home):
    """Addresses that are all taken, a pool that is empty, a device's name that somebody has."""
    create(home, "lan", "--subnet", "10.201.0.0/29", "--taps", "1")
    for i in range(5):
        home.ramet("create", "--name", f"v{i}", "--network", "lan", "busybox")
    expect_match(home.ramet("create", "--network", "lan", "busybox", status=4).err, "no free address")
    home.ramet("start", "v0", "v1", "v2")
    ping(home, "v0", home.vm("v2")["ip"])
    home.ramet("network", "create", "many", "--backend", "bridge", "--taps", "2000", status=2)
    check_nothing_left(home, "lan")


@clean
def test_no_more_taps(home):
    """A bridge that has all the ports that there can be; and then one less."""
    create(home, "lan")
    bridge = bridge_of(home)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    taps = [make_tap(f"full{i}") for i in range(1023)]
    text = "".join(f"link set full{i} master {bridge}\n" for i in range(len(taps)))
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    expect_match(home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox", status=1).err,
                 "cannot start a: .*TAP device for network lan.*make another network")
    expect_equal(home.json("ps", "-a"), [], "VMs that are half made")
    os.close(taps.pop())
    start(home, "a")
    ping(home, "a", home.json("network", "inspect", "lan")["gateway"])
    for tap in taps:
        os.close(tap)
    check_nothing_left(home, "lan")


def make_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x1002))  # TUNSETIFF: IFF_TAP, IFF_NO_PI
    return tap


@clean
def test_no_more_ports(home):
    """All ports that the host may choose of lead somewhere: odd ones, since it gives others only when no odd one is bound."""
    create(home, "lan")
    path = "/proc/sys/net/ipv4/ip_local_port_range"
    with open(path, encoding="utf-8") as file:
        before = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("40000 40008")
    start(home, "a", ports=("-p", "0:80", "-p", "0:81"))
    ports = [word for port in (80, 81, 82) for word in ("-p", f"0:{port}")]
    expect_match(home.ramet("create", "--name", "b", "--network", "lan", *ports, "busybox", status=4).err,
                 "no port of 127.0.0.1 is free.*choose one")
    expect_equal(len(home.json("ps", "-a")), 1, "VMs")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before)
    check_nothing_left(home, "lan")


@clean
def test_fifty_forks(home):
    create(home, "lan", "--taps", "8")
    start(home, "a")
    networks.check_many_forks(home)
    check_nothing_left(home, "lan")


def enter_namespace():
    """Starts this program again in a namespace that it may do in what it likes."""
    if INSIDE in os.environ:
        run("ip", "link", "set", "lo", "up")
        return
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        print("bridges want root, and /dev/net/tun", file=sys.stderr)
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


if __name__ == "__main__":
    enter_namespace()
    harness.main(harness.BOOTED)
