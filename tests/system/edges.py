#!/usr/bin/env python3
"""The client at its edges: arguments of any bytes, closed descriptors, signals while the other end is silent, and the bounds
of a command."""
import contextlib
import json
import os
import signal
import socket
import subprocess

import harness
from harness import expect, expect_equal

BYTES = b"caf\xe9 \xff"  # no UTF-8


def started(home, *options):
    home.ramet("run", "-d", "--name", "x", *options, "busybox")


def out_of(home, *words, **options):
    return home.ramet(*words, binary=True, **options).out


def test_bytes_in_a_command(home):
    started(home, "-e", b"OWN=" + BYTES)
    expect_equal(out_of(home, "exec", "x", "--", "printf", "%s", BYTES), BYTES, "an argument")
    shown = out_of(home, "exec", "-e", b"A=" + BYTES, "x", "--", "sh", "-c", 'printf "%s|%s" "$A" "$OWN"')
    expect_equal(shown, BYTES + b"|" + BYTES, "variables")
    expect_equal(out_of(home, "exec", "-e", "A", "x", "--", "sh", "-c", 'printf %s "$A"', env={b"A": BYTES}), BYTES)
    home.ramet("exec", "x", "mkdir", b"/" + BYTES)
    expect_equal(out_of(home, "exec", "-w", b"/" + BYTES, "x", "pwd"), b"/" + BYTES + b"\n", "the working folder")
    # never as root because a name could not be carried
    result = home.ramet("exec", "-u", BYTES, "x", "id", status=125)
    expect_equal(result.out, "")
    expect("caf\\xe9 \\xff" in result.err, result.err)
    home.ramet("exec", "x", "sh", "-c", 'echo "$1:x:77:78::/:/bin/sh" >>/etc/passwd', "sh", BYTES)
    expect_equal(out_of(home, "exec", "-u", BYTES, "x", "--", "id", "-u"), b"77\n", "a user")
    out = out_of(home, "run", "--rm", "busybox", "--", "printf", "%s", BYTES)
    expect_equal(out, BYTES, "an argument of run")


def test_bytes_in_documents(home):
    started(home, "-e", b"OWN=" + BYTES)
    document = home.ramet("exec", "--json", "x", "--", "printf", BYTES).json()
    expect_equal(document["stdout"], {"base64": "Y2Fm6SD/"})
    document = home.ramet("exec", "--json", "x", "--", "printf", "café").json()
    expect_equal(document["stdout"], "café")
    document = home.ramet("exec", "--json", "-u", BYTES, "x", "true", status=125).json()
    expect("caf\\xe9 \\xff" in document["error"]["message"], str(document))
    expect_equal(home.vm("x")["env"], [{"base64": "T1dOPWNhZukg/w=="}])
    home.kill_daemon()  # what was kept is read again
    home.ramet("snapshot", "create", "x", "s")
    home.ramet("fork", "s", "--name", "y")
    expect_equal(out_of(home, "exec", "y", "--", "sh", "-c", 'printf %s "$OWN"'), BYTES, "a variable of the clone")


def test_bytes_in_paths(home):
    started(home)
    local, back = os.path.join(os.fsencode(home.folder), BYTES), os.path.join(os.fsencode(home.folder), b"back")
    os.mkdir(local)
    with open(os.path.join(local, BYTES), "wb") as file:
        file.write(BYTES)
    home.ramet("cp", local, b"x:/tmp/")
    expect_equal(out_of(home, "exec", "x", "cat", b"/tmp/" + BYTES + b"/" + BYTES), BYTES, "a file that was copied in")
    home.ramet("cp", b"x:/tmp/" + BYTES, back)
    expect_equal(os.listdir(back), [BYTES], "a folder that was copied out")
    result = home.ramet("cp", b"x:/none-" + BYTES, back, status=3)
    expect("/none-caf\\xe9 \\xff" in result.err, result.err)
    result = home.ramet("cp", b"none-" + BYTES, "x:/", status=3)
    expect("none-caf\\xe9 \\xff" in result.err, result.err)
    tar = os.path.join(local, b"tar")
    subprocess.run(["tar", "-C", local, "-cf", tar, BYTES], check=True)
    home.ramet("image", "import", tar, "--name", "bytes")
    document = home.ramet("image", "import", local + b"/none", "--name", "none", "--json", status=3).json()
    expect("caf\\xe9 \\xff/none" in document["error"]["message"], str(document))


def test_bytes_over_http(home):
    """An argument in base64, and what holds none."""
    started(home)

    def ask(path, *more):
        curl = ["curl", "-s", "--max-time", "60", "--unix-socket", f"{home.path}/ramet.sock", "-H", "Expect:", f"http://ramet/v1/{path}"]
        return json.loads(subprocess.run([*curl, *more], check=True, stdout=subprocess.PIPE).stdout)

    def answer_to(*argv):
        return ask("vms/x/exec", "-d", json.dumps({"argv": argv}))

    expect("holds a NUL" in answer_to("a", {"base64": "AA=="})["error"]["message"], "a NUL")
    for bad in ({"base64": "!"}, {"base64": 1}, {"other": "YQ=="}, 1, None):
        expect("is not a string" in answer_to("a", bad)["error"]["message"], f"{bad} is an argument")
    expect_equal(answer_to("printf", "%s", {"base64": "/w=="})["stdout"], {"base64": "/w=="})
    expect_equal(answer_to("printf", "%s", {"base64": "YQ=="})["stdout"], "a")
    schemas = ask("openapi.json")["components"]["schemas"]
    expect_equal(schemas["Exec"]["properties"]["argv"]["items"], {"$ref": "#/components/schemas/Bytes"})


def test_home_of_any_bytes(home):
    env = {"RAMET_HOME": os.fsencode(home.folder) + b"/" + BYTES}
    harness.copy_home(harness.BOOTED, env["RAMET_HOME"].decode(errors="surrogateescape"))
    try:
        home.ramet("run", "-d", "--name", "x", "busybox", env=env)
        expect_equal(out_of(home, "fork", "x", "--name", "y", "--", "echo", "hello", env=env), b"hello\n")
        path = home.ramet("inspect", "--json", "y", env=env).json()["disk"]["path"]
        expect(list(path) == ["base64"], str(path))
    finally:
        home.ramet("rm", "-f", "x", "y", env=env, status=None)
        home.ramet("daemon", "stop", env=env, status=None)


def closed(home, redirection, *words):
    """Runs the client with a descriptor closed, as a shell does it; the status and what came on the other two."""
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", harness.RAMET, *words], env=home.env, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.BOUND)
    return done.returncode, done.stdout, done.stderr


def test_closed_descriptors(home):
    started(home)
    for words in (["exec", "x"], ["run", "--rm", "busybox"]):
        status, _, err = closed(home, ">&-", *words, "--", "echo", "a")
        expect_equal((status, b"Bad file descriptor" in err), (125, True), f"{words}: no standard output ({err})")
        status, out, _ = closed(home, "2>&-", *words, "--", "sh", "-c", "echo a; echo b >&2")
        expect_equal(status, 125, f"{words}: no standard error ({out})")
        status, out, err = closed(home, "<&-", words[0], "-i", *words[1:], "--", "cat")
        expect_equal((status, out), (0, b""), f"{words}: no standard input ({err})")
        status, out, err = closed(home, ">&- <&- 2>&-", *words, "--", "true")
        expect_equal(status, 0, f"{words}: nothing at all")
    status, _, err = closed(home, ">&-", "ps")
    expect_equal((status, b"Bad file descriptor" in err), (1, True), f"ps without standard output: {err}")
    status, _, err = closed(home, "<&-", "image", "import", "-", "--name", "none")
    expect(status == 1 and b"Bad file descriptor" in err, f"an import of nothing: {status} {err}")
    home.ramet("daemon", "stop")
    status, out, err = closed(home, "<&- 2>&-", "ps", "-q")  # starts a daemon
    expect_equal((status, len(out.split())), (0, 1), "ps that starts a daemon")
    expect_equal(home.ramet("exec", "x", "echo", "a").out, "a\n")


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have been ended meanwhile
            os.kill(pid, signal.SIGCONT)


def ends_by(process, number, what):
    process.send_signal(number)
    try:
        status = process.wait(harness.BOUND)
    except subprocess.TimeoutExpired:
        process.kill()
        raise harness.Failure(f"{what} does not end with {number.name}") from None
    expect(status in (128 + number, -number), f"{what} ended with {status} for {number.name}")


def test_signal_while_the_other_end_is_silent(home):
    started(home)
    vm = home.vm("x")
    for pid, numbers in ((vm["qemu_pid"], (signal.SIGTERM, signal.SIGINT)), (vm["keeper_pid"], (signal.SIGHUP,))):
        for number in numbers:
            process = home.start("exec", "x", "--", "sh", "-c", "echo ready; exec sleep 1000")
            expect_equal(process.stdout.readline(), b"ready\n")
            with stopped(pid):
                ends_by(process, number, "exec")
    process = home.start("exec", "x", "--", "sh", "-c", "trap '' TERM; while :; do echo ready; sleep 1; done")
    expect_equal(process.stdout.readline(), b"ready\n")
    ends_by(process, signal.SIGTERM, "exec of a command that ignores it")
    process = home.start("run", "--rm", "--name", "gone", "busybox", "--", "sh", "-c", "echo ready; exec sleep 1000")
    expect_equal(process.stdout.readline(), b"ready\n")
    with stopped(home.vm("gone")["qemu_pid"]), stopped(home.daemon_pid()):
        ends_by(process, signal.SIGTERM, "run")
    harness.wait_until(lambda: [vm["name"] for vm in home.json("ps", "-a")] == ["x"], "the end of the VM of run --rm")


def test_signal_while_the_daemon_is_silent(home):
    started(home)
    with stopped(home.daemon_pid()):
        for words in (["ps"], ["exec", "x", "true"], ["run", "busybox", "true"], ["stop", "x"], ["fork", "x"],
                      ["snapshot", "create", "x"], ["logs", "-f", "x"], ["cp", "x:/etc/passwd", "-"], ["wait", "x"]):
            process = home.start(*words)
            harness.wait_until(lambda: waits(process.pid), f"{words} to wait for the daemon")
            ends_by(process, signal.SIGINT if words[0] == "exec" else signal.SIGTERM, " ".join(words))


def waits(pid):
    """Is it connected to the daemon, so that only an answer is missing?"""
    with contextlib.suppress(OSError):
        return any("socket:" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    return False


def test_long_commands(home):
    started(home)
    for size, count in ((131000, 1), (100000, 20), (1, 200000)):  # one argument; all of 2 MB; as many as there can be
        out = home.ramet("exec", "x", "--", "sh", "-c", "echo ${#1} $#", "sh", *["a" * size] * count).out
        expect_equal(out, f"{size} {count}\n", f"{count} arguments of {size} bytes")
    out = home.ramet("exec", "-i", "x", "--", "sh", "-c", "cat; echo ${#1}", "sh", "a" * 131000, stdin="input ").out
    expect_equal(out, "input 131000\n", "standard input behind a long command")
    variables = [word for i in range(3000) for word in ("-e", f"V{i}={'v' * 100}")]
    out = home.ramet("exec", *variables, "x", "--", "sh", "-c", "env | grep -c ^V").out
    expect_equal(out, "3000\n", "variables")
    out = home.ramet("run", "--rm", "-e", f"A={'a' * 100000}", "busybox", "--", "sh", "-c", "echo ${#A} ${#1}", "sh", "b" * 100000).out
    expect_equal(out, "100000 100000\n", "a long command of run")
    # more than this host lets us pass on a command line
    told = upgraded(home, "x", {"argv": ["sh", "-c", "true", "sh"] + ["a" * 100000] * 25})
    expect(b"sh: Argument list too long; the guest's kernel takes" in told, f"E2BIG in the guest: {told[:200]}")
    expect(told.endswith(EXIT_CODE + (126).to_bytes(8, "little")), f"its status: {told[-40:]}")
    told = upgraded(home, "x", {"argv": ["sh"] + ["a" * 100000] * 60})
    expect(b"have more than 4096 KiB" in told, f"beyond the agent's bound: {told[:200]}")


EXIT_CODE = bytes([22, 0, 0, 0, 8, 0, 0, 0])  # the field of an EXIT frame


def upgraded(home, vm, body):
    """All that comes on the stream of an exec."""
    body = json.dumps(body).encode()
    told = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(harness.BOUND)
        client.connect(f"{home.path}/ramet.sock")
        client.sendall(f"POST /v1/vms/{vm}/exec HTTP/1.1\r\nHost: ramet\r\nConnection: Upgrade\r\nUpgrade: ramet-stream\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        while piece := client.recv(65536):
            told += piece
    return told


def test_bounds_are_named(home):
    started(home)

    def refusal(body, path="vms/x/exec"):
        curl = ["curl", "-s", "--max-time", "60", "--unix-socket", f"{home.path}/ramet.sock", "-H", "Expect:",
                f"http://ramet/v1/{path}", "-d", "@-"]
        done = subprocess.run(curl, check=False, stdout=subprocess.PIPE, input=json.dumps(body).encode())
        return json.loads(done.stdout)["error"]

    expect_equal(refusal({"argv": ["a" * 131072]})["message"], "argv is longer than 131071 bytes")
    expect_equal(refusal({"argv": ["a"], "env": ["A=" + "a" * 131070]})["message"], "env is longer than 131071 bytes")
    expect_equal(refusal({"argv": ["a"] * 262145})["message"], "too many argv: 262145, and at most 262144 can be given")
    expect_equal(refusal({"argv": ["a"], "env": ["A=1"] * 65537})["message"], "too many env: 65537, and at most 65536 can be given")
    expect_equal(refusal({"argv": ["a"], "directory": "/" * 4097})["message"], "directory is longer than 4096 bytes")
    expect_equal(refusal({"argv": ["a" * 100000] * 200})["message"], "the request is longer than 16384 KiB")


def test_many_sessions(home):
    started(home)
    running = [home.start("exec", "-i", "x", "--", "sh", "-c", "echo ready; read a; exit 3", stdin=subprocess.PIPE)
               for _ in range(80)]
    for process in running:
        expect_equal(process.stdout.readline(), b"ready\n", "a command beside 79 others")
    expect_equal(home.ramet("exec", "x", "echo", "one more").out, "one more\n")
    for process in running:
        process.communicate(b"go\n", timeout=harness.BOUND)
        expect_equal(process.returncode, 3, "exit status")


def test_fork_of_many_runs_a_command_in_each(home):
    started(home)
    home.ramet("snapshot", "create", "x", "s")
    result = home.ramet("fork", "s", "--name", "ci", "-n", "4", "--rm", "-e", b"A=" + BYTES, "-e", "OWN", "-i", "--", "sh", "-c",
                        'read a; read b; printf "%s|%s|$a$b" "$A" "$OWN"; [ "$(hostname)" != ci-3 ] || exit 3',
                        env={"OWN": "own"}, stdin="one\ntwo\n", binary=True, status=3)
    lines = sorted(result.out.splitlines())
    expect_equal(lines, [f"ci-{i}  ".encode() + BYTES + b"|own|onetwo" for i in range(1, 5)], "output of the clones")
    expect_equal(result.err.splitlines()[-1], "3 of 4 ok; ci-3 exited 3")
    result = home.ramet("fork", "s", "--name", "ci", "-n", "2", "--rm", "-i", "--json", "--", "sh", "-c",
                        "wc -c; [ $(hostname) = ci-1 ]", stdin="x" * 1000000, status=1)
    expect_equal([(job["name"], job["exit_status"], job["stdout"]) for job in result.json()],
                 [("ci-1", 0, "1000000\n"), ("ci-2", 1, "1000000\n")], "documents")
    expect_equal(result.err.splitlines()[-1], "1 of 2 ok; ci-2 exited 1")
    # one that does not read holds nobody back, and all is well
    result = home.ramet("fork", "s", "--name", "ci", "-n", "2", "--rm", "-i", "--", "sh", "-c",
                        "[ $(hostname) = ci-1 ] || wc -c", stdin="x" * 1000000)
    expect_equal((result.out, result.err), ("ci-2  1000000\n", ""))
    result = home.ramet("fork", "s", "-n", "2", "-t", "--", "true", status=2)
    expect("--tty is for one VM" in result.err, result.err)
    expect_equal([vm["name"] for vm in home.json("ps", "-a")], ["x"], "VMs")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
