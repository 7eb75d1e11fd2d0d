#!/usr/bin/env python3
"""Frames between ports: who reaches whom, what is not let through, ARP and ND."""
import socket
import struct

import frames
import harness
from frames import ARP, BROADCAST, IP4, IP6
from harness import GATEWAY, GATEWAY6, GATEWAY_MAC, PORT, REMOVE_PORT, Refused, network, wait_for

ZERO_MAC = "00:00:00:00:00:00"


def say(sender, receiver, text=b"hello"):
    sender.eth(receiver.mac, frames.udp(sender.ip, 1000, receiver.ip, 2000, text))
    return receiver.receive(lambda frame: frame.protocol == frames.UDP and frame.payload == text)


def test_unicast_goes_to_its_receiver_only(net):
    a, b, c = net.guest("a", 2), net.guest("b", 3), net.guest("c", 4)
    frame = say(a, b)
    assert (frame.src, frame.dst) == (a.mac, b.mac)
    c.silent()
    say(b, a)
    assert a.stats()["sent_frames"] == 1 and a.stats()["received_frames"] == 1, a.stats()


def test_ipv6_unicast(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    a.eth(b.mac, frames.udp(a.ip6, 1, b.ip6, 2, b"six"), IP6)
    assert b.receive().payload == b"six"


def test_broadcast_goes_to_all_others(net):
    a, b, c = net.guest("a", 2), net.guest("b", 3), net.guest("c", 4)
    a.eth(BROADCAST, frames.udp(a.ip, 1, "10.7.0.255", 2, b"all"))
    assert b.receive().payload == b"all" and c.receive().payload == b"all"
    a.silent()


def test_unknown_unicast_is_not_flooded(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    a.expect_drop("unreachable", frames.eth("52:54:00:00:00:99", a.mac, IP4, frames.udp(a.ip, 1, "10.7.0.99", 2, b"x")))
    b.silent()


@network(isolated=1)
def test_isolated_ports_reach_the_gateway_only(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    a.expect_drop("isolated", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    a.expect_drop("isolated", frames.eth(BROADCAST, a.mac, IP4, frames.udp(a.ip, 1, "10.7.0.255", 2, b"x")))
    a.expect_drop("unreachable", frames.arp(1, a.mac, a.ip, ZERO_MAC, b.ip))
    a.expect_drop("isolated", frames.arp(1, a.mac, a.ip, ZERO_MAC, a.ip))
    a.send(frames.arp(1, a.mac, a.ip, ZERO_MAC, GATEWAY))
    assert a.receive().arp[0] == GATEWAY_MAC
    b.silent()


def test_what_is_no_good_frame(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    fine = frames.udp(a.ip, 1, b.ip, 2, b"x" * 30)
    a.expect_drop("runt", b"\1\2\3")
    a.expect_drop("runt", frames.eth(b.mac, a.mac, IP4, fine[:12]))
    a.expect_drop("runt", frames.eth(b.mac, a.mac, IP4, fine[:40]))
    a.expect_drop("runt", frames.eth(b.mac, a.mac, ARP, b"\0" * 20))
    a.expect_drop("giant", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x" * 1473)))
    a.expect_drop("giant", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x" * 5000)))
    a.expect_drop("vlan", frames.eth(b.mac, a.mac, 0x8100, struct.pack("!HH", 5, IP4) + fine))
    a.expect_drop("vlan", frames.eth(b.mac, a.mac, 0x88a8, struct.pack("!HH", 5, IP4) + fine))
    a.expect_drop("protocol", frames.eth("01:80:c2:00:00:00", a.mac, 38, b"\x42\x42\x03" + b"\0" * 35))  # spanning tree
    a.expect_drop("malformed", frames.eth(b.mac, a.mac, IP4, b"\x65" + fine[1:]))
    a.expect_drop("malformed", frames.eth(b.mac, a.mac, IP4, b"\x42" + fine[1:]))
    tiny = frames.ip4(a.ip, b.ip, frames.TCP, b"\0" * 8, fragment=0x2000)
    a.expect_drop("malformed", frames.eth(b.mac, a.mac, IP4, tiny))
    overlapping = frames.ip4(a.ip, b.ip, frames.TCP, b"\0" * 32, fragment=1)
    a.expect_drop("malformed", frames.eth(b.mac, a.mac, IP4, overlapping))
    b.silent()
    say(a, b, b"x" * 1472)  # 1514 bytes in all


def test_spoofed_addresses(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    a.expect_drop("spoofed-mac", frames.eth(b.mac, b.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    a.expect_drop("spoofed-mac", frames.eth(b.mac, "52:54:00:00:00:77", IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    for ip in (b.ip, GATEWAY, "10.7.0.77", "8.8.8.8", "0.0.0.0"):
        a.expect_drop("spoofed-ip", frames.eth(b.mac, a.mac, IP4, frames.udp(ip, 1, b.ip, 2, b"x")))
    for ip in (b.ip6, GATEWAY6, "fd07::77", "2001:db8::1", "fe80::1", "::"):
        a.expect_drop("spoofed-ip6", frames.eth(b.mac, a.mac, IP6, frames.udp(ip, 1, b.ip6, 2, b"x")))
    b.silent()


def test_spoofed_arp(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    for mac, ip in ((b.mac, a.ip), (a.mac, b.ip), (a.mac, GATEWAY), ("52:54:00:00:00:77", a.ip)):
        for operation in (1, 2):
            a.expect_drop("spoofed-arp", frames.arp(operation, mac, ip, ZERO_MAC, b.ip, eth_src=a.mac))
    a.expect_drop("spoofed-arp", frames.arp(2, a.mac, "0.0.0.0", ZERO_MAC, b.ip))
    a.expect_drop("malformed", frames.arp(3, a.mac, a.ip, ZERO_MAC, b.ip))
    a.expect_drop("malformed", frames.eth(BROADCAST, a.mac, ARP, struct.pack("!HHBBH", 6, IP4, 6, 4, 1) + bytes(20)))
    b.silent()


def test_spoofed_nd(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    group = "33:33:00:00:00:01"
    for packet in (frames.advertisement(a.ip6, b.ip6, b.ip6, a.mac), frames.advertisement(a.ip6, b.ip6, GATEWAY6, a.mac),
                   frames.advertisement(a.ip6, "ff02::1", a.ip6, b.mac), frames.solicitation(a.ip6, b.ip6, b.mac),
                   frames.solicitation(b.ip6, b.ip6, a.mac), frames.advertisement(b.ip6, a.ip6, a.ip6, a.mac)):
        a.expect_drop("spoofed-nd", frames.eth(group, a.mac, IP6, packet))
    a.expect_drop("malformed", frames.eth(group, a.mac, IP6, frames.solicitation(a.ip6, b.ip6, a.mac)[:7] + b"\x40" +
                                          frames.solicitation(a.ip6, b.ip6, a.mac)[8:]))
    endless = frames.icmp(a.ip6, "ff02::1", 135, bytes(4) + frames.ip_bytes(b.ip6) + bytes([1, 0]) + bytes(6))
    a.expect_drop("malformed", frames.eth(group, a.mac, IP6, endless))
    b.silent()


def test_rogue_servers(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    for src, sport, dport in ((a.ip, 67, 68), (a.ip, 67, 1000), (a.ip, 1000, 68), (a.ip6, 547, 546)):
        dst = b.ip6 if ":" in src else b.ip
        a.expect_drop("dhcp", frames.eth(BROADCAST, a.mac, frames.kind_of(src), frames.udp(src, sport, dst, dport, b"x" * 8)))
    a.expect_drop("dhcp", frames.eth(BROADCAST, a.mac, IP4, frames.udp("0.0.0.0", 68, "255.255.255.255", 67, b"x" * 8)))
    for kind in (134, 137):
        a.expect_drop("advertisement", frames.eth("33:33:00:00:00:01", a.mac, IP6, frames.icmp(a.ip6, "ff02::1", kind, bytes(40))))
    hidden = struct.pack("!BB", 58, 0) + bytes([1, 4]) + bytes(4) + frames.icmp(a.ip6, "ff02::1", 134, bytes(12))[40:]
    a.expect_drop("advertisement", frames.eth("33:33:00:00:00:01", a.mac, IP6, frames.ip6(a.ip6, "ff02::1", 60, hidden, 255)))
    b.silent()


def test_arp_is_answered_from_leases(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    for ip, mac in ((b.ip, b.mac), (GATEWAY, GATEWAY_MAC)):
        a.send(frames.arp(1, a.mac, a.ip, ZERO_MAC, ip))
        frame = a.receive()
        assert frame.operation == 2 and frame.arp == (mac, ip, a.mac, a.ip), frame
        a.send(frames.arp(1, a.mac, "0.0.0.0", ZERO_MAC, ip))  # a probe for an address that is taken
        assert a.receive().arp[:2] == (mac, ip)
    a.send(frames.arp(1, a.mac, "0.0.0.0", ZERO_MAC, a.ip))
    a.expect_drop("unreachable", frames.arp(1, a.mac, a.ip, ZERO_MAC, "10.7.0.99"))
    a.silent()
    b.silent()


def test_gratuitous_arp_is_told_to_all(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    a.send(frames.arp(1, a.mac, a.ip, ZERO_MAC, a.ip))
    assert b.receive().arp[:2] == (a.mac, a.ip)
    a.send(frames.arp(2, a.mac, a.ip, b.mac, b.ip, eth_dst=b.mac))
    assert b.receive().operation == 2


def test_an_address_that_moves_is_announced(net):
    """To whoever may remember the card that had it before, and not when it comes back to the same one."""
    a, b, other = net.guest("a", 2), net.guest("b", 3), net.guest("other", 5)
    net.control.ask(REMOVE_PORT, id=b.id)
    b.plug()
    a.silent()
    net.control.ask(REMOVE_PORT, id=b.id)
    new = net.guest("new", 4)
    a.silent()
    lease = {**new.lease, "ip": frames.ip_bytes(b.ip), "ip6": frames.ip_bytes(b.ip6)}
    net.control.ask(PORT, **lease)
    for guest in (a, other):
        frame = guest.receive()
        assert frame.dst == BROADCAST and frame.operation == 1 and frame.arp == (new.mac, b.ip, ZERO_MAC, b.ip), frame.arp
        frame = guest.receive()
        assert frame.type == 136 and frame.src == new.mac and frame.ip_src == b.ip6 and frame.ip_dst == "ff02::1", frame
        assert frame.inner[8:24] == frames.ip_bytes(b.ip6) and frame.inner[24:] == frames.option(2, new.mac)
    new.silent()
    net.control.ask(PORT, **{**lease, "mac": frames.mac_bytes("52:54:00:00:00:88")})  # another card, the same address
    assert a.receive().arp[:2] == ("52:54:00:00:00:88", b.ip)


def test_nd_is_answered_from_leases(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    link_local = "fe80::5054:ff:fe00:2"
    for target, mac in ((b.ip6, b.mac), (GATEWAY6, GATEWAY_MAC), ("fe80::5054:ff:fe00:3", b.mac), ("fe80::5054:ff:fe00:1", GATEWAY_MAC)):
        for src in (a.ip6, link_local):
            a.eth("33:33:ff:00:00:03", frames.solicitation(src, target, a.mac), IP6)
            frame = a.receive()
            assert frame.type == 136 and frame.ip_src == target and frame.ip_dst == src, frame
            assert frame.inner[8:24] == frames.ip_bytes(target) and frame.inner[24:] == frames.option(2, mac), frame
            assert frame.body[7] == 255 and frame.inner[4] & 0x40
    a.eth("33:33:ff:00:00:03", frames.solicitation("::", b.ip6), IP6)  # is it taken?
    frame = a.receive()
    assert frame.ip_dst == "ff02::1" and not frame.inner[4] & 0x40
    a.eth("33:33:ff:00:00:02", frames.solicitation("::", a.ip6), IP6)
    a.eth("33:33:ff:00:00:02", frames.solicitation("::", link_local), IP6)
    a.expect_drop("unreachable", frames.eth("33:33:ff:00:00:99", a.mac, IP6, frames.solicitation(a.ip6, "fd07::99", a.mac)))
    a.silent()
    b.silent()
    a.eth("33:33:00:00:00:01", frames.advertisement(a.ip6, "ff02::1", a.ip6, a.mac, 0x20), IP6)
    assert b.receive().type == 136


def test_ping_of_the_gateway(net):
    a = net.guest("a", 2)
    a.out(frames.icmp(a.ip, GATEWAY, 8, b"\0\1\0\1" + b"ping" * 20))
    frame = a.receive()
    assert frame.type == 0 and frame.inner[8:] == b"ping" * 20 and frame.ip_src == GATEWAY
    a.out(frames.icmp(a.ip6, GATEWAY6, 128, b"\0\1\0\1" + b"ping" * 3))
    frame = a.receive()
    assert frame.type == 129 and frame.ip_src == GATEWAY6 and frame.src == GATEWAY_MAC


def test_a_router_may_send_for_strangers(net):
    a, b = net.guest("a", 2, router=1), net.guest("b", 3)
    a.eth(b.mac, frames.udp("8.8.8.8", 1, b.ip, 2, b"from afar"))
    assert b.receive().ip_src == "8.8.8.8"
    for ip in (b.ip, GATEWAY, "0.0.0.0", "127.0.0.1"):
        a.expect_drop("spoofed-ip", frames.eth(b.mac, a.mac, IP4, frames.udp(ip, 1, b.ip, 2, b"x")))
    b.silent()


def test_translated_mac(net):
    """A clone's card has its source's MAC, and the network sees another."""
    source = net.guest("source", 2)
    clone, other = net.guest("clone", 3, guest_mac=source.mac), net.guest("other", 4)
    frame = say(clone, other)
    assert frame.src == clone.mac
    frame = say(other, clone)
    assert frame.dst == source.mac
    alias = "56" + source.mac[2:]  # the source, since its MAC is the clone's own
    clone.send(frames.arp(1, clone.card, clone.ip, ZERO_MAC, source.ip))
    assert clone.receive(lambda seen: seen.kind == ARP).arp[:2] == (alias, source.ip)
    clone.eth(alias, frames.udp(clone.ip, 1000, source.ip, 2000, b"to the source"))
    frame = source.receive(lambda seen: seen.kind == IP4 and seen.payload == b"to the source")
    assert (frame.src, frame.dst) == (clone.mac, source.mac)
    source.eth(clone.mac, frames.udp(source.ip, 1000, clone.ip, 2000, b"to the clone"))
    frame = clone.receive(lambda seen: seen.kind == IP4 and seen.payload == b"to the clone")
    assert (frame.src, frame.dst) == (alias, clone.card)
    source.send(frames.arp(1, source.mac, source.ip, ZERO_MAC, source.ip))
    seen = [guest.receive(lambda seen: seen.kind == ARP) for guest in (clone, other)]
    assert [(frame.src, frame.arp[0]) for frame in seen] == [(alias,) * 2, (source.mac,) * 2], seen
    source.eth("33:33:00:00:00:01", frames.advertisement(source.ip6, "ff02::1", source.ip6, source.mac, 0x20), IP6)
    frame = clone.receive(lambda seen: seen.kind == IP6)
    assert frame.src == alias and frame.inner[24:] == frames.option(2, alias), frame
    assert other.receive(lambda seen: seen.kind == IP6).inner[24:] == frames.option(2, source.mac)
    other.send(frames.arp(1, other.mac, other.ip, ZERO_MAC, clone.ip))
    assert other.receive().arp[0] == clone.mac
    clone.send(frames.arp(1, clone.card, clone.ip, ZERO_MAC, clone.ip))
    frame = other.receive()
    assert frame.src == clone.mac and frame.arp[0] == clone.mac
    clone.send(frames.arp(1, clone.card, clone.ip, ZERO_MAC, other.ip))
    frame = clone.receive(lambda seen: seen.kind == ARP)
    assert frame.dst == clone.card and frame.arp == (other.mac, other.ip, clone.card, clone.ip), frame.arp
    clone.eth("33:33:00:00:00:01", frames.advertisement(clone.ip6, "ff02::1", clone.ip6, clone.card, 0x20), IP6)
    frame = other.receive()
    assert frame.src == clone.mac and frame.inner[24:] == frames.option(2, clone.mac), frame
    clone.expect_drop("spoofed-mac", frames.eth(other.mac, clone.mac, IP4, frames.udp(clone.ip, 1, other.ip, 2, b"x")))


def test_translation_when_all_are_there(net):
    """Whoever has the alias is seen as well, and is not taken for the source."""
    source = net.guest("source", 2)
    clone = net.guest("clone", 3, guest_mac=source.mac)
    twin = net.guest("twin", 4)
    twin.mac = twin.card = "56" + source.mac[2:]
    net.control.ask(PORT, **{**twin.lease, "mac": frames.mac_bytes(twin.mac)})
    say(source, clone)
    say(twin, source)
    twin.eth(clone.mac, frames.udp(twin.ip, 1, clone.ip, 2, b"twin"))
    seen = clone.receive(lambda frame: frame.kind == IP4 and frame.payload == b"twin").src
    assert seen not in (clone.card, twin.mac)
    clone.eth(seen, frames.udp(clone.ip, 1, twin.ip, 2, b"back"))
    assert twin.receive(lambda frame: frame.kind == IP4 and frame.payload == b"back").src == clone.mac


def test_translation_to_the_alias(net):
    """A clone that is known by its source's alias."""
    source = net.guest("source", 2)
    clone = net.guest("clone", 3, guest_mac=source.mac)
    clone.mac = "56" + source.mac[2:]
    net.control.ask(PORT, **{**clone.lease, "mac": frames.mac_bytes(clone.mac)})
    source.eth(clone.mac, frames.udp(source.ip, 1, clone.ip, 2, b"x"))
    frame = clone.receive(lambda frame: frame.kind == IP4 and frame.payload == b"x")
    assert (frame.src, frame.dst) == (clone.mac, clone.card), frame
    clone.eth(clone.mac, frames.udp(clone.ip, 1, source.ip, 2, b"y"))
    assert source.receive(lambda frame: frame.kind == IP4 and frame.payload == b"y").src == clone.mac


def test_a_flood_of_broadcasts_is_bounded(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    for _ in range(3000):
        a.eth(BROADCAST, frames.udp(a.ip, 1, "10.7.0.255", 2, b"x"))
        while harness.select.select([b.socket], [], [], 0)[0]:
            b.socket.recv(2000)
    wait_for(lambda: a.drops().get("flood", 0) + a.stats().get("sent_frames", 0) >= 3000 and a.drops().get("flood"), a.drops)
    say(a, b, b"unicast is not")


def test_a_flood_to_one_receiver_leaves_room_for_a_sibling(net):
    """b does not read; a fills all that is there for it. c's frame gets through all the same."""
    a, b, c = net.guest("a", 2), net.guest("b", 3), net.guest("c", 4)
    for _ in range(1500):
        a.eth(b.mac, frames.udp(a.ip, 1, b.ip, 2, b"x" * 1400))
    wait_for(lambda: a.drops().get("queue", 0) > 0, lambda: f"{a.drops()}")
    for i in range(5):
        c.eth(b.mac, frames.udp(c.ip, 1, b.ip, 2, b"me too %d" % i))
    wait_for(lambda: c.stats().get("sent_frames", 0) == 5, lambda: f"{c.stats()}")
    seen, after = 0, 0
    while seen < 5:
        frame = b.receive()
        seen += frame.payload.startswith(b"me too")
        after += frame.payload.startswith(b"x")
    assert c.drops() == {}, c.drops()
    say(c, a, b"and others hear c")


def test_gone_and_back(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    b.socket.close()
    a.expect_drop("disconnected", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    assert not b.stats().get("connected")
    b.far.close()
    b.socket, b.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    b.plug()
    assert b.stats()["connected"] == 1
    say(a, b)
    say(b, a)


def test_removed_and_added_again(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    net.control.ask(REMOVE_PORT, id=b.id)
    a.expect_drop("unreachable", frames.eth(b.mac, a.mac, IP4, frames.udp(a.ip, 1, b.ip, 2, b"x")))
    try:
        net.control.ask(REMOVE_PORT, id=b.id)
        raise AssertionError("removed twice")
    except Refused as refused:
        assert refused.code == "not_found", refused
    b.plug()
    say(a, b)


def test_leases_that_are_refused(net):
    a = net.guest("a", 2)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    stream = socket.socketpair()
    fine = dict(port_id="b/0", name="b", mac=b"\x52\x54\0\0\0\3", ip=bytes([10, 7, 0, 3]), ip6=frames.ip_bytes("fd07::3"))

    def refused(code, fd=far, **changed):
        try:
            net.control.ask(PORT, fd=fd.fileno() if fd else None, **{**fine, **changed})
        except Refused as answer:
            assert answer.code == code, answer
            return
        raise AssertionError(f"not refused: {changed}")
    for field in ("name", "mac", "ip", "ip6"):
        refused("conflict", **{field: a.lease[field]})
    refused("conflict", ip=frames.ip_bytes(GATEWAY))
    refused("conflict", ip6=frames.ip_bytes(GATEWAY6))
    refused("conflict", mac=frames.mac_bytes(GATEWAY_MAC))
    refused("usage", ip=bytes([10, 8, 0, 3]))
    refused("usage", ip6=frames.ip_bytes("fd08::3"))
    refused("usage", mac=b"\x01\0\0\0\0\1")
    refused("usage", mac=bytes(6))
    refused("usage", port_id="")
    refused("usage", fd=stream[0])
    refused("not_found", fd=None)
    assert [port["port_id"] for port in net.ports()] == ["a/0"]
    net.control.ask(PORT, fd=far.fileno(), **fine)
    near.close()
    far.close()


def test_a_changed_lease(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    net.control.ask(PORT, **{**b.lease, "ip": frames.ip_bytes("10.7.0.9"), "name": "renamed"})
    b.expect_drop("spoofed-ip", frames.eth(a.mac, b.mac, IP4, frames.udp(b.ip, 1, a.ip, 2, b"x")))
    b.ip = "10.7.0.9"
    say(b, a)
    assert b.stats()["name"] == "renamed"


def test_many_ports(net):
    guests = [net.guest(f"vm{i}", i) for i in range(2, 202)]
    assert len(net.ports()) == 200
    for i in range(0, 200, 20):
        say(guests[i], guests[199 - i])
    assert sorted(port["serial"] for port in net.ports()) == [port["serial"] for port in net.ports()]


def test_killed_and_told_again(net):
    a, b = net.guest("a", 2), net.guest("b", 3)
    say(a, b)
    net.kill()
    a.eth(b.mac, frames.udp(a.ip, 1, b.ip, 2, b"sent meanwhile"))
    net.start()
    b.plug()  # before a: whom nobody has told of yet is unreachable
    a.plug()
    assert b.receive().payload == b"sent meanwhile"
    say(b, a)


if __name__ == "__main__":
    harness.main()
