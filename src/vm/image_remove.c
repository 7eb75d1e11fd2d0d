/* SPDX-License-Identifier: Apache-2.0 */

/* `image rm`, and how a base goes.
 *
 * An image is a name for a base, and several may stand for one. The row goes first, in one step
 * with the look whether anybody needs it; the base goes with the last of its names. All of it with
 * the images' mutex, so that no image comes to stand for a base that is on its way out. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/base_file.h"
#include "store/snapshots.h"
#include "vm/boot_cache.h"
#include "vm/images.h"
#include "vm/pool_internal.h"

/* --- the base ----------------------------------------------------------------------------------
 */

/* Another name of the file that was removed, unless an image has it. */
static int remove_name(Ramet *ramet, int folder_fd, const char *name, const struct stat *removed,
                       Error *error) {
    char id[BASE_ID_SIZE];
    struct stat info;
    size_t images;
    int r;

    if (base_id_from_name(name, id) < 0 ||
        fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
        info.st_ino != removed->st_ino || info.st_dev != removed->st_dev)
        return 0;
    r = images_count_digest(ramet->store, id, &images, error);
    if (r < 0 || images > 0)
        return r;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove %s", name);
    return 0;
}

static int remove_names(Ramet *ramet, const struct stat *removed, Error *error) {
    int folder_fd = openat(ramet->home_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *folder = folder_fd >= 0 ? fdopendir(folder_fd) : NULL;
    struct dirent *entry;

    if (!folder) {
        r = error_set_errno(error, errno, "cannot open %s/images", ramet->home);
        (void)fd_close(folder_fd);
        return r;
    }
    while (r >= 0 && (entry = readdir(folder)))
        r = remove_name(ramet, folder_fd, entry->d_name, removed, error);
    (void)closedir(folder);
    return r;
}

/* First the name that the row has, so that nobody links to it any more, then the others. */
int image_base_remove(Ramet *ramet, const ImageRow *row, Error *error) {
    _cleanup_free_ char *path = image_row_path(ramet, row);
    struct stat info;

    if (stat(path, &info) < 0 || unlink(path) < 0)
        return errno == ENOENT ? 0 : error_set_errno(error, errno, "cannot remove %s", path);
    return info.st_nlink > 1 ? remove_names(ramet, &info, error) : 0;
}

/* --- the image ---------------------------------------------------------------------------------
 */

/* Who uses it? With another name for the same base, its VMs have that one. */
static int check_unused(Ramet *ramet, const ImageRow *row, size_t names, Error *error) {
    size_t vms, snapshots = 0;
    int r = vms_count_digest(ramet->store, row->digest, &vms, error);

    if (r >= 0)
        r = snapshots_count_digest(ramet->store, row->digest, &snapshots, error);
    if (r < 0 || vms + snapshots == 0 || names > 1)
        return r;
    error_set(error, ERROR_CONFLICT, EBUSY, "image %s is in use by %zu VM%s and %zu snapshot%s",
              row->name, vms, vms == 1 ? "" : "s", snapshots, snapshots == 1 ? "" : "s");
    error_set_hint(error, "remove them first; see ramet ps -a and ramet snapshot ls");
    return -EBUSY;
}

static int delete_row(Ramet *ramet, const ImageRow *row, bool *last, Error *error) {
    size_t names;
    int r = store_begin(ramet->store, error);

    if (r < 0)
        return r;
    r = images_count_digest(ramet->store, row->digest, &names, error);
    if (r >= 0)
        r = check_unused(ramet, row, names, error);
    if (r >= 0)
        r = images_delete(ramet->store, row->name, error);
    if (r < 0) {
        store_rollback(ramet->store);
        return r;
    }
    *last = names <= 1;
    return store_commit(ramet->store, error);
}

/* What its boot cache holds is no use of it. */
static void prune_cache(Ramet *ramet, const ImageRow *row) {
    size_t vms, names;

    if (vms_count_digest(ramet->store, row->digest, &vms, NULL) >= 0 && vms == 0 &&
        images_count_digest(ramet->store, row->digest, &names, NULL) >= 0 && names <= 1)
        boot_cache_prune(ramet, row->digest);
}

static int remove_unlocked(Ramet *ramet, const char *reference, Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    bool last;
    int r = images_find(ramet->store, reference, &row, error);

    if (r >= 0)
        r = pool_check_absent(ramet, row.name, "image", row.name, error);
    if (r < 0)
        return r;
    prune_cache(ramet, &row);
    r = delete_row(ramet, &row, &last, error);
    if (r < 0)
        return r;
    ramet_event(ramet, "image.removed", NULL, row.name, NULL);
    return last ? image_base_remove(ramet, &row, error) : 0;
}

int image_op_remove(Ramet *ramet, Operation *operation, const char *reference, Error *error) {
    int r;

    operation_enter(operation, "remove");
    (void)pthread_mutex_lock(&ramet->images_mutex);
    r = remove_unlocked(ramet, reference, error);
    (void)pthread_mutex_unlock(&ramet->images_mutex);
    return r;
}
