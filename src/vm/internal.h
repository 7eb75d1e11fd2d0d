/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_INTERNAL_H
#define RAMET_VM_INTERNAL_H

/* What the files of this folder share. The public headers are ramet.h, vm.h, images.h, spec.h and
 * operation.h. */

#include <pthread.h>
#include <stdbool.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/spawn.h"
#include "base/str.h"
#include "qemu/features.h"
#include "qemu/zygote.h"
#include "store/events.h"
#include "store/images.h"
#include "store/meta.h"
#include "store/store.h"
#include "store/vms.h"
#include "vm/operation.h"
#include "vm/ramet.h"
#include "vm/spec.h"

/* --- the home ------------------------------------------------------------------------------- */

typedef struct Watcher Watcher;
typedef struct OpLocks OpLocks;

typedef struct Subscriber {
    int fd; /* eventfd, owned until ramet_unsubscribe */
    struct Subscriber *next;
} Subscriber;

typedef struct BlankMemory {
    uint64_t bytes;
    int fd; /* sealed memfd, owned */
} BlankMemory;

/* A memory base in a sealed memfd: hot_memory.c. */
typedef struct HotMemory {
    char id[VM_ID_SIZE]; /* the snapshot that it is the base of */
    int fd;              /* owned; -1 while it is filled */
    bool filling;
    uint64_t bytes; /* what it takes */
    uint64_t used_usec;
    uint64_t touched_usec; /* when the holder was last told of a use */
    struct HotMemory *next;
} HotMemory;

/* A snapshot that must not go: lineage.c. */
typedef struct Pin {
    char id[VM_ID_SIZE];
    unsigned count;
    struct Pin *next;
} Pin;

struct Ramet {
    char *home;         /* owned */
    int home_fd;        /* owned */
    int vms_fd;         /* owned: HOME/vms */
    int lock_fd;        /* owned: locks/daemon.lock */
    int closing_fd;     /* owned eventfd: readable once ramet_close has begun */
    Store *store;       /* owned */
    char *keeper;       /* owned: the program */
    char *agent;        /* owned: the program */
    char *qemu;         /* owned: as asked for; may be NULL */
    char *accel;        /* owned: as asked for; may be NULL */
    uint32_t uid_first; /* the VMs' users; a count of 0: none (not root) */
    uint32_t uid_count;
    uint64_t silence_timeout_usec; /* 0: by the accelerator */
    uint64_t ready_timeout_usec;

    pthread_mutex_t images_mutex; /* a base and its image's row come and go together */
    pthread_mutex_t mutex;        /* guards what follows */
    pthread_cond_t idle;          /* `workers` fell to 0 */
    bool closing;
    unsigned workers;          /* threads of ramet_work */
    struct Settling *settling; /* those that have not begun yet */
    Subscriber *subscribers;
    size_t n_blanks;
    BlankMemory *blanks; /* owned */

    Pin *pins; /* owned */

    bool boot_cache;            /* is it on? */
    uint64_t pool_budget_bytes; /* what warm clones may take together */
    struct Pools *pools;        /* owned: pool_fill.c; NULL until reconcile */

    pthread_mutex_t hot_mutex; /* guards what follows */
    pthread_cond_t hot_filled;
    HotMemory *hot; /* owned */
    uint64_t hot_budget_bytes;

    pthread_mutex_t probe_mutex; /* guards what follows */
    bool probed;
    QemuFeatures features;
    const char *accel_chosen; /* static */
    char *accel_reason;       /* owned */

    bool use_zygote;
    Zygote *zygote;   /* owned */
    OpLocks *locks;   /* owned */
    Watcher *watcher; /* owned */
};

/* config.c: HOME/config.json and the environment. */
int config_load(Ramet *ramet, Error *error);

/* host.c: QEMU and accelerator, probed once. *features is the caller's (qemu_features_free), *accel
 * static. */
int host_probe(Ramet *ramet, QemuFeatures *features, const char **accel, Error *error);

/* blank.c: what a cold boot's memory lies over. *fd is the caller's: a published file when
 * QEMU has memory_rom, else a sealed memfd. *name is what inspect shows; the caller owns it. */
int blank_open(Ramet *ramet, const QemuFeatures *features, uint64_t bytes, int cancel_fd, int *fd,
               char **name, Error *error);

/* Has ramet_close begun? Long work that nobody asked for ends then. */
bool ramet_is_closing(Ramet *ramet);

/* work.c: calls it in a thread of its own, which ramet_close waits for. Negative errno: it was not
 * called. */
int ramet_work(Ramet *ramet, void (*call)(Ramet *ramet, void *data), void *data);

/* --- one operation at a time for each VM (op_lock.c) ---------------------------------------------
 */

typedef struct OpLock OpLock;

#define OP_LOCK_WAIT_USEC (300 * USEC_PER_SEC)

OpLocks *op_locks_new(void);
void op_locks_free(OpLocks *locks);

/* what: "being started"; for the message of those who wait. Waits in order of arrival, at most
 * OP_LOCK_WAIT_USEC (ERROR_CONFLICT), or until cancel_fd (ERROR_CANCELLED). */
int op_lock(OpLocks *locks, const char *id, const char *what, int cancel_fd, OpLock **lock,
            Error *error);
OpLock *op_unlock(OpLock *lock);
static inline void op_unlock_p(OpLock **lock) {
    (void)op_unlock(*lock);
}
#define _cleanup_op_lock_ _cleanup_(op_unlock_p)

/* Readable once somebody called op_lock_abort: a start ends early then. Borrowed. */
int op_lock_abort_fd(const OpLock *lock);
bool op_lock_aborted(const OpLock *lock);

/* Asks the holder of a VM's lock, if there is one, to give up. */
void op_lock_abort(OpLocks *locks, const char *id);

/* Is the VM's lock held (for reconcile and tests)? */
bool op_lock_is_held(OpLocks *locks, const char *id);

/* --- keepers and their ends (watcher.c, settle.c, run_end.c) -------------------------------------
 */

int watcher_new(Ramet *ramet, Watcher **watcher, Error *error);

/* Ends its thread: vm_settle is not called any more. What goes on may still add to it. */
void watcher_stop(Watcher *watcher);
void watcher_free(Watcher *watcher);

/* Reaps this child whenever it ends. */
int watcher_add_child(Watcher *watcher, pid_t pid, Error *error);

/* Watches the keeper of the VM; vm_settle is called when it speaks or ends. -ECONNREFUSED or
 * -ENOENT when there is none. Watching the same keeper twice is success. */
int watcher_add_vm(Watcher *watcher, const char *id, pid_t keeper, int vm_dir_fd, Error *error);

/* Calls vm_settle in a thread of its own. */
void settle_later(Ramet *ramet, const char *id);

/* Makes the row say what is true: asks the keeper; when it is gone, records the end of the run
 * (stopped or failed) and removes a --rm VM. Takes the VM's lock. */
void vm_settle(Ramet *ramet, const char *id);

/* What settling found. */
typedef enum RunEnd {
    RUN_GOES_ON, /* or there was none */
    RUN_ENDED,
    RUN_REMOVED, /* ended, and the --rm VM is gone with it */
    RUN_REBOOTS, /* ended since the guest rebooted: to be started again */
} RunEnd;

/* The same for a caller that holds the lock. end may be NULL; untouched while the run goes on. */
int vm_settle_locked(Ramet *ramet, VmRow *row, RunEnd *end, Error *error);

/* After RUN_REBOOTS. A --rm VM that does not start is removed. */
int vm_start_again(Ramet *ramet, OpLock *lock, VmRow *row, Error *error);

/* Records the end of a run that is known to be over or about to be: waits for its keeper, ends what
 * is left, takes exit.json. */
int vm_settle_ended(Ramet *ramet, VmRow *row, RunEnd *end, Error *error);

/* One request to the keeper of a VM, without descriptors, whose answer is only that it was done. */
int vm_call_keeper(Ramet *ramet, const VmRow *row, const json_t *request, uint64_t timeout_usec,
                   int cancel_fd, Error *error);

/* Takes what a keeper says of a run (its answer to start or status) into the runtime. */
void row_take_facts(VmRow *row, const json_t *facts);

/* Ends one process, by identity; that it is gone already is success. who: "keeper". */
int vm_end_process(const ProcessIdentity *identity, const char *who, Error *error);

/* Ends whatever process is left of a run, by identity: first the keeper, then its QEMU. */
int vm_end_processes(Ramet *ramet, const VmRow *row, Error *error);

/* --- rows (row.c)
 * --------------------------------------------------------------------------------- */

#define STATE_CREATING "creating" /* half made or half removed: never shown, and removed by */
#define STATE_REMOVING "removing" /* reconcile */
#define STATE_CREATED "created"
#define STATE_STARTING "starting"
#define STATE_RUNNING "running"
#define STATE_PAUSED "paused"
#define STATE_STOPPING "stopping"
#define STATE_STANDBY "standby" /* its memory is a snapshot of its own; no process */
#define STATE_STOPPED "stopped"
#define STATE_FAILED "failed"
#define STATE_UNKNOWN "unknown"
#define STATE_WARM "warm" /* a pool's: paused, nobody yet, never shown */

/* starting, running, paused, stopping, unknown, warm: there may be processes. */
bool state_is_active(const char *state);

/* creating, removing: nobody but the one who does it sees such a VM. */
bool state_is_hidden(const char *state);

/* Sets the state, writes the row and tells the event "vm.STATE". detail may be NULL (borrowed). */
int row_set_state(Ramet *ramet, VmRow *row, const char *state, const json_t *detail, Error *error);

/* Runtime members. Setting takes the value over; NULL removes it. */
void row_set(VmRow *row, const char *key, json_t *value);
uint64_t row_u64(const VmRow *row, const char *key);
const char *row_text(const VmRow *row, const char *key); /* "" when absent */
void row_set_process(VmRow *row, const char *who, const ProcessIdentity *identity); /* NULL: none */
ProcessIdentity row_process(const VmRow *row, const char *who); /* "keeper", "qemu" */

/* The same, and VMs that are the daemon's own: those that it boots for the boot cache and those of
 * pools. The runtime's "hidden" says which ("cache", "pool"). They are seen by their reference
 * only, and tell no events. */
bool row_is_hidden(const VmRow *row);

/* Was it made by a `run` that has not got ready yet? Such a VM is removed when its start fails,
 * also by a daemon that finds it after a crash. row_set_state ends that once the VM runs. */
bool row_is_half_run(const VmRow *row);
void row_mark_half_run(VmRow *row);

/* Forgets all that belongs to one run: processes, stages, exit, error. */
void row_clear_run(VmRow *row);

/* Finds the VM, takes its lock, and reads the row again. Fails with ERROR_NOT_FOUND when it went in
 * between. */
int row_lock(Ramet *ramet, const char *reference, const char *what, int cancel_fd, OpLock **lock,
             VmRow *row, Error *error);

/* The folder vms/ID; the descriptor is the caller's. */
int vm_folder_open(Ramet *ramet, const char *id, int *fd, Error *error);

/* describe.c: the memory that this VM's QEMU alone holds. Negative errno when it cannot be read. */
int row_private_bytes(const VmRow *row, uint64_t *bytes);

/* describe.c: the row as the contract's JSON. */
int vm_describe(Ramet *ramet, const VmRow *row, json_t **vm, Error *error);

/* The same where the caller may not want it: vm NULL is fine. */
int vm_answer(Ramet *ramet, const VmRow *row, json_t **vm, Error *error);

/* --- making and starting
 * -------------------------------------------------------------------------- */

/* identity.c */
char *identity_hostname(const char *name, const char *id); /* a valid host name from a VM's name */
void identity_mac(char mac[18]);
char *identity_name(void); /* "vm-3f9a1c" */

/* images.c: the image to make a VM of; builds an absent one that has a recipe. */
int image_for_vm(Ramet *ramet, Operation *operation, const char *reference, ImageRow *image,
                 Error *error);

/* image_remove.c: removes the base that no image stands for any more. With the images' mutex. */
int image_base_remove(Ramet *ramet, const ImageRow *row, Error *error);

/* Where the base of an image is. The caller owns it. */
char *image_row_path(const Ramet *ramet, const ImageRow *row);

/* admission.c: is there room for it? */
int admission_check_memory(uint64_t wanted_bytes, Error *error);
int admission_check_disk(const Ramet *ramet, Error *error);

/* The member "forwards" of a specification. ERROR_CONFLICT: a host port is taken; ERROR_PERMISSION:
 * one is not for QEMU. */
int admission_check_ports(const json_t *forwards, Error *error);

/* launch.c: the priority of a keeper and all that it started (setpriority(2)), where we may
 * (priority_may_raise), else nothing. */
#define NICE_STARTING (-10)
#define NICE_BACKGROUND 10
#define NICE_RUNNING 0
void vm_set_nice(const VmRow *row, const ProcessIdentity *keeper, int nice);

/* launch.c: one attempt to boot cold. On success the row has the processes and everything else
 * about the run; on failure no process is left. cancel_fd: the client or an abort. *silent: it
 * failed since the guest's console said nothing. */
int vm_launch(Ramet *ramet, Operation *operation, VmRow *row, int cancel_fd, bool *silent,
              Error *error);

/* create.c, start.c, stop.c, remove.c: for callers that hold the lock. */
typedef enum CreateKind {
    CREATE_ONLY,       /* `create`: the VM is `created` */
    CREATE_TO_RUN,     /* `run`: it stays `creating`, hidden, until its start begins */
    CREATE_FOR_CLIENT, /* the same, and it belongs to the client whose stream follows */
} CreateKind;

/* Makes the VM; the lock and the row are the caller's. */
int vm_create_locked(Ramet *ramet, Operation *operation, const VmSpec *spec, CreateKind kind,
                     OpLock **lock, VmRow *row, Error *error);

/* The two halves of it. plan: the row as it will be, looked up and not yet inserted. make: row,
 * lock and folder, with the disk over the row's layer or over its base; takes the planned row over,
 * and on failure nothing is left. */
int vm_plan_row(Ramet *ramet, Operation *operation, const VmSpec *spec, CreateKind kind, VmRow *row,
                Error *error);
int vm_make_planned(Ramet *ramet, Operation *operation, VmRow *planned, CreateKind kind,
                    OpLock **lock, VmRow *row, Error *error);

/* The VM's folder with its overlay, over its layer or, without one, its base; both are its user's.
 * durable: flushed before it returns. */
int vm_make_folder(Ramet *ramet, const VmRow *row, bool durable, Error *error);

/* Gives the row a MAC and a user, and inserts it; the image must still be there. */
int vm_insert_row(Ramet *ramet, VmRow *row, Error *error);

/* Lets the watcher look after a VM that is ready; if it ended already, that is found. */
void vm_watch(Ramet *ramet, const VmRow *row);

/* One descriptor, the caller's, that is readable when the client is gone or abort_fd is. Negative
 * errno. */
int operation_join_cancel(const Operation *operation, int abort_fd, Error *error);

/* Start and end one run of the VM; the row is kept up to date. */
int vm_start_locked(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* Launches it cold, again and again while its console stays silent. */
int vm_boot(Ramet *ramet, Operation *operation, OpLock *lock, VmRow *row, Error *error);

/* The row becomes `failed` with that error. */
void vm_record_failure(Ramet *ramet, VmRow *row, const Error *failure);
int vm_stop_locked(Ramet *ramet, VmRow *row, const char *op, uint64_t timeout_usec, int cancel_fd,
                   RunEnd *end, Error *error);

/* Row, folder, socket: all of it. Goes on after an error. */
int vm_remove_locked(Ramet *ramet, VmRow *row, Error *error);

#endif
