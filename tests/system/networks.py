#!/usr/bin/env python3
"""Networks of VMs: cards, addresses, names, forwards; what one hears of the other, and what outlives whose end."""
import os
import re
import signal
import socket
import struct

import harness
from harness import expect, expect_equal, expect_match

SHOW = ("for card in eth0 eth1; do cat /sys/class/net/$card/address; "
        "ip -4 -o addr show $card | sed -n 's,.*inet \\([0-9.]*\\)/.*,\\1,p'; done; ip route | grep -c ^default")


def check_cards(home, name, networks):
    """The cards are in the guest what the host says, and in its order."""
    vm = home.vm(name)
    expect_equal([(network["name"], network["card"]) for network in vm["networks"]],
                 [(network, f"eth{i}") for i, network in enumerate(networks)], f"networks of {name}")
    expect_equal([vm["networks"][0][key] for key in ("ip", "mac")], [vm["ip"], vm["mac"]], "of the first card")
    wanted = [line for network in vm["networks"] for line in (network["guest_mac"] or network["mac"], network["ip"]) if line]
    wanted.append("1" if "user" in networks else "0")
    expect_equal(home.ramet("exec", name, "--", "sh", "-c", SHOW + "; true").out.split(), wanted, f"cards of {name}")


def test_two_cards(home):
    home.ramet("run", "-d", "--name", "two", "--network", "none", "--network", "user", "-p", "0:80", "busybox")
    check_cards(home, "two", ["none", "user"])
    clones = home.json("fork", "two", "--name", "clone", "-n", "2", "-p", "0:80")
    macs = {network["mac"] for vm in [home.vm("two"), *clones] for network in vm["networks"]}
    expect_equal(len(macs), 6, "different hardware addresses")
    check_cards(home, "clone-1", ["none", "user"])
    home.ramet("standby", "clone-1")
    home.ramet("resume", "clone-1")
    check_cards(home, "clone-1", ["none", "user"])
    home.ramet("fork", "two", "--name", "cut", "--network", "none")
    expect_equal(home.ramet("exec", "cut", "--", "sh", "-c", "ip route | grep -c default; true").out, "0\n")
    expect_match(home.ramet("fork", "two", *["--network", "none"] * 3, status=2).err, "2 network cards")
    home.ramet("create", "--network", "user", "--network", "user", "busybox", status=2)
    home.ramet("create", "--network", "nosuch", "busybox", status=3)
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_user_is_closed_to_the_host_itself(home):
    """Loopback and metadata are refused at once; who comes in through a forward is answered."""
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as asker:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        vm = home.json("run", "-d", "--name", "alone", "-p", "127.0.0.1:0:7000/udp", "busybox")
        for address in (f"10.0.2.2 {port}", f"127.0.0.1 {port}", "169.254.169.254 80", "100.100.100.200 80"):
            home.ramet("exec", "alone", "--", "sh", "-c", f"! nc -w 20 {address} </dev/null")
        listener.settimeout(0)
        try:
            expect(not listener.accept(), "the guest reached the host's loopback")
        except BlockingIOError:
            pass
        home.ramet("cp", os.path.join(harness.BUILD, "tests/system/spoofer"), "alone:/spoofer")
        home.ramet("exec", "-d", "alone", "--", "/spoofer", "echo")
        forward = home.ramet("port", "ls", "alone", "--json").json()[0]
        asker.settimeout(1)
        asker.connect(("127.0.0.1", forward["host_port"]))

        def is_answered():
            try:
                asker.send(b"heard")
                return asker.recv(100) == b"heard"
            except (TimeoutError, ConnectionError):
                return False
        harness.wait_until(is_answered, "an answer through the forward")
    home.ramet("rm", "-f", vm["name"])
    home.check_no_leftovers()


def test_networks(home):
    expect_equal(home.ramet("network", "create", "lan").out, "lan\n")
    expect_match(home.json("network", "inspect", "lan")["chosen"], "^auto: ")
    lab = home.json("network", "create", "lab", "--backend", "switch", "--subnet", "10.201.0.0/24", "--isolated", "--no-uplink")
    expect_equal({key: lab[key] for key in ("name", "backend", "chosen", "subnet", "gateway", "isolated", "uplink", "taps", "vms", "impair")},
                 {"name": "lab", "backend": "switch", "chosen": None, "subnet": "10.201.0.0/24", "gateway": "10.201.0.1", "isolated": True,
                  "uplink": False, "taps": {"free": 0, "size": 0}, "vms": [], "impair": None})
    expect_match(lab["subnet6"], r"^fd[0-9a-f:]+::/64$")
    expect_equal(home.json("network", "inspect", "lab"), lab)
    expect_equal([network["name"] for network in home.json("network", "ls")], ["lan", "lab"])
    expect_match(home.ramet("network", "ls").out, r"lab +switch +10\.201\.0\.0/24 +isolated, no uplink +0 ")
    home.ramet("network", "create", "lan", status=4)
    expect_match(home.ramet("network", "create", "other", "--subnet", "10.201.0.128/25", status=4).err, "network lab has")
    expect_match(home.ramet("network", "create", "other", "--subnet", "127.0.0.0/24", status=2).err, "loopback")
    home.ramet("network", "create", "user", status=2)
    home.ramet("network", "create", "../x", status=2)
    expect_match(home.ramet("network", "create", "other", "--taps", "4", status=2).err, "--backend bridge")
    home.ramet("daemon", "stop")
    home.ramet("network", "rm", "lan", "lab")
    home.ramet("network", "rm", "lan", status=3)
    home.ramet("network", "inspect", "lab", status=3)
    expect_equal(home.json("network", "ls"), [])


def serve(home, vm, port=80):
    """A server in the guest that says its host name to each who comes; it listens when this returns."""
    home.ramet("exec", vm, "--", "sh", "-c", f"nc -ll -p {port} -e hostname >/dev/null 2>&1 & "
               f"while ! netstat -ltn | grep -q ':{port} '; do usleep 10000; done")


def switches(home, user=False):
    """The ids of the home's switches; that of the network user is one for itself."""
    return [pid for pid in harness.processes_of(home.path) if harness.is_switch(pid) and harness.is_user_switch(pid) == user]


def ping_until_answered(target):
    """For a guest's shell. A frame that waits for a neighbour's address is lost when a slow guest tells it too late, so it
    is tried again."""
    return f"for i in $(seq 30); do ping -c 1 -W 5 {target} && exit 0; done; exit 1"


def ping(home, vm, target, status=0):
    """With -W, since busybox waits ten seconds for an answer whatever -w says."""
    script = ping_until_answered(target) if status == 0 else f"ping -c 1 -W 2 {target}"
    return home.ramet("exec", vm, "--", "sh", "-c", script, status=status, timeout=2 * harness.BOUND)


def check_many_forks(home, count=50):
    """Clones of `a` have an address each, in the guest as well, and each answers its neighbour."""
    home.ramet("fork", "a", "--name", "f", "-n", str(count), timeout=600)
    names = [f"f-{i + 1}" for i in range(count)]
    vms = {vm["name"]: vm for vm in home.json("ps")}
    for key in ("ip", "mac", "hostname"):
        expect_equal(len({vm[key] for vm in vms.values()}), count + 1, f"values of {key} among {count} clones and their source")
    for name, following in zip(names, names[1:] + ["a"]):
        out = home.ramet("exec", name, "--", "sh", "-c", f"ip -4 addr show eth0; {ping_until_answered(vms[following]['ip'])}").out
        expect(f"inet {vms[name]['ip']}/" in out and "1 packets received" in out, f"what {name} says: {out}")


def test_fifty_forks(home):
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    check_many_forks(home)
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")
    home.check_no_leftovers()


def test_exhausted(home):
    """Addresses that are all taken, and more ports than a VM may have."""
    home.ramet("network", "create", "tiny", "--backend", "switch", "--subnet", "10.202.0.0/29")
    for i in range(5):
        home.ramet("create", "--name", f"v{i}", "--network", "tiny", "busybox")
    expect_match(home.ramet("create", "--network", "tiny", "busybox", status=4).err, "no free address")
    expect_match(home.ramet("fork", "v0", "--network", "tiny", status=4).err, "no free address")
    home.ramet("rm", "v4")
    home.ramet("create", "--name", "v4", "--network", "tiny", "busybox")
    ports = [word for i in range(65) for word in ("-p", f"0:{i + 1}")]
    expect_match(home.ramet("create", "--name", "p", *ports, "busybox", status=2).err, "64")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "tiny")


def test_siblings(home):
    """They find each other by name and by address; what is asked for is had, or refused."""
    home.ramet("network", "create", "lan", "--backend", "switch", "--subnet", "10.201.0.0/24")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    home.ramet("run", "-d", "--name", "b", "--network", "lan,ip=10.201.0.9,mac=52:54:00:00:00:99", "--network", "user", "busybox")
    check_cards(home, "b", ["lan", "user"])
    expect_equal([home.vm("a")["ip"], home.vm("b")["ip"], home.vm("b")["mac"]], ["10.201.0.2", "10.201.0.9", "52:54:00:00:00:99"])
    for target in ("10.201.0.9", "b", "b.lan.ramet", home.vm("b")["networks"][0]["ip6"], "10.201.0.1"):
        ping(home, "a", target)
    ping(home, "b", "a")
    expect_match(home.ramet("create", "--network", "lan,ip=10.201.0.9", "busybox", status=4).err, "10.201.0.9")
    home.ramet("create", "--network", "lan,mac=52:54:00:00:00:99", "busybox", status=4)
    home.ramet("create", "--network", "lan,ip=10.202.0.9", "busybox", status=2)
    expect_match(home.ramet("network", "rm", "lan", status=4).err, "in use")
    home.ramet("rename", "b", "renamed")
    ping(home, "a", "renamed")
    home.ramet("standby", "renamed")
    home.ramet("create", "--network", "lan,ip=10.201.0.9", "busybox", status=4)
    home.ramet("resume", "renamed")
    ping(home, "a", "renamed")
    home.ramet("rm", "-f", "*")
    expect_equal(home.json("network", "inspect", "lan")["vms"], [])
    home.ramet("network", "rm", "lan")
    expect_equal([switches(home), harness.network_files(home)], [[], []], "what is left of a network")
    home.check_no_leftovers()


def test_isolated(home):
    """They reach their gateway, and not each other; without an uplink there is no way out."""
    home.ramet("network", "create", "lan", "--backend", "switch", "--isolated", "--no-uplink")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    home.ramet("run", "-d", "--name", "b", "--network", "lan", "busybox")
    ping(home, "a", home.json("network", "inspect", "lan")["gateway"])
    ping(home, "a", home.vm("b")["ip"], status=1)
    expect_equal(home.ramet("exec", "a", "--", "sh", "-c", "ip route | grep -c ^default; true").out, "0\n")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def test_forks(home):
    """Eight forks, each with an address of its own, that answer each other; then others, elsewhere."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("network", "create", "other", "--backend", "switch")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    forks = home.json("fork", "a", "--name", "f", "-n", "8")
    expect_equal(len({vm["ip"] for vm in forks} | {home.vm("a")["ip"]}), 9, "different addresses")
    for i in range(8):
        ping(home, f"f-{i + 1}", f"f-{(i + 1) % 8 + 1}")
        ping(home, f"f-{i + 1}", forks[i - 1]["ip"])
    home.ramet("rm", "-f", "f-*")
    home.ramet("fork", "a", "--name", "o", "-n", "2", "--network", "other")
    ping(home, "o-1", "o-2")
    ping(home, "o-1", home.vm("a")["ip"], status=1)
    home.ramet("run", "-d", "--name", "u", "busybox")
    home.ramet("fork", "u", "--name", "joined", "--network", "lan")
    ping(home, "joined", "a")
    left = home.json("fork", "a", "--name", "left", "--network", "user")
    expect_equal(left["ip"], "10.0.2.15")
    ping(home, "left", "10.0.2.2")
    home.ramet("snapshot", "create", "a", "ready")
    home.ramet("pool", "set", "--wait", "ready", "1")
    expect_equal(len(home.json("network", "inspect", "lan")["vms"]), 2, "a warm clone has no address")
    expect_equal(home.json("fork", "ready", "--name", "claimed")["boot"], "claimed")
    ping(home, "claimed", "joined")
    home.ramet("pool", "set", "ready", "0")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan", "other")


def card(home, vm):
    """The hardware address of the guest's first card as the guest sees it, and as its network does."""
    address = home.ramet("exec", vm, "--", "cat", "/sys/class/net/eth0/address").out.strip()
    shown = home.vm(vm)["networks"][0]
    expect_equal(shown["guest_mac"] or shown["mac"], address, f"the card of {vm}")
    return address, shown["mac"]


def test_kept_cards(home):
    """A clone's card stays as its source's, and its network knows it by another address; one that is asked for is the card's, too."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("network", "create", "other", "--backend", "switch")
    home.ramet("run", "-d", "--cold", "--name", "a", "--network", "lan", "busybox")
    own = card(home, "a")[0]
    expect_equal(card(home, "a"), (own, own), "of a VM that booted")
    home.ramet("fork", "a", "--name", "b")
    home.ramet("fork", "b", "--name", "c")
    expect_equal({card(home, vm)[0] for vm in ("a", "b", "c")}, {own}, "cards of clones")
    expect_equal(len({card(home, vm)[1] for vm in ("a", "b", "c")}), 3, "different addresses in the network")
    for vm, target in (("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "a"), ("a", home.vm("c")["networks"][0]["ip6"])):
        ping(home, vm, target)
    asked = "52:54:00:00:00:77"
    home.ramet("fork", "b", "--name", "asked", "--network", f"lan,mac={asked}")
    expect_equal(card(home, "asked"), (asked, asked), "as asked for")
    ping(home, "asked", "a")
    home.ramet("fork", "b", "--name", "left", "--network", "user")
    expect_equal(card(home, "left")[0], own, "alone")
    home.ramet("fork", "b", "--name", "cut", "--network", "none")
    home.ramet("fork", "left", "--name", "back", "--network", "lan")
    ping(home, "back", "c")
    home.ramet("fork", "b", "--name", "o", "-n", "2", "--network", "other")
    expect_equal(card(home, "o-1")[0], own, "in another network")
    ping(home, "o-1", "o-2")
    home.ramet("standby", "b")
    home.ramet("resume", "b")
    expect_equal(card(home, "b")[0], own, "after a standby")
    ping(home, "b", "a")
    for pid in switches(home):
        os.kill(pid, signal.SIGKILL)
    harness.wait_until(lambda: len(switches(home)) == 2, "new switches")
    ping(home, "c", "b")
    home.ramet("snapshot", "create", "b", "ready")
    for network, wanted in (("lan", own), (f"other,mac={asked}", asked)):
        home.ramet("pool", "set", "--wait", "ready", "1")
        claimed = home.json("fork", "ready", "--name", "claimed", "--network", network)
        expect_equal(claimed["boot"], "claimed")
        expect_equal(card(home, "claimed")[0], wanted, f"claimed for {network}")
        ping(home, "claimed", "a" if network == "lan" else "o-1")
        home.ramet("rm", "-f", "claimed")
    home.ramet("pool", "set", "ready", "0")
    home.ramet("stop", "b")
    home.ramet("start", "--cold", "b")
    expect_equal(len(set(card(home, "b"))), 1, "after a boot")
    home.ramet("rm", "-f", "*")
    home.ramet("snapshot", "rm", "--cascade", "ready")
    home.ramet("network", "rm", "lan", "other")


def test_plugged_in_later(home):
    """What was in no network when it was frozen may be in one as a clone."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("run", "-d", "--name", "cut", "--network", "none", "busybox")
    home.ramet("exec", "cut", "--", "sh", "-c", "ip addr add 10.9.9.9/24 dev eth0; ping -c 20 -i 0.01 -W 1 10.9.9.1 >/dev/null; ip addr del 10.9.9.9/24 dev eth0")
    for name in ("a", "b"):
        home.ramet("fork", "cut", "--name", name, "--network", "lan")
    ping(home, "a", "b")
    home.ramet("fork", "cut", "--name", "out", "--network", "user")
    ping(home, "out", "10.0.2.2")
    home.ramet("fork", "a", "--name", "again", "--network", "none")
    home.ramet("fork", "again", "--name", "back", "--network", "lan")
    ping(home, "back", "a")
    home.ramet("snapshot", "create", "cut", "ready")
    home.ramet("pool", "set", "--wait", "ready", "1")
    expect_equal(home.json("fork", "ready", "--name", "joined", "--network", "lan")["boot"], "forked")
    ping(home, "joined", "back")
    expect_equal(home.json("fork", "ready", "--name", "claimed")["boot"], "claimed")
    home.ramet("standby", "claimed")
    home.ramet("resume", "claimed")
    home.ramet("pool", "set", "ready", "0")
    home.ramet("rm", "-f", "*")
    home.ramet("snapshot", "rm", "--cascade", "ready")
    home.ramet("network", "rm", "lan")


HOLD = ("mkfifo /in; sleep 1000000 >/in & (nc {} {} </in >/out 2>/dev/null; echo $? >/ended) >/dev/null 2>&1 & "
        "while ! netstat -tn | grep -q ESTABLISHED; do usleep 10000; done")


def packets_of(path):
    """The frames of a pcapng file, all of whose blocks must be whole."""
    with open(path, "rb") as file:
        data = file.read()
    packets, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        expect_equal(struct.unpack_from("<I", data, at + length - 4)[0], length, f"length of the block at {at}")
        if kind == 6:
            captured = struct.unpack_from("<I", data, at + 20)[0]
            packets.append(data[at + 28:at + 28 + captured])
        at += length
    return packets


def test_capture(home):
    """Of a network or a card, until it is interrupted; the file is good then."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    a = home.json("run", "-d", "--name", "a", "--network", "lan", "busybox")
    b = home.json("run", "-d", "--name", "b", "--network", "lan", "busybox")
    home.ramet("run", "-d", "--name", "alone", "busybox")
    pair = socket.inet_aton(a["ip"]) + socket.inet_aton(b["ip"])
    for target in ("lan", "b", "b --card eth0"):
        path = os.path.join(home.path, "captured-" + target.replace(" ", ""))
        client = home.start("network", "capture", *target.split(), path)
        harness.wait_until(lambda: os.path.exists(path) and os.path.getsize(path) >= 28, "the capture to begin")
        ping(home, "a", b["ip"])
        harness.wait_until(lambda: any(packet[26:34] == pair and packet[23] == 1 for packet in packets_of(path)),
                           f"the ping in the capture of {target}")
        client.send_signal(signal.SIGINT)
        _, err = client.communicate(timeout=harness.BOUND)
        expect_equal(client.returncode, 0)
        expect_match(err.decode(), rf"{len(packets_of(path))} frames")
    piped = home.start("network", "capture", "lan", "-")
    expect_equal(piped.stdout.read(4), b"\x0a\x0d\x0d\x0a", "a section's header")
    home.ramet("network", "rm", "lan", status=4)
    piped.terminate()
    piped.communicate(timeout=harness.BOUND)
    home.ramet("network", "capture", "nosuch", "/dev/null", status=3)
    home.ramet("network", "capture", "b", "--card", "eth1", "/dev/null", status=4)
    home.ramet("network", "capture", "b", "--card", "wlan", "/dev/null", status=2)
    home.ramet("network", "capture", "lan", os.path.join(home.path, "nosuch", "file"), status=3)
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def own_address():
    """The host's, of its default route: what a datagram to anybody would come from."""
    with socket.socket(type=socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))
        return asked.getsockname()[0]


def test_connections(home):
    """A connection to the outside from before a fork ends in the clone at once, and in its source it goes on."""
    home.ramet("network", "create", "lan", "--backend", "switch", "--allow-host")
    gateway, own = home.json("network", "inspect", "lan")["gateway"], own_address()
    for network, host, listens in (("lan", gateway, "127.0.0.1"), ("user", own, own)):
        with socket.create_server((listens, 0)) as listener:
            listener.settimeout(harness.BOUND)
            home.ramet("run", "-d", "--name", "a", "--network", network, "busybox")
            home.ramet("exec", "a", "--", "sh", "-c", HOLD.format(host, listener.getsockname()[1]))
            connection = listener.accept()[0]
            connection.settimeout(harness.BOUND)
            home.ramet("fork", "a", "--name", "b")
            home.ramet("snapshot", "create", "a", "held")
            home.ramet("pool", "set", "--wait", "held", "1")
            expect_equal(home.json("fork", "held", "--name", "c")["boot"], "claimed")
            for clone in ("b", "c"):  # what it writes is refused; with another address it hears of it before that
                home.ramet("exec", clone, "--", "sh", "-c", "[ -e /ended ] || { echo lost >/in & }; "
                           "while ! [ -e /ended ]; do usleep 10000; done")
            home.ramet("exec", "a", "--", "sh", "-c", "echo kept >/in")
            expect_equal(connection.recv(100), b"kept\n", f"what the source of clones says on {network}")
            connection.sendall(b"answer\n")
            home.ramet("exec", "a", "--", "sh", "-c", "while ! grep -q answer /out; do usleep 10000; done; ! [ -e /ended ]")
            connection.close()
        home.ramet("pool", "set", "held", "0")
        home.ramet("rm", "-f", "*")
        home.ramet("snapshot", "rm", "--cascade", "held")
    home.ramet("network", "rm", "lan")


def test_spoofing(home):
    """Of all that a guest may forge its neighbour hears nothing."""
    home.ramet("network", "create", "lan", "--backend", "switch", "--subnet", "10.201.0.0/24")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    home.ramet("run", "-d", "--name", "b", "--network", "lan", "busybox")
    for name in ("a", "b"):
        home.ramet("cp", os.path.join(harness.BUILD, "tests/system/spoofer"), f"{name}:/spoofer")
    listener = home.start("exec", "b", "--", "/spoofer", "listen")
    expect_equal(listener.stdout.readline(), b"ready\n")
    home.ramet("exec", "a", "--", "/spoofer", "send", home.vm("b")["mac"], home.vm("b")["ip"])
    expect_equal(listener.communicate(timeout=harness.BOUND)[0], b"honest\n", "frames that arrived")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def test_ends(home):
    """A daemon or a switch that is killed is there again with all that it had."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("run", "-d", "--name", "a", "--network", "lan", "busybox")
    home.ramet("run", "-d", "--name", "b", "--network", "lan", "-p", "0:80", "busybox")
    serve(home, "b")
    port = home.vm("b")["forwards"][0]["host_port"]
    expect_equal(read_from(port), b"b\n", "what the forward gives")
    before = switches(home)
    home.kill_daemon()
    ping(home, "a", "b")
    expect_equal(switches(home), before, "a switch lives on without a daemon")
    os.kill(before[0], signal.SIGKILL)
    harness.wait_until(lambda: len(switches(home)) == 1 and switches(home) != before, "a new switch")
    ping(home, "a", "b")
    harness.wait_until(lambda: answers(port), "the forward")
    home.kill_daemon()
    os.kill(switches(home)[0], signal.SIGKILL)
    ping(home, "a", "b")
    home.ramet("stop", "b")
    ping(home, "a", "b", status=1)
    home.ramet("start", "b")
    ping(home, "a", "b")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")
    expect_equal(switches(home), [])


def round_trip(home, vm, target):
    """In milliseconds, of a frame that is not the first, which may wait for an address. What is lost while a switch
    comes is asked again."""
    times = []

    def is_answered():
        out = home.ramet("exec", vm, "--", "ping", "-c", "3", target, status=None).out
        times.extend(re.findall(r"seq=[12] .*time=([0-9.]+)", out))
        return times

    harness.wait_until(is_answered, f"an answer of {target}")
    return float(times[0])


def test_impairment(home):
    home.ramet("network", "create", "lan", "--backend", "switch", "--subnet", "10.201.0.0/24")
    for name in ("a", "b", "c"):
        home.ramet("run", "-d", "--name", name, "--network", "lan", "busybox")
    answer = home.json("network", "impair", "a", "--latency", "300", "--loss", "0")
    expect_equal([answer["target"], answer["impair"]["latency_ms"]], ["a", 300])
    expect(round_trip(home, "b", "10.201.0.2") >= 600, "both ways of a VM are late")
    os.kill(switches(home)[0], signal.SIGKILL)
    expect(round_trip(home, "b", "10.201.0.2") >= 600, "also after another switch came")
    expect_equal(home.json("network", "impair", "a")["impair"], None)
    home.ramet("network", "impair", "lan", "--latency", "400")
    expect(round_trip(home, "b", "10.201.0.4") >= 800, "each frame of a network is late")
    expect_equal(home.json("network", "inspect", "lan")["impair"]["latency_ms"], 400)
    home.ramet("network", "impair", "lan")
    home.ramet("network", "impair", "c", "--cut")
    ping(home, "b", "10.201.0.4", status=1)
    ping(home, "b", "a")
    home.ramet("network", "impair", "c")
    ping(home, "b", "c")
    home.ramet("network", "impair", "lan", "--loss", "101", status=2)
    home.ramet("network", "impair", "nosuch", status=3)
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def test_ports(home):
    """Ports come and go while a VM runs, on every kind of network, and are there after its next start."""
    home.ramet("network", "create", "lan", "--backend", "switch")
    for network in ("user", "lan"):
        home.ramet("run", "-d", "--name", "b", "--network", network, "busybox")
        serve(home, "b")
        added = home.json("port", "add", "b", "0:80")["forwards"]
        expect_equal([(item["guest_port"], item["protocol"]) for item in added], [(80, "tcp")])
        port = added[0]["host_port"]
        harness.wait_until(lambda: answers(port), f"an answer of a port on {network}")
        expect_match(home.ramet("port", "ls", "b").out, rf"b +127\.0\.0\.1 +{port} +80 +tcp")
        home.ramet("port", "add", "b", f"{port}:81", status=2)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            home.ramet("port", "add", "b", f"{taken.getsockname()[1]}:80", status=4)
        home.ramet("port", "rm", "b", str(port))
        harness.wait_until(lambda: not answers(port), "the port to be closed")
        home.ramet("port", "rm", "b", str(port), status=3)
        home.ramet("port", "rm", "b", "x", status=2)
        home.ramet("stop", "b")
        port = home.json("port", "add", "b", "0:80")["forwards"][0]["host_port"]
        home.ramet("start", "b")
        serve(home, "b")
        harness.wait_until(lambda: answers(port), f"an answer of a port after a start on {network}")
        home.ramet("rm", "-f", "b")
    expect_equal(home.json("port", "ls"), [])


def test_low_ports(home):
    """Those that only root may have, which a daemon of root's binds for the switch."""
    if os.geteuid() != 0:
        raise harness.Skip("only root may listen on a port below 1024")
    with socket.create_server(("127.0.0.1", 0)) as high:
        port = 600 + high.getsockname()[1] % 400  # hardly anybody has it
    home.ramet("network", "create", "lan", "--backend", "switch")
    home.ramet("run", "-d", "--name", "b", "--network", "lan", "-p", f"{port}:80", "busybox")
    serve(home, "b")
    harness.wait_until(lambda: answers(port), "the forward")
    os.kill(switches(home)[0], signal.SIGKILL)
    harness.wait_until(lambda: answers(port), "the forward of the next switch")
    home.ramet("create", "--network", "lan", "-p", f"{port}:80", "--name", "late", "busybox")
    home.ramet("start", "late", status=4)
    home.ramet("port", "rm", "b", str(port))
    harness.wait_until(lambda: not answers(port), "the port to be closed")
    home.ramet("port", "add", "b", f"{port}:80")
    harness.wait_until(lambda: answers(port), "the port again")
    home.ramet("rm", "-f", "*")
    home.ramet("network", "rm", "lan")


def read_from(port):
    with socket.create_connection(("127.0.0.1", port), timeout=harness.BOUND) as connection:
        return connection.recv(100)


def answers(port):
    try:
        return read_from(port) == b"b\n"
    except OSError:
        return False


if __name__ == "__main__":
    harness.main(harness.BOOTED)
