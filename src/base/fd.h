/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_FD_H
#define RAMET_BASE_FD_H

/* File descriptors: closing, whole reads and writes, passing them over sockets. Every descriptor
 * made here is O_CLOEXEC. Functions return 0 (or a count) or a negative errno. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Closes fd when it is not -1; keeps errno. Returns -1, so `fd = fd_close(fd)` reads well. */
int fd_close(int fd);

static inline void fd_close_p(int *fd) {
    (void)fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_close_p)

/* Opens those of the descriptors 0 to 2 that the caller left closed, so that no file or socket of
 * ours gets their numbers and is taken for input or output. Reads of such an input and writes to
 * such an output go on to fail with EBADF. Each program calls it first. */
int fd_open_standard(void);

/* Reads until `size` bytes or the end of the file; returns the count read. Retries EINTR. */
ssize_t fd_read_full(int fd, void *buffer, size_t size);
ssize_t fd_pread_full(int fd, void *buffer, size_t size, uint64_t offset);

/* Writes everything or fails; retries EINTR and short writes, and waits with poll(2) on a
 * non-blocking descriptor. Sockets never raise SIGPIPE. Returns 0 or a negative errno. */
int fd_write_full(int fd, const void *buffer, size_t size);
int fd_pwrite_full(int fd, const void *buffer, size_t size, uint64_t offset);

/* Reads a whole file of at most max_bytes into a NUL-terminated buffer (owned by the caller). A
 * longer one fails with -E2BIG. size may be NULL. */
int fd_read_file_at(int dir_fd, const char *path, size_t max_bytes, char **data, size_t *size);

/* The next piece of data at or after `offset` of a file of `size` bytes; *start and *end are `size`
 * when only a hole is left. A file system without SEEK_DATA counts as all data. The descriptor's
 * position moves. */
void fd_find_data(int fd, uint64_t offset, uint64_t size, uint64_t *start, uint64_t *end);

/* Is a descriptor that cancels something readable or hung up? -1: no. */
bool fd_is_cancelled(int cancel_fd);

/* Set or clear the flag. 0 or a negative errno. */
int fd_set_nonblocking(int fd, bool nonblocking);
int fd_set_cloexec(int fd, bool cloexec);

/* Makes a connected pair of unix sockets; type is SOCK_STREAM or SOCK_SEQPACKET, flags such as
 * SOCK_NONBLOCK may be or-ed in. */
int fd_socketpair(int type, int pair[2]);

#define FD_PASS_MAX 16

/* Sends one message with up to FD_PASS_MAX descriptors (they stay the caller's). Returns the bytes
 * sent or a negative errno. */
ssize_t fd_send_message(int socket, const void *data, size_t size, const int *fds, size_t n_fds);

/* Receives one message. *n_fds is the room in fds[] on entry and the count on return; the caller
 * owns the descriptors. Descriptors beyond the room are closed and the call fails with -EMSGSIZE,
 * as does a SEQPACKET message longer than size. Returns the byte count, 0 at end of file. */
ssize_t fd_receive_message(int socket, void *data, size_t size, int *fds, size_t *n_fds);

/* Listens on or connects to a unix socket at `name` inside the folder dir_fd, however long the
 * folder's own path is: the address goes through /proc/self/fd/N, so the 107 bytes of sun_path
 * only need to hold `name`. A stale socket file is replaced by listen. type as in fd_socketpair.
 * Returns the descriptor or a negative errno. */
int fd_unix_listen_at(int dir_fd, const char *name, int type, mode_t mode, int backlog);
int fd_unix_connect_at(int dir_fd, const char *name, int type);

/* The same for a whole path of any length. */
int fd_unix_listen(const char *path, int type, mode_t mode, int backlog);
int fd_unix_connect(const char *path, int type);

#endif
