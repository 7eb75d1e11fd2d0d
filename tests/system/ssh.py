#!/usr/bin/env python3
"""ssh, scp and sftp to a Debian guest without a network, by the settings that `ramet ssh-config` prints."""
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess

import harness
from harness import expect, expect_equal, expect_match

IMAGE = "sshd"
SSHD = harness.TEMPLATE + "-sshd"
COPIED = 50 << 20


def build_image(home):
    """Once for each build folder, as debian.py has it; Ramet's own ssh-config needs nothing of the image but a server."""
    for program in "ssh", "scp", "sftp", "ssh-keygen", "mmdebstrap":
        if not shutil.which(program):
            raise harness.Skip(f"{program} is missing")
    with open(SSHD + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(SSHD):
            harness.copy_home(harness.TEMPLATE, SSHD)
        env = {"RAMET_HOME": SSHD}
        if home.ramet("image", "inspect", IMAGE, status=None, env=env).status != 0:
            built = home.ramet("image", "build", IMAGE, "--from", "debian", "--include", "openssh-server", status=None,
                               timeout=900, env=env)
            if built.status != 0 and ("resolve" in built.err or "fetch" in built.err):
                raise harness.Skip("Debian's mirror cannot be reached: " + built.err.strip().splitlines()[-1])
            expect_equal(built.status, 0, built.err)
        home.ramet("daemon", "stop", status=None, env=env)
    home.ramet("daemon", "stop", status=None)
    shutil.rmtree(home.path)
    harness.copy_home(SSHD, home.path)


class Client:
    """ssh of a user who has only what ssh-config printed, and a key."""

    def __init__(self, home):
        self.home = home
        self.key = os.path.join(home.folder, "key")
        self.config = os.path.join(home.folder, "config")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def configure(self, *names):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(self.home.ramet("ssh-config", *names).out)

    def run(self, program, *arguments, status=0, stdin=""):
        options = ["-F", self.config, "-i", self.key, "-o", "BatchMode=yes"]
        # without the variables that say where the home is: what was printed has to
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAMET_")}
        done = subprocess.run([program, *options, *arguments], input=stdin, capture_output=True, text=True, env=env,
                              timeout=2 * harness.BOUND, check=False)
        expect_equal(done.returncode, status, f"status of {program} {arguments} ({done.stderr})")
        return done


def let_in(home, client, name):
    home.ramet("exec", name, "--", "mkdir", "-p", "-m", "700", "/root/.ssh")
    home.ramet("cp", client.key + ".pub", f"{name}:/root/.ssh/authorized_keys")
    home.ramet("exec", name, "--", "chown", "root:", "/root/.ssh/authorized_keys")
    home.ramet("exec", name, "--", "systemctl", "start", "ssh")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def known_hosts(home):
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(home.path, "ssh_known_hosts"), encoding="utf-8") as file:
            return sorted(line.split()[0] for line in file)
    return []


def check_files(home, client):
    there, back, got = (os.path.join(home.folder, name) for name in ("there", "back", "got"))
    with open(there, "wb") as file:
        file.write(os.urandom(COPIED))
    client.run("scp", there, "web1.ramet:/root/there")
    expect_equal(home.ramet("exec", "web1", "--", "sha256sum", "/root/there").out.split()[0], sha256(there), "what scp wrote")
    client.run("scp", "web1.ramet:/root/there", back)
    expect_equal(sha256(back), sha256(there), "what scp read")
    client.run("sftp", "-b", "-", "web1.ramet", stdin=f"get /root/there {got}\n")
    expect_equal(sha256(got), sha256(there), "what sftp read")


def test_ssh(home):
    build_image(home)
    client = Client(home)
    home.ramet("run", "-d", "--name", "web1", "--network", "none", "--memory", "512M", IMAGE, timeout=900)
    let_in(home, client, "web1")
    printed = home.ramet("ssh-config", "web1").out
    expect_match(printed, r"^Host web1\.ramet\n")
    expect("*.ramet" not in printed, "others in the settings of one VM")
    home.ramet("ssh-config", "nosuch", status=3)
    client.configure("web1")
    expect_equal(client.run("ssh", "web1.ramet", "hostname; exit 7", status=7).stdout, "web1\n")
    expect_equal(known_hosts(home), [home.vm("web1")["id"] + ".ramet"])
    expect_equal(client.run("ssh", "web1.ramet", "cat", stdin="there and back").stdout, "there and back")
    check_files(home, client)
    # a clone has a key of its own, and is found without a block of its own
    client.configure()
    home.ramet("fork", "web1", "--name", "web2", timeout=900)
    # its sshd was told of its new keys, and for a moment listens to nobody then
    harness.wait_until(lambda: home.ramet("proxy", "web2", "22", status=None).out.startswith("SSH-"), "the clone's sshd")
    expect_equal(client.run("ssh", "web2.ramet", "hostname").stdout, "web2\n")
    expect_equal(len(known_hosts(home)), 1)
    # another VM of that name is not taken for an impostor
    home.ramet("rm", "-f", "web1")
    home.ramet("rename", "web2", "web1")
    client.configure()
    expect_equal(client.run("ssh", "web1.ramet", "cat", "/etc/machine-id").stdout,
                 home.ramet("exec", "web1", "--", "cat", "/etc/machine-id").out)
    expect_equal(len(known_hosts(home)), 2)
    expect_match(client.run("ssh", "nosuch.ramet", "true", status=255).stderr, "nosuch")
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
