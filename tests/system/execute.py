#!/usr/bin/env python3
"""exec and cp: streams, status, user, folder, environment, terminal, signals; files and folders both ways."""
import os
import pty
import signal
import subprocess

import harness
from harness import expect, expect_equal


def started(home):
    home.ramet("run", "-d", "--name", "x", "busybox")


def test_streams_and_status(home):
    started(home)
    expect_equal(home.ramet("exec", "-i", "x", "--", "cat", stdin="in and out").out, "in and out")
    for status in (0, 1, 42, 255):
        home.ramet("exec", "x", "--", "sh", "-c", f"exit {status}", status=status)
    home.ramet("exec", "x", "--", "sh", "-c", "kill -9 $$", status=137)
    home.ramet("exec", "x", "/no/such/program", status=127)
    home.ramet("exec", "x", "/etc/passwd", status=126)
    home.ramet("exec", "nosuch", "true", status=125)
    big = os.urandom(3 << 20)
    out = home.ramet("exec", "-i", "x", "--", "cat", stdin=big, binary=True).out
    expect(out == big, f"3 MiB came back as {len(out)} bytes")
    out = home.ramet("exec", "x", "--", "sh", "-c", "sleep 1000 & echo first").out
    expect_equal(out, "first\n", "output beside a process in the background")


def test_user_folder_environment(home):
    started(home)
    out = home.ramet("exec", "-e", "A=1 2", "-e", "B=", "-w", "/tmp", "x", "--", "sh", "-c", "pwd; echo \"$A|$B\"; id -u").out
    expect_equal(out, "/tmp\n1 2|\n0\n")
    expect_equal(home.ramet("exec", "-u", "1234:99", "x", "--", "sh", "-c", "id -u; id -g").out, "1234\n99\n")
    result = home.ramet("exec", "-u", "nosuch", "x", "true", status=None)
    expect(result.status != 0 and "nosuch" in result.err, f"unknown user: {result.err}")
    result = home.ramet("exec", "-w", "/nosuch", "x", "true", status=None)
    expect(result.status != 0 and "nosuch" in result.err, f"unknown folder: {result.err}")


def test_terminal(home):
    started(home)
    master, slave = pty.openpty()
    os.set_blocking(master, True)
    import fcntl
    import struct
    import termios
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    process = subprocess.Popen([harness.RAMET, "exec", "-i", "-t", "x", "--", "sh", "-c", "tty; stty size; exit 3"],
                               stdin=slave, stdout=slave, stderr=slave, env=home.env, start_new_session=True)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 4096):
            out += chunk
    except OSError:  # the terminal's other end is closed
        pass
    expect_equal(process.wait(harness.BOUND), 3, f"exit status ({out!r})")
    expect(b"/dev/pts/" in out, f"no terminal in the guest: {out!r}")
    expect(b"33 101" in out, f"the window size did not arrive: {out!r}")


def test_signal_is_passed_on(home):
    started(home)
    process = home.start("exec", "x", "--", "sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 1; done")
    expect_equal(process.stdout.readline(), b"ready\n")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=harness.BOUND)
    expect_equal(out, b"got\n")
    expect_equal(process.returncode, 9, "exit status")


def test_command_ends_with_its_client(home):
    started(home)
    process = home.start("exec", "x", "--", "sh", "-c", "echo $$; exec sleep 100000")
    pid = process.stdout.readline().decode().strip()
    process.kill()
    process.communicate()
    harness.wait_until(lambda: home.ramet("exec", "x", "--", "test", "-d", f"/proc/{pid}", status=None).status == 1,
                       "the end of the command whose client is gone")


def test_many_at_once(home):
    started(home)
    running = [home.start("exec", "x", "--", "echo", str(i)) for i in range(20)]
    for i, process in enumerate(running):
        out, err = process.communicate(timeout=harness.BOUND)
        expect_equal(out, f"{i}\n".encode(), f"output of exec {i} ({err!r})")


def make_tree(folder):
    os.makedirs(f"{folder}/sub/empty")
    with open(f"{folder}/plain", "w", encoding="utf-8") as file:
        file.write("text\n")
    with open(f"{folder}/sub/tool", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{folder}/sub/tool", 0o751)
    os.symlink("../plain", f"{folder}/sub/link")
    with open(f"{folder}/sparse", "wb") as file:
        file.write(b"start")
        file.seek(64 << 20)
        file.write(b"end")


def describe(folder):
    found = {}
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(root, name)
            relative = os.path.relpath(path, folder)
            status = os.lstat(path)
            if os.path.islink(path):
                found[relative] = os.readlink(path)
            elif os.path.isdir(path):
                found[relative] = "folder"
            else:
                with open(path, "rb") as file:
                    found[relative] = (status.st_mode & 0o777, file.read())
    return found


def test_copy_both_ways(home):
    started(home)
    source = f"{home.folder}/tree"
    make_tree(source)
    home.ramet("cp", source, "x:/root/copy")
    expect_equal(home.ramet("exec", "x", "readlink", "/root/copy/sub/link").out, "../plain\n")
    used = int(home.ramet("exec", "x", "--", "sh", "-c", "du -k /root/copy/sparse | cut -f1").out)
    expect(used < 1024, f"the sparse file takes {used} KiB in the guest")
    home.ramet("cp", "x:/root/copy", f"{home.folder}/back")
    expect_equal(describe(f"{home.folder}/back"), describe(source), "the tree that came back")
    expect(os.stat(f"{home.folder}/back/sparse").st_blocks * 512 < 1 << 20, "the sparse file is dense on the host")
    # Into an existing folder, under its own name; a single file; refusal of what is not there.
    home.ramet("cp", f"{source}/plain", "x:/tmp")
    expect_equal(home.ramet("exec", "x", "cat", "/tmp/plain").out, "text\n")
    home.ramet("cp", "x:/tmp/plain", f"{home.folder}/renamed")
    with open(f"{home.folder}/renamed", encoding="utf-8") as file:
        expect_equal(file.read(), "text\n")
    result = home.ramet("cp", "x:/no/such", f"{home.folder}/", status=None)
    expect(result.status != 0 and "/no/such" in result.err, f"absent source: {result.err}")
    result = home.ramet("cp", "/no/such", "x:/tmp", status=None)
    expect(result.status != 0 and "/no/such" in result.err, f"absent source: {result.err}")
    result = home.ramet("cp", source, "x:/no/such/folder/", status=None)
    expect(result.status != 0, "a copy into a folder that is not there succeeded")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
