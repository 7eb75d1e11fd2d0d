#!/usr/bin/env python3
"""What is done to frames on their way: impairment, captures, holds; and the control socket itself."""
import concurrent.futures
import contextlib
import ctypes
import fcntl
import os
import random
import socket
import struct
import time

import frames
import harness
from frames import BROADCAST, IP4
from harness import CAPTURE, CAPTURE_FROM, END_CAPTURE, GATEWAY, GET_NETWORK, HELLO, HOLD, IMPAIR, LIMIT, NETWORK, PORT, QUIT, RELEASE, REMOVE_PORT, \
    Control, Refused, network, wait_for


def say(sender, receiver, text):
    sender.eth(receiver.mac, frames.udp(sender.ip, 1000, receiver.ip, 2000, text))


def took(sender, receiver, text):
    start = time.monotonic()
    say(sender, receiver, text)
    frame = receiver.receive()
    assert frame.payload == text
    return time.monotonic() - start


def pair(net):
    return net.guest("a", 2), net.guest("b", 3)


# --- impairment: a line is never quicker than it was set; how much slower the machine makes it is not asked -------


def test_latency_of_ports_and_of_the_network(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_latency=60000)
    assert took(a, b, b"1") >= 0.06
    net.control.ask(IMPAIR, id=b.id, in_latency=60000)
    assert took(a, b, b"2") >= 0.12
    net.control.ask(IMPAIR, in_latency=50000, out_latency=50000)
    assert took(a, b, b"3") >= 0.22
    net.control.ask(IMPAIR, id=a.id)
    net.control.ask(IMPAIR, id=b.id)
    assert took(b, a, b"4") >= 0.1
    assert net.control.ask(GET_NETWORK)[0]["out_latency"] == 50000
    net.control.ask(IMPAIR)
    assert "out_latency" not in net.control.ask(GET_NETWORK)[0]


def test_answers_of_the_switch_are_late_too(net):
    a = net.guest("a", 2)
    net.control.ask(IMPAIR, id=a.id, out_latency=40000, in_latency=40000)
    start = time.monotonic()
    a.out(frames.icmp(a.ip, GATEWAY, 8, bytes(8)))
    a.receive()
    assert time.monotonic() - start >= 0.08


def test_jitter_keeps_the_order(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_latency=20000, out_jitter=20000)
    for i in range(100):
        say(a, b, b"%d" % i)
    assert [b.receive().payload for _ in range(100)] == [b"%d" % i for i in range(100)]


def test_rate(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_rate=1000000)
    start = time.monotonic()
    for _ in range(20):
        say(a, b, b"x" * 1208)  # 10,000 bits each, with headers
    for _ in range(20):
        b.receive()
    assert time.monotonic() - start >= 0.18
    for _ in range(200):  # two seconds of it: more than the line keeps
        say(a, b, b"x" * 1208)
    wait_for(lambda: a.drops().get("queue", 0) > 50, lambda: f"{a.drops()}")


def check_limit_of_bits(net, limited, **limits):
    """From a to b; the other way is free, and the impairment's rate is another matter."""
    a, b = pair(net)
    limited = {"a": a, "b": b}[limited]
    net.control.ask(LIMIT, id=limited.id, **limits)
    net.control.ask(IMPAIR, id=limited.id, out_rate=1000000000, in_rate=1000000000)
    start = time.monotonic()
    for _ in range(20):
        say(a, b, b"x" * 1208)
        say(b, a, b"x" * 1208)
    for _ in range(20):
        b.receive()
    assert time.monotonic() - start >= 0.18
    for _ in range(200):
        say(a, b, b"x" * 1208)
    wait_for(lambda: limited.drops().get("limit", 0) > 50, lambda: f"{limited.drops()}")
    assert not (b if limited is a else a).drops()
    for _ in range(20):
        a.receive()


def test_limit_of_bits_from_a_guest(net):
    check_limit_of_bits(net, "a", limit_out=1000000)


def test_limit_of_bits_to_a_guest(net):
    check_limit_of_bits(net, "b", limit_in=1000000)


def test_limit_of_packets(net):
    a, b = pair(net)
    net.control.ask(LIMIT, id=a.id, limit_packets=100)
    for _ in range(100):
        say(a, b, b"x")
    wait_for(lambda: a.drops().get("limit", 0) >= 50, lambda: f"{a.drops()}")  # 25 at once, and a hundred a second
    sent = a.stats()["sent_frames"]
    assert 25 <= sent <= 50 and sent + a.drops()["limit"] == 100, a.stats()
    for _ in range(100):
        say(b, a, b"x")  # counted at the one whose limit it is
    wait_for(lambda: a.drops()["limit"] >= 100, lambda: f"{a.drops()}")
    assert b.drops() == {}
    net.control.ask(LIMIT, id=a.id)
    dropped = a.drops()["limit"]
    for _ in range(100):
        say(a, b, b"x")
    wait_for(lambda: a.stats()["sent_frames"] == sent + 100, lambda: f"{a.stats()}")
    assert a.drops()["limit"] == dropped


def test_limits_of_nobody(net):
    try:
        net.control.ask(LIMIT, id="nobody/0", limit_packets=1)
    except harness.Refused as refused:
        assert refused.code == "not_found"
    else:
        raise AssertionError("a port that is not there was limited")


def test_loss(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=b.id, in_loss=300000)
    for i in range(1000):
        say(a, b, b"x")
        while harness.select.select([b.socket], [], [], 0)[0]:
            b.socket.recv(2000)
    wait_for(lambda: a.stats().get("sent_frames") == 1000, lambda: f"{a.stats()}")
    lost = a.drops()["loss"]
    assert 200 < lost < 400, lost  # 300 ± 14.5 (σ)


def begin_with_frames(net, sender, receiver, count, **settings):
    """A new port in whose socket frames wait already."""
    net.control.ask(REMOVE_PORT, id=sender.id)
    for _ in range(count):
        say(sender, receiver, b"waited")
    net.control.ask(PORT, fd=sender.far.fileno(), **sender.lease, **settings)


def test_what_waits_when_a_port_begins(net):
    """No frame passes before its impairment and its limit hold; a new lease leaves them as they are."""
    a, b = pair(net)
    begin_with_frames(net, a, b, 20, out_cut=1)
    wait_for(lambda: a.drops().get("loss", 0) == 20, lambda: f"{a.stats()}")
    net.control.ask(PORT, **a.lease)
    say(a, b, b"later")
    wait_for(lambda: a.drops().get("loss", 0) == 21, lambda: f"{a.stats()}")
    b.silent()
    begin_with_frames(net, a, b, 20, limit_packets=1)  # one at once, and one a second
    wait_for(lambda: a.stats().get("sent_frames", 0) + a.drops().get("limit", 0) == 20, lambda: f"{a.stats()}")
    assert a.drops()["limit"] > 10, a.stats()


def test_cut_one_way(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_cut=1)
    a.expect_drop("loss", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    a.expect_drop("loss", frames.arp(1, a.mac, a.ip, "00:00:00:00:00:00", b.ip))
    took(b, a, b"the other way")
    net.control.ask(IMPAIR, id=a.id)
    took(a, b, b"again")


def test_what_waits_for_a_removed_port(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_latency=50000)
    net.control.ask(IMPAIR, in_latency=100000)
    for _ in range(10):
        say(a, b, b"late")
        say(b, a, b"late, too")
    net.control.ask(harness.REMOVE_PORT, id=b.id)
    c = net.guest("c", 4)  # has the number that b had
    time.sleep(0.3)
    c.silent()


def test_memory_of_a_line_is_bounded(net):
    a, b = pair(net)
    net.control.ask(IMPAIR, id=a.id, out_latency=30000000)
    for _ in range(4000):
        say(a, b, b"x" * 1400)
    wait_for(lambda: a.drops().get("queue", 0) > 500, lambda: f"{a.drops()}")
    took(b, a, b"the other way")


# --- captures --------------------------------------------------------------------------------------


def read_pcapng(data):
    """[(interface's name, flags, frame)]"""
    interfaces, packets, at = [], [], 0
    while at < len(data):
        kind, size = struct.unpack("<II", data[at:at + 8])
        assert size % 4 == 0 and struct.unpack("<I", data[at + size - 4:at + size])[0] == size
        body = data[at + 8:at + size - 4]
        if at == 0:
            assert kind == 0x0a0d0d0a and body[:8] == struct.pack("<IHH", 0x1a2b3c4d, 1, 0)
        elif kind == 1:
            link, _, _, option, length = struct.unpack("<HHIHH", body[:12])
            assert (link, option) == (1, 2)
            interfaces.append(body[12:12 + length].decode())
        else:
            assert kind == 6
            interface, high, low, captured, original = struct.unpack("<IIIII", body[:20])
            assert captured == original and abs((high << 32 | low) / 1e6 - time.time()) < 3600
            option, length, flags = struct.unpack("<HHI", body[20 + (captured + 3) // 4 * 4:][:8])
            assert (option, length) == (2, 4)
            packets.append((interfaces[interface], flags, body[20:20 + captured]))
        at += size
    assert at == len(data)
    return packets


def capture(net, **what):
    read_end, write_end = os.pipe()
    number = net.control.ask(CAPTURE, fd=write_end, **what)[0]["capture"]
    os.close(write_end)
    return read_end, number


def read_all(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    os.close(fd)
    return data


def test_capture_of_a_network(net):
    a, b = pair(net)
    fd, number = capture(net)
    took(a, b, b"one")
    took(b, a, b"three")
    a.out(frames.icmp(a.ip, GATEWAY, 8, bytes(9)))
    a.receive()
    a.expect_drop("runt", b"\1\2\3")
    answer = net.control.ask(END_CAPTURE, capture=number)[0]
    assert answer == {"captured": 4}, answer
    packets = read_pcapng(read_all(fd))
    assert [(name, flags) for name, flags, _ in packets] == [("a", 1), ("b", 1), ("a", 1), ("a", 1)]
    assert frames.Frame(packets[1][2]).payload == b"three" and packets[3][2] == b"\1\2\3"
    try:
        net.control.ask(END_CAPTURE, capture=number)
        raise AssertionError("ended twice")
    except Refused as refused:
        assert refused.code == "not_found"


def test_capture_of_a_port(net):
    a, b = pair(net)
    c = net.guest("c", 4)
    fd, number = capture(net, id=a.id)
    took(a, b, b"to b")
    took(b, a, b"to a")
    took(b, c, b"not of a")
    net.control.ask(END_CAPTURE, capture=number)
    packets = read_pcapng(read_all(fd))
    assert [(name, flags, frames.Frame(frame).payload) for name, flags, frame in packets] == [("a", 1, b"to b"), ("a", 2, b"to a")]


def on_own_loopback():
    """A packet socket and one that sends, in a network namespace: the host's loopback device is busy with others' frames."""
    def make():
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET, for this thread
            raise PermissionError(ctypes.get_errno(), "unshare")
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        fcntl.ioctl(sender, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
        packets.bind(("lo", 0))
        return packets, sender
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def test_capture_from_a_packet_socket(net):
    """Where the host's own bridge passes the frames."""
    a, b = pair(net)
    fd, number = capture(net)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for sock, what, code in (other, number, "usage"), (None, number, "usage"), (other, number + 1, "not_found"):
            try:
                net.control.ask(CAPTURE_FROM, capture=what, fd=sock.fileno() if sock else None)
                raise AssertionError("frames from no packet socket")
            except Refused as refused:
                assert refused.code == code, refused.code
        try:
            packets, sender = on_own_loopback()
        except PermissionError:
            return
        with packets:
            net.control.ask(CAPTURE_FROM, capture=number, fd=packets.fileno())
        mark, data = os.urandom(64), bytearray()
        with sender:
            sender.bind(("127.0.0.1", 0))
            sender.sendto(mark, sender.getsockname())
        os.set_blocking(fd, False)

        def came():
            with contextlib.suppress(BlockingIOError):
                data.extend(os.read(fd, 65536))
            return data.count(mark) >= 2
        wait_for(came, lambda: "the frames do not come")
    net.control.ask(END_CAPTURE, capture=number)
    os.set_blocking(fd, True)
    seen = [(name, flags) for name, flags, frame in read_pcapng(bytes(data) + read_all(fd)) if frame.endswith(mark)]
    assert set(seen) == {("lab", 1), ("lab", 2)}, seen


def test_a_slow_reader_loses_frames(net):
    a, b = pair(net)
    fd, number = capture(net, id=b.id)
    for _ in range(1000):
        took(a, b, b"x" * 1000)
    answer = net.control.ask(END_CAPTURE, capture=number)[0]
    assert answer["captured"] + answer["lost"] == 1000 and answer["lost"] > 100, answer
    os.close(fd)


def test_a_reader_that_leaves(net):
    a, b = pair(net)
    for _ in range(20):  # more than there may be at once
        fd, _ = capture(net)
        os.close(fd)
        took(a, b, b"x")
        took(a, b, b"y")
    file = os.open("/tmp", os.O_TMPFILE | os.O_WRONLY)
    for wrong in (dict(fd=file), {}, dict(fd=file, id="nobody/0")):
        try:
            net.control.ask(CAPTURE, **wrong)
            raise AssertionError("a file was taken, which may make the switch wait")
        except Refused as refused:
            assert refused.code in ("usage", "not_found")
    os.close(file)


# --- holds -----------------------------------------------------------------------------------------


def test_hold_and_deliver(net):
    a, b = pair(net)
    net.control.ask(HOLD)
    for i in range(50):
        say(a, b, b"%d" % i)
    a.out(frames.icmp(a.ip, GATEWAY, 8, bytes(8)))
    wait_for(lambda: a.stats().get("sent_frames") == 51, lambda: f"{a.stats()}")
    b.silent()
    a.silent()
    assert net.control.ask(GET_NETWORK)[0]["held"] == 1
    net.control.ask(RELEASE)
    assert [b.receive().payload for _ in range(50)] == [b"%d" % i for i in range(50)]
    assert a.receive().type == 0
    took(b, a, b"and on")


def test_hold_and_discard(net):
    a, b = pair(net)
    net.control.ask(HOLD)
    for _ in range(50):
        say(a, b, b"x")
    wait_for(lambda: a.stats().get("sent_frames") == 50, lambda: f"{a.stats()}")
    net.control.ask(RELEASE, discard=1)
    b.silent()
    assert a.drops() == {"held": 50}
    took(a, b, b"and on")


def test_a_hold_is_bounded(net):
    a, b = pair(net)
    net.control.ask(HOLD)
    for _ in range(7000):
        say(a, b, b"x" * 1400)
    wait_for(lambda: a.drops().get("held", 0) > 500, lambda: f"{a.drops()}")
    net.control.ask(RELEASE, discard=1)
    took(a, b, b"and on")


def test_a_hold_with_receivers_that_do_not_read(net):
    a, b = pair(net)
    for _ in range(600):  # the socket is full, and frames wait in the queue
        say(a, b, b"x" * 1400)
    wait_for(lambda: a.drops().get("queue", 0) > 0, lambda: f"{a.drops()}")
    net.control.ask(HOLD)
    before = cpu_seconds(net)
    time.sleep(0.5)
    assert cpu_seconds(net) - before < 0.4, "the switch is busy with waiting"
    net.control.ask(RELEASE)
    while b.receive().payload != b"last":
        say(a, b, b"last")


def cpu_seconds(net):
    with open(f"/proc/{net.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- control ---------------------------------------------------------------------------------------


def test_hello(net):
    answer = net.control.ask(HELLO, version=1)[0]
    assert answer["version"] == 1 and answer["pid"] == net.process.pid


def test_several_clients_and_their_end(net):
    a, b = pair(net)
    clients = [Control(net.path) for _ in range(20)]  # some of them wait
    for client in clients[:10]:
        client.ask(HELLO)
    for client in clients[:10]:
        client.socket.close()
    for client in clients[10:]:
        client.ask(HELLO)
        client.socket.close()
    took(a, b, b"nothing is undone")
    net.control.socket.close()
    net.control = Control(net.path)
    assert len(net.ports()) == 2


def test_hostile_messages(net):
    a, b = pair(net)
    rng = random.Random(4)
    good = harness.pack(PORT, a.lease)
    for _ in range(300):
        message = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        client = Control(net.path)
        client.socket.send(bytes(message[:rng.randrange(1, len(message) + 1)]))
        assert harness.unpack(client.socket.recv(65536))[0] in (harness.OK, harness.ERROR)
        client.ask(HELLO)
        client.socket.close()
    for message in (b"", b"\1", b"\1\0\0\0" + b"\xff" * 8, bytes(32768), bytes(40000), struct.pack("<HH", 999, 0), struct.pack("<HH", 0, 0)):
        client = Control(net.path)
        client.socket.send(message)
        client.socket.recv(65536)
        client.socket.close()
    net.control.ask(PORT, **a.lease)
    took(a, b, b"still here")


def test_descriptors_that_nobody_asked_for(net):
    before = len(os.listdir(f"/proc/{net.process.pid}/fd"))
    for _ in range(50):
        net.control.ask(HELLO, fd=0)
    assert len(os.listdir(f"/proc/{net.process.pid}/fd")) == before


def test_a_client_that_reads_no_answers(net):
    for i in range(2, 60):
        net.guest(f"vm{i}", i)
    lazy = Control(net.path)
    lazy.socket.setblocking(False)
    try:
        for _ in range(1000):
            lazy.send(harness.LIST_PORTS)
    except BlockingIOError:
        pass
    assert len(net.ports()) == 58
    lazy.socket.close()
    net.control.ask(HELLO)


def test_a_network_in_use_keeps_its_addresses(net):
    net.guest("a", 2)
    for changed in (dict(subnet=bytes([10, 8, 0, 0]), gateway=bytes([10, 8, 0, 1])), dict(prefix=25), dict(mtu=1400)):
        try:
            net.control.ask(NETWORK, **{**net.network, **changed})
            raise AssertionError(f"changed: {changed}")
        except Refused as refused:
            assert refused.code == "conflict"
    net.set(isolated=1)
    for wrong in (dict(prefix=31), dict(prefix=7), dict(gateway=bytes([10, 9, 0, 1])), dict(prefix6=20), dict(mtu=9000), dict(net_name=""),
                  dict(gateway_mac=bytes(6))):
        try:
            net.control.ask(NETWORK, **{**net.network, **wrong})
            raise AssertionError(f"taken: {wrong}")
        except Refused as refused:
            assert refused.code == "usage", refused


def test_quit(net):
    net.control.ask(QUIT)
    assert net.process.wait(harness.PATIENCE) == 0
    net.start()


def test_the_sandbox(net):
    with open(f"/proc/{net.process.pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines())
    assert status["NoNewPrivs"] == "1" and status["Threads"] == "1"
    if not os.environ.get("RAMET_TEST_SANITIZED"):
        assert status["Seccomp"].strip() == "2", status["Seccomp"]


def test_another_user(net):
    if os.geteuid() != 0:
        print("skipped: only root can become somebody else")
        return
    fd = net.listening.fileno()
    other = harness.subprocess.Popen([net.program, "--listen-fd", str(fd), "--user", "12345"], pass_fds=[fd])
    net.kill()
    wait_for(lambda: "12345" in open(f"/proc/{other.pid}/status", encoding="ascii").read(), lambda: "the user stayed")
    net.process = other
    net.control = Control(net.path)
    net.control.ask(NETWORK, **net.network)
    with open(f"/proc/{other.pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines())
    assert status["Uid"].split() == ["12345"] * 4 and status["Gid"].split() == ["12345"] * 4 and not status["Groups"].strip()
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), status
    a, b = pair(net)
    took(a, b, b"as somebody else")


@network(isolated=1)
def test_statistics(net):
    a = net.guest("a", 2)
    a.send(frames.arp(1, a.mac, a.ip, "00:00:00:00:00:00", GATEWAY))
    a.receive()
    a.expect_drop("isolated", frames.eth(BROADCAST, a.mac, IP4, frames.udp(a.ip, 1, "10.7.0.255", 2, b"x")))
    total = net.control.ask(GET_NETWORK)[0]
    assert (total["sent_frames"], total["received_frames"], total["received_bytes"]) == (2, 1, 42), total
    assert total["drop_isolated"] == 1


if __name__ == "__main__":
    harness.main()
