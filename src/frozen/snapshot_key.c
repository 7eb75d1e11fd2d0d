/* SPDX-License-Identifier: Apache-2.0 */

/* What a device state depends on. It loads only into the same build of QEMU with the same machine,
 * CPU model, accelerator, memory size and devices in the same order; one that was saved under one
 * accelerator and loaded under another *reports success* with a dead CPU. So all of it is kept with
 * the snapshot, compared before QEMU is started, and hashed into the key by which the boot cache
 * finds its snapshots. */

#include "frozen/snapshot_key.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "frozen/network_device.h"
#include "frozen/snapshot_files.h"
#include "frozen/uefi_firmware.h"
#include "image/firmware.h"
#include "qemu/features.h"
#include "qemu/machine.h"
#include "store/snapshots.h"
#include "store/vms.h"

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

const char *snapshot_machine_options(const char *network, const char *disks, const char *kernel_key,
                                     const char *accel) {
    size_t n_disks = 1; /* the root; then a line for each */
    for (const char *end = disks; end && (end = strchr(end, '\n')); end++)
        n_disks++;
    const char *machine = firmware_is(kernel_key)
                              ? QEMU_MACHINE_PC
                              : qemu_machine_for(n_disks, network_device_count(network));
    return str_or_empty(qemu_machine_options(machine, accel));
}

char *snapshot_disks(const VmMounts *mounts) {
    StrBuf text = {0};
    for (size_t i = 0; i < mounts->count; i++) {
        const VmMount *mount = &mounts->items[i];
        char serial[VM_SERIAL_SIZE];
        vm_mount_serial(mounts, i, serial);
        strbuf_add_format(&text, "%s=%s%s,%llu,%s\n", serial, mount->base, mount->volume,
                          (unsigned long long)mount->bytes, mount->path);
    }
    return mounts->count ? strbuf_steal(&text) : NULL;
}

/* A VM of the same image whose program is another one is not to have this one's. */
static char *digest_program(const VmSpec *spec) {
    _cleanup_json_ json_t *config = NULL;
    _cleanup_free_ char *text = NULL;
    char hex[SHA256_HEX_SIZE];
    if (!spec->warm)
        return NULL;
    config = image_config_to_json(&spec->config);
    text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        abort();
    sha256_data(text, strlen(text), hex);
    return str_copy(hex);
}

void snapshot_facts(const QemuFeatures *features, const char *accel, const VmRow *vm,
                    SnapshotFacts *facts) {
    char device[NETWORK_DEVICE_SIZE];
    network_device_of(&vm->spec, device);
    if (*vm->runtime.network_device)
        str_set(device, vm->runtime.network_device);
    _cleanup_free_ char *disks = snapshot_disks(&vm->spec.mounts);
    snapshot_facts_free(facts);
    *facts = (SnapshotFacts){
        .format = SNAPSHOT_FORMAT,
        .image_digest = str_copy(vm->image_digest),
        .kernel_key = str_copy(vm->runtime.kernel_key),
        .initramfs_key = str_copy(vm->runtime.initramfs_key),
        .qemu_sha256 = str_copy(features->sha256),
        .qemu_version = str_copy(features->version),
        .accel = str_copy(accel),
        .machine = str_copy(firmware_is(vm->runtime.kernel_key) ? QEMU_MACHINE_PC : MACHINE),
        .machine_options =
            str_copy(snapshot_machine_options(device, disks, vm->runtime.kernel_key, accel)),
        .cpu = str_copy(qemu_default_cpu(accel)),
        .host_cpu = read_host_cpu(accel),
        .memory_bytes = vm->spec.memory_bytes,
        .cpus = vm->spec.cpus,
        .devices = str_copy(firmware_is(vm->runtime.kernel_key) ? "root;cidata;net;agent;console"
                                                                : "root;net;agent;console"),
        .network = str_copy(device),
        .disks = TAKE_PTR(disks),
        .program = digest_program(&vm->spec),
        .firmware =
            str_equal(vm->runtime.kernel_key, FIRMWARE_UEFI) ? uefi_firmware_digest() : NULL,
    };
}

void snapshot_key(const SnapshotFacts *facts, char key[65]) {
    _cleanup_json_ json_t *json = snapshot_facts_to_json(facts);
    _cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        abort();
    sha256_data(text, strlen(text), key);
}

/* Snapshots of older versions do not tell, and have one card. */
const char *snapshot_network(const SnapshotRow *row) {
    const char *then = row->data.facts.network;
    return then ? then : vm_spec_network(&row->data.spec);
}

/* "made by QEMU X, this is Y". */
static int refuse(Error *error, const char *what, const char *then, const char *now) {
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "it was made by %s %s, this is %s", what,
              str_or_empty(then), now);
    error_set_hint(error, "use the one that it was made by (RAMET_QEMU, RAMET_ACCEL), or make a "
                          "new snapshot; start --cold boots a VM anew");
    return -ENOTSUP;
}

static int check_qemu(const SnapshotFacts *facts, const QemuFeatures *features, Error *error) {
    _cleanup_free_ char *then = NULL, *now = NULL;
    if (str_equal(facts->qemu_sha256, features->sha256))
        return 0;
    then = str_format("%s (build %.12s)", str_or_empty(facts->qemu_version),
                      str_or_empty(facts->qemu_sha256));
    now = str_format("%s (build %.12s)", features->version, features->sha256);
    return refuse(error, "QEMU", then, now);
}

static bool is_known_machine(const SnapshotFacts *facts) {
    return str_equal(facts->machine, firmware_is(facts->kernel_key) ? QEMU_MACHINE_PC : MACHINE);
}

/* The state has the firmware's own variables in it, at the addresses of its build. */
static int check_firmware(const SnapshotFacts *facts, Error *error) {
    _cleanup_free_ char *now = facts->firmware ? uefi_firmware_digest() : NULL;
    if (!facts->firmware || str_equal(facts->firmware, now))
        return 0;
    _cleanup_free_ char *then = str_format("build %.12s", facts->firmware);
    _cleanup_free_ char *found = now ? str_format("build %.12s", now) : str_copy("not installed");
    (void)refuse(error, "the UEFI firmware,", then, found);
    error_set_hint(error, "install the package ovmf as it was then, or make a new snapshot; start "
                          "--cold boots a VM anew");
    return -ENOTSUP;
}

int snapshot_check_host(const SnapshotRow *row, const QemuFeatures *features, const char *accel,
                        Error *error) {
    const SnapshotFacts *facts = &row->data.facts;
    _cleanup_free_ char *host_cpu = read_host_cpu(accel);
    const char *network = snapshot_network(row);
    int r = 0;
    if (facts->format != SNAPSHOT_FORMAT)
        r = refuse(error, "another version of ramet,", "with files of another format", "newer");
    else if (!str_equal(facts->accel, accel))
        r = refuse(error, "the accelerator", facts->accel, accel);
    else if (!is_known_machine(facts) || !qemu_machine_with(facts->machine_options, accel))
        r = refuse(error, "the machine", facts->machine_options,
                   qemu_machine_options(MACHINE, accel));
    else if (!str_equal(facts->cpu, qemu_default_cpu(accel)))
        r = refuse(error, "the CPU model", facts->cpu, qemu_default_cpu(accel));
    else if (!str_equal(facts->host_cpu, host_cpu))
        r = refuse(error, "a host with", "another CPU", "none of that kind");
    else if (!network_device_is_known(network))
        r = refuse(error, "the network", network, "user, none and those with a name");
    else
        r = check_qemu(facts, features, error);
    if (r >= 0)
        r = check_firmware(facts, error);
    return r < 0 ? error_add_context(error, "cannot restore snapshot %s",
                                     *row->name ? row->name : row->id)
                 : 0;
}
