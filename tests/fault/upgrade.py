#!/usr/bin/env python3
"""Ends the daemon while it gives a base of an earlier version its name, and while such a base goes (docs/image-digest.md)."""
import contextlib
import fcntl
import glob
import os
import signal
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))
import harness  # noqa: E402
from harness import expect, expect_equal, wait_until  # noqa: E402
from upgrade import PATH, check_lists, end_processes, old_home  # noqa: E402


def bases(kind):
    return glob.glob(f"{PATH}/images/{kind}-*.raw")


def digests(name):
    with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db")) as store:
        return store.execute("SELECT digest FROM images WHERE name = ?", (name,)).fetchall()


@contextlib.contextmanager
def opening_blocked(path):
    """Who opens the file waits until the context is left. Yields a function that tells whether somebody does."""
    asked = []
    before = signal.signal(signal.SIGIO, lambda *_: asked.append(True))
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield lambda: asked
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def test_killed_between_the_link_and_the_rows(home):
    with old_home(home):
        (old,) = bases("src")
        with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db", isolation_level=None)) as store:
            with opening_blocked(old) as asked:
                home.start("image", "ls")
                wait_until(asked, "the daemon at the base that has no digest")
                store.execute("BEGIN IMMEDIATE")
            wait_until(lambda: os.stat(old).st_nlink == 2, "the base's name by its digest")
            end_processes()
        (((digest,),), (new,)) = digests("later"), bases("tree1")
        expect(digest.startswith("src:"), f"the row says {digest} already")
        check_lists(home)
        expect_equal(bases("tree1"), [new], "bases named by their digest")
        expect(os.path.samefile(old, new), "the base has its two names")
        home.ramet("start", "early")
        home.ramet("rm", "-f", "early")
        home.ramet("image", "rm", "later")
        expect_equal(bases("tree1") + bases("src"), [], "what is left of the image")


def test_killed_between_the_row_and_the_unlinks(home):
    for unlinked in 0, 1:
        with old_home(home):
            home.ramet("rm", "early")
            end_processes()
            with contextlib.closing(sqlite3.connect(f"{PATH}/ramet.db")) as store, store:
                store.execute("DELETE FROM images WHERE name = 'later'")
            for path in bases("tree1")[:unlinked]:
                os.unlink(path)
            expect_equal((len(bases("tree1")), len(bases("src"))), (1 - unlinked, 1), "names of the base")
            expect_equal([image["name"] for image in home.json("image", "ls")], ["bare"], "images")
            expect_equal(bases("tree1") + bases("src"), [], "what is left of the image")


if __name__ == "__main__":
    harness.main(None)
