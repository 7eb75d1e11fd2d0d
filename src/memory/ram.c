/* SPDX-License-Identifier: Apache-2.0 */

/* The mapping is looked up in /proc/PID/maps (proc(5)). QEMU maps RAM once, but the kernel may show
 * it as several neighbouring areas, since madvise(2) splits them; they are put together again. A
 * shared mapping is refused: writes to it would reach the base. */

#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

typedef struct MapArea {
    uint64_t start, end, offset, inode;
    unsigned major, minor;
    char flags[8];
} MapArea;

static bool map_line_parse(const char *line, MapArea *area) {
    return sscanf(line,
                  "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64
                  " %x:%x %" SCNu64, /* NOLINT(cert-err34-c) */
                  &area->start, &area->end, area->flags, &area->offset, &area->major, &area->minor,
                  &area->inode) == 7;
}

static bool map_is_of(const MapArea *area, const struct stat *base) {
    return area->inode == base->st_ino && area->major == major(base->st_dev) &&
           area->minor == minor(base->st_dev);
}

/* Puts neighbouring areas of the base together: *found grows from its first area on. */
static int map_join(MapArea *found, const MapArea *area, Error *error) {
    if (area->flags[3] != 'p')
        return error_set(error, ERROR_CORRUPT, EINVAL,
                         "QEMU maps its memory base shared: its writes would reach it");
    if (found->end == 0) {
        *found = *area;
        return 0;
    }
    if (area->start != found->end || area->offset != found->offset + (found->end - found->start))
        return error_set(error, ERROR_CORRUPT, EINVAL,
                         "QEMU maps its memory base in more than one place");
    found->end = area->end;
    return 0;
}

static int map_find(pid_t pid, const struct stat *base, MapArea *found, Error *error) {
    _cleanup_free_ char *path = str_format("/proc/%d/maps", (int)pid);
    _cleanup_fclose_ FILE *file = fopen(path, "re");
    _cleanup_free_ char *line = NULL;
    size_t room = 0;
    if (!file)
        return error_set_errno(error, errno, "cannot read %s", path);
    bool has_memory = false;
    while (getline(&line, &room, file) > 0) {
        MapArea area = {0};
        has_memory = true;
        if (!map_line_parse(line, &area) || !map_is_of(&area, base))
            continue;
        int r = map_join(found, &area, error);
        if (r < 0)
            return r;
    }
    if (!has_memory)
        return error_set(error, ERROR_FAILED, ESRCH, "process %d has ended", (int)pid);
    if (found->end == 0)
        return error_set(error, ERROR_CORRUPT, ENOENT, "process %d does not map the memory base",
                         (int)pid);
    return 0;
}

static int proc_open(pid_t pid, const char *name, int flags, int *fd, Error *error) {
    _cleanup_free_ char *path = str_format("/proc/%d/%s", (int)pid, name);
    *fd = open(path, flags | O_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    return 0;
}

int guest_ram_open(pid_t pid, int base_fd, uint64_t size_bytes, GuestRam *ram, Error *error) {
    struct stat base;
    MapArea area = {0};
    if (fstat(base_fd, &base) < 0)
        return error_set_errno(error, errno, "cannot look at the memory base");
    int r = map_find(pid, &base, &area, error);
    if (r < 0)
        return r;
    if (area.offset != 0 || area.end - area.start != size_bytes)
        return error_set(error, ERROR_CORRUPT, EINVAL,
                         "QEMU maps %" PRIu64 " bytes of its memory base, not %" PRIu64,
                         area.end - area.start, size_bytes);

    _cleanup_guest_ram_ GuestRam opened = {.pid = pid,
                                           .mem_fd = -1,
                                           .pagemap_fd = -1,
                                           .address = area.start,
                                           .size_bytes = size_bytes};
    r = proc_open(pid, "mem", O_RDWR, &opened.mem_fd, error);
    if (r >= 0)
        r = proc_open(pid, "pagemap", O_RDONLY, &opened.pagemap_fd, error);
    if (r < 0)
        return r;
    *ram = opened;
    opened = GUEST_RAM_INIT;
    return 0;
}

void guest_ram_close(GuestRam *ram) {
    ram->mem_fd = fd_close(ram->mem_fd);
    ram->pagemap_fd = fd_close(ram->pagemap_fd);
}

static int ram_check_range(const GuestRam *ram, uint64_t offset, size_t size, Error *error) {
    if (offset > ram->size_bytes || size > ram->size_bytes - offset)
        return error_set(error, ERROR_CORRUPT, EFAULT,
                         "%zu bytes at %" PRIu64 " are outside the guest's memory", size, offset);
    return 0;
}

/* Of a process that has ended, or is about to, /proc/PID/mem is at its end everywhere (proc(5)). */
static int ram_failed(const GuestRam *ram, const char *what, int r, Error *error) {
    uint8_t byte;
    if (pread(ram->mem_fd, &byte, 1, (off_t)ram->address) == 0)
        r = -ESRCH;
    return error_set_errno(error, -r, "%s", what);
}

int guest_ram_read(const GuestRam *ram, uint64_t offset, void *buffer, size_t size, Error *error) {
    int r = ram_check_range(ram, offset, size, error);
    if (r < 0)
        return r;
    ssize_t n = fd_pread_full(ram->mem_fd, buffer, size, ram->address + offset);
    if (n < 0 || (size_t)n != size)
        return ram_failed(ram, "cannot read the guest's memory", n < 0 ? (int)n : -EIO, error);
    return 0;
}

int guest_ram_write(const GuestRam *ram, uint64_t offset, const void *buffer, size_t size,
                    Error *error) {
    int r = ram_check_range(ram, offset, size, error);
    if (r < 0)
        return r;
    r = fd_pwrite_full(ram->mem_fd, buffer, size, ram->address + offset);
    if (r < 0)
        return ram_failed(ram, "cannot write the guest's memory", r, error);
    return 0;
}
