/* SPDX-License-Identifier: Apache-2.0 */

/* What VMs use: processors and memory of their QEMUs, as the kernel counts them; frames of their
 * cards, as the switches do; and disks, as QEMU does. QEMU is asked since /proc/PID/io would also
 * have the pages of memory that a clone reads of its base, and would lack what the page cache
 * answers. Who cannot be asked now, since its monitor has a snapshot to take, has null there. All
 * counters begin with the QEMU, as a fork's and a restarted VM's do. */

#include "machine/look/stats.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parallel.h"
#include "base/process/process.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/row.h"
#include "machine/look/memory_use.h"
#include "network/counters.h"
#include "proto/keeper.h"
#include "store/vms.h"

#define ASK_USEC (2 * USEC_PER_SEC)
#define ASKERS_MAX 16

typedef struct Sample {
    uint64_t at_usec, cpu_usec; /* monotonic; 0: there is no QEMU */
} Sample;

typedef struct Sampled {
    VmRow row; /* owned */
    Sample before, now;
    json_t *disk; /* owned; NULL: not known */
} Sampled;

typedef struct Set {
    Home *home;
    Sampled *items; /* owned, as are the rows */
    size_t count;
    atomic_size_t next; /* to be asked */
    json_t *networks;   /* owned: counters by port, by the network's name */
} Set;

static void set_free(Set *set) {
    for (size_t i = 0; i < set->count; i++) {
        vm_row_free(&set->items[i].row);
        json_decref(set->items[i].disk);
    }
    free(set->items);
    json_decref(set->networks);
}

/* ---- which ---- */

static void set_add(Set *set, VmRow *row) {
    Sampled *grown = realloc(set->items, (set->count + 1) * sizeof(*grown));
    if (!grown)
        abort();
    set->items = grown;
    set->items[set->count++] = (Sampled){.row = *row};
    *row = (VmRow){0};
}

static int set_add_named(Set *set, const json_t *references, Error *error) {
    const json_t *reference;
    size_t i;
    int r = 0;
    json_array_foreach(references, i, reference) {
        _cleanup_vm_row_ VmRow row = {0};
        if (r >= 0)
            r = vms_find(set->home->store, json_string_value(reference), &row, error);
        if (r >= 0)
            set_add(set, &row);
    }
    return r;
}

static int set_add_running(Set *set, Error *error) {
    VmRow *rows = NULL;
    size_t count = 0;
    int r = vms_list(set->home->store, &rows, &count, error);
    for (size_t i = 0; r >= 0 && i < count; i++)
        if (!row_is_hidden(&rows[i]) && vm_state_is_active(rows[i].state))
            set_add(set, &rows[i]);
    vm_rows_free(rows, count);
    return r;
}

/* ---- how much ---- */

static bool has_qemu(const VmRow *row) {
    ProcessIdentity now;
    return row->runtime.qemu.pid > 0 && process_identify(row->runtime.qemu.pid, &now) >= 0 &&
           now.start_ticks == row->runtime.qemu.start_ticks;
}

static Sample take_sample(const VmRow *row) {
    if (!has_qemu(row))
        return (Sample){0};
    return (Sample){.at_usec = clock_monotonic_usec(),
                    .cpu_usec = process_cpu_usec(row->runtime.qemu.pid)};
}

/* 0 and the keeper's answer, or an error that nobody needs to hear. */
static int ask_disk(Home *home, const VmRow *row, json_t **disk) {
    _cleanup_json_ json_t *request = json_pack("{s:s}", "op", "disk_stats");
    _cleanup_close_ int dir_fd = -1;
    int r = vm_folder_open(home, row->id, &dir_fd, NULL);
    return r < 0 ? r
                 : keeper_call(dir_fd, request, NULL, 0, clock_monotonic_usec() + ASK_USEC, -1,
                               NULL, NULL, disk, NULL);
}

static void ask_disks(void *data) {
    Set *set = data;
    size_t i;
    while ((i = atomic_fetch_add(&set->next, 1)) < set->count)
        if (set->items[i].now.at_usec)
            (void)ask_disk(set->home, &set->items[i].row, &set->items[i].disk);
}

static void read_network(Set *set, const char *name) {
    if (!str_equal(name, "none"))
        (void)network_counters(set->home, set->networks, name);
}

static void read_networks(Set *set) {
    set->networks = json_object();
    for (size_t i = 0; i < set->count; i++)
        for (size_t card = 0; card < set->items[i].row.spec.cards.count; card++)
            read_network(set, set->items[i].row.spec.cards.items[card].network);
}

/* ---- as JSON ---- */

static json_t *describe_cpu(const Sampled *item) {
    uint64_t passed = item->now.at_usec - item->before.at_usec;
    json_t *percent = json_null();
    if (!item->now.at_usec)
        return json_pack("{s:n, s:n}", "total_us", "percent");
    if (item->before.at_usec && passed > 0 && item->now.cpu_usec >= item->before.cpu_usec)
        percent = json_real(100.0 * (double)(item->now.cpu_usec - item->before.cpu_usec) /
                            (double)passed);
    return json_pack("{s:I, s:o}", "total_us", (json_int_t)item->now.cpu_usec, "percent", percent);
}

static json_t *describe_memory(const Sampled *item) {
    MemoryShare share;
    if (!item->now.at_usec || memory_share_read(item->row.runtime.qemu.pid, &share) < 0)
        return json_pack("{s:n, s:n}", "private_bytes", "shared_bytes");
    return json_pack("{s:I, s:I}", "private_bytes", (json_int_t)share.private_bytes, "shared_bytes",
                     (json_int_t)share.shared_bytes);
}

static json_t *describe_disk(const Sampled *item) {
    return item->disk ? json_incref(item->disk)
                      : json_pack("{s:n, s:n, s:n, s:n, s:n}", "read_bytes", "read_operations",
                                  "write_bytes", "write_operations", "flush_operations");
}

static json_t *describe_card(const Set *set, const VmRow *row, size_t card) {
    const char *name = row->spec.cards.items[card].network;
    const json_t *counters = network_counters_of(json_object_get(set->networks, name), row, card);
    _cleanup_free_ char *interface = str_format("eth%zu", card);
    json_t *described = json_pack("{s:s, s:s}", "name", name, "card", interface);
    if (counters)
        (void)json_object_update(described, (json_t *)counters);
    else
        (void)json_object_update_new(described,
                                     json_pack("{s:n, s:n, s:n, s:n, s:n, s:n}", "received_bytes",
                                               "received_packets", "sent_bytes", "sent_packets",
                                               "dropped_packets", "drops"));
    return described;
}

static json_t *describe(const Set *set, const Sampled *item) {
    const VmRow *row = &item->row;
    _cleanup_free_ char *at = clock_format_realtime(clock_realtime_usec());
    json_t *cards = json_array();
    for (size_t card = 0; card < row->spec.cards.count; card++)
        (void)json_array_append_new(cards, describe_card(set, row, card));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", row->id, "name", row->name,
                     "state", vm_state_name(row->state), "at", at, "cpu", describe_cpu(item),
                     "memory", describe_memory(item), "disk", describe_disk(item), "networks",
                     cards);
}

/* ---- all of it ---- */

/* Until the interval is over. */
static int await_interval(const Operation *operation, uint64_t usec, Error *error) {
    uint64_t until = clock_monotonic_usec() + usec;
    struct pollfd client = {.fd = operation->cancel_fd, .events = POLLIN | POLLRDHUP};
    int n = 0;
    while (usec > 0 && n == 0 && clock_monotonic_usec() < until) {
        n = poll(&client, 1, clock_poll_timeout(until));
        if (n < 0 && errno == EINTR)
            n = 0;
    }
    return n == 0 ? 0 : error_set(error, ERROR_CANCELLED, ECANCELED, "the client has gone away");
}

static void measure(Set *set) {
    for (size_t i = 0; i < set->count; i++)
        set->items[i].now = take_sample(&set->items[i].row);
    read_networks(set);
    parallel_run(MIN_OF(set->count, (size_t)ASKERS_MAX), ask_disks, set);
}

int vm_stats(Home *home, const Operation *operation, const json_t *references,
             uint64_t interval_usec, json_t **list, Error *error) {
    _cleanup_(set_free) Set set = {.home = home};
    int r = json_array_size(references) > 0 ? set_add_named(&set, references, error)
                                            : set_add_running(&set, error);
    for (size_t i = 0; interval_usec > 0 && i < set.count; i++)
        set.items[i].before = take_sample(&set.items[i].row);
    if (r >= 0)
        r = await_interval(operation, interval_usec, error);
    if (r < 0)
        return r;
    measure(&set);
    *list = json_array();
    for (size_t i = 0; i < set.count; i++)
        (void)json_array_append_new(*list, describe(&set, &set.items[i]));
    return 0;
}
