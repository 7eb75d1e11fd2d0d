"""Frames for the tests of ramet-switch, made and taken apart without any of its code."""
import socket
import struct

ARP, IP4, IP6 = 0x0806, 0x0800, 0x86dd
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ip_bytes(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ip_text(data):
    return socket.inet_ntop(socket.AF_INET6 if len(data) == 16 else socket.AF_INET, data)


def mac_text(data):
    return data.hex(":")


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo(src, dst, protocol, size):
    return ip_bytes(src) + ip_bytes(dst) + struct.pack("!IHBB", size, 0, 0, protocol)


def eth(dst, src, kind, payload):
    return mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", kind) + payload


def arp(operation, src_mac, src_ip, dst_mac, dst_ip, eth_src=None, eth_dst=BROADCAST):
    body = struct.pack("!HHBBH", 1, IP4, 6, 4, operation)
    body += mac_bytes(src_mac) + ip_bytes(src_ip) + mac_bytes(dst_mac) + ip_bytes(dst_ip)
    return eth(eth_dst, eth_src or src_mac, ARP, body)


def ip4(src, dst, protocol, payload, fragment=0, total=None):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total or 20 + len(payload), 1, fragment, 64, protocol, 0,
                       ip_bytes(src), ip_bytes(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(src, dst, protocol, payload, hops=64):
    return struct.pack("!IHBB", 0x60000000, len(payload), protocol, hops) + ip_bytes(src) + ip_bytes(dst) + payload


def ip(src, dst, protocol, payload, hops=64):
    return ip6(src, dst, protocol, payload, hops) if ":" in src else ip4(src, dst, protocol, payload)


def kind_of(address):
    return IP6 if ":" in address else IP4


def udp(src, sport, dst, dport, data):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    total = checksum(pseudo(src, dst, UDP, 8 + len(data)) + head + data) or 0xffff
    return ip(src, dst, UDP, head[:6] + struct.pack("!H", total) + data)


def tcp(src, sport, dst, dport, flags, seq=0, ack=0, data=b""):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, 65535, 0, 0)
    total = checksum(pseudo(src, dst, TCP, 20 + len(data)) + head + data)
    return ip(src, dst, TCP, head[:16] + struct.pack("!H", total) + head[18:] + data)


def icmp(src, dst, kind, body, code=0):
    protocol = ICMP6 if ":" in src else ICMP
    message = struct.pack("!BBH", kind, code, 0) + body
    total = checksum((pseudo(src, dst, ICMP6, len(message)) if protocol == ICMP6 else b"") + message)
    return ip(src, dst, protocol, message[:2] + struct.pack("!H", total) + message[4:],
              255 if protocol == ICMP6 and kind >= 133 else 64)


def option(kind, mac):
    return bytes([kind, 1]) + mac_bytes(mac)


def solicitation(src, target, mac=None):
    group = "ff02::1:ff" + ip_bytes(target)[13:14].hex() + ":" + ip_bytes(target)[14:].hex()
    return icmp(src, group, 135, bytes(4) + ip_bytes(target) + (option(1, mac) if mac else b""))


def advertisement(src, dst, target, mac, flags=0x60):
    return icmp(src, dst, 136, bytes([flags, 0, 0, 0]) + ip_bytes(target) + option(2, mac))


class Frame:
    """A frame taken apart; checksums are checked on the way."""

    def __init__(self, data):
        self.data = data
        self.dst, self.src = mac_text(data[:6]), mac_text(data[6:12])
        self.kind = struct.unpack("!H", data[12:14])[0]
        self.body = data[14:]
        self.protocol = None
        if self.kind == IP4:
            assert checksum(self.body[:20]) == 0, "IPv4 checksum"
            size = struct.unpack("!H", self.body[2:4])[0]
            self.protocol = self.body[9]
            self.ip_src, self.ip_dst = ip_text(self.body[12:16]), ip_text(self.body[16:20])
            self.inner = self.body[20:size]
        elif self.kind == IP6:
            self.protocol = self.body[6]
            self.ip_src, self.ip_dst = ip_text(self.body[8:24]), ip_text(self.body[24:40])
            self.inner = self.body[40:40 + struct.unpack("!H", self.body[4:6])[0]]
        elif self.kind == ARP:
            self.operation = struct.unpack("!H", self.body[6:8])[0]
            self.arp = (mac_text(self.body[8:14]), ip_text(self.body[14:18]), mac_text(self.body[18:24]), ip_text(self.body[24:28]))
        if self.protocol in (TCP, UDP, ICMP6):
            assert checksum(pseudo(self.ip_src, self.ip_dst, self.protocol, len(self.inner)) + self.inner) == 0, "checksum"
        if self.protocol == ICMP:
            assert checksum(self.inner) == 0, "ICMP checksum"
        if self.protocol in (TCP, UDP):
            self.sport, self.dport = struct.unpack("!HH", self.inner[:4])
        if self.protocol == UDP:
            self.payload = self.inner[8:]
        if self.protocol == TCP:
            self.seq, self.ack = struct.unpack("!II", self.inner[4:12])
            self.flags = self.inner[13]
            self.payload = self.inner[(self.inner[12] >> 4) * 4:]
        if self.protocol in (ICMP, ICMP6):
            self.type = self.inner[0]

    def __repr__(self):
        return f"<{self.src} > {self.dst} {self.kind:04x} {self.data[14:].hex()[:120]}>"
