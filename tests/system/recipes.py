#!/usr/bin/env python3
"""Images that are built step by step in guests: what is kept, what is told, and that nothing half made stays."""
import concurrent.futures
import os
import signal
import sqlite3

import harness
from harness import expect, expect_equal, expect_match, wait_until

RECIPE = """base: busybox
env: {WORD: one}
steps:
  - run: mkdir -p /srv/www && echo "$WORD" > /srv/www/word
  - copy: site
    to: /srv/www/site
  - run: cat /srv/www/site/page /srv/www/word > /srv/www/both
"""


def write(home, text, name="recipe.yaml"):
    path = os.path.join(home.folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def build(home, text, name="made", **how):
    return home.ramet("image", "build", name, "-f", write(home, text), **how)


def build_json(home, text, name="made"):
    return home.json("image", "build", name, "-f", write(home, text))


def cached(image):
    return [step["cached"] for step in image["steps"]]


def steps(home):
    """Snapshots of steps in the store."""
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        return store.execute("SELECT count(*) FROM snapshots WHERE purpose = 'step'").fetchone()[0]


def hidden(home):
    with sqlite3.connect(f"file:{home.path}/ramet.db?mode=ro", uri=True) as store:
        return store.execute("SELECT count(*) FROM vms").fetchone()[0]


@harness.booted
def test_steps(home):
    """Each step is kept by what went into it; what follows a change is done anew."""
    write(home, "a page\n", "site/page")
    expect_equal(cached(build_json(home, RECIPE)), [False, False, False], "the first time")
    expect_equal(home.ramet("run", "--rm", "made", "--", "cat", "/srv/www/both").out, "a page\none\n")
    expect_equal(home.ramet("run", "--rm", "made", "--", "sh", "-c", "echo $WORD").out, "one\n")
    expect_equal(cached(build_json(home, RECIPE)), [True, True, True], "again")
    os.utime(os.path.join(home.folder, "site/page"), (1, 1))
    expect_equal(cached(build_json(home, RECIPE)), [True, True, True], "a file that was only touched")
    expect_equal(cached(build_json(home, RECIPE + "  - run: echo more >> /srv/www/both\n")), [True, True, True, False], "one more")
    expect_equal(home.ramet("run", "--rm", "made", "--", "cat", "/srv/www/both").out, "a page\none\nmore\n")
    write(home, "another\n", "site/page")
    expect_equal(cached(build_json(home, RECIPE)), [True, False, False], "a file that changed")
    expect_equal(home.ramet("run", "--rm", "made", "--", "cat", "/srv/www/both").out, "another\none\n")
    expect_equal(cached(build_json(home, RECIPE.replace("WORD: one", "WORD: two"))), [False, False, False], "a variable")
    expect_equal(cached(build_json(home, RECIPE.replace("base: busybox", "base: busybox\nmemory: 300M"))), [False] * 3, "memory")
    expect_equal(home.json("image", "inspect", "made")["default_memory_bytes"], 300 << 20)
    expect_equal(hidden(home), 0, "VMs")
    kept = steps(home)
    home.ramet("prune")
    expect(0 < steps(home) < kept, "a prune leaves the steps of the image that is there")
    expect_equal(cached(build_json(home, RECIPE.replace("base: busybox", "base: busybox\nmemory: 300M"))), [True] * 3, "they are of use")
    expect(any(item["kind"] == "recipe steps" and item["count"] == 3 for item in home.json("df")["kinds"]), "df counts them")
    home.ramet("image", "rm", "made")
    home.ramet("prune")
    expect_equal(steps(home), 0, "steps after a prune")


@harness.booted
def test_what_the_image_says(home):
    recipe = """base: busybox
env: {A: 1, B: 2}
steps:
  - run: "echo nobody:x:65534:65534::/:/bin/sh >> /etc/passwd; mkdir -p /data; chmod 777 /data"
user: nobody
directory: /data
entrypoint: [sh, -c, "echo $A $B $(id -u) $(pwd) $0"]
command: [zero]
ports: [80]
"""
    config = build_json(home, recipe)["config"]
    expect_equal((config["entrypoint"][0], config["command"], config["ports"], config["env"], config["user"], config["directory"]),
                 ("sh", ["zero"], ["80"], ["A=1", "B=2"], "nobody", "/data"))
    expect_equal(home.ramet("run", "--rm", "made").out, "1 2 65534 /data zero\n")
    # on it another one, with another command; the disk is the same
    config = home.json("image", "build", "other", "-f", write(home, "base: made\ncommand: [one]\n"))["config"]
    expect_equal((config["entrypoint"][0], config["command"]), ("sh", ["one"]))
    config = home.json("image", "build", "other", "-f", write(home, "base: made\ncommand: [two]\n"))["config"]
    expect_equal(config["command"], ["two"], "built again with nothing but its command changed")


SEEDED = """base: busybox
seed: work:/srv/work
steps:
  - run: cat /srv/work/file > /copied && echo written > /srv/work/own
entrypoint: [sh, -c, "cat /copied /srv/work/file /srv/work/own"]
"""


@harness.booted
def test_seeds(home):
    """The steps have the folder, and the image what they have made of it; one on top of it has both."""
    file = write(home, "first\n", "work/file")
    image = build_json(home, SEEDED)
    expect_equal([seed["path"] for seed in image["seeds"]], ["/srv/work"])
    expect_equal(home.ramet("run", "--rm", "made").out, "first\nfirst\nwritten\n")
    expect_equal(cached(build_json(home, SEEDED)), [True], "again")
    expect_equal(home.json("image", "inspect", "made")["seeds"], image["seeds"], "those of the same step")
    image = build_json(home, "base: made\nsteps:\n  - run: echo more >> /srv/work/own\n", name="upper")
    expect_equal(home.ramet("run", "--rm", "upper").out, "first\nfirst\nwritten\nmore\n")
    write(home, "second\n", "work/file")
    expect_equal(cached(build_json(home, SEEDED)), [False], "a folder that changed")
    expect_match(build(home, SEEDED.replace("work:/srv", "../work:/srv"), status=2).err, r"recipe\.yaml:2: seed: \.\./work is not below")
    expect_match(build(home, SEEDED.replace("work:/srv", "absent:/srv"), status=3).err, r"recipe\.yaml:2: seed: cannot read .*absent")
    expect_match(build(home, SEEDED.replace("/srv/work\n", "/proc/x\n", 1), status=2).err, r"recipe\.yaml:2: seed: the path")
    expect_match(build(home, SEEDED.replace("work:/srv/work", "work"), status=2).err, r"recipe\.yaml:2: .*no folder with its place")
    os.unlink(file)
    home.ramet("image", "rm", "made", "upper")
    home.ramet("prune")
    expect_equal(os.listdir(os.path.join(home.path, "seeds")), [], "seeds that nobody has")


@harness.booted
def test_example(home):
    """As the README has it: a web server that answers at once."""
    home.ramet("image", "build", "web", "-f", os.path.join(os.path.dirname(__file__), "../../examples/web/recipe.yaml"))
    out = home.ramet("run", "--rm", "web", "--", "wget", "-qO-", "http://127.0.0.1/").out
    expect("ramet" in out, out)


@harness.booted
def test_network(home):
    """A step without a network has no way out, and the next one has its own again."""
    build(home, """base: busybox
network: none
steps:
  - run: ip route > /without || true; cat /sys/class/net/eth0/carrier > /carrier-without || true
  - run: ip route > /with; cat /sys/class/net/eth0/carrier > /carrier-with
    network: user
  - run: ip route > /without-again || true
""")
    out = home.ramet("run", "--rm", "made", "--", "sh", "-c", "for f in without with without-again; do grep -c default /$f || true; done").out
    expect_equal(out, "0\n1\n0\n", "default routes")


@harness.booted
def test_failures(home):
    """File, line, step and the guest's last words; what was done before stays, and nothing else."""
    recipe = "base: busybox\nsteps:\n  - run: echo fine > /fine\n  - run: |\n      echo looking\n      echo went wrong >&2; exit 3\n"
    err = build(home, recipe, status=1).err
    expect_match(err, r"recipe\.yaml:4: step 2 of 2, run echo looking …: it ended with exit status 3; it printed last:\nlooking\nwent wrong")
    expect_equal((steps(home), hidden(home)), (1, 0), "steps and VMs")
    expect_equal([image["name"] for image in home.json("image", "ls")], ["busybox"], "images")
    error = home.json("image", "build", "made", "-f", write(home, recipe), status=1)["error"]
    expect_match(error["message"], "went wrong")
    err = build(home, "base: busybox\nsteps:\n  - run: echo begun; sleep 1000\n    timeout: 10\n", status=1).err
    expect_match(err, r"recipe\.yaml:3: step 1 of 1, run echo begun; sleep 1000: it did not end within 10 s; it printed last:\nbegun")
    expect_match(build(home, "base: busybox\nsteps:\n  - packages: [vim]\n", status=1).err, r"neither apt-get, apk nor dnf")
    err = build(home, "base: busybox\nsteps:\n  - run: echo going; sleep 1; poweroff -f\n", status=1).err
    expect_match(err, r"recipe\.yaml:3: step 1 of 1, run echo going; sleep 1; poweroff -f: the VM has ended: .*; it printed last:\ngoing")
    expect_match(build(home, "base: busybox\nsteps:\n  - copy: absent\n    to: /x\n", status=3).err, r"recipe\.yaml:3: copy: cannot read .*absent")
    expect_match(build(home, "base: busybox\nsteps:\n  - copy: ../x\n    to: /x\n", status=2).err, r"recipe\.yaml:3: copy: \.\./x is not below")
    write(home, "x", "file")
    expect_match(build(home, "base: busybox\nsteps:\n  - copy: file\n    to: /proc/version/x\n", status=1).err, r"recipe\.yaml:3: step 1 of 1, copy file")
    expect_match(build(home, "base: absent\nsteps: []\n", status=3).err, r"recipe\.yaml:1: base absent: ")
    expect_match(build(home, "base: busybox\nsteps:\n  - rum: x\n", status=2).err, r"recipe\.yaml:3: the key rum is not known here")
    expect_match(build(home, "cpus: 1\nbase: none\n", status=3).err, r"recipe\.yaml:2: base none: there is no image none")
    expect_match(build(home, "base: busybox\nmemory: 1M\n", status=2).err, r"recipe\.yaml: 1 MiB of memory are too few")
    expect_match(build(home, recipe, name="busybox", status=4).err, "there is another image busybox already")
    home.ramet("image", "build", "made", status=2)
    home.ramet("image", "build", "made", "-f", write(home, recipe), "--from", "busybox", status=2)
    expect_equal(hidden(home), 0, "VMs")
    home.check_no_leftovers()


PRINTING = r"""base: busybox
steps:
  - run: printf '\n\na line\n\nten\rfifty\rdone\n\033[31mred\n\377\n'; yes | head -c 5000 | tr -d '\n'; echo; echo early; sleep 1000
"""


@harness.booted
def test_what_steps_print(home):
    """It is told as it comes, line by line, and drives no terminal."""
    process = home.start("image", "build", "made", "-f", write(home, PRINTING))
    lines = []
    for line in process.stderr:
        lines.append(line.decode())
        if lines[-1] == "  early\n":
            break
    process.send_signal(signal.SIGINT)
    process.wait(timeout=harness.BOUND)
    told = lines[[index for index, line in enumerate(lines) if "step 1 of 1" in line][0] + 1:]
    expect_equal(told[:6], ["  a line\n", "  ten\n", "  fifty\n", "  done\n", "  ?[31mred\n", "  \\xff\n"])
    expect_equal((len(told), sum(line.count("y") for line in told[6:-1])), (10, 2500), "a long line comes in parts")
    result = home.ramet("image", "build", "made", "-q", "-f", write(home, PRINTING.replace("sleep 1000", "true")))
    expect_equal((result.out, result.err), ("made\n", ""), "--quiet")


@harness.booted
def test_shell_on_failure(home):
    recipe = write(home, "base: busybox\nsteps:\n  - run: echo half > /half; exit 1\n")
    result = home.ramet("image", "build", "made", "-f", recipe, "--shell-on-failure", stdin="cat /half; exit\n", status=1)
    expect_match(result.out, "half")
    expect_match(result.err, r"step 1 of 1, .*exit status 1")
    expect_equal(hidden(home), 0, "VMs")


WARM = """base: busybox
cpus: 2
steps:
  - run: mkdir -p /srv && echo page > /srv/page
entrypoint: [sh, -c, "echo started >> /starts; exec httpd -f -p 80 -h /srv"]
snapshot-after: wget -qO- http://127.0.0.1/page
"""
ASK = ["sh", "-c", "wget -qO- http://127.0.0.1/page; pidof httpd | wc -w; cat /starts"]


def starts_warm_elsewhere(home):
    """Exported, the image has its program and when that is up; its first VM boots, and those after it are forks of what that became."""
    file = os.path.join(home.folder, "made.ramet")
    home.ramet("image", "export", "made", file)
    other = harness.Home(template=None)
    try:
        result = other.ramet("image", "import", file)
        expect("starts warm" in result.err, result.err)
        expect_equal(other.json("image", "inspect", "made")["config"], home.json("image", "inspect", "made")["config"], "what it says")
        for name in ("a", "b"):
            other.ramet("run", "-d", "--name", name, "made")
            expect_equal(other.vm(name)["boot"], "forked", "how it came up")
            expect_equal(other.ramet("exec", name, "--", *ASK).out, "page\n1\nstarted\n", "elsewhere")
        other.ramet("rm", "-f", "a", "b")
        other.ramet("image", "rm", "made")
    finally:
        other.close()
        os.unlink(file)


@harness.booted
def test_warm(home):
    """VMs of the image find its program running, whichever way they come up."""
    build(home, WARM)
    expect_equal(home.ramet("run", "-d", "--name", "a", "made").out, "a\n")
    expect_equal((home.vm("a")["boot"], home.vm("a")["cpus"]), ("forked", 2))
    expect_equal(home.json("image", "inspect", "made")["default_cpus"], 2)
    expect_equal(home.ramet("exec", "a", "--", *ASK).out, "page\n1\nstarted\n", "in a fork")
    expect_equal(home.ramet("run", "--rm", "made", "--", *ASK).out, "page\n1\nstarted\n", "beside a command")
    home.ramet("create", "--name", "b", "made")
    home.ramet("start", "b")
    expect_equal(home.ramet("exec", "b", "--", *ASK).out, "page\n1\nstarted\n", "in one that was created")
    home.ramet("fork", "a", "--name", "c")
    expect_equal(home.ramet("exec", "c", "--", *ASK).out, "page\n1\nstarted\n", "in a fork of a fork")
    home.ramet("restart", "a")
    expect_equal(home.vm("a")["boot"], "cold")
    answer = wait_until(lambda: home.ramet("exec", "a", "--", *ASK, status=None).out, "the program after a restart")
    wait_until(lambda: home.ramet("exec", "a", "--", *ASK, status=None).out == "page\n1\nstarted\nstarted\n",
               f"the program, started again: {answer}")
    home.ramet("run", "-d", "--name", "d", "-e", "A=1", "made")
    wait_until(lambda: home.ramet("exec", "d", "--", *ASK, status=None).out == "page\n1\nstarted\n", "the program with a variable")
    starts_warm_elsewhere(home)
    # the entry goes with a prune of what stands on it, and a boot makes another one
    home.ramet("rm", "-f", "a", "b", "c", "d")
    home.ramet("prune")
    expect_equal(home.ramet("run", "--rm", "made", "--", *ASK).out, "page\n1\nstarted\n", "after a boot")
    expect_equal(cached(build_json(home, WARM)), [True])
    home.ramet("image", "rm", "made")
    home.ramet("prune")
    expect_equal(steps(home), 0, "steps")
    home.check_no_leftovers()


@harness.booted
def test_not_ready(home):
    recipe = WARM.replace("httpd", "false") + "snapshot-timeout: 3\n"
    expect_match(build(home, recipe, status=5).err, r"recipe\.yaml:6: snapshot-after: .* did not (succeed|end) within 3 s")
    expect_equal([image["name"] for image in home.json("image", "ls")], ["busybox"], "images")
    expect_equal(hidden(home), 0, "VMs")


def begin(home, text):
    """A build whose step has begun."""
    process = home.start("image", "build", "made", "-f", write(home, text))
    for line in process.stderr:
        if b"step 1 of 1" in line:
            return process
    raise harness.Failure("the step did not begin")


@harness.booted
def test_interrupted(home):
    """Ctrl-C ends a step that does not; so does the end of the client."""
    for number in (signal.SIGINT, signal.SIGKILL):
        process = begin(home, "base: busybox\nsteps:\n  - run: sleep 1000\n")
        process.send_signal(number)
        process.wait(timeout=harness.BOUND)
        wait_until(lambda: hidden(home) == 0, "the VM to go")
        expect_equal(steps(home), 0, "steps")
    home.check_no_leftovers()


@harness.booted
def test_two_at_once(home):
    """Of two builds of the same steps one does each, and the other takes what that made."""
    recipe = "base: busybox\nsteps:\n  - run: echo one > /one; sleep 1\n  - run: echo two > /two\n"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        images = list(pool.map(lambda name: build_json(home, recipe, name), ["first", "second"]))
    for step in zip(*(cached(image) for image in images)):
        expect_equal(sorted(step), [False, True], "who did it")
    expect_equal(steps(home), 2, "steps")
    expect_equal(len({image["digest"] for image in images}), 1, "what they made")


@harness.booted
def test_daemon_killed(home):
    """The next try begins where the last one was."""
    recipe = "base: busybox\nsteps:\n  - run: echo one > /one\n  - run: test -e /never || sleep 1000\n"
    path = write(home, recipe)
    process = home.start("image", "build", "made", "-f", path)
    for line in process.stderr:
        if b"step 2 of 2" in line:
            break
    home.kill_daemon()
    process.wait(timeout=harness.BOUND)
    image = build_json(home, recipe.replace("sleep 1000", "echo two > /two"))
    expect_equal(cached(image), [True, False])
    expect_equal(home.ramet("run", "--rm", "made", "--", "cat", "/one", "/two").out, "one\ntwo\n")
    wait_until(lambda: hidden(home) == 0, "the VM of the build that was killed to go")
    home.check_no_leftovers()


if __name__ == "__main__":
    harness.main()
