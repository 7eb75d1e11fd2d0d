/* SPDX-License-Identifier: Apache-2.0 */

/* How a name goes, and how a base.
 *
 * An image is a name for a base, and several may stand for one, or none where the name was moved to
 * another. The row goes in one step with the look whether anybody needs it; the base goes with the
 * last name, VM or snapshot that stands on it. All of it with the images' mutex, so that no image
 * comes to stand for a base that is on its way out. */

#include "catalog/image_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/users.h"
#include "disk/base_file.h"
#include "home/home.h"
#include "home/inside.h"
#include "store/images.h"
#include "store/store.h"

/* ---- the base ---- */

/* Another name of the file that was removed, unless somebody knows the file by it. */
static int remove_name(Home *home, int folder_fd, const char *name, const struct stat *removed,
                       Error *error) {
    char id[BASE_ID_SIZE];
    struct stat info;
    size_t uses;
    int r;
    if (base_id_from_name(name, id) < 0 ||
        fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 ||
        info.st_ino != removed->st_ino || info.st_dev != removed->st_dev)
        return 0;
    r = images_count_uses(home->store, id, &uses, error);
    if (r < 0 || uses > 0)
        return r;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove %s", name);
    return 0;
}

static int remove_names(Home *home, const struct stat *removed, Error *error) {
    int folder_fd = openat(home->home_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *folder = folder_fd >= 0 ? fdopendir(folder_fd) : NULL;
    struct dirent *entry;
    if (!folder) {
        r = error_set_errno(error, errno, "cannot open %s/images", home->path);
        (void)fd_close(folder_fd);
        return r;
    }
    while (r >= 0 && (entry = readdir(folder)))
        r = remove_name(home, folder_fd, entry->d_name, removed, error);
    (void)closedir(folder);
    return r;
}

/* First the name that it is known by, so that nobody links to it any more, then the others. */
static int remove_base(Home *home, const char *digest, Error *error) {
    _cleanup_free_ char *path = base_path(home->path, digest);
    struct stat info;
    if (stat(path, &info) < 0 || unlink(path) < 0)
        return errno == ENOENT ? 0 : error_set_errno(error, errno, "cannot remove %s", path);
    return info.st_nlink > 1 ? remove_names(home, &info, error) : 0;
}

int image_base_migrate(Home *home, const char *id, Error *error) {
    _cleanup_free_ char *path = base_path(home->path, id);
    _cleanup_close_ int fd = -1;
    char digest[BASE_ID_SIZE];
    int r;
    if (!str_has_prefix(id, BASE_SOURCE_PREFIX))
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    r = base_digest(fd, home->closing_fd, digest, error);
    if (r >= 0)
        r = base_add_name(home->path, id, digest, error);
    return r < 0 ? r : images_replace_digest(home->store, id, digest, error);
}

void image_base_collect(Home *home, const char *digest) {
    _cleanup_error_ Error error = ERROR_INIT;
    size_t uses;
    int r;
    (void)pthread_mutex_lock(&home->images_mutex);
    r = images_count_uses(home->store, digest, &uses, &error);
    if (r >= 0 && uses == 0)
        r = remove_base(home, digest, &error);
    (void)pthread_mutex_unlock(&home->images_mutex);
    if (r < 0)
        log_warning("cannot remove a disk that no image stands for: %s", error_message(&error));
}

/* ---- the image ---- */

/* Who uses it? With another name for the same base, its VMs have that one. */
static int check_unused(Home *home, const ImageRow *row, size_t names, Error *error) {
    _cleanup_free_ char *users = NULL;
    size_t uses;
    int r = images_count_uses(home->store, row->digest, &uses, error);
    if (r < 0 || uses == names || names > 1)
        return r;
    users = users_of_image(home, row->digest);
    error_set(error, ERROR_CONFLICT, EBUSY, "image %s is in use by %s", row->name, users);
    error_set_hint(error, "remove those first, or give the name to another image with --replace");
    return -EBUSY;
}

static int delete_row(Home *home, const ImageRow *row, Error *error) {
    size_t names;
    int r = store_begin(home->store, error);
    if (r < 0)
        return r;
    r = images_count_digest(home->store, row->digest, &names, error);
    if (r >= 0)
        r = check_unused(home, row, names, error);
    if (r >= 0)
        r = images_delete(home->store, row->name, error);
    if (r < 0) {
        store_rollback(home->store);
        return r;
    }
    return store_commit(home->store, error);
}

/* With the images' mutex: the name may move. */
static int remove_name_of(Home *home, const char *reference, ImageRow *row, Error *error) {
    int r = images_find(home->store, reference, row, error);
    return r < 0 ? r : delete_row(home, row, error);
}

int image_name_remove(Home *home, const char *reference, Error *error) {
    _cleanup_image_row_ ImageRow row = {0};
    int r;
    (void)pthread_mutex_lock(&home->images_mutex);
    r = remove_name_of(home, reference, &row, error);
    (void)pthread_mutex_unlock(&home->images_mutex);
    if (r < 0)
        return r;
    home_event(home, "image.removed", NULL, row.name, NULL);
    image_base_collect(home, row.digest);
    return 0;
}
