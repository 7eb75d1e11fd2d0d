/* SPDX-License-Identifier: Apache-2.0 */

/* The boot cache: an image is booted once, and what it was then is a snapshot that the first start
 * of each VM forks.
 *
 * An entry is an automatic snapshot with the purpose "cache". Its key is the SHA-256 of all that a
 * restore depends on (snapshot_key.c: image, kernel, agent, QEMU, accelerator, CPU, memory, CPUs,
 * devices, kind of network). Who finds no entry takes locks/cache-KEY.lock, looks again, and
 * prepares it:
 *
 *   a VM with a name of its own, hidden (runtime "hidden": "cache"), boots, from a kernel that was
 *   booted before (booted_kernel.c) → under systemd its start is waited for → snapshot → the VM is
 *   removed
 *
 * Those who come meanwhile wait for the lock, each as long as its client does; when the preparer is
 * cancelled the next one prepares. A crash leaves a hidden VM and at most a half made snapshot,
 * which the next start of the daemon removes.
 *
 * A changed input is another key, so an old entry is never restored by mistake. It is stale then,
 * and goes when a new one is prepared for the same image, once nothing grows from it. Other sizes
 * and networks are other keys, too, and do not make an entry stale.
 *
 * An entry that cannot be restored is discarded and told of; the VM boots cold. */

#include "pool/boot_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "frozen/network_device.h"
#include "frozen/pins.h"
#include "frozen/snapshot_files.h"
#include "frozen/snapshot_key.h"
#include "home/admission.h"
#include "home/home.h"
#include "home/host.h"
#include "home/inside.h"
#include "home/memo.h"
#include "home/op_lock.h"
#include "home/operation.h"
#include "home/row.h"
#include "home/spec.h"
#include "home/ssh_identity.h"
#include "home/turn.h"
#include "image/context.h"
#include "image/firmware.h"
#include "image/initramfs.h"
#include "image/kernel_bundle.h"
#include "image/nocloud.h"
#include "lineage/lineage.h"
#include "machine/create.h"
#include "machine/remove.h"
#include "machine/snapshot/snapshot_create.h"
#include "machine/start.h"
#include "pool/booted_kernel.h"
#include "pool/warm_program.h"
#include "qemu/features.h"
#include "run/guest_run.h"
#include "run/nice.h"
#include "store/images.h"
#include "store/snapshots.h"
#include "store/vms.h"

#define SYSTEMD_TIMEOUT_USEC (900 * USEC_PER_SEC)

/* ---- the key ---- */

/* Hashing the agent takes milliseconds, so the last answer is remembered by its stamp. */
static Memo initramfs_memo = MEMO_INIT;

static int describe_agent(const Home *home, const VmRow *row, char of[MEMO_QUESTION_SIZE],
                          Error *error) {
    struct stat info;
    if (stat(home->agent, &info) < 0)
        return error_set_errno(error, errno, "cannot look at the agent %s", home->agent);
    (void)snprintf(of, MEMO_QUESTION_SIZE, "%.200s %.100s %llu %llu %lld %lld.%09ld", home->path,
                   row->runtime.kernel_key, (unsigned long long)info.st_dev,
                   (unsigned long long)info.st_ino, (long long)info.st_size,
                   (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    return 0;
}

static int make_initramfs(const Home *home, const ImageContext *context, const char *kernel_key,
                          char **key, Error *error) {
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    _cleanup_free_ char *path = NULL;
    char home_key[SSH_PUBLIC_KEY_SIZE];
    int r;
    if (firmware_is(kernel_key)) {
        r = ssh_identity_ensure(home, home_key, error);
        return r < 0 ? r : nocloud_ensure(context, home->agent, home_key, &path, key, error);
    }
    r = kernel_bundle_open(home->path, kernel_key, &bundle, error);
    return r < 0 ? r : initramfs_ensure(context, &bundle, home->agent, false, &path, key, error);
}

/* The agent's part of the key: that of the initramfs, or the disk for cloud-init, which brings it.
 */
static int find_initramfs_key(Home *home, int cancel_fd, VmRow *row, Error *error) {
    const ImageContext context = {.home = home->path, .cancel_fd = cancel_fd};
    _cleanup_free_ char *key = NULL;
    char of[MEMO_QUESTION_SIZE], found[MEMO_ANSWER_SIZE];
    int r = describe_agent(home, row, of, error);
    if (r < 0)
        return r;
    if (!memo_recall(&initramfs_memo, of, found)) {
        r = make_initramfs(home, &context, row->runtime.kernel_key, &key, error);
        if (r < 0)
            return r;
        (void)snprintf(found, sizeof(found), "%s", key);
        memo_remember(&initramfs_memo, of, found);
    }
    str_set(row->runtime.initramfs_key, found);
    return 0;
}

static int make_key(Home *home, int cancel_fd, VmRow *row, SnapshotFacts *facts, char key[65],
                    Error *error) {
    _cleanup_(qemu_features_free) QemuFeatures features = {0};
    const char *accel;
    int r = find_initramfs_key(home, cancel_fd, row, error);
    if (r >= 0)
        r = host_probe(home, &features, &accel, error);
    if (r < 0)
        return r;
    snapshot_facts(&features, accel, row, facts);
    snapshot_key(facts, key);
    return 0;
}

/* ---- finding ---- */

/* Of a version before this one, in which the network user was QEMU's own. */
static int find_earlier(Home *home, const VmRow *row, const SnapshotFacts *facts,
                        SnapshotRow *snapshot, Error *error) {
    _cleanup_(snapshot_facts_free) SnapshotFacts earlier = {0};
    char device[NETWORK_DEVICE_SIZE], key[65];
    network_device_earlier(&row->spec, device);
    if (str_equal(device, facts->network))
        return 0;
    snapshot_facts_copy(facts, &earlier);
    str_replace(&earlier.network, device);
    snapshot_key(&earlier, key);
    return snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
}

/* ---- stale entries ---- */

/* By a boot loader of its own, or by a kernel of this home: one disk can be booted in both ways. */
static bool boots_otherwise(const SnapshotFacts *entry, const SnapshotFacts *now) {
    return !str_equal(entry->kernel_key, now->kernel_key) &&
           (firmware_is(entry->kernel_key) || firmware_is(now->kernel_key));
}

/* What makes an entry useless when it changes; all else is a wish of the user's. */
static bool is_stale(const SnapshotFacts *entry, const SnapshotFacts *now) {
    if (boots_otherwise(entry, now))
        return false;
    return entry->format != now->format || !str_equal(entry->kernel_key, now->kernel_key) ||
           !str_equal(entry->initramfs_key, now->initramfs_key) ||
           !str_equal(entry->qemu_sha256, now->qemu_sha256) ||
           !str_equal(entry->accel, now->accel) || !str_equal(entry->machine, now->machine) ||
           !str_equal(entry->machine_options,
                      snapshot_machine_options(str_or_empty(entry->network), entry->disks,
                                               now->kernel_key, now->accel)) ||
           !str_equal(entry->cpu, now->cpu) || !str_equal(entry->host_cpu, now->host_cpu) ||
           !str_equal(entry->devices, now->devices);
}

static void drop_entry(Home *home, const SnapshotRow *row) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (snapshot_delete(home, row, &error) < 0 && error.kind != ERROR_CONFLICT)
        log_warning("cannot remove boot cache entry %s: %s", row->id, error_message(&error));
}

/* The image whose VMs are forked from it: not the one on whose base its disk stands, where it came
 * from a recipe's last step. */
static const char *image_of(const SnapshotRow *row) {
    const char *digest = row->data.facts.image_digest;
    return digest && *row->key ? digest : row->image_digest;
}

/* facts NULL: all entries of the image; digest NULL: of all images that are gone. */
static void prune(Home *home, const char *image_digest, const SnapshotFacts *facts) {
    SnapshotRow *rows = NULL;
    size_t count = 0, names;
    if (snapshots_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const SnapshotRow *row = &rows[i];
        bool ours = str_equal(row->purpose, PURPOSE_CACHE) && row->state == SNAPSHOT_READY &&
                    !snapshot_is_booted_kernel(row);
        if (!ours || (image_digest && !str_equal(image_of(row), image_digest)))
            continue;
        if (!image_digest && *row->key &&
            (images_count_digest(home->store, image_of(row), &names, NULL) < 0 || names > 0))
            continue;
        if (!facts || !*row->key || is_stale(&row->data.facts, facts))
            drop_entry(home, row);
    }
    snapshot_rows_free(rows, count);
    lineage_collect(home);
}

void boot_cache_prune(Home *home, const char *image_digest) {
    prune(home, image_digest, NULL);
}

void boot_cache_reconcile(Home *home) {
    prune(home, NULL, NULL);
}

void boot_cache_discard(Home *home, const SnapshotRow *snapshot) {
    _cleanup_snapshot_row_ SnapshotRow row = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    int r = snapshots_get(home->store, snapshot->id, &row, &error);
    if (r < 0 || !str_equal(row.purpose, PURPOSE_CACHE))
        return;
    row.key[0] = '\0';
    r = snapshots_update(home->store, &row, &error);
    if (r < 0)
        log_warning("cannot discard boot cache entry %s: %s", row.id, error_message(&error));
}

/* Seeds are as frozen as the image is; a volume is somebody's own, and so is a config disk. */
static bool may_be_cached(const VmMounts *mounts) {
    bool fine = true;
    for (size_t i = 0; i < mounts->count; i++)
        fine &= mounts->items[i].kind == VM_MOUNT_SEED && *mounts->items[i].base;
    return fine;
}

/* ---- preparing ---- */

/* Notes of the hidden VM's boot are the client's to hear; its stages are not. */
static void pass_notes(void *data, const json_t *event) {
    const Operation *outer = data;
    const char *kind = json_string_value(json_object_get(event, "event"));
    if (outer->on_event && !str_equal(kind, "stage"))
        outer->on_event(outer->data, event);
}

static void make_spec(const VmRow *row, VmSpec *spec) {
    _cleanup_free_ char *random = random_hex(8);
    vm_spec_init(spec);
    (void)snprintf(spec->name, sizeof(spec->name), "cache-%s", random);
    (void)snprintf(spec->image, sizeof(spec->image), "%s", row->image);
    spec->cards.count = row->spec.cards.count;
    for (size_t i = 0; i < spec->cards.count; i++)
        str_set(spec->cards.items[i].network, row->spec.cards.items[i].network);
    spec->memory_bytes = row->spec.memory_bytes;
    spec->cpus = row->spec.cpus;
    spec->mounts = row->spec.mounts;
}

static int make_hidden(Home *home, Operation *operation, const VmRow *row, OpLock **lock,
                       VmRow *hidden, Error *error) {
    _cleanup_vm_row_ VmRow planned = {0};
    _cleanup_vm_spec_ VmSpec spec;
    int r;
    make_spec(row, &spec);
    r = vm_plan_row(home, operation, &spec, CREATE_TO_RUN, &planned, error);
    if (r >= 0 && !str_equal(planned.image_digest, row->image_digest))
        r = error_set(error, ERROR_CONFLICT, EAGAIN, "image %s was replaced meanwhile", row->image);
    if (r >= 0)
        r = admission_check_memory(spec.memory_bytes, error);
    if (r < 0)
        return r;
    planned.spec.warm = row->spec.warm;
    str_set(planned.runtime.hidden, "cache");
    return vm_create_planned(home, operation, &planned, CREATE_TO_RUN, lock, hidden, error);
}

/* Ready under systemd means that the agent's unit has started, which is early. */
static void await_systemd(Home *home, Operation *operation, const VmRow *hidden) {
    static const char *const argv[] = {
        "/bin/sh", "-c",
        "[ -d /run/systemd/system ] || exit 0; "
        "case $(systemctl is-system-running --wait) in running|degraded) exit 0;; *) exit 1;; esac",
        NULL};
    _cleanup_error_ Error error = ERROR_INIT;
    int status = 0;
    int r = guest_run(home, operation, hidden, argv, SYSTEMD_TIMEOUT_USEC, &status, NULL, &error);
    if (r < 0)
        log_warning("cannot wait for systemd in %s: %s", hidden->name, error_message(&error));
    else if (status != 0)
        log_warning("systemd in %s is neither running nor degraded", hidden->name);
}

static int boot_and_save(Home *home, Operation *operation, OpLock *lock, VmRow *hidden,
                         const SnapshotFacts *facts, const char *key, SnapshotRow *snapshot,
                         Error *error) {
    const SnapshotOptions options = {.purpose = PURPOSE_CACHE, .key = key};
    int r = booted_kernel_boot(home, operation, lock, hidden, facts, error);
    if (r < 0)
        return r;
    await_systemd(home, operation, hidden);
    r = hidden->spec.warm ? warm_program_start(home, operation, hidden, error) : 0;
    if (r >= 0)
        r = operation_check(operation, error);
    if (r < 0)
        return r;
    /* What it is for snapshot_create_locked; nobody sees it, since it is hidden. */
    hidden->state = STATE_RUNNING;
    vm_set_nice(hidden, &hidden->runtime.keeper, NICE_STARTING); /* who waits, waits for it */
    return snapshot_create_locked(home, operation, hidden, &options, snapshot, error);
}

static int prepare(Home *home, Operation *outer, const VmRow *row, const SnapshotFacts *facts,
                   const char *key, SnapshotRow *snapshot, Error *error) {
    _cleanup_error_ Error undo = ERROR_INIT;
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow hidden = {0};
    Operation operation;
    int r;
    operation_init(&operation, 0, outer->cancel_fd);
    operation.on_event = pass_notes;
    operation.data = outer;
    operation_enter(&operation, "plan");
    r = make_hidden(home, &operation, row, &lock, &hidden, error);
    if (r < 0)
        return r;
    r = boot_and_save(home, &operation, lock, &hidden, facts, key, snapshot, error);
    if (vm_remove_locked(home, &hidden, &undo) < 0)
        log_warning("cannot remove %s: %s", hidden.name, error_message(&undo));
    return r;
}

/* With the lock of the key. */
static int find_or_prepare(Home *home, Operation *operation, const VmRow *row,
                           const SnapshotFacts *facts, const char *key, SnapshotRow *snapshot,
                           Error *error) {
    _cleanup_json_ json_t *detail = NULL;
    int r = snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
    if (r != 0)
        return r;
    operation_note(operation, "booting %s once for the boot cache", row->image);
    r = prepare(home, operation, row, facts, key, snapshot, error);
    if (r < 0)
        return r;
    detail =
        json_pack("{s:s, s:s, s:s}", "image", row->image, "snapshot", snapshot->id, "key", key);
    home_event(home, "cache.prepared", NULL, row->image, detail);
    prune(home, row->image_digest, facts);
    return 1;
}

static int wait_and_prepare(Home *home, Operation *operation, const VmRow *row,
                            const SnapshotFacts *facts, const char *key, SnapshotRow *snapshot,
                            Error *error) {
    _cleanup_close_ int lock_fd = -1;
    int r;
    operation_enter(operation, "cache");
    r = home_wait_for_turn(home, "cache", key, operation->cancel_fd, &lock_fd, error);
    return r < 0 ? r : find_or_prepare(home, operation, row, facts, key, snapshot, error);
}

/* ---- for those who start VMs ---- */

bool boot_cache_may_fall_back(const Error *error) {
    return booted_kernel_may_boot_cold(error) && error->kind != ERROR_CONFLICT &&
           error->kind != ERROR_USAGE;
}

/* An image that does not boot hidden does not boot at all; that is the start's own error. */
static bool cold_may_work(const Error *failure) {
    return boot_cache_may_fall_back(failure) && failure->kind != ERROR_GUEST_NOT_READY;
}

int boot_cache_has(Home *home, Operation *operation, VmRow *row, Error *error) {
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0};
    _cleanup_snapshot_row_ SnapshotRow found = {0};
    char key[65];
    int r = make_key(home, operation->cancel_fd, row, &facts, key, error);
    return r < 0 ? r : snapshots_find_key(home->store, key, PURPOSE_CACHE, &found, error);
}

int boot_cache_add(Home *home, Operation *operation, VmRow *row, VmRow *vm, Error *error) {
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0};
    _cleanup_snapshot_row_ SnapshotRow made = {0};
    char key[65];
    const SnapshotOptions options = {.purpose = PURPOSE_CACHE, .key = key};
    int r = make_key(home, operation->cancel_fd, row, &facts, key, error);
    if (r >= 0)
        r = snapshot_create_locked(home, operation, vm, &options, &made, error);
    if (r < 0)
        return r;
    str_replace(&made.data.facts.image_digest, row->image_digest);
    str_replace(&made.data.facts.program, facts.program);
    r = snapshots_update(home->store, &made, error);
    snapshot_unpin(home, made.id);
    return r;
}

int boot_cache_ensure(Home *home, Operation *operation, VmRow *row, SnapshotRow *snapshot,
                      Error *error) {
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0};
    char key[65];
    int r = make_key(home, operation->cancel_fd, row, &facts, key, error);
    if (r >= 0)
        r = snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
    if (r == 0)
        r = wait_and_prepare(home, operation, row, &facts, key, snapshot, error);
    return MIN_OF(r, 0);
}

int boot_cache_open(Home *home, Operation *operation, VmRow *row, SnapshotRow *snapshot,
                    json_t **failure, Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0};
    char key[65];
    int r;
    if (!home->boot_cache || row->spec.cold || !may_be_cached(&row->spec.mounts))
        return 0;
    r = make_key(home, operation->cancel_fd, row, &facts, key, error);
    if (r < 0)
        return r;
    r = snapshot_pin_key(home, key, PURPOSE_CACHE, snapshot, error);
    if (r == 0)
        r = find_earlier(home, row, &facts, snapshot, error);
    if (r != 0)
        return r;
    r = wait_and_prepare(home, operation, row, &facts, key, snapshot, &trouble);
    if (r < 0 && !cold_may_work(&trouble))
        return error_move(error, &trouble);
    if (r < 0) {
        *failure = row_tell_fallback(
            home, operation, row, "the boot cache could not be prepared; booting cold", &trouble);
        return 0;
    }
    return r;
}
