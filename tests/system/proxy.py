#!/usr/bin/env python3
"""TCP ports of a guest by its agent, with no network at all: proxy, its listener, its route, and ssh over it."""
import hashlib
import os
import signal
import socket
import subprocess
import threading

import harness
from harness import expect, expect_equal, expect_match

PIECE = 1 << 20
PIECES = 200


def started(home, *options):
    home.ramet("run", "-d", "--name", "x", "--network", "none", *options, "busybox")


def serve(home, port, *command, name="x"):
    """A server in the guest, one process a connection, which has it as standard input and output."""
    home.ramet("exec", "-d", name, "--", "nc", "-ll", "-p", str(port), "-e", *command)
    await_listener(home, port, name)


def await_listener(home, port, name="x"):
    script = f"cat /proc/net/tcp /proc/net/tcp6 | grep -c ':{port:04X} 0*:0000 0A'"
    harness.wait_until(lambda: home.ramet("exec", name, "--", "sh", "-c", script, status=None).status == 0,
                       f"a listener on port {port} of {name}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_both_ways(home):
    started(home)
    expect_match(home.ramet("proxy", "x", "7", status=1).err, r"port 7 in the guest: Connection refused")
    serve(home, 7, "cat")
    serve(home, 9, "sha256sum")
    expect_equal(home.ramet("proxy", "x", "7", stdin="there and back").out, "there and back")
    expect_equal(home.ramet("proxy", "x.ramet", "9", stdin="half closed").out.split()[0], sha256(b"half closed"))
    home.ramet("exec", "x", "--", "mkdir", "/www")
    home.ramet("exec", "x", "--", "httpd", "-p", "[::1]:80", "-h", "/www")
    expect_match(home.ramet("proxy", "x", "80", stdin="GET / HTTP/1.0\r\n\r\n").out, r"^HTTP/1\.[01] 404")
    home.ramet("proxy", "nosuch", "7", status=3)
    expect_match(home.ramet("proxy", "nosuch.ramet", "7", status=3).err, "nosuch")
    for port in ("0", "65536", "ssh"):
        home.ramet("proxy", "x", port, status=2)
    home.ramet("proxy", "../x", "7", status=2)
    home.ramet("rm", "-f", "x")
    home.check_no_leftovers()


def test_wait(home):
    """Who does not listen yet is waited for, and what was said meanwhile is not lost."""
    started(home)
    proxy = home.start("proxy", "--wait", "900", "x", "7", stdin=subprocess.PIPE)
    proxy.stdin.write(b"early")
    proxy.stdin.close()
    expect_match(home.ramet("proxy", "--wait", "1", "x", "7", status=1).err, r"port 7 in the guest: Connection refused")
    expect_equal(proxy.poll(), None, "the one that waits")
    serve(home, 7, "cat")
    expect_equal(proxy.stdout.read(), b"early")
    expect_equal(proxy.wait(harness.BOUND), 0)


def test_ends(home):
    """The server's end is seen while ours is open, and a client that is killed leaves nothing in the guest."""
    started(home)
    serve(home, 7, "cat")
    serve(home, 8, "echo", "first")
    serve(home, 9, "sh", "-c", "echo here; cat >/dev/null; echo gone >/tmp/gone")
    proxy = home.start("proxy", "x", "8", stdin=subprocess.PIPE)
    expect_equal(proxy.stdout.read(), b"first\n")
    expect_equal(proxy.poll(), None, "the end of the other direction")
    proxy.stdin.close()
    expect_equal(proxy.wait(harness.BOUND), 0)
    proxy = home.start("proxy", "x", "9", stdin=subprocess.PIPE)
    expect_equal(proxy.stdout.readline(), b"here\n")
    proxy.kill()
    proxy.wait()
    harness.wait_until(lambda: home.ramet("exec", "x", "--", "test", "-e", "/tmp/gone", status=None).status == 0,
                       "the end of the connection in the guest")
    proxy = home.start("proxy", "x", "7", stdin=subprocess.PIPE)
    proxy.stdin.write(b"before")
    proxy.stdin.flush()
    expect_equal(proxy.stdout.read(6), b"before")
    waiting = home.start("exec", "-i", "x", "--", "cat", stdin=subprocess.PIPE)
    waiting.stdin.write(b"line\n")
    waiting.stdin.flush()
    expect_equal(waiting.stdout.readline(), b"line\n")
    home.ramet("fork", "x", "--name", "clone")  # what is open in the source goes on there, and there alone
    waiting.stdin.close()
    expect_equal(waiting.wait(harness.BOUND), 0)
    proxy.stdin.write(b"after")
    proxy.stdin.close()
    expect_equal((proxy.stdout.read(), proxy.wait(harness.BOUND)), (b"after", 0))
    expect_equal(home.ramet("proxy", "clone", "7", stdin="in a clone").out, "in a clone")
    home.ramet("standby", "x")
    expect_match(home.ramet("proxy", "x", "7", status=4).err, "standby")
    home.ramet("resume", "x")
    expect_equal(home.ramet("proxy", "x", "7", stdin="again").out, "again")
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_much(home):
    """200 MiB each way at once, nothing lost, nothing added; and an end with all of it unread."""
    started(home, "--memory", "512M")
    piece = os.urandom(PIECE)
    home.ramet("exec", "-i", "x", "--", "sh", "-c", "cat >/tmp/piece", stdin=piece)
    serve(home, 7, "sh", "-c", f"(for i in $(seq {PIECES}); do cat /tmp/piece; done) & sha256sum >/tmp/sum; wait")
    proxy = home.start("proxy", "x", "7", stdin=subprocess.PIPE)

    def feed():
        for _ in range(PIECES):
            proxy.stdin.write(piece)
        proxy.stdin.close()
    feeder = threading.Thread(target=feed)
    feeder.start()
    wanted, got, n = hashlib.sha256(), hashlib.sha256(), 0
    while chunk := proxy.stdout.read(PIECE):
        got.update(chunk)
        n += len(chunk)
    feeder.join()
    for _ in range(PIECES):
        wanted.update(piece)
    expect_equal((n, proxy.wait(harness.BOUND)), (PIECES * PIECE, 0))
    expect_equal(got.hexdigest(), wanted.hexdigest(), "what came out of the guest")
    expect_equal(home.ramet("exec", "x", "--", "cat", "/tmp/sum").out.split()[0], wanted.hexdigest(), "what went in")
    proxy = home.start("proxy", "x", "7", stdin=subprocess.PIPE)
    expect_equal(proxy.stdout.read(1000), piece[:1000])
    proxy.terminate()
    proxy.wait()
    home.ramet("exec", "x", "true")
    home.ramet("rm", "-f", "x")


def ended(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # with bytes that nobody read
        return True


def test_listen(home):
    started(home)
    serve(home, 9, "sha256sum")
    home.ramet("proxy", "--listen", "nowhere:1", "x", "9", status=2)
    listener = home.start("proxy", "--listen", "0", "x", "9")
    ip, port = listener.stdout.readline().decode().strip().rsplit(":", 1)
    expect_equal(ip, "127.0.0.1")
    home.ramet("proxy", "--listen", port, "x", "9", status=1)
    clients = [socket.create_connection((ip, int(port))) for _ in range(8)]
    for i, client in enumerate(clients):
        client.sendall(b"client %d" % i)
    for i, client in reversed(list(enumerate(clients))):
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
        expect_equal(answer.split()[0].decode(), sha256(b"client %d" % i), f"answer to client {i}")
        client.close()
    held = socket.create_connection((ip, int(port)))
    held.sendall(b"held")
    listener.send_signal(signal.SIGINT)
    listener.wait(harness.BOUND)
    expect(ended(held), "the connection outlives its listener")
    held.close()
    home.ramet("rm", "-f", "x")
    home.check_no_leftovers()


def request(home, head, body):
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.path.join(home.path, "ramet.sock"))
    client.sendall(f"{head}\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return client


def test_api(home):
    started(home)
    serve(home, 8, "echo", "by HTTP")
    client = request(home, "POST /v1/vms/x/proxy HTTP/1.1\r\nConnection: close", '{"port":8}')
    expect_match(client.recv(4096).decode(), "^HTTP/1.1 426 ")
    client.close()
    for body in ('{"port":0}', "{}"):
        client = request(home, "POST /v1/vms/x/proxy HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: ramet-stream", body)
        expect_match(client.recv(4096).decode(), "^HTTP/1.1 400 ")
        client.close()
    client = request(home, "POST /v1/vms/x/proxy HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: ramet-stream", '{"port":8}')
    got = b""
    while b"by HTTP\n" not in got:
        chunk = client.recv(4096)
        expect(chunk, f"the stream ended: {got}")
        got += chunk
    expect_match(got.decode(errors="replace"), "^HTTP/1.1 101 ")
    client.close()
    home.ramet("rm", "-f", "x")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
