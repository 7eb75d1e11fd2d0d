/* SPDX-License-Identifier: Apache-2.0 */

/* What a device state depends on. It loads only into the same build of QEMU with the same machine,
 * CPU model, accelerator, memory size and devices in the same order; one that was saved under one
 * accelerator and loaded under another *reports success* with a dead CPU. So all of it is kept with
 * the snapshot, compared before QEMU is started, and hashed into the key by which the boot cache
 * finds its snapshots. */

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "qemu/argv.h"
#include "vm/snapshot_internal.h"

#define MACHINE "microvm"

/* With KVM the CPU model "host" is whatever this host has. */
static char *read_host_cpu(const char *accel) {
    _cleanup_fclose_ FILE *file = NULL;
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    char line[4096], hex[SHA256_HEX_SIZE];

    if (!str_equal(accel, "kvm"))
        return str_copy("");
    file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof(line), file) && line[0] != '\n')
        if (str_has_prefix(line, "model name") || str_has_prefix(line, "stepping") ||
            str_has_prefix(line, "flags") || str_has_prefix(line, "microcode"))
            sha256_update(hash, line, strlen(line));
    sha256_finish(hash, hex);
    return str_copy(hex);
}

json_t *snapshot_facts(const QemuFeatures *features, const char *accel, const VmRow *vm) {
    _cleanup_free_ char *host_cpu = read_host_cpu(accel);
    const char *options = qemu_machine_options(MACHINE, accel);

    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O?, s:O?, s:s, "
                     "s:O?}",
                     "format", SNAPSHOT_FORMAT, "image_digest", vm->image_digest, "kernel_key",
                     row_text(vm, "kernel_key"), "initramfs_key", row_text(vm, "initramfs_key"),
                     "qemu_sha256", features->sha256, "qemu_version", features->version, "accel",
                     accel, "machine", MACHINE, "machine_options", options ? options : "", "cpu",
                     qemu_default_cpu(accel), "host_cpu", host_cpu, "memory_bytes",
                     json_object_get(vm->spec, "memory_bytes"), "cpus",
                     json_object_get(vm->spec, "cpus"), "devices", "root;net;agent;console",
                     "network", json_object_get(vm->spec, "network"));
}

void snapshot_key(const json_t *facts, char key[65]) {
    _cleanup_free_ char *text = json_dumps(facts, JSON_COMPACT | JSON_SORT_KEYS);

    if (!text)
        abort();
    sha256_data(text, strlen(text), key);
}

static const char *fact(const json_t *facts, const char *key) {
    const char *text = json_string_value(json_object_get(facts, key));

    return text ? text : "";
}

/* The card is always there; what is behind it decides on its features, so that a state fits no VM
 * with another kind of network. Snapshots of older versions do not tell. */
static bool is_same_network(const SnapshotRow *row, const json_t *facts) {
    const json_t *then = json_object_get(facts, "network");
    const json_t *now = json_object_get(json_object_get(row->data, "spec"), "network");

    return !then || json_equal(then, now);
}

/* "made by QEMU X, this is Y". */
static int refuse(Error *error, const char *what, const char *then, const char *now) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "it was made by %s %s, this is %s", what, then,
              now);
    error_set_hint(error, "use the one that it was made by (RAMET_QEMU, RAMET_ACCEL), or make a "
                          "new snapshot; start --cold boots a VM anew");
    return -ENOTSUP;
}

static int check_qemu(const json_t *facts, const QemuFeatures *features, Error *error) {
    _cleanup_free_ char *then = NULL, *now = NULL;

    if (str_equal(fact(facts, "qemu_sha256"), features->sha256))
        return 0;
    then = str_format("%s (build %.12s)", fact(facts, "qemu_version"), fact(facts, "qemu_sha256"));
    now = str_format("%s (build %.12s)", features->version, features->sha256);
    return refuse(error, "QEMU", then, now);
}

int snapshot_check_host(const SnapshotRow *row, const QemuFeatures *features, const char *accel,
                        Error *error) {
    const json_t *facts = json_object_get(row->data, "facts");
    _cleanup_free_ char *host_cpu = read_host_cpu(accel);
    const char *options = qemu_machine_options(MACHINE, accel);
    int r = 0;

    if (json_integer_value(json_object_get(facts, "format")) != SNAPSHOT_FORMAT)
        r = refuse(error, "another version of ramet,", "with files of another format", "newer");
    else if (!str_equal(fact(facts, "accel"), accel))
        r = refuse(error, "the accelerator", fact(facts, "accel"), accel);
    else if (!str_equal(fact(facts, "machine"), MACHINE) ||
             !str_equal(fact(facts, "machine_options"), options ? options : ""))
        r = refuse(error, "the machine", fact(facts, "machine_options"), options ? options : "");
    else if (!str_equal(fact(facts, "cpu"), qemu_default_cpu(accel)))
        r = refuse(error, "the CPU model", fact(facts, "cpu"), qemu_default_cpu(accel));
    else if (!is_same_network(row, facts))
        r = refuse(error, "a VM with the network", fact(facts, "network"), "for another");
    else if (!str_equal(fact(facts, "host_cpu"), host_cpu))
        r = refuse(error, "a host with", "another CPU", "none of that kind");
    else
        r = check_qemu(facts, features, error);
    return r < 0 ? error_add_context(error, "cannot restore snapshot %s",
                                     *row->name ? row->name : row->id)
                 : 0;
}
