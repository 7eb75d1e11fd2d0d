"""Ends what belongs to a test's homes when the test ended before it could: it was killed, or meson lost patience, which leaves
it half a second.

A process of its own, in a session of its own, so that a signal to the test's group does not reach it. It reads from a pipe whose
other end only the test has (descriptors of Python are closed on exec): "+FOLDER" when a home is made in it, "-FOLDER" once that
is gone, "=FOLDER" for a home that stays. The pipe's end is the test's end, whatever way that came: then the processes of all
that are noted are ended, and the folders that were made are removed, with what is mounted in them."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

_pipe = None


def processes_below(folder):
    """The ids of all processes whose home is FOLDER or below it: their environment names it."""
    found = []
    needle = b"RAMET_HOME=" + folder.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/environ", "rb") as file:
                if any(word == needle or word.startswith(needle + b"/") for word in file.read().split(b"\0")):
                    found.append(int(entry))
    return found


def end_processes(folder):
    """Again and again, since what is ended last may have started others meanwhile; on a busy host an end takes its time."""
    for _ in range(1500):
        found = processes_below(folder)
        if not found:
            break
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def remove(folder):
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


def unmount(folder):
    with open("/proc/self/mounts", encoding="utf-8") as file:
        below = [line.split()[1] for line in file if line.split()[1].startswith(folder + "/")]
    for place in reversed(below):
        subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL, check=False)


def note(sign, folder):
    if _pipe is not None:
        os.write(_pipe, f"{sign}{folder}\n".encode())


def start():
    """Once, before the test has threads."""
    global _pipe
    reader, _pipe = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            os.close(_pipe)
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):  # meson waits for the end of the test's output
                os.dup2(null, number)
            _watch(reader)
        finally:
            os._exit(0)
    os.close(reader)


def _watch(reader):
    noted = {}
    with open(reader, encoding="utf-8") as lines:
        for line in lines:
            folder = line[1:].rstrip("\n")
            if line[0] == "-":
                del noted[folder]
            else:
                noted[folder] = line[0]
    for folder in noted:
        end_processes(folder)
    for folder in (folder for folder, sign in noted.items() if sign == "+"):
        unmount(folder)
        remove(folder)
