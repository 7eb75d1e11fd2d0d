#!/usr/bin/env python3
"""A network in which each port is alone: all have the same addresses, none hears of another, and each has an uplink of its own."""
import contextlib
import os
import socket
import struct

import frames
import harness
from frames import ARP, IP4, SYN, TCP, UDP
from harness import FORWARD, GATEWAY, LIST_FORWARDS, NETWORK, PORT, REMOVE_FORWARD, REMOVE_PORT, Refused, network, wait_for
from outside import (A, LOOPBACK, RST, Resolver, Tcp, ask_by_tcp, check_forward, converse, enter_namespace, free_port, in_namespace,
                     mapped, may_listen_on_53, own, question, read_answer, record, serve_tcp)

DNS = "10.7.0.3"
ALONE = dict(apart=1, isolated=1, uplink=1, dns=frames.ip_bytes(DNS))
NUMBER = 15  # all have the same addresses


def pair(net):
    return net.guest("a", NUMBER), net.guest("b", NUMBER)


@network(**ALONE)
def test_nobody_hears_of_another(net):
    a, b = pair(net)
    c = net.guest("c", NUMBER + 1)
    for guest in (a, b, c):
        for address in (GATEWAY, DNS):
            guest.send(frames.arp(1, guest.mac, guest.ip, "00:00:00:00:00:00", address))
            answer = guest.receive(lambda seen: seen.kind == ARP)
            assert answer.src == harness.GATEWAY_MAC, answer
            guest.out(frames.icmp(guest.ip, address, 8, b"\0\1\0\1hello"))
            assert guest.receive().ip_src == address
    a.expect_drop("isolated", frames.eth("ff:ff:ff:ff:ff:ff", a.mac, IP4, frames.udp(a.ip, 1, "255.255.255.255", 2, b"x")))
    a.expect_drop("isolated", frames.arp(1, a.mac, a.ip, a.mac, a.ip))
    a.expect_drop("unreachable", frames.arp(1, a.mac, a.ip, "00:00:00:00:00:00", c.ip))
    a.expect_drop("unreachable", frames.eth(c.mac, a.mac, IP4, frames.udp(a.ip, 1, c.ip, 2, b"x")))
    a.expect_drop("spoofed-ip", frames.eth(harness.GATEWAY_MAC, a.mac, IP4, frames.udp(c.ip, 1, GATEWAY, 2, b"x")))
    a.expect_drop("spoofed-mac", frames.eth(harness.GATEWAY_MAC, c.mac, IP4, frames.udp(a.ip, 1, GATEWAY, 2, b"x")))
    a.send(frames.arp(1, a.mac, "0.0.0.0", "00:00:00:00:00:00", a.ip))  # is it somebody else's? Of nobody whom it could meet
    for guest in (a, b, c):
        guest.silent()
    assert [port["port_id"] for port in net.ports()] == ["a/0", "b/0", "c/0"]


@network(**ALONE)
def test_settings_that_contradict(net):
    for wrong in (dict(isolated=0), dict(dns=frames.ip_bytes("10.8.0.3"))):
        try:
            net.control.ask(NETWORK, **{**net.network, **wrong})
            raise AssertionError(f"not refused: {wrong}")
        except Refused as answer:
            assert answer.code == "usage", answer
    a = net.guest("a", NUMBER)
    try:
        net.control.ask(NETWORK, **{**net.network, "apart": 0})
        raise AssertionError("not refused in use")
    except Refused as answer:
        assert answer.code == "conflict", answer
    for address in (GATEWAY, DNS):
        try:
            net.control.ask(PORT, **{**a.lease, "ip": frames.ip_bytes(address)})
            raise AssertionError(f"{address} was leased")
        except Refused as answer:
            assert answer.code == "conflict", answer


@network(**ALONE)
def test_names_are_asked_of_the_host(net):
    if not may_listen_on_53():
        print("skipped: only root may listen on port 53")
        return
    resolver = Resolver(lambda query: [record(query, "9.9.9.9")], own(53))
    net.set(resolvers=mapped(own(53)) + bytes(32))
    for guest in pair(net):
        for name in ("b", "b.lab.ramet", "www.example.org"):  # nobody here has a name
            query = question(name, A)
            guest.out(frames.udp(guest.ip, 5353, DNS, 53, query))
            frame = guest.receive(lambda seen: seen.protocol == UDP)
            assert (frame.ip_src, frame.sport) == (DNS, 53)
            assert read_answer(query, frame.payload) == (0, [(A, b"\t\t\t\t")])
        guest.expect_drop("closed", frames.eth(harness.GATEWAY_MAC, guest.mac, IP4,
                                               frames.udp(guest.ip, 5353, GATEWAY, 53, question("a", A))))
    assert len(resolver.queries) == 6


@network(**ALONE)
def test_names_over_tcp(net):
    net.set(resolvers=mapped(own(99)) + bytes(32))
    a, b = pair(net)
    streams = [Tcp(guest, guest.ip, 4000, DNS, 53) for guest in (a, b)]
    many = [Tcp(a, a.ip, 5000 + i, DNS, 53) for i in range(40)]
    assert all(tcp.connect() for tcp in streams + many)
    query = question("www.example.org", A)
    assert read_answer(query, ask_by_tcp(streams[1], query)) == (2, []), "a neighbor's queries took its place"
    assert not Tcp(a, a.ip, 6000, GATEWAY, 53).connect()


@in_namespace
@network(**ALONE)
def test_uplinks_are_apart(net):
    """The same ports from the same addresses, and each answer goes to whom it is for."""
    a, b = pair(net)
    server, port = serve_tcp("192.0.2.1")
    talks = [converse(guest, guest.ip, "192.0.2.1", server, port) for guest in (a, b)]
    for number, (connection, peer) in enumerate(talks):
        peer.sendall(b"for %d" % number)
        assert connection.read(5) == b"for %d" % number
    net.control.ask(REMOVE_PORT, id=a.id)
    assert talks[0][1].recv(10) == b"", "its connections end with a port"
    talks[1][1].sendall(b"still here")
    assert talks[1][0].read(10) == b"still here"
    a.plug()  # anew: nobody knows the connection
    talks[0][0].send(frames.ACK, b"?")
    assert talks[0][0].receive().flags & RST


@in_namespace
@network(**ALONE)
def test_the_host_for_one_alone(net):
    a, b = net.guest("a", NUMBER), net.guest("b", NUMBER, open=1)
    server, port = serve_tcp("127.0.0.1")
    converse(b, b.ip, GATEWAY, server, port)
    metadata, there = serve_tcp("169.254.169.254")
    converse(b, b.ip, "169.254.169.254", metadata, there)
    for address, at in ((GATEWAY, port), ("127.0.0.1", port), ("169.254.169.254", there)):
        assert not Tcp(a, a.ip, 4000, address, at).connect()
    assert a.drops()["closed"] >= 3
    net.control.ask(PORT, **{**b.lease, "open": 0})
    assert not Tcp(b, b.ip, 4100, GATEWAY, port).connect()


@network(**ALONE)
def test_forwards(net):
    a, b = pair(net)
    ports = [free_port(), free_port()]
    for guest, port in zip((a, b), ports):
        net.control.ask(FORWARD, to=guest.id, host_ip=LOOPBACK, host_port=port, guest_port=80)
    for guest, port in zip((a, b), ports):
        check_forward(guest, port, 80)
    try:
        net.control.ask(FORWARD, to=a.id, host_ip=LOOPBACK, host_port=ports[1], guest_port=80)
        raise AssertionError("not refused")
    except Refused as answer:
        assert answer.code == "conflict", answer
    net.control.ask(REMOVE_FORWARD, host_ip=LOOPBACK, host_port=ports[0])
    net.control.ask(FORWARD, to=a.id, udp=1, host_ip=LOOPBACK, host_port=ports[0], guest_port=5000)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(harness.PATIENCE)
        client.sendto(b"knock", ("127.0.0.1", ports[0]))
        frame = a.receive(lambda seen: seen.protocol == UDP)
        a.out(frames.udp(a.ip, 5000, frame.ip_src, frame.sport, b"who is there?"))
        assert client.recv(100) == b"who is there?"
        b.expect_drop("closed", frames.eth(harness.GATEWAY_MAC, b.mac, IP4,
                                           frames.udp(b.ip, 5000, frame.ip_src, frame.sport, b"not yours")))
    net.control.ask(REMOVE_PORT, id=b.id)
    assert [item["to"] for item in net.control.ask(LIST_FORWARDS)[1]] == [a.id]
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[1])).close()
        raise AssertionError("somebody listens")


def dhcp(guest, kind, options=b""):
    """A client's message, and the options of the answer."""
    message = struct.pack("!BBBBIHH", 1, 1, 6, 0, 77, 0, 0) + bytes(16) + frames.mac_bytes(guest.card) + bytes(10 + 64 + 128)
    message += b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + b"\xff"
    guest.send(frames.eth("ff:ff:ff:ff:ff:ff", guest.card, IP4, frames.udp("0.0.0.0", 68, "255.255.255.255", 67, message)))
    answer = guest.receive(lambda seen: seen.protocol == UDP and seen.dport == 68).payload
    found, at = {}, 240
    while answer[at] != 255:
        found[answer[at]] = answer[at + 2:at + 2 + answer[at + 1]]
        at += 2 + answer[at + 1]
    return answer[16:20], found


@network(**ALONE)
def test_address_by_dhcp(net):
    for guest in (*pair(net), net.guest("c", NUMBER, guest_mac="52:54:00:00:00:77")):
        for kind in (1, 3):
            address, options = dhcp(guest, kind, b"" if kind == 1 else bytes([50, 4]) + frames.ip_bytes(guest.ip))
            assert address == frames.ip_bytes(guest.ip) and options[53] == bytes([2 if kind == 1 else 5])
            assert (options[3], options[6]) == (frames.ip_bytes(GATEWAY), frames.ip_bytes(DNS))
        server = frames.udp(guest.ip, 67, "255.255.255.255", 68, bytes(300))
        guest.expect_drop("dhcp", frames.eth("ff:ff:ff:ff:ff:ff", guest.card, IP4, server))


@in_namespace
@network(**ALONE)
def test_guests_that_take_nothing(net):
    """Many that ask for much and read nothing leave the others room."""
    flood = bytes(1400)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("192.0.2.1", 0))
        server.settimeout(harness.PATIENCE)
        deaf = [net.guest(f"deaf{i}", NUMBER) for i in range(40)]
        peers = []
        for guest in deaf:
            guest.out(frames.udp(guest.ip, 6000, "192.0.2.1", server.getsockname()[1], b"more"))
            peers.append(server.recvfrom(100)[1])

        def without_drops():
            """A slow switch loses much before it has read it, so more comes until the queue of each is full."""
            for _ in range(50):
                for peer in peers:
                    server.sendto(flood, peer)
            dropped = {port["port_id"] for port in net.ports() if port.get("drop_queue")}
            return [guest.id for guest in deaf if guest.id not in dropped]
        wait_for(lambda: not without_drops(), lambda: f"of {without_drops()} nothing was dropped")
        a = net.guest("a", NUMBER)
        listening, port = serve_tcp("192.0.2.1")
        converse(a, a.ip, "192.0.2.1", listening, port)


@in_namespace
@network(**ALONE)
def test_nothing_stays_of_ports_that_went(net):
    server, port = serve_tcp("192.0.2.1")

    def descriptors():
        return len(os.listdir(f"/proc/{net.process.pid}/fd"))
    a = net.guest("a", NUMBER)
    before = descriptors()
    for number in range(50):
        b = net.guest(f"b{number}", NUMBER)
        converse(b, b.ip, "192.0.2.1", server, port)[1].close()
        net.control.ask(FORWARD, to=b.id, host_ip=LOOPBACK, host_port=free_port(), guest_port=80)
        assert Tcp(b, b.ip, 4001, DNS, 53).connect()
        net.control.ask(REMOVE_PORT, id=b.id)
    assert descriptors() == before
    converse(a, a.ip, "192.0.2.1", server, port)
    assert net.control.ask(LIST_FORWARDS)[1] == []


@in_namespace
@network(**ALONE)
def test_more_ports_than_a_network_has(net):
    """A home may have more VMs than a network with a name; and the last one is as good as the first."""
    server, port = serve_tcp("192.0.2.1")
    far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(1200):
        net.control.ask(PORT, fd=far[1].fileno(), port_id=f"{number}", mac=frames.mac_bytes("52:54:00:00:00:0f"),
                        ip=frames.ip_bytes("10.7.0.15"))
    last = net.guest("last", NUMBER)
    converse(last, last.ip, "192.0.2.1", server, port)
    assert len(net.ports()) == 1201
    assert last.stats()["sent_frames"] > 0 and SYN and TCP
    for number in range(1200):
        net.control.ask(REMOVE_PORT, id=f"{number}")
    assert len(net.ports()) == 1


if __name__ == "__main__":
    enter_namespace()
    harness.main()
