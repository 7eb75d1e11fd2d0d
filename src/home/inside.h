/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_HOME_INSIDE_H
#define RAMET_HOME_INSIDE_H

/* What a home consists of, for the rooms above that work in it. */

#include <pthread.h>

#include "home/op_lock.h"
#include "qemu/features.h"
#include "store/store.h"
#include "zygote/client.h"

typedef struct Home Home;

typedef struct Subscriber {
    int fd; /* eventfd, owned until home_unsubscribe */
    struct Subscriber *next;
} Subscriber;

typedef struct BlankMemory {
    uint64_t bytes;
    int fd; /* sealed memfd, owned */
} BlankMemory;

/* What works in a home is undone in the opposite order by home_close. stop: it begins nothing new;
 * release: after the end of all background work. */
#define HOME_PARTS_MAX 12
typedef struct HomePart {
    void (*stop)(Home *home);    /* may be NULL */
    void (*release)(Home *home); /* may be NULL */
} HomePart;

struct Home {
    char *path;         /* owned */
    int home_fd;        /* owned */
    int vms_fd;         /* owned: HOME/vms */
    int lock_fd;        /* owned: locks/daemon.lock */
    int closing_fd;     /* owned eventfd: readable once home_close has begun */
    int reconciled_fd;  /* owned eventfd: readable once reconcile is over */
    int pools_fd;       /* owned eventfd: home_pools_changed */
    int tend_fd;        /* owned eventfd: home_tend_changed */
    Store *store;       /* owned */
    char *keeper;       /* owned: the program */
    char *agent;        /* owned: the program */
    char *qemu;         /* owned: as asked for; may be NULL */
    char *accel;        /* owned: as asked for; may be NULL */
    char *cgroup;       /* owned: folder in which limits are kept; NULL: found out */
    uint32_t uid_first; /* the VMs' users; a count of 0: none (not root) */
    uint32_t uid_count;
    uint64_t silence_timeout_usec; /* 0: by the accelerator */
    uint64_t ready_timeout_usec;

    pthread_mutex_t images_mutex; /* a base and its image's row come and go together */
    pthread_mutex_t bases_mutex;  /* guards the next two: storage/bases.c */
    unsigned bases_users;
    bool bases_waiting;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t idle;   /* `workers` fell to 0 */
    bool closing;
    unsigned workers;              /* threads of home_work */
    struct Refreshing *refreshing; /* machine/refresh.c: those that have not begun yet */
    struct Reconcile *reconcile;   /* verbs/reconcile.c; NULL: it is over */
    unsigned finishing;            /* frozen/behind.c: 1: a thread is at it; 2: and looks again */
    Subscriber *subscribers;
    size_t n_blanks;
    BlankMemory *blanks; /* owned */

    struct Pin *pins; /* owned: frozen/pins.c */

    bool boot_cache;                  /* is it on? */
    uint64_t pool_budget_bytes;       /* what warm clones may take together */
    struct Pools *pools;              /* owned: pool_fill.c; NULL until reconcile */
    const struct WarmLabs *warm_labs; /* borrowed: pool/pool_lab.h */
    struct Tend *tend;                /* owned: tend/tend.c; NULL until reconcile */

    pthread_mutex_t hot_mutex; /* guards what follows */
    pthread_cond_t hot_filled;
    struct HotMemory *hot; /* owned: frozen/hot_memory.c */
    uint64_t hot_budget_bytes;

    pthread_mutex_t probe_mutex; /* guards what follows */
    bool probed;
    QemuFeatures features;
    const char *accel_chosen; /* static */

    bool use_zygote;
    bool adopt;                   /* VMs map the memory of their snapshots: machine/adopt.c */
    Zygote *zygote;               /* owned */
    OpLocks *locks;               /* owned */
    struct Watcher *watcher;      /* owned: run/watcher.c */
    struct SwitchWatch *switches; /* owned: network/switch_watch.c */
    struct Bridges *bridges;      /* owned: network/bridge/bridge_part.c */
    HomePart parts[HOME_PARTS_MAX];
    size_t n_parts;
};

/* To be called while a part begins; see HomePart. */
void home_add_part(Home *home, void (*stop)(Home *home), void (*release)(Home *home));

/* Something that pools depend on came or went (a warm clone, a snapshot, an image): what fills them
 * looks again. Cheap. */
void home_pools_changed(Home *home);

/* A VM with a policy changed its state, or its policy: who tends them looks again. Cheap. */
void home_tend_changed(Home *home);

/* Has home_close begun? Long work that nobody asked for ends then. */
bool home_is_closing(Home *home);

/* Calls it in a thread of its own, which home_close waits for. Negative errno: it was not
 * called. */
int home_work(Home *home, void (*call)(Home *home, void *data), void *data);

/* Makes durable what was made without a sync, once the client has its answer. */
void home_sync_later(Home *home);

#endif
