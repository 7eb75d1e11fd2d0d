/* SPDX-License-Identifier: Apache-2.0 */
#include "switch/frame/shaper.h"

#include <string.h>

#include "base/clock.h"
#include "base/digest.h"

static void set_timer(Shaper *shaper);

static void on_due(void *data) {
    Shaper *shaper = data;
    uint64_t now = clock_monotonic_usec();
    while (shaper->line.first && shaper->line.first->due_usec <= now) {
        _cleanup_free_ Kept *kept = kept_take(&shaper->line);
        shaper->handler(shaper->data, kept);
    }
    set_timer(shaper);
}

/* Most shapers never need one, and the loop walks over all timers. */
static void set_timer(Shaper *shaper) {
    if (!shaper->timer)
        shaper->timer = loop_add_timer(shaper->loop, UINT64_MAX, on_due, shaper);
    loop_set_timer(shaper->timer, shaper->line.first ? shaper->line.first->due_usec : UINT64_MAX);
}

void shaper_init(Shaper *shaper, Loop *loop, size_t *total, ShaperHandler handler, void *data) {
    *shaper = (Shaper){.loop = loop, .handler = handler, .data = data};
    kept_init(&shaper->line, SHAPER_BYTES_MAX, total);
}

void shaper_free(Shaper *shaper) {
    shaper->timer = loop_remove(shaper->timer);
    if (shaper->line.total)
        kept_clear(&shaper->line);
}

void shaper_set(Shaper *shaper, const SwitchImpairment *set) {
    shaper->set = *set;
    shaper->free_usec = 0;
}

void shaper_set_limit(Shaper *shaper, uint64_t bps) {
    shaper->limit_bps = bps;
    shaper->free_usec = 0;
}

bool shaper_is_active(const Shaper *shaper) {
    const SwitchImpairment *set = &shaper->set;
    return shaper->line.first || set->latency_usec || set->jitter_usec || set->loss_ppm ||
           set->rate_bps || set->cut || shaper->limit_bps;
}

/* An even one of 0 … limit. */
static uint64_t draw(uint64_t limit) {
    uint64_t number;
    random_bytes(&number, sizeof(number));
    return limit == UINT64_MAX ? number : number % (limit + 1);
}

static uint64_t latency(const SwitchImpairment *set) {
    uint64_t jitter = draw(2 * set->jitter_usec);
    uint64_t most = set->latency_usec + jitter;
    return most > set->jitter_usec ? most - set->jitter_usec : 0;
}

/* How long the line is busy with a frame. */
static uint64_t send_usec(uint64_t rate_bps, size_t size) {
    return rate_bps ? (uint64_t)size * 8 * USEC_PER_SEC / rate_bps : 0;
}

static bool is_limited(const Shaper *shaper) {
    return shaper->limit_bps && (!shaper->set.rate_bps || shaper->limit_bps < shaper->set.rate_bps);
}

int shaper_offer(Shaper *shaper, const Buffer *buffer, uint16_t target, uint16_t stage) {
    const SwitchImpairment *set = &shaper->set;
    if (!shaper_is_active(shaper))
        return SHAPER_PASS;
    if (set->cut || (set->loss_ppm && draw(999999) < set->loss_ppm))
        return SWITCH_DROP_LOSS;
    uint64_t now = clock_monotonic_usec(), start = MAX_OF(now, shaper->free_usec);
    if (start - now > SHAPER_BACKLOG_USEC)
        return is_limited(shaper) ? SWITCH_DROP_LIMIT : SWITCH_DROP_QUEUE;
    uint64_t sent =
        start + send_usec(is_limited(shaper) ? shaper->limit_bps : set->rate_bps, buffer->size);
    uint64_t due = sent + latency(set);
    if (shaper->line.first)
        due = MAX_OF(due, shaper->last_usec);
    else if (due <= now)
        return SHAPER_PASS;
    Kept *kept = kept_add(&shaper->line, buffer, target, stage);
    if (!kept)
        return SWITCH_DROP_QUEUE;
    shaper->free_usec = sent;
    kept->due_usec = shaper->last_usec = due;
    if (shaper->line.first == kept)
        set_timer(shaper);
    return SHAPER_TAKEN;
}
