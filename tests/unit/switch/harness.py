"""Drives a real ramet-switch over socket pairs: no guests, no privileges."""
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import frames
from frames import Frame

PATIENCE = 30  # seconds that an event may take on a busy machine
QUIET = 0.15   # how long nothing has to come, where nothing is expected: too short never fails a good switch

HELLO, NETWORK, GET_NETWORK, PORT, REMOVE_PORT, LIST_PORTS, FORWARD, REMOVE_FORWARD, LIST_FORWARDS, IMPAIR, CAPTURE, \
    END_CAPTURE, HOLD, RELEASE, QUIT = range(1, 16)
LIMIT, CAPTURE_FROM = 24, 25
OK, ERROR = 128, 129

DROPS = ["runt", "giant", "malformed", "vlan", "protocol", "spoofed-mac", "spoofed-ip", "spoofed-ip6", "spoofed-arp",
         "spoofed-nd", "dhcp", "advertisement", "unreachable", "closed", "isolated", "flood", "queue", "disconnected",
         "loss", "held", "limit", "connections"]

# name: (tag, kind); kinds: s text, n number, b bytes
TAGS = {
    "id": (3, "s"), "version": (4, "n"), "pid": (5, "n"), "after": (6, "n"), "capture": (7, "n"), "captured": (8, "n"),
    "lost": (9, "n"), "discard": (10, "n"), "held": (11, "n"), "ramet": (12, "s"), "code": (13, "s"), "message": (14, "s"),
    "hint": (15, "s"), "errnum": (16, "n"),
    "net_name": (20, "s"), "subnet": (21, "b"), "prefix": (22, "n"), "gateway": (23, "b"), "subnet6": (24, "b"),
    "prefix6": (25, "n"), "gateway6": (26, "b"), "gateway_mac": (27, "b"), "mtu": (28, "n"), "isolated": (29, "n"),
    "uplink": (30, "n"), "allow_host": (31, "n"), "resolvers": (32, "b"), "apart": (33, "n"), "dns": (34, "b"),
    "port_id": (40, "s"), "name": (41, "s"), "mac": (42, "b"), "guest_mac": (43, "b"), "ip": (44, "b"), "ip6": (45, "b"),
    "router": (46, "n"), "connected": (47, "n"), "serial": (48, "n"), "open": (49, "n"),
    "to": (56, "s"), "udp": (57, "n"), "host_ip": (58, "b"), "host_port": (59, "n"), "guest_port": (60, "n"),
    "out_latency": (64, "n"), "out_jitter": (65, "n"), "out_loss": (66, "n"), "out_rate": (67, "n"), "out_cut": (68, "n"),
    "in_latency": (72, "n"), "in_jitter": (73, "n"), "in_loss": (74, "n"), "in_rate": (75, "n"), "in_cut": (76, "n"),
    "limit_out": (160, "n"), "limit_in": (161, "n"), "limit_packets": (162, "n"), "limit_connections": (163, "n"),
    "sent_frames": (80, "n"), "sent_bytes": (81, "n"), "received_frames": (82, "n"), "received_bytes": (83, "n"),
}
TAGS.update({"drop_" + name: (96 + i, "n") for i, name in enumerate(DROPS)})
NAMES = {tag: (name, kind) for name, (tag, kind) in TAGS.items()}


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer.get('code')}: {answer.get('message')} ({answer.get('hint')})")
        self.code = answer.get("code")


def pack(number, fields):
    message = struct.pack("<HH", number, 0)
    for name, value in fields.items():
        tag, kind = TAGS[name]
        data = value.encode() if kind == "s" else struct.pack("<Q", value) if kind == "n" else value
        message += struct.pack("<HHI", tag, 0, len(data)) + data
    return message


def unpack(message):
    """number, fields, items"""
    fields, items, at = {}, [], 4
    while at < len(message):
        tag, _, size = struct.unpack("<HHI", message[at:at + 8])
        data = message[at + 8:at + 8 + size]
        at += 8 + size
        if tag == 2:
            items.append(unpack(data)[1])
        else:
            name, kind = NAMES[tag]
            fields[name] = data.decode() if kind == "s" else struct.unpack("<Q", data)[0] if kind == "n" else data
    return struct.unpack("<H", message[:2])[0], fields, items


class Control:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)  # waits where the switch has enough of them
        self.socket.settimeout(PATIENCE)

    def send(self, number, fd=None, **fields):
        socket.send_fds(self.socket, [pack(number, fields)], [fd] if fd is not None else [])

    def receive(self):
        answer = self.socket.recv(65536)
        if not answer:
            raise EOFError("the switch closed the connection")
        number, fields, items = unpack(answer)
        if number == ERROR:
            raise Refused(fields)
        assert number == OK, number
        return fields, items

    def ask(self, number, fd=None, **fields):
        self.send(number, fd, **fields)
        return self.receive()


class Guest:
    """One end of a socket pair, where QEMU's card would be."""

    def __init__(self, net, name, number, guest_mac=None, **lease):
        self.net, self.name, self.id = net, name, f"{name}/0"
        self.ip, self.ip6 = f"10.7.0.{number}", f"fd07::{number}"
        self.mac = f"52:54:00:00:00:{number:02x}"
        self.card = guest_mac or self.mac
        self.lease = dict(port_id=self.id, name=name, mac=frames.mac_bytes(self.mac), ip=frames.ip_bytes(self.ip),
                          ip6=frames.ip_bytes(self.ip6), **lease)
        if guest_mac:
            self.lease["guest_mac"] = frames.mac_bytes(guest_mac)
        self.socket, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.plug()

    def plug(self):
        """Gives the switch's end to it; it is kept here, too, as a keeper does."""
        self.net.control.ask(PORT, fd=self.far.fileno(), **self.lease)

    def send(self, data):
        self.socket.settimeout(PATIENCE)
        self.socket.send(data)

    def eth(self, dst, payload, kind=frames.IP4):
        self.send(frames.eth(dst, self.card, kind, payload))

    def out(self, packet, to=None):
        """An IP packet to the gateway's MAC, or somebody's."""
        self.eth(to or GATEWAY_MAC, packet, frames.IP6 if packet[0] >> 4 == 6 else frames.IP4)

    def receive(self, wanted=lambda frame: True, patience=PATIENCE):
        """The next frame that is wanted; others are passed over."""
        until = time.monotonic() + patience
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise TimeoutError(f"{self.name} waited {patience} s for a frame")
            frame = Frame(self.socket.recv(65536))
            if wanted(frame):
                return frame

    def silent(self):
        """Nothing comes, also not after the switch answered something that was asked later."""
        self.net.control.ask(HELLO)
        if select.select([self.socket], [], [], QUIET)[0]:
            raise AssertionError(f"{self.name} got {Frame(self.socket.recv(65536))}")

    def stats(self):
        return next(port for port in self.net.ports() if port["port_id"] == self.id)

    def drops(self):
        return {name[5:]: count for name, count in self.stats().items() if name.startswith("drop_")}

    def expect_drop(self, reason, frame):
        """The frame is dropped for that reason, and nobody else gets it."""
        before = self.drops().get(reason, 0)
        self.send(frame)
        wait_for(lambda: self.drops().get(reason, 0) == before + 1, lambda: f"no drop '{reason}': {self.drops()}")

    def close(self):
        self.socket.close()
        self.far.close()


GATEWAY_MAC, GATEWAY, GATEWAY6 = "52:54:00:00:00:01", "10.7.0.1", "fd07::1"


def wait_for(condition, explain):
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(explain())
        time.sleep(0.01)


class Net:
    """A running switch with its network set."""

    def __init__(self, program, **network):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="ramet-switch-")
        self.path = self.folder + "/switch.sock"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(self.path)
        self.listening.listen(16)
        self.network = dict(net_name="lab", subnet=frames.ip_bytes("10.7.0.0"), prefix=24, gateway=frames.ip_bytes(GATEWAY),
                            subnet6=frames.ip_bytes("fd07::"), prefix6=64, gateway6=frames.ip_bytes(GATEWAY6),
                            gateway_mac=frames.mac_bytes(GATEWAY_MAC), **network)
        self.guests = []
        self.process = None
        self.start()

    def start(self):
        fd = self.listening.fileno()
        self.process = subprocess.Popen([self.program, "--listen-fd", str(fd)], pass_fds=[fd])
        self.control = Control(self.path)
        self.control.ask(NETWORK, **self.network)

    def guest(self, name, number, **lease):
        self.guests.append(Guest(self, name, number, **lease))
        return self.guests[-1]

    def set(self, **network):
        self.network.update(network)
        self.control.ask(NETWORK, **self.network)

    def ports(self):
        found, after = [], 0
        while True:
            items = self.control.ask(LIST_PORTS, after=after)[1]
            if not items:
                return found
            found += items
            after = items[-1]["serial"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        for guest in self.guests:
            guest.close()
        self.control.socket.close()
        self.listening.close()
        shutil.rmtree(self.folder)
        return status


def run(module):
    """Runs the test_ functions of a module, each on a switch of its own: FILE PROGRAM [TEST …]"""
    program, wanted = sys.argv[1], sys.argv[2:]
    failed = 0
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        net = Net(program, **getattr(test, "network", {}))
        try:
            test(net)
            assert net.process.poll() is None, f"the switch ended with {net.process.returncode}"
            print("ok", name, flush=True)
        except Exception:  # all of them: the next test is to run, too
            failed += 1
            traceback.print_exc()
            print("FAILED", name, flush=True)
        finally:
            net.close()
    return failed > 0


def network(**settings):
    """Decorates a test that wants another network."""
    def decorate(test):
        test.network = settings
        return test
    return decorate


def main():
    os.environ.setdefault("RAMET_LOG", "debug")
    sys.exit(run(sys.modules["__main__"]))
