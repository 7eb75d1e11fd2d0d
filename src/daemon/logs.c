/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/vms/ID/logs: console.log.1 and then console.log, as bytes, or their end: the last lines,
 * those since a time.
 *
 * The keeper appends to console.log and, when it is full, renames it to console.log.1 and begins a
 * new one. A follower keeps the file open that it reads; when the name stands for another file it
 * first reads the old one to its end. inotify(7) on the folder tells of both. It ends when the VM
 * does not run any more: the store's state is looked at whenever an event comes, and the last bytes
 * are read after that, since the keeper writes them before it says that it ends. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/handlers.h"
#include "daemon/log_times.h"
#include "home/home.h"
#include "proto/api/api.h"
#include "run/hand_over.h"
#include "store/vms.h"

#define PIECE 16384
#define LOOK_AGAIN_MSEC 5000 /* should an event ever be lost */

typedef struct Log {
    Request *request; /* borrowed */
    int folder;       /* owned */
    int file;         /* owned; console.log, -1 while there is none */
    uint64_t offset;
    uint64_t since_usec; /* realtime; 0: from the start */
    char vm_id[VM_ID_SIZE];
} Log;

/* Where to begin. */
typedef struct LogStart {
    bool older; /* in console.log.1 */
    uint64_t offset;
} LogStart;

static int log_file_open(const Log *log, const char *name) {
    return openat(log->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* Sends a file from an offset to its present end; returns the end. */
static uint64_t send_file(Log *log, int fd, uint64_t offset) {
    char buffer[PIECE];
    while (fd >= 0 && !log->request->response.broken) {
        ssize_t n = fd_pread_full(fd, buffer, sizeof(buffer), offset);
        if (n <= 0)
            break;
        if (clock_realtime_usec() >= log->since_usec) /* else it is asked for what comes later */
            response_send(&log->request->response, buffer, (size_t)n);
        offset += (uint64_t)n;
    }
    return offset;
}

/* Where the last *lines lines of a file begin. When it has fewer, 0, and *lines is how many are
 * wanted from the file before it. skip_last: the newline at the very end begins no line. */
static uint64_t find_tail(int fd, bool skip_last, uint64_t *lines) {
    struct stat st;
    char buffer[PIECE];
    uint64_t end;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    end = (uint64_t)st.st_size;
    while (end > 0) {
        size_t size = end < PIECE ? (size_t)end : PIECE;
        ssize_t n = fd_pread_full(fd, buffer, size, end - size);
        if (n != (ssize_t)size)
            return 0;
        for (size_t i = size; i-- > 0;) {
            bool last = skip_last && end - size + i + 1 == (uint64_t)st.st_size;
            if (buffer[i] == '\n' && !last && --*lines == 0)
                return end - size + i + 1;
        }
        end -= size;
    }
    return 0;
}

/* The last lines. */
static LogStart tail_start(const Log *log, int older, uint64_t lines) {
    struct stat st = {0};
    uint64_t offset;
    if (log->file >= 0 && fstat(log->file, &st) < 0)
        st.st_size = 0;
    if (lines == 0)
        return (LogStart){.offset = (uint64_t)st.st_size};
    offset = find_tail(log->file, true, &lines);
    if (lines == 0)
        return (LogStart){.offset = offset};
    return (LogStart){.older = true, .offset = find_tail(older, st.st_size == 0, &lines)};
}

/* From the first line at or after a time on; all when nobody knows their times. */
static LogStart since_start(Log *log, int older) {
    LogStart start = {0};
    int r = log_times_find(log->folder, log->file, log->since_usec, &start.offset);
    if (r == 0 && start.offset == 0) {
        start.older = true;
        r = log_times_find(log->folder, older, log->since_usec, &start.offset);
    }
    if (r == 0)
        return start;
    log->request->note = "when the lines of this log came was not noted, so all are shown";
    return (LogStart){.older = true};
}

static LogStart later_of(LogStart a, LogStart b) {
    if (a.older != b.older)
        return a.older ? b : a;
    return a.offset > b.offset ? a : b;
}

static LogStart find_start(Log *log, int older) {
    const json_t *tail = json_object_get(log->request->input, "tail");
    const json_t *since = json_object_get(log->request->input, "since");
    LogStart start = {.older = true};
    if (json_is_integer(tail))
        start = tail_start(log, older, (uint64_t)json_integer_value(tail));
    if (since && api_time(since, &log->since_usec) == 0)
        start = later_of(start, since_start(log, older));
    return start;
}

static void send_present(Log *log, int older, LogStart start) {
    if (start.older)
        (void)send_file(log, older, start.offset);
    log->offset = send_file(log, log->file, start.older ? 0 : start.offset);
}

/* Sends what came since, also over a change of files. */
static void send_new(Log *log) {
    _cleanup_close_ int now = log_file_open(log, "console.log");
    struct stat a, b;
    if (now >= 0 && log->file >= 0 && fstat(now, &a) == 0 && fstat(log->file, &b) == 0 &&
        a.st_ino == b.st_ino) {
        log->offset = send_file(log, log->file, log->offset);
        return;
    }
    (void)send_file(log, log->file, log->offset);
    if (now < 0)
        return;
    (void)fd_close(log->file);
    log->file = TAKE_FD(now);
    log->offset = send_file(log, log->file, 0);
}

static bool vm_is_live(const Log *log) {
    _cleanup_vm_row_ VmRow row = {0};
    return vms_get(home_store(log->request->home), log->vm_id, &row, NULL) >= 0 &&
           vm_state_is_active(row.state);
}

/* Waits for more of the log or an event. False when the client is gone. */
static bool wait_more(const Log *log, int watch, int subscription) {
    struct pollfd fds[3] = {{.fd = log->request->response.fd, .events = POLLIN | POLLRDHUP},
                            {.fd = watch, .events = POLLIN},
                            {.fd = subscription, .events = POLLIN}};
    char drained[4096];
    eventfd_t count;
    if (poll(fds, 3, LOOK_AGAIN_MSEC) < 0 && errno != EINTR)
        return false;
    if (fds[1].revents && read(watch, drained, sizeof(drained)) < 0 && errno != EAGAIN)
        return false;
    if (fds[2].revents)
        (void)eventfd_read(subscription, &count);
    return fds[0].revents == 0;
}

static void follow(Log *log, int watch, int subscription) {
    bool live = true;
    while (live && !log->request->response.broken) {
        live = vm_is_live(log);
        send_new(log);
        if (live && !wait_more(log, watch, subscription))
            return;
    }
}

static int start_watch(int folder, int *watch, Error *error) {
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", folder);
    if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_FROM) < 0)
        return error_set_errno(error, errno, "cannot follow the log");
    *watch = TAKE_FD(fd);
    return 0;
}

static int follow_log(Log *log, Error *error) {
    _cleanup_close_ int watch = -1;
    int subscription, r = start_watch(log->folder, &watch, error);
    if (r < 0)
        return r;
    subscription = home_subscribe(log->request->home);
    if (subscription < 0)
        return error_set_errno(error, -subscription, "cannot follow the log");
    follow(log, watch, subscription);
    home_unsubscribe(log->request->home, subscription);
    return 0;
}

static int send_log(Log *log, Error *error) {
    _cleanup_close_ int older = log_file_open(log, "console.log.1");
    LogStart start = find_start(log, older);
    int r = request_open_stream(log->request, "text/plain; charset=utf-8", error);
    if (r < 0)
        return r;
    send_present(log, older, start);
    return request_flag(log->request, "follow") ? follow_log(log, error) : 0;
}

HANDLER(handle_vm_logs) {
    Log log = {.request = request, .folder = -1, .file = -1};
    int r = vm_open_folder(request->home, request->argument, log.vm_id, &log.folder, error);
    (void)answer;
    if (r < 0)
        return r;
    log.file = log_file_open(&log, "console.log");
    r = send_log(&log, error);
    (void)fd_close(log.file);
    (void)fd_close(log.folder);
    return r;
}
