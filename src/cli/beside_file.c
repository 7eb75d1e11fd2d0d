/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/beside_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/str.h"

/* The folder of "a/recipe.yaml" is "a"; what is read from standard input is where we are. */
static char *folder_of(const char *file) {
    const char *slash = strrchr(file, '/');
    return slash ? str_format("%.*s", (int)MAX_OF(slash - file, 1), file) : str_copy(".");
}

/* A description of somebody else's does not get at what lies elsewhere. */
static bool leads_out(const char *path) {
    for (const char *part = path; *part; part += strspn(part, "/")) {
        size_t length = strcspn(part, "/");
        if (length == 2 && memcmp(part, "..", 2) == 0)
            return true;
        part += length;
    }
    return path[0] == '/';
}

int beside_file(const char *what, const char *file, const char *named, char **path, Error *error) {
    _cleanup_free_ char *folder = folder_of(file);
    _cleanup_free_ char *found = path_join(folder, named);
    struct stat st;
    if (leads_out(named)) {
        error_set(error, ERROR_USAGE, EINVAL, "%s is not below the %s's folder", named, what);
        error_set_hint(error, "name files from the folder in which the %s lies", what);
        return -EINVAL;
    }
    if (lstat(found, &st) < 0)
        return error_set_errno(error, errno, "cannot read %s", found);
    *path = TAKE_PTR(found);
    return 0;
}
