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

/* Both ways, of all its cards. */
static uint64_t count_packets(Home *home, const VmRow *row) {
    uint64_t packets = 0;
    for (size_t i = 0; i < row->spec.cards.count; i++) {
        const char *name = row->spec.cards.items[i].network;
        _cleanup_json_ json_t *all = NULL;
        const json_t *own;
        if (!network_has_port(row, i))
            continue;
        all = network_counters(home, name);
        own = network_counters_of(all, row, i);
        packets += (uint64_t)json_integer_value(json_object_get(own, "received_packets"));
        packets += (uint64_t)json_integer_value(json_object_get(own, "sent_packets"));
    }
    return packets;
}

static IdleSample take_sample(Home *home, const VmRow *row, const Now *now) {
    return (IdleSample){.at_usec = now->boot_usec,
                        .cpu_usec = process_cpu_usec(row->runtime.qemu.pid),
                        .packets = count_packets(home, row)};
}

static IdleWatch *find_watch(IdleWatch **list, Home *home, const VmRow *row, const Now *now) {
    IdleWatch *watch = *list;
    while (watch && !str_equal(watch->id, row->id))
        watch = watch->next;
    if (!watch) {
        watch = calloc(1, sizeof(*watch));
        if (!watch)
            abort();
        str_set(watch->id, row->id);
        watch->next = *list;
        *list = watch;
    }
    if (watch->qemu != row->runtime.qemu.pid) {
        watch->qemu = row->runtime.qemu.pid;
        watch->last = take_sample(home, row, now);
        watch->busy_usec = now->boot_usec;
    }
    watch->seen = true;
    return watch;
}

bool idle_look(IdleWatch **list, Home *home, const VmRow *row, const Now *now,
               uint64_t *left_usec) {
    uint64_t wanted = row->spec.policy.idle_usec, period = idle_period(wanted), idle;
    IdleWatch *watch = find_watch(list, home, row, now);
    if (now->boot_usec - watch->last.at_usec >= period) {
        IdleSample sample = take_sample(home, row, now);
        idle_note(watch, &sample);
    }
    idle = watch->last.at_usec - watch->busy_usec; /* as far as is known */
    *left_usec = watch->last.at_usec + period - now->boot_usec;
    if (idle < wanted)
        return false;
    watch->busy_usec = now->boot_usec;
    return true;
}

void idle_forget(IdleWatch **list) {
    for (IdleWatch **link = list; *link;) {
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
