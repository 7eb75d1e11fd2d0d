/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/client.h"

static int print_names(ApiId id, const char *query) {
    _cleanup_free_ char *path = api_path(id, NULL, query);
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

int complete_print(const char *what) {
    static const struct {
        const char *what;
        ApiId id;
        const char *query;
    } lists[] = {
        {"running", API_VM_LIST, NULL},
        {"vms", API_VM_LIST, "all=1"},
        {"images", API_IMAGE_LIST, NULL},
        {"snapshots", API_SNAPSHOT_LIST, NULL},
        {"labs", API_LAB_LIST, NULL},
        {"lab-snapshots", API_LAB_SNAPSHOT_LIST, NULL},
        {"lab-sources", API_LAB_SNAPSHOT_LIST, NULL},
        {"lab-sources", API_LAB_LIST, NULL},
        {"fork-sources", API_SNAPSHOT_LIST, NULL},
        {"fork-sources", API_VM_LIST, "all=1"},
        {"networks", API_NETWORK_LIST, NULL},
        {"network-names", API_NETWORK_LIST, NULL},
        {"pool-sources", API_SNAPSHOT_LIST, NULL},
        {"pool-sources", API_LAB_SNAPSHOT_LIST, NULL},
        {"pool-sources", API_IMAGE_LIST, NULL},
        {"seeds", API_SEED_LIST, NULL},
        {"volumes", API_VOLUME_LIST, NULL},
    };
    int status = 0;

    if (str_equal(what, "networks"))
        (void)puts("user\nnone");
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (str_equal(lists[i].what, what))
            status |= print_names(lists[i].id, lists[i].query);
    return status;
}
