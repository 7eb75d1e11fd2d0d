/* SPDX-License-Identifier: Apache-2.0 */
#include "base/deadline.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

static char host_boot_id[BOOT_ID_SIZE];

static void read_boot_id(void) {
    _cleanup_free_ char *text = NULL;
    if (fd_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text, NULL) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    str_set(host_boot_id, text);
}

Now now_read(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    Now now = {.wall_usec = clock_realtime_usec(), .boot_usec = clock_boottime_usec()};
    (void)pthread_once(&once, read_boot_id);
    str_set(now.boot_id, host_boot_id);
    return now;
}

static bool is_of_this_boot(const Deadline *deadline, const Now *now) {
    return *now->boot_id && str_equal(deadline->boot_id, now->boot_id);
}

Deadline deadline_in(const Now *now, uint64_t usec) {
    Deadline deadline = {.wall_usec = now->wall_usec + usec, .boot_usec = now->boot_usec + usec};
    str_set(deadline.boot_id, now->boot_id);
    return deadline;
}

bool deadline_is_set(const Deadline *deadline) {
    return deadline->wall_usec > 0;
}

uint64_t deadline_left(const Deadline *deadline, const Now *now) {
    bool same = is_of_this_boot(deadline, now);
    uint64_t at = same ? deadline->boot_usec : deadline->wall_usec;
    uint64_t by = same ? now->boot_usec : now->wall_usec;
    if (!deadline_is_set(deadline))
        return UINT64_MAX;
    return at > by ? at - by : 0;
}

uint64_t deadline_wall(const Deadline *deadline, const Now *now) {
    if (!deadline_is_set(deadline))
        return 0;
    if (!is_of_this_boot(deadline, now))
        return deadline->wall_usec;
    /* it may lie in the past */
    return now->wall_usec - now->boot_usec + deadline->boot_usec;
}

bool deadline_rebase(Deadline *deadline, const Now *now) {
    if (!deadline_is_set(deadline) || !*now->boot_id || is_of_this_boot(deadline, now))
        return false;
    *deadline = deadline_in(now, deadline_left(deadline, now));
    return true;
}
