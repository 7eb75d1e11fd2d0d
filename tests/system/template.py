#!/usr/bin/env python3
"""Makes what the system tests share, once for each build folder: a home with the busybox image, and a copy of it whose
boot cache has that image. Each test starts from one of them."""
import os
import shutil
import subprocess
import sys

import guard
import harness

IMAGES = [("busybox", ["--from", "busybox"])]


def ramet(home, *arguments):
    subprocess.run([harness.RAMET, *arguments], env=dict(os.environ, RAMET_HOME=home), check=True)


def has_image(home, name):
    return subprocess.run([harness.RAMET, "image", "inspect", name], env=dict(os.environ, RAMET_HOME=home),
                          capture_output=True, check=False).returncode == 0


def build_images(home):
    os.makedirs(home, exist_ok=True)
    for name, options in IMAGES:
        if not has_image(home, name):
            ramet(home, "image", "build", name, *options)
    ramet(home, "run", "--cold", "--rm", "busybox", "--", "true")  # leaves the initramfs and what was found out of QEMU
    ramet(home, "daemon", "stop")


def boot_images(home):
    """Quick when the cache has it. A changed agent or kernel is another key, so the older entry does no harm."""
    if not os.path.exists(os.path.join(home, "ramet.db")):
        shutil.rmtree(home, ignore_errors=True)
        harness.copy_home(harness.TEMPLATE, home)
    ramet(home, "run", "--rm", "busybox", "--", "true")
    ramet(home, "daemon", "stop")


def main():
    guard.start()
    for home in (harness.TEMPLATE, harness.BOOTED):
        guard.note("=", home)
    build_images(harness.TEMPLATE)
    boot_images(harness.BOOTED)


if __name__ == "__main__":
    sys.exit(main())
