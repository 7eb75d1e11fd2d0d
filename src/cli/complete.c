/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/client.h"

int complete_print(const char *what) {
    ApiId id = str_equal(what, "images")      ? API_IMAGE_LIST
               : str_equal(what, "snapshots") ? API_SNAPSHOT_LIST
                                              : API_VM_LIST;
    _cleanup_free_ char *path = api_path(id, NULL, str_equal(what, "vms") ? "all=1" : NULL);
    HttpCall call = HTTP_CALL("GET", path);
    _cleanup_close_ int fd = -1;
    _cleanup_json_ json_t *list = NULL;
    const json_t *item;
    size_t i;

    if (client_connect_running(&fd, NULL) < 0 || http_call_json(fd, &call, &list, NULL) < 0)
        return 1;
    json_array_foreach(list, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name)
            (void)puts(name);
    }
    return 0;
}
