"""The daemon by itself: its start, its end, one to a home, what it is after kill -9, socket activation."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import harness
from harness import expect, without_template

RAMETD = os.path.join(harness.BUILD, "rametd")


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("ramet", timeout=harness.BOUND)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(home, method, path, body=None):
    connection = Connection(os.path.join(home.path, "ramet.sock"))
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def start(home, *options):
    daemon = subprocess.Popen([RAMETD, *options], env=home.env, stderr=subprocess.PIPE, text=True)
    wait_serving(home, daemon)
    return daemon


def serves(home):
    try:
        return call(home, "GET", "/v1/version")[0] == 200
    except OSError:
        return False


def wait_serving(home, daemon):
    def serves_or_ended():
        expect(daemon.poll() is None, f"rametd ended with {daemon.returncode}: {daemon.stderr}")
        return serves(home)
    harness.wait_until(serves_or_ended, "rametd to serve")


def end(daemon, how=signal.SIGTERM):
    daemon.send_signal(how)
    daemon.communicate(timeout=harness.BOUND)
    return daemon.returncode


@without_template
def test_start_and_end(home):
    daemon = start(home)
    status, version = call(home, "GET", "/v1/version")
    expect(status == 200 and version["home"] == home.path and version["pid"] == daemon.pid, f"{version}")
    expect(call(home, "GET", "/v1/vms") == (200, []), "no VMs")
    expect(call(home, "GET", "/v1/images") == (200, []), "no images")
    expect(call(home, "GET", "/v1/vms/web1")[0] == 404, "no web1")
    expect(call(home, "POST", "/v1/vms", {"image": "../x"})[0] in (400, 404), "a bad image")
    checks = call(home, "GET", "/v1/doctor")[1]["checks"]
    expect(all(check["name"] and check["status"] for check in checks) and checks, f"{checks}")
    expect(end(daemon) == 0, "a good end on SIGTERM")
    expect(not os.path.exists(os.path.join(home.path, "ramet.sock")), "no socket left")


@without_template
def test_one_daemon_a_home(home):
    daemon = start(home)
    second = subprocess.run([RAMETD], env=home.env, stderr=subprocess.PIPE, text=True,
                            timeout=harness.BOUND, check=False)
    expect(second.returncode == 4, f"exit status {second.returncode}")
    expect(f"process {daemon.pid}" in second.stderr, second.stderr)
    expect(call(home, "GET", "/v1/version")[1]["pid"] == daemon.pid, "the first one still serves")
    end(daemon)


@without_template
def test_kill_and_start_again(home):
    for _ in range(3):
        daemon = start(home)
        end(daemon, signal.SIGKILL)
        expect(os.path.exists(os.path.join(home.path, "ramet.sock")), "a stale socket")
    daemon = start(home)
    expect(call(home, "GET", "/v1/vms") == (200, []), "no VMs")
    end(daemon)


@without_template
def test_stop_by_a_client(home):
    daemon = start(home)
    expect(call(home, "POST", "/v1/daemon/stop") == (200, {}), "an answer to the stop")
    second = subprocess.Popen([RAMETD], env=home.env, stderr=subprocess.PIPE, text=True)
    daemon.communicate(timeout=harness.BOUND)
    expect(daemon.returncode == 0, f"exit status {daemon.returncode}")
    harness.wait_until(lambda: second.poll() is not None or serves(home), "the second one to serve or to end")
    if second.poll() == 4:  # it asked while the first one still listened
        second = start(home)
    wait_serving(home, second)
    end(second)


@without_template
def test_removed_socket(home):
    """Nobody finds the daemon any more: it ends, and who comes next has one of his own at once."""
    daemon = start(home)
    os.unlink(os.path.join(home.path, "ramet.sock"))
    expect(home.ramet("ps", "--json").json() == [], "the next command")
    daemon.communicate(timeout=harness.BOUND)
    expect(daemon.returncode == 0, f"exit status {daemon.returncode}")
    home.ramet("daemon", "stop")


@without_template
def test_served_elsewhere(home):
    """Who looks for it at another place is told where it is."""
    daemon = start(home)
    error = home.ramet("ps", env={"RAMET_SOCKET": f"{home.folder}/other.sock"}, status=None).err
    expect(f"process {daemon.pid} serves it at {home.path}/ramet.sock" in error, error)
    end(daemon)


@without_template
def test_long_path(home):
    home.path = os.path.join(home.folder, "a" * 100, "b" * 100)
    home.env["RAMET_HOME"] = home.path
    os.makedirs(home.path)
    daemon = subprocess.Popen([RAMETD], env=home.env, stderr=subprocess.PIPE, text=True)
    folder = os.open(home.path, os.O_PATH)
    short = f"/proc/self/fd/{folder}/ramet.sock"
    harness.wait_until(lambda: harness.is_listening(short), "the socket")
    connection = Connection(short)
    connection.request("GET", "/v1/version")
    expect(json.loads(connection.getresponse().read())["home"] == home.path, "the home")
    connection.close()
    os.close(folder)
    end(daemon)


@without_template
def test_socket_activation(home):
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        raise harness.Skip("systemd-socket-activate is not installed")
    os.makedirs(home.path)
    path = os.path.join(home.path, "ramet.sock")
    daemon = subprocess.Popen(
        [activate, "-l", path, *[f"--setenv={k}" for k in home.env], RAMETD],
        env=home.env, stderr=subprocess.PIPE, text=True)
    harness.wait_until(lambda: os.path.exists(path), "the socket")
    wait_serving(home, daemon)
    expect(end(daemon) == 0, "a good end")
    expect(os.path.exists(path), "systemd's socket stays")


@without_template
def test_client_that_is_silent(home):
    """Idle and half-written connections stop neither the others nor the end."""
    daemon = start(home)
    idle = []
    for text in [b"", b"GET /v1/ver", b"POST /v1/vms HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"]:
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(os.path.join(home.path, "ramet.sock"))
        idle[-1].sendall(text)
    expect(call(home, "GET", "/v1/version")[0] == 200, "an answer")
    begin = time.monotonic()
    expect(end(daemon) == 0, f"an end after {time.monotonic() - begin:.1f} s")
    for connection in idle:
        connection.close()


@without_template
def test_a_home_of_the_same_name_keeps_its_socket(home):
    """The home was removed under its daemon, and another made: the end of the first is nothing to the second."""
    os.makedirs(home.path, exist_ok=True)
    first = start(home)
    os.rename(home.path, home.path + ".gone")
    os.mkdir(home.path)
    second = start(home)
    end(first)
    expect(call(home, "GET", "/v1/version")[0] == 200, "the second daemon cannot be reached")
    end(second)
    expect(not os.path.exists(os.path.join(home.path, "ramet.sock")), "its own socket stays")


if __name__ == "__main__":
    harness.main()
