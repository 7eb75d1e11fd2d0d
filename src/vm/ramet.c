/* SPDX-License-Identifier: Apache-2.0 */

/* Opening and closing a home, and its events. */

#include "vm/ramet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "vm/internal.h"
#include "vm/pool_internal.h"
#include "vm/snapshot_internal.h"

/* VMs of other users never open a path below the home, but a person who debugs one may want to see
 * the bases: those folders can be entered. */
static const struct {
    const char *name;
    mode_t mode;
} folders[] = {
    {"images", 0711}, {"kernels", 0711}, {"initramfs", 0711}, {"memory", 0711}, {"vms", 0711},
    {"locks", 0700},  {"tmp", 0700},     {"snapshots", 0700}, {"layers", 0700},
};

static int open_folder(const char *path, int *fd, Error *error) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? error_set_errno(error, errno, "cannot open %s", path) : 0;
}

static int make_home(Ramet *ramet, Error *error) {
    int r = path_make_folders(ramet->home, 0711);

    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", ramet->home);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        _cleanup_free_ char *path = path_join(ramet->home, folders[i].name);

        if (mkdir(path, folders[i].mode) < 0 && errno != EEXIST)
            return error_set_errno(error, errno, "cannot make %s", path);
    }
    r = open_folder(ramet->home, &ramet->home_fd, error);
    if (r >= 0) {
        _cleanup_free_ char *vms = path_join(ramet->home, "vms");

        r = open_folder(vms, &ramet->vms_fd, error);
    }
    return r;
}

static int lock_home(Ramet *ramet, Error *error) {
    _cleanup_free_ char *locks = path_join(ramet->home, "locks");
    int r = lock_try(locks, "daemon", &ramet->lock_fd);

    if (r == -EWOULDBLOCK)
        return error_set(error, ERROR_CONFLICT, EBUSY, "another daemon has %s", ramet->home);
    if (r < 0)
        return error_set_errno(error, -r, "cannot lock %s", ramet->home);
    return 0;
}

static Ramet *ramet_new(const RametOptions *options) {
    Ramet *ramet = calloc(1, sizeof(*ramet));

    if (!ramet)
        abort();
    ramet->home = str_copy(options->home);
    ramet->qemu = str_copy(options->qemu);
    ramet->accel = str_copy(options->accel);
    ramet->keeper = options->keeper ? str_copy(options->keeper) : path_find_sibling("ramet-keeper");
    ramet->agent = options->agent ? str_copy(options->agent) : path_find_sibling("ramet-agent");
    ramet->home_fd = ramet->vms_fd = ramet->lock_fd = -1;
    ramet->closing_fd = eventfd(0, EFD_CLOEXEC);
    (void)pthread_mutex_init(&ramet->mutex, NULL);
    (void)pthread_mutex_init(&ramet->probe_mutex, NULL);
    (void)pthread_mutex_init(&ramet->images_mutex, NULL);
    (void)pthread_mutex_init(&ramet->hot_mutex, NULL);
    (void)pthread_cond_init(&ramet->hot_filled, NULL);
    (void)pthread_cond_init(&ramet->idle, NULL);
    ramet->locks = op_locks_new();
    return ramet;
}

/* So that it is there when the first VM is asked for. A QEMU that cannot be found is that VM's
 * error. */
static void prepare_zygote(Ramet *ramet) {
    _cleanup_free_ char *library = path_find_sibling(ZYGOTE_LIBRARY);
    _cleanup_free_ char *binary = NULL;

    ramet->zygote = zygote_new(ramet->use_zygote ? library : NULL);
    if (qemu_find_binary(ramet->qemu, &binary, NULL) == 0)
        zygote_prepare(ramet->zygote, binary);
}

static void ramet_close_p(Ramet **ramet) {
    (void)ramet_close(*ramet);
}

int ramet_open(const RametOptions *options, Ramet **ramet, Error *error) {
    _cleanup_(ramet_close_p) Ramet *opened = ramet_new(options);
    _cleanup_free_ char *database = path_join(options->home, "ramet.db");
    int r;

    if (opened->closing_fd < 0)
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
    if (r >= 0)
        r = watcher_new(opened, &opened->watcher, error);
    if (r < 0)
        return r;
    prepare_zygote(opened);
    *ramet = TAKE_PTR(opened);
    return 0;
}

static void wait_for_workers(Ramet *ramet) {
    (void)pthread_mutex_lock(&ramet->mutex);
    while (ramet->workers > 0)
        (void)pthread_cond_wait(&ramet->idle, &ramet->mutex);
    (void)pthread_mutex_unlock(&ramet->mutex);
}

static void free_members(Ramet *ramet) {
    for (size_t i = 0; i < ramet->n_blanks; i++)
        (void)fd_close(ramet->blanks[i].fd);
    free(ramet->blanks);
    hot_memory_close(ramet);
    qemu_features_free(&ramet->features);
    free(ramet->accel_reason);
    (void)fd_close(ramet->vms_fd);
    (void)fd_close(ramet->home_fd);
    (void)fd_close(ramet->closing_fd);
    free(ramet->home);
    free(ramet->qemu);
    free(ramet->accel);
    free(ramet->keeper);
    free(ramet->agent);
    op_locks_free(ramet->locks);
    (void)pthread_mutex_destroy(&ramet->mutex);
    (void)pthread_mutex_destroy(&ramet->probe_mutex);
    (void)pthread_mutex_destroy(&ramet->images_mutex);
    (void)pthread_cond_destroy(&ramet->idle);
    (void)pthread_mutex_destroy(&ramet->hot_mutex);
    (void)pthread_cond_destroy(&ramet->hot_filled);
}

bool ramet_is_closing(Ramet *ramet) {
    bool closing;

    (void)pthread_mutex_lock(&ramet->mutex);
    closing = ramet->closing;
    (void)pthread_mutex_unlock(&ramet->mutex);
    return closing;
}

Ramet *ramet_close(Ramet *ramet) {
    if (!ramet)
        return NULL;
    (void)pthread_mutex_lock(&ramet->mutex);
    ramet->closing = true;
    (void)pthread_mutex_unlock(&ramet->mutex);
    (void)eventfd_write(ramet->closing_fd, 1);
    pools_stop(ramet);
    watcher_stop(ramet->watcher);
    wait_for_workers(ramet);
    watcher_free(ramet->watcher);
    zygote_free(ramet->zygote);
    (void)store_close(ramet->store);
    (void)fd_close(ramet->lock_fd);
    free_members(ramet);
    free(ramet);
    return NULL;
}

const char *ramet_home(const Ramet *ramet) {
    return ramet->home;
}

Store *ramet_store(Ramet *ramet) {
    return ramet->store;
}

void ramet_event(Ramet *ramet, const char *type, const char *vm, const char *name,
                 const json_t *detail) {
    _cleanup_error_ Error error = ERROR_INIT;

    if (events_add(ramet->store, type, vm, name, detail, NULL, &error) < 0)
        log_warning("cannot store the event %s: %s", type, error_message(&error));
    (void)pthread_mutex_lock(&ramet->mutex);
    for (Subscriber *s = ramet->subscribers; s; s = s->next)
        (void)eventfd_write(s->fd, 1);
    (void)pthread_mutex_unlock(&ramet->mutex);
}

int ramet_events(Ramet *ramet, uint64_t since, size_t max, json_t **array, Error *error) {
    return events_list(ramet->store, since, max, array, error);
}

int ramet_subscribe(Ramet *ramet) {
    Subscriber *subscriber = calloc(1, sizeof(*subscriber));

    if (!subscriber)
        abort();
    subscriber->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (subscriber->fd < 0) {
        free(subscriber);
        return -errno;
    }
    (void)pthread_mutex_lock(&ramet->mutex);
    subscriber->next = ramet->subscribers;
    ramet->subscribers = subscriber;
    (void)pthread_mutex_unlock(&ramet->mutex);
    return subscriber->fd;
}

void ramet_unsubscribe(Ramet *ramet, int fd) {
    Subscriber **link, *found;

    (void)pthread_mutex_lock(&ramet->mutex);
    for (link = &ramet->subscribers; *link && (*link)->fd != fd;)
        link = &(*link)->next;
    found = *link;
    if (found)
        *link = found->next;
    (void)pthread_mutex_unlock(&ramet->mutex);
    if (found)
        (void)fd_close(found->fd);
    free(found);
}
