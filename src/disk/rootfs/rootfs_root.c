/* SPDX-License-Identifier: Apache-2.0 */

/* A tar made one folder too high, or of a whole image of a container, unpacks well, and boots into
 * nothing. */

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "disk/rootfs/rootfs_parts.h"

static bool has(const char *folder, const char *name) {
    _cleanup_free_ char *path = str_format("%s/%s", folder, name);
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool has_system(const char *folder) {
    static const char *const names[] = {"bin", "sbin", "usr", "etc", "lib", "init"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (has(folder, names[i]))
            return true;
    return false;
}

/* What `docker save` and its like write. */
static int refuse_saved(const char *folder, Error *error) {
    bool docker = has(folder, "manifest.json");
    if (!docker && !has(folder, "oci-layout"))
        return 0;
    error_set(error, ERROR_USAGE, EINVAL,
              "it is an archive of images of containers, no root file system");
    error_set_hint(error, "ramet image pull %s-archive:FILE", docker ? "docker" : "oci");
    return -EINVAL;
}

/* The name of the folder's only entry; NULL when there are more. The caller owns it. */
static char *only_entry(const char *folder) {
    DIR *stream = opendir(folder);
    char *found = NULL;
    unsigned n = 0;
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
            continue;
        if (n++ == 0)
            found = str_copy(entry->d_name);
    }
    if (stream)
        (void)closedir(stream);
    if (n == 1)
        return found;
    free(found);
    return NULL;
}

int rootfs_check_root(const char *folder, Error *error) {
    _cleanup_free_ char *name = NULL, *below = NULL, *clean = NULL;
    if (has_system(folder))
        return 0;
    name = only_entry(folder);
    if (!name)
        return refuse_saved(folder, error);
    below = str_format("%s/%s", folder, name);
    if (!has_system(below))
        return 0;
    clean = str_sanitize(name, strlen(name));
    error_set(error, ERROR_CORRUPT, EBADMSG,
              "the root file system lies in the archive's folder %s, not at its top", clean);
    error_set_hint(error, "make the archive of what is in it: tar -C %s -cf FILE .", clean);
    return -EBADMSG;
}
