/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_USAGE_USAGE_H
#define RAMET_USAGE_USAGE_H

/* What takes room in a home, what stands on what, and what of it may go: the graph that `df` shows
 * and `prune` walks. A new kind of thing gets a kind here, and what finds it in usage_collect.c. */

#include <stdbool.h>

#include "base/util.h"

typedef enum UsageKind {
    USAGE_IMAGE,
    USAGE_LAYER,
    USAGE_VM, /* its overlays and logs; never goes */
    USAGE_SNAPSHOT,
    USAGE_CACHE, /* an entry of the boot cache */
    USAGE_STEP,  /* of a recipe */
    USAGE_KERNEL,
    USAGE_INITRAMFS, /* or a disk for cloud-init */
    USAGE_SEED,      /* the base of a disk beside the root */
    USAGE_VOLUME,    /* never goes */
    USAGE_HOT,       /* in RAM */
    USAGE_FETCHED,   /* a layer or document that a registry gave: the next pull need not fetch it */
    USAGE_SCRATCH,
    USAGE_KIND_COUNT,
} UsageKind;

/* "images", "hot memory" …; static. */
const char *usage_kind_name(UsageKind kind);

typedef struct UsageItem {
    UsageKind kind;
    char id[80];      /* of an image the digest of its base */
    char label[128];  /* what people call it */
    uint64_t bytes;   /* that it takes: on the disk, or of RAM */
    uint64_t at_usec; /* realtime: made, or used the last time */
    bool named;       /* somebody gave it a name: stays unless named ones are to go, too */
    bool can_be_made; /* a named one that can be had again: goes by age and budget */
    const char *held; /* static: what else keeps it; NULL: nothing */
    size_t n_users;
    size_t *users;   /* owned: indexes of those that stand on it */
    const char *why; /* static: usage_plan's reason for what stays; NULL: others stand on it */
    bool goes;       /* by usage_plan */
} UsageItem;

typedef struct Usage {
    size_t count;
    UsageItem *items; /* owned */
    size_t n_order;
    size_t *order; /* owned: those that go, in the order in which they may */
} Usage;

void usage_free(Usage *usage);
#define _cleanup_usage_ _cleanup_(usage_free)

/* Adds one, and gives it back to be filled: valid until the next. id and label may be cut. */
UsageItem *usage_add(Usage *usage, UsageKind kind, const char *id, const char *label);

/* The index of one, or SIZE_MAX. */
size_t usage_find(const Usage *usage, UsageKind kind, const char *id);

/* Item `user` stands on the one of that kind and id, if that is there. */
void usage_need(Usage *usage, size_t user, UsageKind kind, const char *id);

typedef struct UsagePlan {
    bool all;             /* named ones, too */
    bool by_age;          /* only what is from before `before_usec` */
    bool by_budget;       /* only until what is left of it takes at most keep_bytes */
    uint64_t before_usec; /* realtime */
    uint64_t keep_bytes;
} UsagePlan;

/* Decides what goes: nothing that something which stays stands on; the oldest first. */
void usage_plan(Usage *usage, const UsagePlan *plan);

#endif
