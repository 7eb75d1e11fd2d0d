/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_FEATURES_H
#define RAMET_QEMU_FEATURES_H

/* What a QEMU binary can do. It is asked (query-*, qom-list-…) and never judged by its version,
 * which is kept for people and for snapshots' keys only. */

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"

typedef struct QemuFeatures {
    /* which binary this is about */
    char *binary; /* owned; absolute path */
    uint64_t size_bytes;
    uint64_t mtime_nsec;
    char sha256[65];  /* of the file: the build's identity, part of a snapshot's key */
    char version[64]; /* "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)" */

    bool microvm; /* machine types */
    bool q35;
    bool tcg; /* accelerators that are compiled in */
    bool kvm;
    bool memory_file;     /* memory-backend-file */
    bool memory_rom;      /* … with readonly=on,rom=off (QEMU 8.2 and later) */
    bool save_devices;    /* xen-save-devices-state, which snapshots need */
    bool suppress_vmdesc; /* machine option suppress-vmdesc */
    bool chardev_fd;      /* -chardev socket,fd=N */
    bool fdset;           /* add-fd */
    bool user_network;    /* -netdev user (built with slirp): states of earlier versions want it */
    bool sandbox;         /* -sandbox (built with seccomp) */
    bool snapshot;        /* blockdev-snapshot */
} QemuFeatures;

void qemu_features_free(QemuFeatures *features); /* what it holds */

/* Finds the binary: `name` may be NULL (then $RAMET_QEMU, then qemu-system-x86_64 in $PATH) or a
 * path. The caller owns it. ERROR_UNSUPPORTED with a hint when there is none. */
int qemu_find_binary(const char *name, char **path, Error *error);

/* Starts the binary and asks it. ERROR_UNSUPPORTED with QEMU's standard
 * error when it does not start or does not answer. */
int qemu_probe_features(const char *binary, uint64_t deadline_usec, QemuFeatures *features,
                        Error *error);

/* ERROR_UNSUPPORTED naming what lacks, when it cannot run a VM at all. */
int qemu_features_check(const QemuFeatures *features, Error *error);

/* Is this about the file that is there now (size and mtime)? */
bool qemu_features_fit(const QemuFeatures *features, const char *binary);

/* As an object to keep, owned by the caller, and back. */
json_t *qemu_features_to_json(const QemuFeatures *features);
int qemu_features_from_json(const json_t *json, QemuFeatures *features, Error *error);

/* The probe behind a cache: FOLDER/qemu-features.json is used when it fits the binary, else the
 * binary is asked and the file written (a failing write is no error). */
int qemu_features_cached(const char *folder, const char *binary, uint64_t deadline_usec,
                         QemuFeatures *features, Error *error);

#endif
