/* SPDX-License-Identifier: Apache-2.0 */

/* Opening and closing a home, and its events. */

#include "home/home.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "home/config.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "qemu/features.h"
#include "store/events.h"
#include "store/open.h"
#include "store/store.h"
#include "zygote/client.h"

/* VMs of other users never open a path below the home, but a person who debugs one may want to see
 * the bases: those folders can be entered. */
static const struct {
    const char *name;
    mode_t mode;
} folders[] = {
    {"images", 0711}, {"kernels", 0711}, {"initramfs", 0711}, {"memory", 0711},
    {"vms", 0711},    {"locks", 0700},   {"tmp", 0700},       {"snapshots", 0700},
    {"layers", 0700}, {"seeds", 0711},   {"volumes", 0700},
};

static int open_folder(const char *path, int *fd, Error *error) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? error_set_errno(error, errno, "cannot open %s", path) : 0;
}

static int make_home(Home *home, Error *error) {
    int r = path_make_folders(home->path, 0711);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", home->path);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        _cleanup_free_ char *path = path_join(home->path, folders[i].name);
        if (mkdir(path, folders[i].mode) < 0 && errno != EEXIST)
            return error_set_errno(error, errno, "cannot make %s", path);
    }
    r = open_folder(home->path, &home->home_fd, error);
    if (r >= 0) {
        _cleanup_free_ char *vms = path_join(home->path, "vms");
        r = open_folder(vms, &home->vms_fd, error);
    }
    return r;
}

static int lock_home(Home *home, Error *error) {
    _cleanup_free_ char *locks = path_join(home->path, "locks");
    int r = lock_try(locks, "daemon", &home->lock_fd);
    if (r == -EWOULDBLOCK)
        return error_set(error, ERROR_CONFLICT, EBUSY, "another daemon has %s", home->path);
    if (r < 0)
        return error_set_errno(error, -r, "cannot lock %s", home->path);
    return 0;
}

static Home *home_new(const HomeOptions *options) {
    Home *home = calloc(1, sizeof(*home));
    if (!home)
        abort();
    home->path = str_copy(options->path);
    home->qemu = str_copy(options->qemu);
    home->accel = str_copy(options->accel);
    home->keeper = options->keeper ? str_copy(options->keeper) : path_find_sibling("ramet-keeper");
    home->agent = options->agent ? str_copy(options->agent) : path_find_sibling("ramet-agent");
    home->home_fd = home->vms_fd = home->lock_fd = -1;
    home->closing_fd = eventfd(0, EFD_CLOEXEC);
    home->reconciled_fd = eventfd(0, EFD_CLOEXEC);
    home->pools_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    home->tend_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&home->mutex, NULL);
    (void)pthread_mutex_init(&home->probe_mutex, NULL);
    (void)pthread_mutex_init(&home->images_mutex, NULL);
    (void)pthread_mutex_init(&home->bases_mutex, NULL);
    (void)pthread_mutex_init(&home->hot_mutex, NULL);
    (void)pthread_cond_init(&home->hot_filled, NULL);
    (void)pthread_cond_init(&home->idle, NULL);
    home->locks = op_locks_new();
    return home;
}

/* So that it is there when the first VM is asked for. A QEMU that cannot be found is that VM's
 * error. */
static void prepare_zygote(Home *home) {
    _cleanup_free_ char *library = path_find_sibling(ZYGOTE_LIBRARY);
    _cleanup_free_ char *binary = NULL;
    home->zygote = zygote_new(home->use_zygote ? library : NULL);
    if (qemu_find_binary(home->qemu, &binary, NULL) == 0)
        zygote_prepare(home->zygote, binary);
}

static void home_close_p(Home **home) {
    (void)home_close(*home);
}

int home_open(const HomeOptions *options, Home **home, Error *error) {
    _cleanup_(home_close_p) Home *opened = home_new(options);
    _cleanup_free_ char *database = path_join(options->path, "ramet.db");
    int r;
    if (opened->closing_fd < 0 || opened->reconciled_fd < 0 || opened->pools_fd < 0 ||
        opened->tend_fd < 0)
        return error_set_errno(error, errno, "cannot make an eventfd");
    if (!opened->keeper)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "cannot find the program ramet-keeper");
    if (!opened->agent)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "cannot find the program ramet-agent");
    r = make_home(opened, error);
    if (r >= 0)
        r = lock_home(opened, error);
    if (r >= 0)
        r = config_load(opened, error);
    if (r >= 0)
        r = store_open(database, &opened->store, error);
    if (r < 0)
        return r;
    prepare_zygote(opened);
    *home = TAKE_PTR(opened);
    return 0;
}

static void wait_for_workers(Home *home) {
    (void)pthread_mutex_lock(&home->mutex);
    while (home->workers > 0)
        (void)pthread_cond_wait(&home->idle, &home->mutex);
    (void)pthread_mutex_unlock(&home->mutex);
}

static void free_members(Home *home) {
    for (size_t i = 0; i < home->n_blanks; i++)
        (void)fd_close(home->blanks[i].fd);
    free(home->blanks);
    qemu_features_free(&home->features);
    (void)fd_close(home->vms_fd);
    (void)fd_close(home->home_fd);
    (void)fd_close(home->closing_fd);
    (void)fd_close(home->reconciled_fd);
    (void)fd_close(home->pools_fd);
    (void)fd_close(home->tend_fd);
    free(home->path);
    free(home->qemu);
    free(home->accel);
    free(home->cgroup);
    free(home->keeper);
    free(home->agent);
    op_locks_free(home->locks);
    (void)pthread_mutex_destroy(&home->mutex);
    (void)pthread_mutex_destroy(&home->probe_mutex);
    (void)pthread_mutex_destroy(&home->images_mutex);
    (void)pthread_mutex_destroy(&home->bases_mutex);
    (void)pthread_cond_destroy(&home->idle);
    (void)pthread_mutex_destroy(&home->hot_mutex);
    (void)pthread_cond_destroy(&home->hot_filled);
}

void home_add_part(Home *home, void (*stop)(Home *home), void (*release)(Home *home)) {
    if (home->n_parts == HOME_PARTS_MAX)
        abort();
    home->parts[home->n_parts++] = (HomePart){stop, release};
}

void home_pools_changed(Home *home) {
    (void)eventfd_write(home->pools_fd, 1);
}

void home_tend_changed(Home *home) {
    (void)eventfd_write(home->tend_fd, 1);
}

bool home_is_closing(Home *home) {
    bool closing;
    (void)pthread_mutex_lock(&home->mutex);
    closing = home->closing;
    (void)pthread_mutex_unlock(&home->mutex);
    return closing;
}

Home *home_close(Home *home) {
    if (!home)
        return NULL;
    (void)pthread_mutex_lock(&home->mutex);
    home->closing = true;
    (void)pthread_mutex_unlock(&home->mutex);
    (void)eventfd_write(home->closing_fd, 1);
    for (size_t i = home->n_parts; i-- > 0;)
        if (home->parts[i].stop)
            home->parts[i].stop(home);
    wait_for_workers(home);
    for (size_t i = home->n_parts; i-- > 0;)
        if (home->parts[i].release)
            home->parts[i].release(home);
    zygote_free(home->zygote);
    (void)store_close(home->store);
    (void)fd_close(home->lock_fd);
    free_members(home);
    free(home);
    return NULL;
}

const char *home_path(const Home *home) {
    return home->path;
}

Store *home_store(Home *home) {
    return home->store;
}

void home_event(Home *home, const char *type, const char *vm, const char *name,
                const json_t *detail) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (events_add(home->store, type, vm, name, detail, NULL, &error) < 0)
        log_warning("cannot store the event %s: %s", type, error_message(&error));
    (void)pthread_mutex_lock(&home->mutex);
    for (Subscriber *s = home->subscribers; s; s = s->next)
        (void)eventfd_write(s->fd, 1);
    (void)pthread_mutex_unlock(&home->mutex);
}

int home_events(Home *home, uint64_t since, size_t max, json_t **array, Error *error) {
    return events_list(home->store, since, max, array, error);
}

int home_subscribe(Home *home) {
    Subscriber *subscriber = calloc(1, sizeof(*subscriber));
    if (!subscriber)
        abort();
    subscriber->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (subscriber->fd < 0) {
        free(subscriber);
        return -errno;
    }
    (void)pthread_mutex_lock(&home->mutex);
    subscriber->next = home->subscribers;
    home->subscribers = subscriber;
    (void)pthread_mutex_unlock(&home->mutex);
    return subscriber->fd;
}

void home_unsubscribe(Home *home, int fd) {
    Subscriber **link, *found;
    (void)pthread_mutex_lock(&home->mutex);
    for (link = &home->subscribers; *link && (*link)->fd != fd;)
        link = &(*link)->next;
    found = *link;
    if (found)
        *link = found->next;
    (void)pthread_mutex_unlock(&home->mutex);
    if (found)
        (void)fd_close(found->fd);
    free(found);
}
