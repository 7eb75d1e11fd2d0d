/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_UTIL_H
#define RAMET_AGENT_BASE_UTIL_H

/* What base/ is to the other programs, as far as the agent needs it: it is built with musl and
 * stays small, so it does not use base/. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "agent/base/result.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void free_p(void *pointer) {
    free(*(void **)pointer);
}
#define _cleanup_free_ _cleanup_(free_p)

static inline void close_p(int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
}
#define _cleanup_close_ _cleanup_(close_p)

#define TAKE_FD(fd)             \
    ({                          \
        int *take_fd_ = &(fd);  \
        int taken_ = *take_fd_; \
        *take_fd_ = -1;         \
        taken_;                 \
    })

/* Where the agent keeps its files: a tmpfs in every guest, so nothing here touches the disk. */
#define RUN_FOLDER "/run/ramet"

/* One line on standard error: the console or the journal. */
void agent_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* CLOCK_BOOTTIME and CLOCK_REALTIME. */
uint64_t now_usec(void);
uint64_t realtime_usec(void);

/* Copies what fits, with a NUL at the end. */
void copy_text(char *out, size_t room, const char *text);

/* Closes and forgets. */
void close_fd(int *fd);

/* In a child: keeps these descriptors, as 3 and following, and closes all others above 2. One that
 * is -1 stays so. At most 7. */
void keep_fds(int *fds, size_t n);

/* Maps a file in RUN_FOLDER, shared and writable; makes what is missing. A clone changes it without
 * a system call. fd: its descriptor, the caller's; NULL: closed. 0 or a negative errno. */
int map_run_file(const char *path, mode_t mode, size_t size, void **map, int *fd);

/* 0 or a negative errno. */
int set_nonblocking(int fd);

/* Writes everything, waiting as needed. 0 or a negative errno. */
int write_all(int fd, const void *data, size_t size);

/* Reads a short text file, without its last newline, cut at room - 1. Its length, or a negative
 * errno. */
ssize_t read_text(const char *path, char *text, size_t room);

/* Creates or overwrites in place (the inode stays, so that a bind mount of it shows the new text).
 */
int write_text(const char *path, const char *text, mode_t mode);

/* Every folder of the path; existing ones are fine. */
int make_folders(const char *path, mode_t mode);

/* The value of `key` ("name=") among the words of /proc/cmdline. 0, -ENOENT, -E2BIG. */
int cmdline_value(const char *key, char *value, size_t room);

#endif
