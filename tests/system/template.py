#!/usr/bin/env python3
"""Builds the images that the system tests share, once for each build folder: the home that each test starts from."""
import os
import subprocess
import sys

import harness

IMAGES = [("busybox", ["--from", "busybox"])]


def main():
    env = dict(os.environ, RAMET_HOME=harness.TEMPLATE)
    os.makedirs(harness.TEMPLATE, exist_ok=True)
    for name, options in IMAGES:
        found = subprocess.run([harness.RAMET, "image", "inspect", name], env=env, capture_output=True, check=False)
        if found.returncode != 0:
            subprocess.run([harness.RAMET, "image", "build", name, *options], env=env, check=True)
    subprocess.run([harness.RAMET, "daemon", "stop"], env=env, check=True)


if __name__ == "__main__":
    sys.exit(main())
