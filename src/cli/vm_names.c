/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vm_names.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "cli/client.h"

static bool strlist_has(const StrList *list, const char *text) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

static void vm_names_add(StrList *names, const char *name) {
    if (!strlist_has(names, name))
        strlist_add(names, name);
}

static bool is_pattern(const char *text) {
    return text[strcspn(text, "*?[")] != '\0';
}

/* Puts the names that the pattern fits, of all VMs, into the list. */
static int expand(const char *pattern, const json_t *vms, StrList *names, Error *error) {
    bool fits = false;
    const json_t *vm;
    size_t i;
    json_array_foreach(vms, i, vm) {
        const char *name = json_string_value(json_object_get(vm, "name"));
        if (!name || fnmatch(pattern, name, 0) != 0)
            continue;
        vm_names_add(names, name);
        fits = true;
    }
    if (fits)
        return 0;
    error_set(error, ERROR_NOT_FOUND, ENOENT, "no VM's name fits %s", pattern);
    error_set_hint(error, "see ramet ps -a");
    return -ENOENT;
}

int vm_names_expand(const Args *args, StrList *names, Args *expanded, Error *error) {
    _cleanup_json_ json_t *vms = NULL;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < args->n_operands; i++) {
        if (!is_pattern(args->operands[i])) {
            strlist_add(names, args->operands[i]);
            continue;
        }
        if (!vms)
            r = client_call(API_VM_LIST, NULL, "all=1", NULL, &vms, error);
        if (r >= 0)
            r = expand(args->operands[i], vms, names, error);
    }
    if (r < 0)
        return r;
    *expanded = *args;
    expanded->operands = (const char **)names->items;
    expanded->n_operands = names->count;
    return 0;
}
