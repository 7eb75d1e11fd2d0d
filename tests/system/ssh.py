#!/usr/bin/env python3
"""ssh, scp and sftp to a Debian guest without a network, by the settings that `ramet ssh-config` prints: with the home's key
and that of --ssh-key, and host keys that ssh knows before it sees them."""
import contextlib
import hashlib
import os
import shutil
import subprocess

import debian
import harness
from harness import expect, expect_equal, expect_match

IMAGE = debian.IMAGE  # has a server, and nothing else of Ramet's settings for ssh
COPIED = 50 << 20


def require():
    for program in "ssh", "scp", "sftp", "ssh-keygen":
        if not shutil.which(program):
            raise harness.Skip(f"{program} is missing")


class Client:
    """ssh of a user who has only what ssh-config printed, and perhaps a key of their own."""

    def __init__(self, home):
        self.home = home
        self.key = os.path.join(home.folder, "key")
        self.config = os.path.join(home.folder, "config")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def configure(self, *names):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(self.home.ramet("ssh-config", *names).out)

    def without_home_key(self):
        path = self.config + ".own"
        with open(self.config, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as own:
            own.writelines(line for line in file if "IdentityFile" not in line)
        return path

    def run(self, program, *arguments, status=0, stdin="", own_key=False):
        """A host key that is not known, or another than the known one, ends it."""
        options = ["-F", self.config, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        if own_key:
            options = ["-F", self.without_home_key(), *options[2:], "-i", self.key]
        # without the variables that say where the home is: what was printed has to
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAMET_")}
        env["HOME"] = self.home.folder
        done = subprocess.run([program, *options, *arguments], input=stdin, capture_output=True, text=True, env=env,
                              timeout=2 * harness.BOUND, check=False)
        expect_equal(done.returncode, status, f"status of {program} {arguments} ({done.stderr})")
        return done


def host_keys(home, name):
    return home.ramet("exec", name, "--", "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").out.splitlines()


def sshd_since_boot(home, name):
    """What of its keys the server said when it started: nothing, unless it found none."""
    return home.ramet("exec", name, "--", "journalctl", "-b", "-u", "ssh", "-u", "ramet-ssh-keys", "--no-pager").out


def await_server(home, name):
    harness.wait_until(lambda: home.ramet("proxy", name, "22", status=None).out.startswith("SSH-"), f"the sshd of {name}")


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
    require()
    debian.build_image(home)
    client = Client(home)
    home.ramet("run", "-d", "--name", "web1", "--network", "none", "--memory", "512M", "--ssh-key", client.key, IMAGE, timeout=900)
    await_server(home, "web1")
    printed = home.ramet("ssh-config", "web1").out
    expect_match(printed, r"^Host web1\.ramet\n")
    expect("*.ramet" not in printed, "others in the settings of one VM")
    home.ramet("ssh-config", "nosuch", status=3)
    client.configure("web1")
    done = client.run("ssh", "web1.ramet", "hostname; exit 7", status=7)
    expect_equal((done.stdout, done.stderr), ("web1\n", ""), "what ssh said")
    expect_equal(client.run("ssh", "web1.ramet", "hostname", own_key=True).stdout, "web1\n")
    # the server never had another key than the one that the host made
    expect_equal(host_keys(home, "web1"), [home.vm("web1")["ssh_host_key"]])
    said = sshd_since_boot(home, "web1")
    expect("ssh-keygen" not in said and "no hostkeys" not in said, said)
    expect_equal(client.run("ssh", "web1.ramet", "cat", stdin="there and back").stdout, "there and back")
    check_files(home, client)
    # a clone has a key of its own, and is found without a block of its own
    client.configure()
    home.ramet("fork", "web1", "--name", "web2", timeout=900)
    # its sshd was told of its new keys, and for a moment listens to nobody then: that is waited for
    done = client.run("ssh", "web2.ramet", "hostname")
    expect_equal((done.stdout, done.stderr), ("web2\n", ""), "what ssh said of a clone")
    expect(home.vm("web2")["ssh_host_key"] != home.vm("web1")["ssh_host_key"], "a clone has its source's key")
    # another VM of that name is not taken for an impostor
    home.ramet("rm", "-f", "web1")
    home.ramet("rename", "web2", "web1")
    client.configure()
    expect_equal(client.run("ssh", "web1.ramet", "cat", "/etc/machine-id").stdout,
                 home.ramet("exec", "web1", "--", "cat", "/etc/machine-id").out)
    # its key is its own for as long as it lives
    key = home.vm("web1")["ssh_host_key"]
    home.ramet("stop", "web1", timeout=900)
    home.ramet("start", "web1", timeout=900)
    await_server(home, "web1")
    expect_equal(home.vm("web1")["ssh_host_key"], key, "the key after a new start")
    expect_equal(client.run("ssh", "web1.ramet", "hostname").stdout, "web1\n")
    # one that is not the VM's is refused
    home.ramet("exec", "web1", "--", "sh", "-c", "rm /etc/ssh/ssh_host_* && ssh-keygen -q -t ed25519 -N '' -f "
               "/etc/ssh/ssh_host_ed25519_key && systemctl restart ssh")
    expect_match(client.run("ssh", "web1.ramet", "true", status=255).stderr, "IDENTIFICATION HAS CHANGED")
    expect_match(client.run("ssh", "nosuch.ramet", "true", status=255).stderr, "nosuch")
    expect_equal(known_hosts(home), [])
    home.ramet("rm", "-f", "*")
    home.check_no_leftovers()


def test_keys(home):
    """Without a server: only keys that were asked for are written. Files that hold no public key are refused."""
    key = os.path.join(home.folder, "key")
    for text, words in (("", "holds no public SSH key"), ("ssh-ed25519 AAAA\n", "is no public SSH key"),
                        ('command="x" ssh-ed25519 ' + "A" * 68, "is no public SSH key"), ("ssh-rsa " + "A" * 4000, "is no public"),
                        ("".join(f"ssh-rsa {'A' * 2000} {n}\n" for n in range(3)), "have more than the")):
        with open(key, "w", encoding="utf-8") as file:
            file.write(text)
        result = home.ramet("create", "--name", "k", "--ssh-key", key, "busybox", status=2)
        expect(words in result.err, result.err)
    home.ramet("create", "--name", "k", "--ssh-key", key + ".absent", "busybox", status=None)
    line = "ssh-ed25519 " + "A" * 68 + " me@here"
    with open(key, "w", encoding="utf-8") as file:
        file.write(f"# mine\n{line}\n\n")
    home.ramet("run", "-d", "--name", "k", "--ssh-key", key, "busybox")
    lines = home.ramet("exec", "k", "--", "sh", "-c", "stat -c %a /root/.ssh /root/.ssh/authorized_keys; cat "
                       "/root/.ssh/authorized_keys").out.splitlines()
    with open(os.path.join(home.path, "ssh", "id_ed25519.pub"), encoding="utf-8") as file:
        expect_equal(lines, ["700", "600", file.read().strip(), line])
    expect_equal(home.vm("k")["ssh_host_key"], None, "the host key of a guest without a server")
    home.ramet("run", "-d", "--name", "n", "busybox")
    home.ramet("exec", "n", "--", "test", "-e", "/root/.ssh", status=1)
    home.ramet("rm", "-f", "k", "n")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
