/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_args.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

int image_args_path(const char *path, char **absolute, Error *error) {
    char *found = realpath(path, NULL);
    if (!found)
        return error_set_errno(error, errno, "cannot read %s", path);
    *absolute = found;
    return 0;
}

int image_args_add(const Args *args, json_t *request, Error *error) {
    static const char *const paths[] = {"kernel", "modules"};
    if (args_given(args, "size"))
        json_object_set_new(request, "size",
                            json_integer((json_int_t)args_number(args, "size", 0)));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        _cleanup_free_ char *absolute = NULL;
        int r = args_given(args, paths[i])
                    ? image_args_path(args_text(args, paths[i]), &absolute, error)
                    : 0;
        if (r < 0)
            return r;
        if (absolute)
            json_object_set_new(request, paths[i], json_string(absolute));
    }
    return 0;
}
