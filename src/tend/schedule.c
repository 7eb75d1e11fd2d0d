/* SPDX-License-Identifier: Apache-2.0 */

#include "tend/schedule.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "home/inside.h"
#include "home/operation.h"
#include "machine/snapshot/snapshot_create.h"
#include "store/snapshots.h"
#include "verbs/verbs.h"

/* NAME-auto-20261129-025400; a long name is cut. The caller owns it. */
static char *make_name(const VmRow *row, const Now *now) {
    time_t seconds = (time_t)(now->wall_usec / USEC_PER_SEC);
    char text[32];
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &tm);
    return str_format("%.40s-auto-%s",
                      strrchr(row->name, '/') ? strrchr(row->name, '/') + 1 : row->name, text);
}

/* The oldest first. What cannot go now may at the next time. */
static void remove_surplus(Home *home, const VmRow *row) {
    uint64_t surplus = 0;
    SnapshotRow *rows = NULL;
    size_t count = 0;
    if (snapshots_list(home->store, &rows, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        surplus += rows[i].data.scheduled && str_equal(rows[i].vm_id, row->id);
    surplus -= MIN_OF(surplus, row->spec.policy.snapshots_kept);
    for (size_t i = 0; i < count && surplus > 0; i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        Operation operation;
        if (!rows[i].data.scheduled || !str_equal(rows[i].vm_id, row->id))
            continue;
        surplus--;
        operation_init(&operation, 0, home->closing_fd);
        if (snapshot_remove(home, &operation, rows[i].id, false, NULL, &error) < 0)
            log_debug("%s is kept: %s", rows[i].name, error_message(&error));
    }
    snapshot_rows_free(rows, count);
}

static int take(Home *home, VmRow *row, const Now *now, Error *error) {
    _cleanup_free_ char *name = make_name(row, now);
    const SnapshotOptions options = {.name = name, .scheduled = true};
    _cleanup_snapshot_row_ SnapshotRow made = {0};
    Operation operation;
    int r;
    operation_init(&operation, 0, home->closing_fd);
    operation_enter(&operation, "plan");
    r = snapshot_create_locked(home, &operation, row, &options, &made, error);
    if (r >= 0)
        remove_surplus(home, row);
    return r;
}

int schedule_snapshot(Home *home, VmRow *row, Error *error) {
    bool runs = row->state == STATE_RUNNING;
    Now now = now_read();
    int r;
    row->runtime.timers.snapshot = (Deadline){0}; /* set when it runs again */
    if (runs)
        row->runtime.timers.snapshot = deadline_in(&now, row->spec.policy.snapshot_usec);
    r = vms_update(home->store, row, error);
    return r < 0 || !runs ? r : take(home, row, &now, error);
}
