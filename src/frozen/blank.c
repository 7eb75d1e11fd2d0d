/* SPDX-License-Identifier: Apache-2.0 */

/* Blank memory: what the memory of a VM that boots cold is an overlay over. It must be a file that
 * no VM can change, and there are two ways to have that:
 *
 *  - QEMU knows readonly=on,rom=off (8.2 and later): memory/blank-BYTES, a sparse file, 0444,
 * published once.
 *  - Older ones open the file for writing even for a private mapping, so that 0444 fails for all
 * but root: a memfd sealed against writing, one for each size, kept while the daemon runs. VMs hold
 *    it too, so a restart of the daemon takes nothing from them. */

#include "frozen/blank.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/publish.h"
#include "home/home.h"
#include "home/inside.h"
#include "qemu/features.h"

#define PUBLISH_WAIT_USEC (60 * USEC_PER_SEC)

static int open_published(Home *home, uint64_t bytes, int cancel_fd, int *fd, char **name,
                          Error *error) {
    _cleanup_free_ char *file = str_format("blank-%llu", (unsigned long long)bytes);
    _cleanup_free_ char *path = path_join(home->path, "memory", file);
    _cleanup_(publish_free_p) Publish *publish = NULL;
    PublishOptions options = {.home = home->path,
                              .kind = "memory",
                              .name = file,
                              .deadline_usec = clock_monotonic_usec() + PUBLISH_WAIT_USEC,
                              .cancel_fd = cancel_fd};
    bool exists;
    int r, opened;
    r = publish_begin(&options, &publish, &exists, error);
    if (r < 0)
        return r;
    if (!exists) {
        if (ftruncate(publish_scratch_fd(publish), (off_t)bytes) < 0)
            return error_set_errno(error, errno, "cannot make blank memory");
        r = publish_commit(publish, error);
        if (r < 0)
            return r;
    }
    opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    *fd = opened;
    *name = TAKE_PTR(path);
    return 0;
}

static int make_sealed(uint64_t bytes, Error *error) {
    _cleanup_free_ char *name = str_format("ramet-blank-%llu", (unsigned long long)bytes);
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_set_errno(error, errno, "cannot make a sealed memory file");
    return TAKE_FD(fd);
}

static int find_or_make_sealed(Home *home, uint64_t bytes, Error *error) {
    BlankMemory *grown;
    int fd;
    for (size_t i = 0; i < home->n_blanks; i++)
        if (home->blanks[i].bytes == bytes)
            return home->blanks[i].fd;
    fd = make_sealed(bytes, error);
    if (fd < 0)
        return fd;
    grown = reallocarray(home->blanks, home->n_blanks + 1, sizeof(*grown));
    if (!grown)
        abort();
    home->blanks = grown;
    home->blanks[home->n_blanks++] = (BlankMemory){.bytes = bytes, .fd = fd};
    return fd;
}

static int open_sealed(Home *home, uint64_t bytes, int *fd, char **name, Error *error) {
    int sealed, copy = -1;
    (void)pthread_mutex_lock(&home->mutex);
    sealed = find_or_make_sealed(home, bytes, error);
    if (sealed >= 0) {
        copy = fcntl(sealed, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
            sealed = error_set_errno(error, errno, "cannot duplicate a descriptor");
    }
    (void)pthread_mutex_unlock(&home->mutex);
    if (sealed < 0)
        return sealed;
    *fd = copy;
    *name = str_format("memfd:ramet-blank-%llu", (unsigned long long)bytes);
    return 0;
}

int blank_open(Home *home, const QemuFeatures *features, uint64_t bytes, int cancel_fd, int *fd,
               char **name, Error *error) {
    if (features->memory_rom)
        return open_published(home, bytes, cancel_fd, fd, name, error);
    return open_sealed(home, bytes, fd, name, error);
}
