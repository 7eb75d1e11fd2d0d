/* SPDX-License-Identifier: Apache-2.0 */

/* A base and the row that has it are made in two steps, and so is the row of a VM that stands on
 * one. Between the two nobody has the base, so nothing is collected while anybody is at that. */

#include "storage/bases.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "home/admission.h"
#include "home/inside.h"
#include "store/disks/disk_uses.h"

static void collect_one(Home *home, int dir_fd, const char *name) {
    char id[BASE_ID_SIZE];
    uint64_t uses = 1;
    if (base_id_from_name(name, id) < 0 || disk_uses_count_base(home->store, id, &uses, NULL) < 0 ||
        uses > 0)
        return;
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s: errno %d", name, errno);
}

static void collect(Home *home) {
    int fd = openat(home->home_fd, SEED_KIND, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        (void)fd_close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            collect_one(home, fd, entry->d_name);
    (void)closedir(folder);
}

void bases_hold(Home *home) {
    (void)pthread_mutex_lock(&home->bases_mutex);
    home->bases_users++;
    (void)pthread_mutex_unlock(&home->bases_mutex);
}

void bases_release(Home *home) {
    (void)pthread_mutex_lock(&home->bases_mutex);
    if (--home->bases_users == 0 && home->bases_waiting) {
        home->bases_waiting = false;
        collect(home);
    }
    (void)pthread_mutex_unlock(&home->bases_mutex);
}

void bases_collect(Home *home) {
    (void)pthread_mutex_lock(&home->bases_mutex);
    if (home->bases_users > 0)
        home->bases_waiting = true;
    else
        collect(home);
    (void)pthread_mutex_unlock(&home->bases_mutex);
}

bool base_is_held(Home *home, const char *base) {
    uint64_t bytes;
    bool held;
    (void)pthread_mutex_lock(&home->bases_mutex);
    held = home->bases_users > 0 && base_bytes(home, base, &bytes) == 0;
    (void)pthread_mutex_unlock(&home->bases_mutex);
    return held;
}

int base_begin(Home *home, int cancel_fd, Publish **publish, Error *error) {
    _cleanup_free_ char *name = scratch_name("base");
    _cleanup_free_ char *lock = str_format("%s/locks/" SEED_KIND "-%s.lock", home->path, name);
    const PublishOptions options = {
        .home = home->path, .kind = SEED_KIND, .name = name, .cancel_fd = cancel_fd};
    bool exists;
    int r = publish_begin(&options, publish, &exists, error);
    (void)unlink(lock); /* nobody else can choose its name */
    return r;
}

static int build(Home *home, Operation *operation, BaseFill *fill, void *data,
                 char base[BASE_ID_SIZE], Error *error) {
    _cleanup_(publish_free_p) Publish *publish = NULL;
    int cancel_fd = operation->cancel_fd, fd, r = base_begin(home, cancel_fd, &publish, error);
    if (r < 0)
        return r;
    fd = publish_scratch_fd(publish);
    r = fill(data, publish_scratch_path(publish), fd, cancel_fd, error);
    if (r >= 0)
        r = operation_check(operation, error);
    if (r >= 0)
        r = base_digest(fd, cancel_fd, base, error);
    return r < 0 ? r : base_publish(publish, base, error);
}

int base_make(Home *home, Operation *operation, BaseFill *fill, void *data, char base[BASE_ID_SIZE],
              Error *error) {
    int r = admission_check_disk(home, error);
    return r < 0 ? r : build(home, operation, fill, data, base, error);
}

int base_bytes(const Home *home, const char *base, uint64_t *bytes) {
    _cleanup_free_ char *path = seed_base_path(home->path, base);
    struct stat info;
    if (stat(path, &info) < 0)
        return -errno;
    *bytes = (uint64_t)info.st_size;
    return 0;
}
