/* SPDX-License-Identifier: Apache-2.0 */

/* Hot memory that a daemon left behind lives on in the clones that map it, and their keepers have
 * it open. A VM's row tells the inode of what it maps. Numbers of memfds are not used twice, so a
 * sealed one of that number is the one that the daemon had made, whoever has it. */

#include "frozen/hot_of_clone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/str.h"
#include "frozen/hot_store.h"
#include "home/inside.h"
#include "memory/seal.h"
#include "store/vms.h"

/* The process may have been taken over by its guest, so the name proves nothing, and what is behind
 * the number may change at any time: to a pipe, whose opening waits for somebody to write, or to a
 * file with a lease. O_PATH holds what it is without opening it; only a file of the memory file
 * system that is sealed, which none of that is, is opened, and that without waiting. */
int hot_memory_open_sealed(const char *path) {
    _cleanup_close_ int held = open(path, O_PATH | O_CLOEXEC);
    _cleanup_free_ char *own = str_format("/proc/self/fd/%d", held);
    _cleanup_close_ int fd = -1;
    struct statfs system;
    struct stat info;
    if (held < 0 || fstat(held, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EINVAL;
    if (fstatfs(held, &system) < 0 || system.f_type != TMPFS_MAGIC)
        return -EINVAL;
    fd = open(own, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    return memory_is_sealed(fd) ? TAKE_FD(fd) : -EINVAL;
}

static int open_fd(const char *folder, const char *number, const char *wanted) {
    char target[128];
    _cleanup_free_ char *path = path_join(folder, number);
    ssize_t size = readlink(path, target, sizeof(target) - 1);
    if (size < 0)
        return -errno;
    target[size] = '\0';
    return str_has_prefix(target, wanted) ? hot_memory_open_sealed(path) : -ENOENT;
}

static int open_from_process(const ProcessIdentity *keeper, const char *id) {
    _cleanup_free_ char *folder = str_format("/proc/%d/fd", (int)keeper->pid);
    _cleanup_free_ char *wanted = str_format("/memfd:" HOT_STORE_PREFIX "%s", id);
    ProcessIdentity now;
    DIR *dir = process_identify(keeper->pid, &now) >= 0 && now.start_ticks == keeper->start_ticks
                   ? opendir(folder)
                   : NULL;
    struct dirent *entry;
    int fd = -ENOENT;
    while (dir && fd < 0 && (entry = readdir(dir)))
        fd = open_fd(folder, entry->d_name, wanted);
    if (dir)
        (void)closedir(dir);
    return fd;
}

static int open_of(const VmRow *vm, const char *id) {
    _cleanup_close_ int fd = open_from_process(&vm->runtime.keeper, id);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0 || info.st_ino != vm->runtime.memory_inode)
        return -ENOENT;
    return TAKE_FD(fd);
}

int hot_memory_open_of_clone(Home *home, const char *id) {
    size_t count = 0;
    VmRow *rows = NULL;
    int fd = -ENOENT;
    if (vms_list(home->store, &rows, &count, NULL) < 0)
        return -ENOENT;
    for (size_t i = 0; i < count && fd < 0; i++)
        if (str_equal(rows[i].runtime.memory_owner, id))
            fd = open_of(&rows[i], id);
    vm_rows_free(rows, count);
    return fd;
}
