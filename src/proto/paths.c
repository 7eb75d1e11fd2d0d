/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/paths.h"

#include <errno.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"

static const char *environment_get(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* Makes a path absolute; the folder we are in now is what the user meant. */
static int path_absolute(const char *path, char **absolute, Error *error) {
    _cleanup_free_ char *folder = NULL;
    if (path[0] == '/') {
        *absolute = str_copy(path);
        return 0;
    }
    folder = getcwd(NULL, 0);
    if (!folder)
        return error_set_errno(error, errno, "cannot tell the current folder");
    *absolute = path_join(folder, path);
    return 0;
}

int paths_home(char **home, Error *error) {
    const char *value = environment_get("RAMET_HOME");
    if (value)
        return path_absolute(value, home, error);
    if (geteuid() == 0) {
        *home = str_copy("/var/lib/ramet");
        return 0;
    }
    /* XDG Base Directory Specification: a relative XDG_DATA_HOME is to be ignored */
    value = environment_get("XDG_DATA_HOME");
    if (value && value[0] == '/') {
        *home = path_join(value, "ramet");
        return 0;
    }
    value = environment_get("HOME");
    if (!value) {
        int r = error_set(error, ERROR_USAGE, 0, "neither RAMET_HOME nor HOME is set");
        error_set_hint(error, "set RAMET_HOME to the folder where VMs are to be kept");
        return r;
    }
    *home = path_join(value, ".local/share/ramet");
    return 0;
}

int paths_socket(char **path, Error *error) {
    _cleanup_free_ char *home = NULL;
    const char *value = environment_get("RAMET_SOCKET");
    int r;
    if (value)
        return path_absolute(value, path, error);
    if (!environment_get("RAMET_HOME")) {
        if (geteuid() == 0) {
            *path = str_copy("/run/ramet/ramet.sock");
            return 0;
        }
        value = environment_get("XDG_RUNTIME_DIR");
        if (value && value[0] == '/') {
            *path = path_join(value, "ramet/ramet.sock");
            return 0;
        }
    }
    r = paths_home(&home, error);
    if (r < 0)
        return r;
    *path = path_join(home, "ramet.sock");
    return 0;
}
