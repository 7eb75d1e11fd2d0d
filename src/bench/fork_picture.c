/* SPDX-License-Identifier: Apache-2.0 */

/* Chooses what the picture shows: the fork, the claim and the cold boot whose times are nearest to
 * the medians, with their stages, and beside them the medians of the other ways. */

#include <math.h>

#include "base/str.h"
#include "bench/fork.h"

void fork_keep_start(ForkBench *bench, ForkSample which, const json_t *vm) {
    if (!bench->starts[which])
        bench->starts[which] = json_array();
    json_array_append(bench->starts[which], json_object_get(vm, "stages"));
}

static const json_t *typical_start(const ForkBench *bench, ForkSample which) {
    double median = samples_median(&bench->samples[which]), distance = HUGE_VAL;
    const json_t *start, *best = NULL;
    size_t i;
    json_array_foreach(bench->starts[which], i, start) {
        double off = fabs(picture_stages_usec(start) - median);
        if (off < distance) {
            distance = off;
            best = start;
        }
    }
    return best;
}

static void add_start(const ForkBench *bench, ForkSample which, const char *key, const char *title,
                      json_t *starts) {
    const json_t *stages = typical_start(bench, which);
    if (!stages)
        return;
    json_object_set(bench->bench->report->stages, key, (json_t *)stages);
    json_array_append_new(starts, json_pack("{s:s, s:O}", "title", title, "stages", stages));
}

static void add_bars(const ForkBench *bench, json_t *bars) {
    static const struct {
        ForkSample sample;
        const char *title;
        bool own;
    } ways[] = {{CLAIM_READY, "claim a warm clone", true},
                {FORK_READY, "fork", true},
                {COLD_RAMET, "cold boot", true},
                {COLD_PLAIN, "QEMU: boot", false},
                {MIGRATE_SAVE, "QEMU: migrate to a file", false},
                {MIGRATE_RESTORE, "QEMU: migrate back", false},
                {LIBVIRT_SAVE, "libvirt: save", false},
                {LIBVIRT_RESTORE, "libvirt: restore", false}};
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
        if (bench->samples[ways[i].sample].count > 0)
            json_array_append_new(bars, json_pack("{s:s, s:f, s:b}", "title", ways[i].title, "usec",
                                                  samples_median(&bench->samples[ways[i].sample]),
                                                  "own", (int)ways[i].own));
}

int fork_picture(ForkBench *bench, Error *error) {
    _cleanup_json_ json_t *starts = json_array(), *bars = json_array();
    _cleanup_free_ char *memory = format_size(bench->bench->memory_bytes);
    _cleanup_free_ char *note =
        str_format("medians of %zu, guest of %s, %s; F is the time from exec of a QEMU without "
                   "devices to its greeting",
                   bench->bench->runs, memory,
                   str_equal(bench->files.accel, "kvm") ? "KVM" : "software emulation (TCG)");
    bench->bench->report->stages = json_object();
    add_start(bench, FORK_READY, "fork", "fork", starts);
    add_start(bench, CLAIM_READY, "claim", "claim of a warm clone", starts);
    add_bars(bench, bars);
    const Picture picture = {.note = note,
                             .yardstick_usec = samples_median(&bench->samples[YARDSTICK]),
                             .starts = starts,
                             .bars = bars};
    return bench->bench->svg ? picture_write(&picture, bench->bench->svg, error) : 0;
}
