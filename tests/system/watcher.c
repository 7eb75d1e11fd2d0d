/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in a guest, on one CPU, without a pause: looks at the host name, the clock and the kernel's
 * random numbers, again and again. When the name changes or the clock jumps it writes down the last
 * look before that and the first one after it: "last|first NUMBER NANOSECONDS RANDOM NAME". A look
 * during which the name changed does not count. Clones
 * of one snapshot in which no program ran before they were themselves have the same last look to
 * the bit. watcher CPU FILE.
 *
 * watcher spin CPU: takes that CPU with the highest priority, and keeps it. */

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define JUMP_NSEC INT64_C(250000000)

typedef struct Look {
    uint64_t number;
    int64_t nsec;
    uint64_t random;
    char name[65];
} Look;

static bool look(Look *now, uint64_t number) {
    struct timespec time;
    struct utsname names, later;
    (void)uname(&names);
    (void)clock_gettime(CLOCK_REALTIME, &time);
    now->number = number;
    now->nsec = time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
    if (getrandom(&now->random, sizeof(now->random), 0) != (ssize_t)sizeof(now->random))
        now->random = 0;
    (void)snprintf(now->name, sizeof(now->name), "%.64s", names.nodename);
    (void)uname(&later);
    return strcmp(names.nodename, later.nodename) == 0;
}

static void write_down(int fd, const char *what, const Look *seen) {
    char line[200];
    int length = snprintf(line, sizeof(line), "%s %llu %lld %016llx %s\n", what,
                          (unsigned long long)seen->number, (long long)seen->nsec,
                          (unsigned long long)seen->random, seen->name);
    if (write(fd, line, (size_t)length) != length)
        exit(1);
}

static void stay_on(const char *number) {
    cpu_set_t cpu;
    CPU_ZERO(&cpu);
    CPU_SET((size_t)atoi(number), &cpu);
    if (sched_setaffinity(0, sizeof(cpu), &cpu) < 0)
        exit(1);
}

/* The kernel's own call: musl's refuses. */
static void spin(void) {
    struct sched_param highest = {.sched_priority = 99};
    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &highest) < 0)
        exit(1);
    for (;;)
        __builtin_ia32_pause();
}

int main(int argc, char **argv) {
    Look last, now;
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "spin") == 0) {
        stay_on(argv[2]);
        spin();
    }
    stay_on(argv[1]);
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd < 0)
        return 1;
    (void)look(&last, 0);
    write_down(fd, "first", &last);
    for (uint64_t number = 1;; number++) {
        if (!look(&now, number))
            continue;
        int64_t passed = now.nsec - last.nsec;

        if (passed < 0 || passed > JUMP_NSEC || strcmp(now.name, last.name) != 0) {
            write_down(fd, "last", &last);
            write_down(fd, "first", &now);
        }
        last = now;
    }
}
