#!/usr/bin/env python3
"""What is behind the gateway: names, the uplink, forwards from the host, and what is closed."""
import functools
import os
import socket
import struct
import subprocess
import sys
import threading

import frames
import harness
from frames import ACK, FIN, IP4, RST, SYN, TCP, UDP
from harness import FORWARD, GATEWAY, GATEWAY6, LIMIT, LIST_FORWARDS, PORT, REMOVE_FORWARD, REMOVE_PORT, Refused, network, wait_for

A, PTR, AAAA, ANY = 1, 12, 28, 255


# --- names -----------------------------------------------------------------------------------------


def question(name, kind, number=0x1234, flags=0x0100):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", number, flags, 1, 0, 0, 0) + labels + struct.pack("!HH", kind, 1)


def read_answer(query, data):
    """code, [(type, data)]"""
    number, flags, questions, count, _, _ = struct.unpack("!HHHHHH", data[:12])
    assert number == struct.unpack("!H", query[:2])[0] and flags & 0x8000 and questions == 1
    assert data[12:len(query)] == query[12:]
    found, at = [], len(query)
    for _ in range(count):
        assert data[at:at + 2] == b"\xc0\x0c"
        kind, _, _, size = struct.unpack("!HHIH", data[at + 2:at + 12])
        found.append((kind, data[at + 12:at + 12 + size]))
        at += 12 + size
    assert at == len(data)
    return flags & 15, found


def ask_raw(guest, query, ip6=False, port=5353):
    src, dst = (guest.ip6, GATEWAY6) if ip6 else (guest.ip, GATEWAY)
    guest.out(frames.udp(src, port, dst, 53, query))
    frame = guest.receive(lambda seen: seen.protocol == UDP and seen.dport == port)
    assert frame.ip_src == dst and frame.sport == 53
    return frame.payload


def ask(guest, name, kind=A, ip6=False):
    query = question(name, kind)
    return read_answer(query, ask_raw(guest, query, ip6))


def test_names_of_siblings(net):
    a, b = net.guest("a", 2), net.guest("web-1", 3)
    for name in ("web-1", "WEB-1", "web-1.lab.ramet", "Web-1.Lab.RAMET"):
        assert ask(a, name) == (0, [(A, frames.ip_bytes(b.ip))]), name
        assert ask(a, name, AAAA, ip6=True) == (0, [(AAAA, frames.ip_bytes(b.ip6))])
    assert ask(a, "web-1", ANY) == (0, [(A, frames.ip_bytes(b.ip)), (AAAA, frames.ip_bytes(b.ip6))])
    assert ask(a, "web-1", 15) == (0, [])
    assert ask(a, "web-2.lab.ramet") == (3, [])
    assert ask(a, "web-1.other.ramet") == (3, [])
    assert ask(a, "web-2") == (3, [])  # no uplink: nobody else knows
    net.control.ask(REMOVE_PORT, id=b.id)
    assert ask(a, "web-1.lab.ramet") == (3, [])


def test_names_of_addresses(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    name = b"\1b\3lab\5ramet\0"
    assert ask(a, "3.0.7.10.in-addr.arpa", PTR) == (0, [(PTR, name)])
    digits = frames.ip_bytes(b.ip6).hex()
    assert ask(a, ".".join(reversed(digits)) + ".ip6.arpa", PTR) == (0, [(PTR, name)])
    assert ask(a, "9.0.7.10.in-addr.arpa", PTR) == (3, [])


def test_queries_that_are_none(net):
    a = net.guest("a", 2)
    fine = question("a", A)
    for broken, code in ((fine[:-1], 1), (fine[:12], 1), (fine[:4] + b"\0\2" + fine[6:], 1), (fine[:12] + b"\xc0\x0c\0\1\0\1", 1),
                         (fine[:12] + b"\x3fabc", 1), (fine[:2] + b"\x28\0" + fine[4:], 4),
                         (fine[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", 1)):
        answer = ask_raw(a, broken)
        assert answer[3] & 15 == code, (broken, answer)
    a.out(frames.udp(a.ip, 5353, GATEWAY, 53, b"short"))
    a.out(frames.udp(a.ip, 5353, GATEWAY, 53, fine[:2] + b"\x81\0" + fine[4:]))  # an answer
    a.silent()


class Resolver:
    """The host's: answers what is asked by `answer`, which gets the query and gives datagrams."""

    def __init__(self, answer, address="127.0.0.53"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.queries = []
        self.answer = answer
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:  # closed
                return
            self.queries.append((query, peer))
            for answer in self.answer(query):
                self.socket.sendto(answer, peer)


def mapped(address):
    return frames.ip_bytes("::ffff:" + address)


def record(query, ip):
    return query[:2] + b"\x81\x80" + query[4:6] + b"\0\1" + query[8:] + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + frames.ip_bytes(ip)


def own(number):
    """An address of the loopback that no other run of these tests has."""
    return f"127.{7 + os.getpid() // 250 % 100}.{1 + os.getpid() % 250}.{number}"


@functools.cache
def may_listen_on_53():
    try:
        Resolver(lambda query: [], own(9)).socket.close()
        return True
    except PermissionError:
        return False


def test_other_names_go_to_the_hosts_resolver(net):
    if not may_listen_on_53():
        print("skipped: only root may listen on port 53")
        return
    a = net.guest("a", 2)

    def answer(query):
        wrong_id = bytes([query[0] ^ 1]) + query[1:]
        other = query.replace(b"example", b"example"[::-1])
        return [record(wrong_id, "6.6.6.1"), record(other, "6.6.6.2"), query, record(query, "9.9.9.9")]
    resolver = Resolver(answer, own(53))
    net.set(uplink=1, resolvers=mapped(own(99)) + mapped(own(53)) + bytes(16))  # nobody is at the first one
    for _ in range(3):
        assert ask(a, "www.example.org") == (0, [(A, b"\t\t\t\t")])
    assert ask(a, "www.example.org", ip6=True) == (0, [(A, b"\t\t\t\t")])
    assert len({query[:2] for query, _ in resolver.queries}) > 1 and len({peer for _, peer in resolver.queries}) > 1
    assert ask(a, "b.lab.ramet") == (3, [])  # never asked of others
    assert all(b"ramet" not in query for query, _ in resolver.queries)
    net.set(resolvers=mapped(own(99)) + bytes(32))
    assert ask(a, "www.example.org") == (2, [])


def ask_by_tcp(tcp, query):
    tcp.send(ACK, struct.pack("!H", len(query)) + query)
    data = tcp.read(2)
    size = struct.unpack("!H", data[:2])[0]
    return (data + tcp.read(size + 2 - len(data)))[2:]


def test_names_over_tcp(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    tcp = Tcp(a, a.ip, 4000, GATEWAY, 53)
    assert tcp.connect()
    for name, answer in (("b.lab.ramet", (0, [(A, frames.ip_bytes(b.ip))])), ("c.lab.ramet", (3, [])), ("www.example.org", (3, []))):
        query = question(name, A)
        assert read_answer(query, ask_by_tcp(tcp, query)) == answer, name
    for number, wrong in enumerate((b"\0\0", b"\xff\xff" + bytes(1300), b"\0\5abcde")):
        broken = Tcp(a, a.ip, 4100 + number, GATEWAY, 53)
        assert broken.connect()
        broken.send(ACK, wrong)
        while not broken.receive().flags & (FIN | RST):
            pass
    many = [Tcp(b, b.ip, 5000 + i, GATEWAY, 53) for i in range(40)]  # more than are served at once
    assert all(tcp.connect() for tcp in many)
    query = question("a", A)
    assert read_answer(query, ask_by_tcp(many[-1], query)) == (0, [(A, frames.ip_bytes(a.ip))])
    with socket.create_connection(("127.0.0.1", port_of_dns(net))) as stranger:  # it is nobody else's
        assert stranger.recv(10) == b""


def port_of_dns(net):
    folder = f"/proc/{net.process.pid}/fd"
    sockets = {os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)}
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    return next(int(words[1].split(":")[1], 16) for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in sockets)


def test_long_answers_over_tcp(net):
    """What does not fit into a datagram comes by TCP from the host's resolver."""
    if not may_listen_on_53():
        print("skipped: only root may listen on port 53")
        return
    a = net.guest("a", 2)
    long = bytes(range(256)) * 100
    listener = socket.create_server((own(54), 53))

    def serve():
        while True:
            connection = listener.accept()[0]
            size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
            answer = connection.recv(size, socket.MSG_WAITALL) + long
            connection.sendall(struct.pack("!H", len(answer)) + answer)
    threading.Thread(target=serve, daemon=True).start()
    net.set(uplink=1, resolvers=mapped(own(99)) + mapped(own(54)) + bytes(16))
    tcp = Tcp(a, a.ip, 4000, GATEWAY, 53)
    assert tcp.connect()
    for name in ("www.example.org", "other.example.org"):
        query = question(name, A)
        assert ask_by_tcp(tcp, query) == query + long
    net.set(resolvers=mapped(own(99)) + bytes(32))
    query = question("www.example.org", A)
    assert read_answer(query, ask_by_tcp(tcp, query)) == (2, [])


# --- the uplink ------------------------------------------------------------------------------------


class Tcp:
    """A connection of a guest, as little of TCP as the tests need."""

    def __init__(self, guest, src, sport, dst, dport, seq=1000):
        self.guest, self.ends, self.seq, self.ack = guest, (src, sport, dst, dport), seq, 0

    def send(self, flags, data=b""):
        self.guest.out(frames.tcp(*self.ends, flags, self.seq, self.ack, data))
        self.seq += len(data) + bool(flags & (SYN | FIN))

    def receive(self):
        src, sport, dst, dport = self.ends
        return self.guest.receive(lambda seen: seen.protocol == TCP and (seen.ip_src, seen.sport, seen.dport) == (dst, dport, sport))

    def connect(self):
        self.send(SYN)
        frame = self.receive()
        if frame.flags & RST:
            return False
        assert frame.flags & (SYN | ACK) == SYN | ACK and frame.ack == self.seq
        self.ack = frame.seq + 1
        self.send(ACK)
        return True

    def accept(self):
        """What a forward does: the other side begins."""
        src, sport, dst, dport = self.ends
        frame = self.guest.receive(lambda seen: seen.protocol == TCP and seen.dport == sport and seen.flags & SYN)
        self.ends = (src, sport, frame.ip_src, frame.sport)
        self.ack = frame.seq + 1
        self.send(SYN | ACK)
        return frame

    def read(self, size):
        data = b""
        while len(data) < size:
            frame = self.receive()
            assert not frame.flags & RST, "reset"
            if frame.payload and frame.seq == self.ack & 0xffffffff:
                data += frame.payload
                self.ack += len(frame.payload)
                self.send(ACK)
        return data


def in_namespace(test):
    """The host's loopback is closed to guests, so a server that they may reach needs another address, which these
    tests have where there is a network namespace for all of them."""
    def wrapper(net):
        if not os.environ.get(NAMESPACE):
            print("skipped: no network namespace can be made")
            return
        test(net)
    wrapper.network = getattr(test, "network", {})
    return wrapper


def serve_tcp(address, port=0):
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    server.settimeout(harness.PATIENCE)
    server.bind((address, port))
    server.listen(8)
    return server, server.getsockname()[1]


def converse(guest, src, dst, server, port, sport=4000):
    connection = Tcp(guest, src, sport, dst, port)
    assert connection.connect(), f"no connection to {dst}"
    peer = server.accept()[0]
    peer.settimeout(harness.PATIENCE)
    connection.send(ACK, b"from the guest")
    assert peer.recv(100) == b"from the guest"
    peer.sendall(b"from outside" * 1000)
    assert connection.read(12000) == b"from outside" * 1000
    return connection, peer


@in_namespace
@network(uplink=1)
def test_tcp_to_outside(net):
    a = net.guest("a", 2)
    for src, dst in ((a.ip, "192.0.2.1"), (a.ip6, "2001:db8::1")):
        server, port = serve_tcp(dst)
        _, peer = converse(a, src, dst, server, port)
        assert peer.getpeername()[0] == dst  # as if the host itself had connected


@in_namespace
@network(uplink=1)
def test_udp_to_outside(net):
    a = net.guest("a", 2)
    for src, dst in ((a.ip, "192.0.2.1"), (a.ip6, "2001:db8::1")):
        server = socket.socket(socket.AF_INET6 if ":" in dst else socket.AF_INET, socket.SOCK_DGRAM)
        server.settimeout(harness.PATIENCE)
        server.bind((dst, 0))
        a.out(frames.udp(src, 4000, dst, server.getsockname()[1], b"ask"))
        data, peer = server.recvfrom(100)
        assert data == b"ask"
        server.sendto(b"answer", peer)
        frame = a.receive(lambda seen: seen.protocol == UDP)
        assert frame.payload == b"answer" and frame.ip_src == dst


@in_namespace
@network(uplink=1)
def test_many_guests_to_outside(net):
    """More than libslirp has room for in its table of neighbours."""
    server, port = serve_tcp("192.0.2.1")
    server6, port6 = serve_tcp("2001:db8::1")
    for i in range(2, 42):
        guest = net.guest(f"vm{i}", i)
        converse(guest, guest.ip, "192.0.2.1", server, port)
        converse(guest, guest.ip6, "2001:db8::1", server6, port6)


@in_namespace
@network(uplink=1)
def test_a_connection_from_before_is_reset_at_once(net):
    """As after a fork: the guest goes on with a connection of which this switch knows nothing."""
    a = net.guest("a", 2)
    for src, dst in ((a.ip, "192.0.2.1"), (a.ip6, "2001:db8::1"), (a.ip, "169.254.169.254")):
        connection = Tcp(a, src, 4000, dst, 443, seq=77777)
        connection.ack = 1234
        connection.send(ACK, b"are you still there?")
        frame = connection.receive()
        assert frame.flags & RST and frame.seq == 1234, frame


@in_namespace
@network(uplink=1)
def test_closed_addresses(net):
    a = net.guest("a", 2)
    loopback, port = serve_tcp("0.0.0.0")
    loopback6, port6 = serve_tcp("::1")
    closed = [(a.ip, dst, port) for dst in ("127.0.0.1", "127.9.9.9", "0.0.0.1", "169.254.169.254", "169.254.1.1", GATEWAY, "100.100.100.200")]
    closed += [(a.ip6, dst, port6) for dst in ("::1", "fe80::1", "fec0::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::127.0.0.1", GATEWAY6,
                                               "64:ff9b::7f00:1", "2002:7f00:1::1")]
    for number, (src, dst, dport) in enumerate(closed):
        before = a.drops().get("closed", 0)
        assert not Tcp(a, src, 5000 + number, dst, dport).connect(), f"{dst} is open"
        a.out(frames.udp(src, 6000, dst, dport, b"x"))
        wait_for(lambda expected=before + 2: a.drops().get("closed", 0) == expected, lambda where=dst: f"{where}: {a.drops()}")
    for dst in ("224.0.0.1", "255.255.255.255", "10.7.0.200", "240.0.0.1"):
        before = a.drops().get("unreachable", 0)
        a.out(frames.udp(a.ip, 6000, dst, port, b"x"))
        wait_for(lambda expected=before + 1: a.drops().get("unreachable", 0) == expected, lambda where=dst: f"{where}: {a.drops()}")
    for server in (loopback, loopback6):
        server.settimeout(0)
        try:
            server.accept()
            raise AssertionError("somebody came through")
        except BlockingIOError:
            pass


@in_namespace
@network(uplink=1, allow_host=1)
def test_the_host_where_it_is_allowed(net):
    a = net.guest("a", 2)
    server, port = serve_tcp("127.0.0.1")
    converse(a, a.ip, GATEWAY, server, port)
    server6, port6 = serve_tcp("::1")
    converse(a, a.ip6, GATEWAY6, server6, port6)
    metadata, port = serve_tcp("169.254.169.254")
    converse(a, a.ip, "169.254.169.254", metadata, port)


@in_namespace
@network(uplink=1)
def test_limit_of_connections(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    server, port = serve_tcp("192.0.2.1")
    net.control.ask(LIMIT, id=a.id, limit_connections=2)
    assert a.stats()["limit_connections"] == 2 and "limit_connections" not in b.stats()
    first, peer = converse(a, a.ip, "192.0.2.1", server, port, 4000)
    converse(a, a.ip, "192.0.2.1", server, port, 4001)
    assert not Tcp(a, a.ip, 4002, "192.0.2.1", port).connect(), "a third connection"
    assert a.drops() == {"connections": 1}
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("192.0.2.1", 0))
    datagrams.settimeout(harness.PATIENCE)
    a.out(frames.udp(a.ip, 4000, "192.0.2.1", datagrams.getsockname()[1], b"a flow too many"))
    wait_for(lambda: a.drops().get("connections") == 2, lambda: f"{a.drops()}")
    for sport in range(4000, 4010):
        converse(b, b.ip, "192.0.2.1", server, port, sport)  # others have theirs
    # what ends makes room
    peer.close()
    while not first.receive().flags & FIN:
        pass
    first.ack += 1
    first.send(ACK | FIN)
    a.out(frames.udp(a.ip, 4000, "192.0.2.1", datagrams.getsockname()[1], b"in its place"))
    assert datagrams.recv(100) == b"in its place"
    assert not Tcp(a, a.ip, 4003, "192.0.2.1", port).connect()
    net.control.ask(LIMIT, id=a.id)
    converse(a, a.ip, "192.0.2.1", server, port, 4004)


def test_no_uplink(net):
    a = net.guest("a", 2)
    assert not Tcp(a, a.ip, 4000, "192.0.2.1", 80).connect()
    assert not Tcp(a, a.ip6, 4000, "2001:db8::1", 80).connect()
    a.out(frames.udp(a.ip, 4000, "192.0.2.1", 80, b"x"))
    wait_for(lambda: a.drops().get("unreachable") == 3, lambda: f"{a.drops()}")


# --- forwards --------------------------------------------------------------------------------------


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LOOPBACK = bytes([127, 0, 0, 1])


def check_forward(guest, port, sport):
    client = socket.create_connection(("127.0.0.1", port), harness.PATIENCE)
    connection = Tcp(guest, guest.ip, sport, "", 0)
    frame = connection.accept()
    assert frame.ip_src == GATEWAY and frame.ip_dst == guest.ip
    client.sendall(b"come in")
    assert connection.read(7) == b"come in"
    connection.send(ACK, b"I am here")
    assert client.recv(100) == b"I am here"
    return client, connection


def test_forwards_of_tcp(net):
    for uplink in (0, 1):
        net.set(uplink=uplink)
        a = net.guest(f"vm{uplink}", 2 + uplink)
        port = free_port()
        for _ in range(2):  # the same again is no change
            net.control.ask(FORWARD, to=a.id, host_ip=LOOPBACK, host_port=port, guest_port=80)
        client, connection = check_forward(a, port, 80)
        net.control.ask(REMOVE_FORWARD, host_ip=LOOPBACK, host_port=port)
        connection.send(ACK, b" still")
        assert client.recv(100) == b" still"
        try:
            socket.create_connection(("127.0.0.1", port), harness.PATIENCE)
            raise AssertionError("still listening")
        except ConnectionRefusedError:
            pass
    assert net.control.ask(LIST_FORWARDS)[1] == []


def test_forwards_of_udp(net):
    a = net.guest("a", 2)
    port = free_port(socket.SOCK_DGRAM)
    net.control.ask(FORWARD, to=a.id, udp=1, host_ip=LOOPBACK, host_port=port, guest_port=5000)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(harness.PATIENCE)
    client.sendto(b"knock", ("127.0.0.1", port))
    frame = a.receive(lambda seen: seen.protocol == UDP)
    assert frame.payload == b"knock" and frame.dport == 5000
    a.out(frames.udp(a.ip, 5000, frame.ip_src, frame.sport, b"who is there?"))
    assert client.recvfrom(100)[0] == b"who is there?"
    # and nobody else on the host may be spoken to by that
    a.expect_drop("closed", frames.eth(harness.GATEWAY_MAC, a.mac, IP4, frames.udp(a.ip, 5000, frame.ip_src, frame.sport ^ 1, b"x")))


def test_forwards_of_low_ports(net):
    """Only root has them: the socket comes with the request, and is kept when the port's address changes."""
    a = net.guest("a", 2)
    for udp in (0, 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as bound:
            try:
                bound.bind((own(1), 1022))
            except PermissionError:
                print("skipped: only root may listen on port 1022")
                return
            if not udp:
                bound.listen()
            bound.setblocking(False)
            told = dict(to=a.id, udp=udp, host_ip=frames.ip_bytes(own(1)), host_port=1022, guest_port=80)
            net.control.ask(FORWARD, fd=bound.fileno(), **told)
            net.control.ask(FORWARD, **told)  # the same again
    check_low_ports(a, 4000)
    a.ip = "10.7.0.9"
    net.control.ask(PORT, **{**a.lease, "ip": frames.ip_bytes(a.ip)})
    check_low_ports(a, 4100)
    assert len(net.control.ask(LIST_FORWARDS)[1]) == 2
    for udp in (0, 1):
        net.control.ask(REMOVE_FORWARD, udp=udp, host_ip=frames.ip_bytes(own(1)), host_port=1022)
    try:
        socket.create_connection((own(1), 1022)).close()
        raise AssertionError("somebody listens")
    except ConnectionRefusedError:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        try:
            net.control.ask(FORWARD, fd=bound.fileno(), to=a.id, host_ip=frames.ip_bytes(own(1)), host_port=1021, guest_port=80)
            raise AssertionError("a socket of another kind was taken")
        except Refused:
            pass


def check_low_ports(guest, sport):
    with socket.socket() as client:
        client.settimeout(harness.PATIENCE)
        client.connect((own(1), 1022))
        connection = Tcp(guest, guest.ip, 80, GATEWAY, 0, seq=sport)
        connection.accept()
        client.sendall(b"hello")
        assert connection.read(5) == b"hello"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"datagram", (own(1), 1022))
        assert guest.receive(lambda seen: seen.protocol == UDP and seen.dport == 80).payload == b"datagram"


def test_forwards_that_are_refused(net):
    a = net.guest("a", 2)
    taken, port = serve_tcp("127.0.0.1")
    fine = dict(to=a.id, host_ip=LOOPBACK, host_port=free_port(), guest_port=80)

    def refused(code, **changed):
        try:
            net.control.ask(FORWARD, **{**fine, **changed})
        except Refused as answer:
            assert answer.code == code, answer
            return answer
        raise AssertionError(f"not refused: {changed}")
    assert "another program" in str(refused("conflict", host_port=port))
    refused("not_found", to="nobody/0")
    refused("usage", host_port=0)
    refused("usage", guest_port=0)
    refused("failed", host_ip=bytes([203, 0, 113, 77]))
    net.control.ask(FORWARD, **fine)
    refused("conflict", guest_port=81)
    assert [item["host_port"] for item in net.control.ask(LIST_FORWARDS)[1]] == [fine["host_port"]]
    net.control.ask(REMOVE_PORT, id=a.id)
    assert net.control.ask(LIST_FORWARDS)[1] == []
    taken.close()


def test_a_forward_follows_its_port(net):
    a = net.guest("a", 2)
    port = free_port()
    net.control.ask(FORWARD, to=a.id, host_ip=LOOPBACK, host_port=port, guest_port=80)
    a.ip = "10.7.0.99"
    net.control.ask(PORT, **{**a.lease, "ip": frames.ip_bytes(a.ip)})
    check_forward(a, port, 80)


def test_forwards_after_a_kill(net):
    a = net.guest("a", 2)
    port = free_port()
    forward = dict(to=a.id, host_ip=LOOPBACK, host_port=port, guest_port=80)
    net.control.ask(FORWARD, **forward)
    client, connection = check_forward(a, port, 80)
    net.kill()
    net.start()
    a.plug()
    net.control.ask(FORWARD, **forward)
    connection.send(ACK, b"?")
    while not connection.receive().flags & RST:  # this switch does not know it; what the other one sent came before
        pass
    client.close()
    check_forward(a, port, 80)


NAMESPACE = "RAMET_TEST_NAMESPACE"


def enter_namespace():
    """Starts this program again where all ports are its own, so that two runs at once never meet."""
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    if NAMESPACE in os.environ or subprocess.run(["unshare", *users, "--net", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        return
    os.environ[NAMESPACE] = "1"
    os.execvp("unshare", ["unshare", *users, "--net", "sh", "-c",
                          "ip link set lo up && ip addr add 192.0.2.1/24 dev lo && ip addr add 169.254.169.254/32 dev lo && "
                          'ip addr add 2001:db8::1/64 dev lo nodad && exec "$0" "$@"', sys.executable, *sys.argv])


if __name__ == "__main__":
    enter_namespace()
    harness.main()
