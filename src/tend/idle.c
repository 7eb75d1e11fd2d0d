/* SPDX-License-Identifier: Apache-2.0 */

#include "tend/idle.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/process/process.h"
#include "base/str.h"
#include "network/counters.h"
#include "network/vm_ports.h"

#define PERIOD_MIN_USEC (250 * USEC_PER_MSEC)
#define PERIOD_MAX_USEC (15 * USEC_PER_SEC)

void idle_note(IdleWatch *watch, const IdleSample *sample) {
    const IdleSample *last = &watch->last;
    uint64_t passed = sample->at_usec - last->at_usec, used = sample->cpu_usec - last->cpu_usec;
    if (sample->packets != last->packets || sample->cpu_usec < last->cpu_usec ||
        used * 100 > passed * IDLE_CPU_PERCENT)
        watch->busy_usec = sample->at_usec;
    watch->last = *sample;
}

uint64_t idle_period(uint64_t idle_usec) {
    return MIN_OF(MAX_OF(idle_usec / 4, PERIOD_MIN_USEC), PERIOD_MAX_USEC);
}

uint64_t idle_until_look(uint64_t at_usec, uint64_t idle_usec) {
    uint64_t period = idle_period(idle_usec);
    return period - at_usec % period;
}

/* Both ways, of all its cards. */
static uint64_t count_packets(IdleWatches *watches, Home *home, const VmRow *row) {
    uint64_t packets = 0;
    for (size_t i = 0; i < row->spec.cards.count; i++) {
        const char *name = row->spec.cards.items[i].network;
        const json_t *own;
        if (!network_has_port(row, i))
            continue;
        own = network_counters_of(network_counters(home, watches->networks, name), row, i);
        packets += (uint64_t)json_integer_value(json_object_get(own, "received_packets"));
        packets += (uint64_t)json_integer_value(json_object_get(own, "sent_packets"));
    }
    return packets;
}

static IdleWatch *find_watch(IdleWatches *watches, const VmRow *row) {
    IdleWatch *watch = watches->first;
    while (watch && !str_equal(watch->id, row->id))
        watch = watch->next;
    if (!watch) {
        watch = calloc(1, sizeof(*watch));
        if (!watch)
            abort();
        str_set(watch->id, row->id);
        watch->next = watches->first;
        watches->first = watch;
    }
    watch->seen = true;
    return watch;
}

/* What has just started is busy until the first look, at which its packets are read. */
static void begin_watch(IdleWatch *watch, const VmRow *row, const Now *now) {
    watch->qemu = row->runtime.qemu.pid;
    watch->last = (IdleSample){.at_usec = now->boot_usec, .packets = UINT64_MAX};
    watch->busy_usec = now->boot_usec;
}

bool idle_look(IdleWatches *watches, Home *home, const VmRow *row, const Now *now,
               uint64_t *left_usec) {
    uint64_t wanted = row->spec.policy.idle_usec;
    IdleWatch *watch = find_watch(watches, row);
    if (watch->qemu != row->runtime.qemu.pid)
        begin_watch(watch, row, now);
    if (!watches->networks)
        watches->networks = json_object();
    if (now->boot_usec - watch->last.at_usec >= idle_until_look(watch->last.at_usec, wanted))
        idle_note(watch, &(IdleSample){.at_usec = now->boot_usec,
                                       .cpu_usec = process_cpu_usec(row->runtime.qemu.pid),
                                       .packets = count_packets(watches, home, row)});
    *left_usec = idle_until_look(now->boot_usec, wanted);
    if (watch->last.at_usec - watch->busy_usec < wanted) /* as far as is known */
        return false;
    watch->busy_usec = now->boot_usec;
    return true;
}

void idle_end_round(IdleWatches *watches) {
    json_decref(watches->networks);
    watches->networks = NULL;
    for (IdleWatch **link = &watches->first; *link;) {
        IdleWatch *watch = *link;
        bool seen = watch->seen;
        watch->seen = false;
        if (seen) {
            link = &watch->next;
            continue;
        }
        *link = watch->next;
        free(watch);
    }
}
