/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PROCESS_PROCESS_H
#define RAMET_BASE_PROCESS_PROCESS_H

/* Processes that are not ours to reap, or that an earlier daemon started: known by more than a
 * number, which the kernel gives away again. */

#include <stdint.h>
#include <sys/types.h>

/* A process that cannot be mistaken for another: its id and its start time in clock ticks since
 * boot (proc(5), /proc/PID/stat field 22). */
typedef struct ProcessIdentity {
    pid_t pid; /* 0: none */
    uint64_t start_ticks;
} ProcessIdentity;

/* The identity of a process that lives; -ESRCH when there is none. */
int process_identify(pid_t pid, ProcessIdentity *identity);

/* The same for the process of that number which pid_fd (borrowed) refers to, whose number may have
 * been given away before the call: -ESRCH when it has exited, so what is filled is its own. */
int process_identify_held(int pid_fd, pid_t pid, ProcessIdentity *identity);

/* A pidfd for exactly that process; -ESRCH when it is gone or the pid belongs to another one now.
 */
int process_open(const ProcessIdentity *identity);

/* Signals exactly that process; gone is -ESRCH. */
int process_signal(const ProcessIdentity *identity, int signal);

/* Waits until it is gone, at most until the deadline (monotonic). Works for non-children. */
int process_wait_gone(const ProcessIdentity *identity, uint64_t deadline_usec);

/* What all threads of a process have used of the processors, in microseconds; 0 when it is gone. */
uint64_t process_cpu_usec(pid_t pid);

#endif
