#!/usr/bin/env python3
"""exec and cp: streams, status, user, folder, environment, terminal, signals; files and folders both ways."""
import io
import os
import pty
import signal
import socket
import subprocess
import tarfile

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


def test_out_of_memory(home):
    """The kernel ends the command that takes all of the guest's memory; the agent and the other sessions go on."""
    started(home)
    bystander = home.start("exec", "-i", "x", "--", "cat", stdin=subprocess.PIPE)
    expect_equal(home.ramet("exec", "x", "--", "tail", "/dev/zero", status=None).status, 137,
                 "status of the command that took all memory")
    out, _ = bystander.communicate(b"still here", timeout=harness.BOUND)
    expect_equal((out, bystander.returncode), (b"still here", 0), "the other session")
    expect_equal(home.ramet("exec", "x", "--", "sh", "-c", "dmesg | grep -c 'Killed process'").out, "1\n",
                 "processes that the kernel ended")


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


def test_copy_keeps_what_it_says(home):
    started(home)
    source = f"{home.folder}/kept"
    os.makedirs(f"{source}/sub")
    name = os.fsencode(source) + b"/caf\xe9"
    for path, when in ((name, -30000000 * 10**9), (os.fsencode(f"{source}/half"), 1700000000250000000)):
        with open(path, "wb") as file:
            file.write(b"x")
        os.utime(path, ns=(0, when))
    os.chmod(f"{source}/sub", 0o1777)
    os.chmod(f"{source}/half", 0o4711)
    # FOLDER/. is its contents, in an existing folder and in a new one.
    home.ramet("exec", "x", "mkdir", "/there")
    home.ramet("cp", f"{source}/.", "x:/there")
    home.ramet("cp", f"{source}/.", "x:/fresh")
    for place in ("/there", "/fresh"):
        out = home.ramet("exec", "x", "--", "sh", "-c", f"cd {place} && stat -c '%a %Y' sub half && printf %s * | od -c").out
        expect("1777" in out and "4711 1700000000" in out and "351" in out, f"in {place}: {out}")
    # Back: set-id bits are a stranger's there, and that is said.
    result = home.ramet("cp", "x:/fresh/.", f"{home.folder}/back2", status=1)
    expect("fresh" not in result.err and "half (its set-id bits)" in result.err, result.err)
    back = os.fsencode(f"{home.folder}/back2")
    expect_equal(os.stat(back + b"/caf\xe9").st_mtime_ns, -30000000 * 10**9, "a time before 1970")
    expect_equal(os.stat(back + b"/half").st_mtime_ns, 1700000000250000000, "a fraction of a second")
    expect_equal(os.stat(back + b"/sub").st_mode & 0o7777, 0o1777, "the sticky bit")
    # What no copy can hold is said, and the rest is there.
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{source}/s")
        result = home.ramet("cp", source, "x:/tmp/kept", status=1)
    expect("kept/s (a socket)" in result.err, result.err)
    home.ramet("exec", "x", "test", "-f", "/tmp/kept/half")
    # Files that do not know their size.
    home.ramet("cp", "x:/proc/cpuinfo", f"{home.folder}/cpuinfo")
    expect(os.stat(f"{home.folder}/cpuinfo").st_size > 100, "/proc/cpuinfo is empty here")
    home.ramet("cp", "/proc/self/status", "x:/tmp/status")
    home.ramet("exec", "x", "grep", "-q", "Name", "/tmp/status")
    # Links, as they are and followed.
    home.ramet("exec", "x", "ln", "-s", "/fresh/sub/../half", "/link")
    home.ramet("cp", "-L", "x:/link", f"{home.folder}/followed", status=1)
    expect_equal(os.stat(f"{home.folder}/followed", follow_symlinks=False).st_size, 1, "the link was not followed")


def test_copy_as_an_archive(home):
    started(home)
    home.ramet("exec", "x", "--", "sh", "-c", "mkdir -p /a/b && echo text > /a/b/c")
    archive = subprocess.run([harness.RAMET, "cp", "x:/a/b", "-"], env=home.env, stdout=subprocess.PIPE, check=True,
                             timeout=harness.BOUND).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        expect_equal(tar.getnames(), ["b", "b/c"])
        expect_equal(tar.extractfile("b/c").read(), b"text\n")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("one", "deep/two"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    command = [harness.RAMET, "cp", "-", "x:/a"]
    subprocess.run(command, env=home.env, input=made.getvalue(), check=True, timeout=harness.BOUND)
    expect_equal(home.ramet("exec", "x", "cat", "/a/one", "/a/deep/two").out, "abcabc")
    cut = subprocess.run(command, env=home.env, input=made.getvalue()[:1024], capture_output=True, check=False,
                         timeout=harness.BOUND)
    expect(cut.returncode == 1 and b"ends in the middle" in cut.stderr, f"a cut archive: {cut}")
    missing = subprocess.run(command[:-1] + ["x:/missing"], env=home.env, input=made.getvalue(), capture_output=True,
                             check=False, timeout=harness.BOUND)
    expect(missing.returncode != 0, "an archive went into a folder that is not there")


def test_copy_that_is_interrupted(home):
    started(home)
    # 16 GB that the guest need not have: more than is copied before the signal, however busy the machine is
    home.ramet("exec", "x", "--", "sh", "-c", "mkdir /big && echo 1 > /big/first && dd if=/dev/zero of=/data bs=1M count=8 2>/dev/null && "
               "for i in $(seq 2000); do ln -s /data /big/$i; done")
    place = f"{home.folder}/interrupted"
    os.makedirs(place)
    with open(f"{place}/mine", "w", encoding="utf-8") as file:
        file.write("mine")
    client = subprocess.Popen([harness.RAMET, "cp", "-L", "x:/big", f"{place}/big"], env=home.env, stderr=subprocess.DEVNULL)
    harness.wait_until(lambda: len(os.listdir(place)) > 1, "the copy to begin")
    client.send_signal(signal.SIGINT)
    client.wait(harness.BOUND)
    expect(client.returncode != 0, "the interrupted copy says that it is complete")
    harness.wait_until(lambda: os.listdir(place) == ["mine"], "the part of a folder to go")


if __name__ == "__main__":
    harness.main(harness.BOOTED)
