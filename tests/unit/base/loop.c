/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "check.h"

typedef struct Watch {
    Loop *loop;
    LoopSource *source;
    struct Watch *victim; /* removed by the handler */
    int fd;
    int calls;
} Watch;

static void on_event(void *data, uint32_t events) {
    Watch *watch = data;
    eventfd_t value;
    CHECK(events & EPOLLIN);
    CHECK_INT(eventfd_read(watch->fd, &value), 0);
    watch->calls++;
    if (watch->victim)
        watch->victim->source = loop_remove(watch->victim->source);
    loop_quit(watch->loop);
}

static void watch_start(Watch *watch, Loop *loop, unsigned value) {
    *watch = (Watch){.loop = loop, .fd = eventfd(value, EFD_CLOEXEC)};
    watch->source = loop_add_fd(loop, watch->fd, EPOLLIN, on_event, watch);
    CHECK(watch->source);
}

static void ready_descriptor_calls(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    Watch watch;
    watch_start(&watch, loop, 0);
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_INT(watch.calls, 0);
    CHECK_INT(eventfd_write(watch.fd, 1), 0);
    CHECK_INT(loop_run(loop), 0);
    CHECK_INT(watch.calls, 1);
    CHECK_INT(loop_set_events(watch.source, 0), 0);
    CHECK_INT(eventfd_write(watch.fd, 1), 0);
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_INT(watch.calls, 1);
    fd_close(watch.fd);
}

/* Both are ready in the same round; whichever comes first removes the other (or itself). */
static void removal_in_a_handler(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    Watch a, b;
    watch_start(&a, loop, 1);
    watch_start(&b, loop, 1);
    a.victim = &b;
    b.victim = &a;
    CHECK_INT(loop_run_once(loop, UINT64_MAX), 0);
    CHECK_INT(a.calls + b.calls, 1);
    Watch *left = a.source ? &a : &b;
    CHECK(left->source);
    left->victim = left;
    CHECK_INT(eventfd_write(left->fd, 1), 0);
    CHECK_INT(loop_run_once(loop, UINT64_MAX), 0);
    CHECK(!left->source);
    CHECK(!loop_remove(NULL));
    fd_close(a.fd);
    fd_close(b.fd);
}

typedef struct Ticker {
    LoopSource *source;
    Loop *loop;
    char name;
    char *log;
} Ticker;

static void on_tick(void *data) {
    Ticker *ticker = data;
    size_t length = strlen(ticker->log);
    ticker->log[length] = ticker->name;
}

static void timers_run_in_order(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    char log[8] = "";
    Ticker a = {.name = 'a', .log = log}, b = {.name = 'b', .log = log},
           c = {.name = 'c', .log = log};
    uint64_t now = clock_monotonic_usec();
    loop_add_timer(loop, now - 1, on_tick, &b);
    loop_add_timer(loop, now - 2, on_tick, &a);
    LoopSource *never = loop_add_timer(loop, now + 3600 * USEC_PER_SEC, on_tick, &c);
    CHECK_INT(loop_run_once(loop, UINT64_MAX), 0);
    CHECK_STR(log, "ab");
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_STR(log, "ab"); /* each only once */
    loop_set_timer(never, now + 2000);
    CHECK_INT(loop_run_once(loop, UINT64_MAX), 0);
    CHECK(clock_monotonic_usec() >= now + 2000);
    CHECK_STR(log, "abc");
}

static void on_again(void *data) {
    Ticker *ticker = data;
    on_tick(ticker);
    loop_set_timer(ticker->source, 0);
    if (strlen(ticker->log) == 3) {
        ticker->source = loop_remove(ticker->source);
        loop_quit(ticker->loop);
    }
}

static void timer_set_in_its_handler_waits_a_round(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    char log[8] = "";
    Ticker ticker = {.loop = loop, .name = 'x', .log = log};
    ticker.source = loop_add_timer(loop, 0, on_again, &ticker);
    CHECK_INT(loop_run_once(loop, UINT64_MAX), 0);
    CHECK_STR(log, "x");
    CHECK_INT(loop_run(loop), 0);
    CHECK_STR(log, "xxx");
    CHECK(!ticker.source);
}

static void count_rounds(void *data) {
    int *rounds = data;
    ++*rounds;
}

/* Once, however many handlers ran before it, and also when none did. */
static void after_each_round(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    int rounds = 0;
    Watch a, b;
    watch_start(&a, loop, 1);
    watch_start(&b, loop, 1);
    loop_set_after_round(loop, count_rounds, &rounds);
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_INT(a.calls + b.calls, 2);
    CHECK_INT(rounds, 1);
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_INT(rounds, 2);
    fd_close(a.fd);
    fd_close(b.fd);
}

static void closed_descriptor_is_not_watched(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    Watch watch = {.loop = loop, .fd = eventfd(1, EFD_CLOEXEC)};
    Watched watched = {.fd = watch.fd};
    CHECK_INT(watched_add(loop, &watched, EPOLLIN, on_event, &watch), 0);
    watched_close(&watched);
    CHECK_INT(loop_run_once(loop, 0), 0);
    CHECK_INT(watch.calls, 0);
    CHECK(!watched.source);
    CHECK_INT(watched.fd, -1);
}

static void deadline_ends_the_round(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    uint64_t deadline = clock_monotonic_usec() + 2000;
    CHECK_INT(loop_run_once(loop, deadline), 0);
    CHECK(clock_monotonic_usec() >= deadline);
}

static void regular_file_cannot_be_watched(void) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    CHECK_INT(loop_new(&loop), 0);
    _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(!loop_add_fd(loop, fd, EPOLLIN, on_event, NULL));
    CHECK_INT(errno, EPERM);
}

int main(void) {
    RUN(ready_descriptor_calls);
    RUN(removal_in_a_handler);
    RUN(timers_run_in_order);
    RUN(timer_set_in_its_handler_waits_a_round);
    RUN(after_each_round);
    RUN(closed_descriptor_is_not_watched);
    RUN(deadline_ends_the_round);
    RUN(regular_file_cannot_be_watched);
    return 0;
}
