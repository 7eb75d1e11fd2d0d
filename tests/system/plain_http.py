#!/usr/bin/env python3
"""The API with curl alone: the examples of docs/api.md, and what goes wrong on the way."""
import json
import os
import re
import shutil
import socket
import subprocess

import harness
from harness import booted, expect, expect_equal, wait_until

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../docs/api.md")
CURL = ["curl", "-sS", "--max-time", str(harness.BOUND), "--unix-socket"]


def curl(home, path, *options, data=None, status=0):
    """Runs curl; returns the HTTP status and the body."""
    command = [*CURL, f"{home.path}/ramet.sock", "-o", "-", "-w", "\n%{http_code}", *options]
    if data is not None:
        command += ["--data-binary", "@-"]
    process = subprocess.run([*command, f"http://ramet{path}"], input=data, capture_output=True, check=False)
    expect_equal(process.returncode, status, f"curl's status ({process.stderr!r}) for {path}")
    body, _, code = process.stdout.rpartition(b"\n")
    return int(code), body


def ask(home, path, request=None, *options, code=200):
    """A request with JSON in and out."""
    data = None if request is None else json.dumps(request).encode()
    found, body = curl(home, path, *options, data=data)
    expect_equal(found, code, f"HTTP status ({body!r}) for {path}")
    return json.loads(body)


def execute(home, *argv, code=200, **members):
    return ask(home, "/v1/vms/x/exec", {"argv": list(argv), **members}, code=code)


def started(home):
    home.ramet("run", "-d", "--name", "x", "busybox")


def examples():
    """Pairs of a script and what it prints: each block of sh in the document, and the block behind it."""
    with open(DOCUMENT, encoding="utf-8") as file:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    expect(len(blocks) % 2 == 0 and len(blocks) > 20, f"{len(blocks)} blocks in the document")
    for (kind, script), (_, output) in zip(blocks[::2], blocks[1::2]):
        expect_equal(kind, "sh", "kind of an example")
        yield script, output


def matches(found, expected):
    """Is it what the document says, with any text where that has "…"?"""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, "\n".join(line for line in found.splitlines() if line), re.DOTALL)


@booted
def test_examples_of_the_document(home):
    home.ramet("ps")  # starts the daemon
    end = "--- end of example ---"
    pairs = list(examples())
    script = "".join(f"{text}\nprintf '\\n%s\\n' '{end}'\n" for text, _ in pairs)
    folder = os.path.join(home.folder, "examples")
    os.mkdir(folder)
    process = subprocess.run(["bash", "-c", script], cwd=folder, env=home.env, capture_output=True, text=True, check=False,
                             timeout=4 * harness.BOUND)
    outputs = process.stdout.split(end + "\n")
    expect_equal(len(outputs), len(pairs) + 1, f"examples that ran ({process.stderr!r})")
    for (text, expected), found in zip(pairs, outputs):
        expect(matches(found, expected), f"example\n{text}prints\n{found}instead of\n{expected}{process.stderr}")


@booted
def test_commands(home):
    started(home)
    result = execute(home, "sh", "-c", "cat; pwd; echo $A; id -u", input="in ", env=["A=b c"], directory="/tmp", user="1234")
    expect_equal(result["stdout"], "in /tmp\nb c\n1234\n")
    result = execute(home, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end")
    expect_equal((len(result["stdout"]), result["stdout"][-4:]), (1 << 20, "end\n"))
    expect_equal(result["stdout_dropped_bytes"], 3000004 - (1 << 20))
    expect_equal(execute(home, "/no/such")["exit_status"], 127)
    expect_equal(execute(home, "sh", "-c", "kill -9 $$")["exit_status"], 137)
    result = execute(home, "sh", "-c", "trap '' TERM; echo on; while :; do sleep 54320; done", timeout_s=5)
    expect_equal((result["exit_status"], result["timed_out"], result["stdout"]), (124, True, "on\n"))
    wait_until(lambda: execute(home, "sh", "-c", "ps | grep '[s]leep 54320'")["exit_status"] == 1,
               "the end of all processes of a command whose time was over")
    check_stream(home)
    check_wrong_requests(home)
    check_client_that_leaves(home)


def check_stream(home):
    """All of a large output comes, as it comes."""
    request = {"argv": ["sh", "-c", "head -c 5000000 /dev/zero; echo bad >&2; exit 4"]}
    _, body = curl(home, "/v1/vms/x/exec", "-H", "Accept: application/x-ndjson", data=json.dumps(request).encode())
    lines = [json.loads(line) for line in body.splitlines()]
    expect_equal(lines[-1], {"exit_status": 4, "timed_out": False})
    expect({"stream": "stderr", "data": "bad\n"} in lines, "no line of standard error")
    size = sum(len(line["data"]["base64"].rstrip("=")) * 3 // 4 for line in lines if line.get("stream") == "stdout")
    expect_equal(size, 5000000, "bytes in the lines")


def check_wrong_requests(home):
    for members in ({"stdin": True}, {"argv": []}, {"output": "html"}, {"input": 7}, {"timeout_s": 0}, {"color": 1},
                    {"input": {"base64": "!"}}):
        answer = ask(home, "/v1/vms/x/exec", {"argv": ["true"], **members}, code=400)
        expect_equal(answer["error"]["code"], "usage")
    expect("nosuch" in execute(home, "true", user="nosuch", code=400)["error"]["message"], "the user is not named")
    ask(home, "/v1/vms/nosuch/exec", {"argv": ["true"]}, code=404)
    ask(home, "/v1/vms/x/exec/wait", {"id": "0123"}, code=404)
    ask(home, "/v1/vms/x/exec/kill", {"id": "0123"}, code=404)
    code, _ = curl(home, "/v1/vms/x/exec", data=b'{"argv":["cat"],"input":"' + b"x" * (17 << 20) + b'"}')
    expect_equal(code, 413, "status for 17 MiB of JSON")


def check_client_that_leaves(home):
    """The command ends with its client."""
    request = json.dumps({"argv": ["sleep", "54321"]}).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{home.path}/ramet.sock")
        client.sendall(b"POST /v1/vms/x/exec HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(request), request))
        wait_until(lambda: execute(home, "sh", "-c", "ps | grep '[s]leep 54321'")["exit_status"] == 0, "the command")
    wait_until(lambda: execute(home, "sh", "-c", "ps | grep '[s]leep 54321'")["exit_status"] == 1, "the command's end")


@booted
def test_timeouts_and_detached_by_the_cli(home):
    started(home)
    result = home.ramet("exec", "--timeout", "1", "x", "--", "sleep", "1000", status=124)
    expect("--timeout" in result.err, f"nothing said of the time: {result.err!r}")
    result = home.ramet("exec", "--json", "--timeout", "5", "x", "--", "sh", "-c", "echo a; sleep 1000", status=124).json()
    expect_equal((result["exit_status"], result["timed_out"], result["stdout"]), (124, True, "a\n"))
    home.ramet("exec", "--timeout", "1000", "x", "--", "sh", "-c", "exit 9", status=9)
    home.ramet("run", "--rm", "--timeout", "1", "busybox", "--", "sleep", "1000", status=124)
    identity = home.ramet("exec", "-d", "x", "--", "sh", "-c", "yes | head -c 1000000; echo end; echo err >&2; exit 7").out.strip()
    for _ in range(2):
        result = home.ramet("wait", "--exec", identity, "x", status=7)
        expect_equal(len(result.out), 256 << 10, "bytes that were kept")
        expect(result.out.endswith("y\nend\n"), f"the end is {result.out[-20:]!r}")
        expect("err\n" in result.err and f"{1000004 - (256 << 10)} bytes" in result.err, f"told: {result.err!r}")
    home.ramet("wait", "--exec", "0123", "x", status=3)
    home.ramet("exec", "-d", "-i", "x", "cat", status=2)
    check_detached_bounds(home)
    check_paused_and_stopped(home)


def check_detached_bounds(home):
    """64 of them; the oldest that has ended makes room, and none that runs does."""
    running = execute(home, "sleep", "1000", detach=True)["id"]
    ids = [execute(home, "true", detach=True)["id"] for _ in range(64)]
    listed = [entry["id"] for entry in ask(home, "/v1/vms/x/exec")]
    expect_equal(len(listed), 64, "detached commands")
    expect(running in listed and ids[-1] in listed and ids[0] not in listed, "the wrong one was forgotten")
    ask(home, "/v1/vms/x/exec/kill", {"id": running, "signal": 9})
    expect_equal(ask(home, "/v1/vms/x/exec/wait", {"id": running})["exit_status"], 137)
    ask(home, "/v1/vms/x/exec/kill", {"id": running}, code=409)


def check_paused_and_stopped(home):
    """The time goes on in a paused VM; what waits for a command hears of the VM's end."""
    timed = execute(home, "sleep", "1000", detach=True, timeout_s=1)["id"]
    left = execute(home, "sleep", "1000", detach=True)["id"]
    home.ramet("pause", "x")
    ask(home, "/v1/vms/x/exec", {"argv": ["true"]}, code=409)
    result = ask(home, "/v1/vms/x/exec/wait", {"id": timed})
    expect_equal((result["exit_status"], result["timed_out"]), (124, True))
    home.ramet("unpause", "x")
    process = subprocess.Popen([*CURL, f"{home.path}/ramet.sock", "-d", json.dumps({"id": left}),
                                "http://ramet/v1/vms/x/exec/wait"], stdout=subprocess.PIPE)
    home.ramet("kill", "x")
    answer = json.loads(process.communicate(timeout=harness.BOUND)[0])
    expect("error" in answer, f"a wait in a VM that ends: {answer}")
    ask(home, "/v1/vms/x/exec", {"argv": ["true"]}, code=409)


@booted
def test_files(home):
    started(home)
    big = os.urandom(3 << 20)
    path = "/v1/vms/x/files?path=/tmp/"
    local = os.path.join(home.folder, "big")
    with open(local, "wb") as file:
        file.write(big)
    expect_equal(curl(home, path + "big", "-T", local), (200, b"{}\n"))
    expect(curl(home, path + "big") == (200, big), "3 MiB came back as something else")
    expect_equal(curl(home, path + "empty", "-X", "PUT", data=b"")[0], 200)
    expect_equal(curl(home, path + "empty"), (200, b""))
    expect_equal(curl(home, path + "a%20%C3%A9%FF", "-X", "PUT", data=b"bytes")[0], 200)
    expect_equal(execute(home, "sh", "-c", "cat /tmp/a*")["stdout"], "bytes")
    expect(b"Linux version" in curl(home, "/v1/vms/x/files?path=/proc/version")[1], "a file of /proc is empty")
    check_replacing(home, path)
    check_wrong_files(home, path)
    check_folders(home, path)


def check_replacing(home, path):
    execute(home, "sh", "-c", "cd /tmp; echo old >f; chown 7:8 f; chmod 4751 f; ln -s f l")
    expect_equal(curl(home, path + "l&mode=0600", "-X", "PUT", data=b"new")[0], 200)
    stat = ask(home, "/v1/vms/x/files/stat?path=/tmp/f")
    expect_equal([stat[key] for key in ("kind", "mode", "size", "uid", "gid")], ["file", "4751", 3, 7, 8])
    expect_equal(ask(home, "/v1/vms/x/files/stat?path=/tmp/l")["target"], "f")
    expect_equal(curl(home, "/v1/vms/x/files?path=/etc/hostname", "-X", "PUT", data=b"other\n")[0], 200)  # mounted over
    expect_equal(execute(home, "cat", "/etc/hostname")["stdout"], "other\n")


def check_wrong_files(home, path):
    for code, method, name in ((404, "GET", "nosuch"), (404, "PUT", "no/such"), (409, "PUT", "."), (404, "GET", "x%00y")):
        expect_equal(curl(home, path + name, *(["-X", "PUT"] if method == "PUT" else []),
                          data=b"x" if method == "PUT" else None)[0], code, f"{method} {name}")
    expect_equal(curl(home, "/v1/vms/x/files")[0], 400, "status without a path")
    expect_equal(curl(home, path + "f&mode=9", "-X", "PUT", data=b"")[0], 400, "status for a bad mode")
    expect_equal(curl(home, "/v1/vms/x/files?path=/dev/zero")[0], 400, "status for a device")
    expect_equal(curl(home, path + "f", "-X", "POST", data=b"")[0], 405, "status for another method")


def check_folders(home, path):
    source = os.path.join(home.folder, "site")
    os.makedirs(os.path.join(source, "sub"))
    with open(os.path.join(source, "sub/page"), "w", encoding="utf-8") as file:
        file.write("page")
    archive = subprocess.run(["tar", "c", "-C", home.folder, "site"], stdout=subprocess.PIPE, check=True).stdout
    tar = ("-H", "Content-Type: application/x-tar")
    expect_equal(curl(home, path, "-X", "PUT", *tar, data=archive)[0], 200)
    expect_equal(curl(home, path + "site/sub/page"), (200, b"page"))
    expect(curl(home, path, "-X", "PUT", *tar, data=archive[:-9000])[0] >= 400, "half an archive was taken")
    code, back = curl(home, path + "site")
    shutil.rmtree(source)
    subprocess.run(["tar", "x", "-C", home.folder], input=back, check=True)
    with open(os.path.join(source, "sub/page"), encoding="utf-8") as file:
        expect_equal((code, file.read()), (200, "page"))


harness.main()
