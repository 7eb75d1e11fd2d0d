"""What the system tests share: a fresh home, the built programs, and a look for leftovers at the end.

A test file is a script: it imports this module, defines functions named test_*, and ends with `harness.main()`.
Each function gets a Home of its own. A test waits for events with a generous bound and asserts no speed.

    RAMET_BUILD     folder of the built programs (meson sets it)
    RAMET_TEMPLATE  folder with a home in which the images were built once; a Home starts as hard links of it,
                    which is safe since bases are frozen files; RAMET_TEMPLATE-booted is a copy of it whose boot
                    cache has the image, so that tests that are not about the first boot need not wait for one
    RAMET_TEST_TRACE
                    when set, each command of a test is shown with the time that it took
"""
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import guard

BUILD = os.environ.get("RAMET_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
TEMPLATE = os.environ.get("RAMET_TEMPLATE", os.path.join(BUILD, "test-home"))
BOOTED = TEMPLATE + "-booted"
KERNELS = "kernels"  # no home yet, but the kernel that images without one of their own are given
RAMET = os.path.join(BUILD, "ramet")
# What the leak sanitizer says when a thread that was joined has not quite left yet; it looks at the others all the same.
THREAD_ENDED = re.compile(r"==\d+==Unable to get registers from thread \d+\.")
BOUND = 180  # seconds that anything may take on a slow machine


# What a shell starts in the background ignores it, and so would the clients that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Skip(Exception):
    """A test that cannot run here; its text is the reason."""


class Failure(AssertionError):
    """Something was not as expected."""


def wait_until(condition, what, bound=BOUND):
    """Polls a condition for which there is no event to wait for; fails naming what it waited for."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {bound} s for {what}")
        time.sleep(0.02)


def processes_of(home):
    """The ids of all processes that belong to a home: their environment names it."""
    return guard.processes_below(home)


class Result:
    def __init__(self, process, out, err):
        self.status, self.out, self.err = process.returncode, out, err

    def json(self):
        return json.loads(self.out)


class Home:
    """A RAMET_HOME under a temporary folder."""

    def __init__(self, template=TEMPLATE, parent=None):
        """template: the home to start as, KERNELS, or None for an empty one."""
        self.folder = tempfile.mkdtemp(prefix="ramet-test-", dir=parent)
        guard.note("+", self.folder)
        self.path = os.path.join(self.folder, "home")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RAMET_")}
        self.env.update(RAMET_HOME=self.path, RAMET_ACCEL=os.environ.get("RAMET_ACCEL", "auto"))
        self.collect_reports()
        if template == KERNELS:
            shutil.copytree(os.path.join(TEMPLATE, "kernels"), os.path.join(self.path, "kernels"),
                            copy_function=link_or_copy)
        elif template:
            copy_home(template, self.path)

    def collect_reports(self):
        """Has the sanitizers write into files, since a daemon's and a keeper's standard error is not looked at."""
        self.reports = os.path.join(self.folder, "reports")
        os.mkdir(self.reports)
        os.chmod(self.reports, 0o1777)  # a keeper has a user of its own
        os.chmod(self.folder, 0o711)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in self.env:
                self.env[name] += f":log_path={self.reports}/report"

    def check_reports(self):
        """Ends the daemon, so that its leaks show, and fails when a sanitizer of any program said something.

        A test that makes a home of its own calls this before it closes it."""
        if "ASAN_OPTIONS" not in self.env and "TSAN_OPTIONS" not in self.env or not os.path.isdir(self.reports):
            return
        daemon = self.json("daemon", "status", status=None).get("pid")
        if daemon:
            self.ramet("daemon", "stop", status=None)
            wait_until(lambda: not is_alive(daemon), "the end of rametd")
        text = ""
        for name in sorted(os.listdir(self.reports)):
            with open(os.path.join(self.reports, name), errors="replace", encoding="utf-8") as file:
                text += "".join(line for line in file if not THREAD_ENDED.fullmatch(line.strip()))
        expect(not text, f"a sanitizer reports:\n{text}")

    def ramet(self, *args, status=0, stdin=None, timeout=BOUND, env=None, binary=False):
        """Runs the CLI. status: what it must exit with, None for anything. Returns a Result."""
        began = time.monotonic()
        shown = " ".join(os.fsdecode(word) for word in args)[:500]
        process = self.start(*args, stdin=subprocess.PIPE, env=env)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            out, err = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failure(f"ramet {shown}: no end within {timeout} s\n{err.decode(errors='replace')}")
        if "RAMET_TEST_TRACE" in os.environ:
            print(f"{time.monotonic() - began:7.2f} s  {shown[:90]!r}", file=sys.stderr)
        result = Result(process, out if binary else out.decode(errors="replace"), err.decode(errors="replace"))
        if status is not None and result.status != status:
            raise Failure(f"ramet {shown}: exit status {result.status}, expected {status}\n"
                          f"out: {result.out!r}\nerr: {result.err}")
        return result

    def start(self, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=None):
        """Starts the CLI and returns the process."""
        return subprocess.Popen([RAMET, *args], stdin=stdin, stdout=stdout, stderr=stderr,
                                env={**self.env, **(env or {})})

    def json(self, *args, **options):
        return self.ramet(*args, "--json", **options).json()

    def vm(self, name):
        return self.json("inspect", name)

    def daemon_pid(self):
        return self.json("daemon", "status").get("pid")

    def kill_daemon(self):
        """kill -9 of rametd, as a crash; returns once it is gone."""
        self.end_daemon(self.daemon_pid())

    def end_daemon(self, pid):
        """A child that it was just spawning has its sockets open until it is another program."""
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), "the end of rametd")
        wait_until(lambda: not is_listening(f"{self.path}/ramet.sock"), "the end of its socket")

    def vm_folders(self):
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(os.path.join(self.path, "vms")))
        return []

    def check_no_leftovers(self):
        """After all VMs were removed: no folder, no scratch, no process but the daemon, its zygote, and for some seconds
        the switch of the network user."""
        wait_until(lambda: not self.vm_folders(), f"empty vms/ ({self.vm_folders()})")
        tmp = os.path.join(self.path, "tmp")  # what a client left that went away goes a moment later
        if os.path.isdir(tmp):
            wait_until(lambda: not os.listdir(tmp), f"empty tmp/ ({os.listdir(tmp)})")
        daemon = self.daemon_pid()
        zygote = is_zygote(daemon)

        def stays(pid):
            return pid == daemon or zygote(pid) or is_user_switch(pid)
        wait_until(lambda: [p for p in processes_of(self.path) if not stays(p)] == [],
                   f"no processes but rametd ({processes_of(self.path)})")

    def close(self):
        """Ends everything that belongs to this home, whatever state it is in."""
        guard.remove(self.folder)
        guard.note("-", self.folder)


class ServiceManager:
    """What systemd does for rametd.service: passes a socket, and keeps descriptors over a restart (sd_notify(3))."""

    def __init__(self, home):
        self.home, self.daemon, self.kept = home, None, []  # kept: (name, descriptor)
        self.path = os.path.join(home.folder, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        os.makedirs(home.path, exist_ok=True)
        self.listener.bind(os.path.join(home.path, "ramet.sock"))
        self.listener.listen()

    def start(self):
        """Returns once the daemon is ready."""
        passed = [("rametd.socket", self.listener.fileno()), *self.kept]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for _, fd in passed]  # out of the way of what they become

        def place():
            for number, fd in enumerate(high, 3):
                os.dup2(fd, number)
        env = {**self.home.env, "NOTIFY_SOCKET": self.path, "LISTEN_FDS": str(len(passed)),
               "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
        # pylint: disable=subprocess-popen-preexec-fn
        self.daemon = subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ exec "$0"', RAMET + "d"], env=env, preexec_fn=place,
                                       pass_fds=range(3, 3 + len(passed)), stderr=subprocess.DEVNULL)
        for fd in high:
            os.close(fd)
        self.receive_until(lambda message: "READY=1" in message)

    def receive_until(self, is_last, timeout=BOUND):
        """Takes messages, and what they have kept or removed, until one that is the last."""
        self.notify.settimeout(timeout)
        text = ""
        while not is_last(text):
            text, fds, _, _ = socket.recv_fds(self.notify, 4096, 16)
            text = text.decode()
            message = dict(line.split("=", 1) for line in text.splitlines())
            if "FDSTORE" in message:
                self.kept += [(message["FDNAME"], fd) for fd in fds]
            if "FDSTOREREMOVE" in message:
                for _, fd in [entry for entry in self.kept if entry[0] == message["FDNAME"]]:
                    os.close(fd)
                self.kept = [entry for entry in self.kept if entry[0] != message["FDNAME"]]

    def stop(self, how):
        self.daemon.send_signal(how)
        self.daemon.wait()
        with contextlib.suppress(BlockingIOError):
            self.receive_until(lambda text: False, 0)

    def close(self):
        self.stop(signal.SIGTERM)
        self.notify.close()
        self.listener.close()
        for _, fd in self.kept:
            os.close(fd)


class LocalConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("ramet")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(BOUND)
        self.sock.connect(self.path)


def ask(home, path, body=None, at=None, strike=None):
    """A request whose events are followed; calls strike() when the stage `at` begins.

    Returns the result (None when there was none), the error (a daemon that died leaves neither), and the stages."""
    result, error, stages = None, None, []
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        connection = LocalConnection(f"{home.path}/ramet.sock")
        connection.request("POST", path, json.dumps(body or {}),
                           {"Accept": "application/x-ndjson", "Content-Type": "application/json"})
        for line in iter(connection.getresponse().readline, b""):
            event = json.loads(line)
            result, error = event.get("result", result), event.get("error", error)
            if event.get("event") != "stage":
                continue
            stages.append(event["name"])
            if event["name"] == at:
                strike()
                at = None
    return result, error, stages


def is_listening(path):
    with socket.socket(socket.AF_UNIX) as client:
        with contextlib.suppress(OSError):
            client.connect(path)
            return True
    return False


def free_port():
    """A port of the loopback that nobody has, none of those that the kernel gives to who asks for any: so it stays free."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        lowest = int(file.read().split()[0])
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(lowest // 2, lowest)))
            return probe.getsockname()[1]


def is_zygote(daemon):
    """Whether a process is the one that the daemon forks QEMUs off: its child, alone, and named so."""
    def check(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
            return name == "ramet-zygote" and int(fields.split()[1]) == daemon
        return False
    return check


def network_files(home):
    """What is left of networks in the home, but for that of the network user, which is not made by anybody."""
    path = os.path.join(home.path, "networks")
    return [name for name in os.listdir(path) if not name.startswith("user.")] if os.path.isdir(path) else []


def is_switch(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read() == "ramet-switch\n"
    return False


def is_user_switch(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().startswith(b"ramet-switch/user\0")
    return False


def copy_home(template, path):
    if not os.path.exists(os.path.join(template, "ramet.db")):
        raise Failure(f"no template home at {template}: run tests/system/template.py")
    shutil.copytree(template, path, copy_function=link_or_copy,
                    ignore=shutil.ignore_patterns("vms", "tmp", "locks", "*.sock", "*.log"))


def link_or_copy(source, target, **_):
    """Frozen files are linked, everything else is copied."""
    if os.stat(source).st_mode & 0o222 == 0:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def tree_digest(path):
    """What names a base, by the description in src/base/tree_digest.h."""
    leaves = b""
    with open(path, "rb") as file:
        for index, chunk in enumerate(iter(lambda: file.read(1 << 20), b"")):
            pages = [chunk[at:at + 4096] for at in range(0, len(chunk), 4096)]
            full = [i for i, page in enumerate(pages) if page.strip(b"\0")]
            if full:
                bits = sum(1 << i for i in full).to_bytes(32, "little")
                leaf = hashlib.sha256(b"\0" + bits + b"".join(pages[i] for i in full))
                leaves += index.to_bytes(8, "little") + leaf.digest()
        size = file.tell()
    return "tree1:" + hashlib.sha256(b"\1" + size.to_bytes(8, "little") + leaves).hexdigest()


def is_alive(pid):
    """Does any thread of it live? While one does, its descriptors are open, even when the first thread is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] != "Z" or int(fields[17]) > 1  # proc(5): state, num_threads


def expect(condition, message):
    if not condition:
        raise Failure(message)


def expect_equal(found, wanted, what="value"):
    if found != wanted:
        raise Failure(f"{what} is {found!r}, expected {wanted!r}")


def expect_match(text, pattern, what="text"):
    if not re.search(pattern, text):
        raise Failure(f"{what} does not match {pattern!r}: {text!r}")


def check_contiguous(stages):
    """Stages cover the whole time, in order, without gaps over 5 ms."""
    expect(stages, "no stages")
    for before, after in zip(stages, stages[1:]):
        gap = after["start_us"] - (before["start_us"] + before["duration_us"])
        expect(0 <= gap <= 5000, f"gap of {gap} us between {before['name']} and {after['name']}")
    expect(stages[0]["start_us"] <= 5000, f"first stage starts at {stages[0]['start_us']} us")


def main(template=TEMPLATE):
    """Runs all test_ functions of the calling script, or those named on its command line, each in a home that starts as
    the template unless the function is marked otherwise."""
    guard.start()
    module = sys.modules["__main__"]
    names = sys.argv[1:] or [name for name in vars(module) if name.startswith("test_")]
    failed = ran = 0
    skipped = []
    for name in names:
        function = getattr(module, name)
        home = None
        began = time.monotonic()
        try:
            home = Home(template=getattr(function, "template", template))
            function(home)
            home.check_reports()
            ran += 1
            print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Skip as reason:
            skipped.append(str(reason))
            print(f"skipped {name}: {reason}", file=sys.stderr, flush=True)
        except Exception:  # a test's failure must not hide the others'
            failed += 1
            print(f"FAILED {name}", file=sys.stderr)
            traceback.print_exc()
            if home:
                show_logs(home)
        finally:
            if home:
                home.close()
    sys.exit(1 if failed else 0 if ran else 77)


def show_logs(home):
    for folder, _, files in os.walk(home.path):
        for name in files:
            if name.endswith(".log"):
                with open(os.path.join(folder, name), errors="replace", encoding="utf-8") as file:
                    tail = file.read()[-1500:]
                if tail:
                    print(f"--- {os.path.relpath(os.path.join(folder, name), home.path)}\n{tail}", file=sys.stderr)


def without_template(function):
    """Marks a test that starts from an empty home."""
    function.template = None
    return function


def booted(function):
    """Marks a test that starts from a home whose boot cache has the image."""
    function.template = BOOTED
    return function
