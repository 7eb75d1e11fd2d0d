/* SPDX-License-Identifier: Apache-2.0 */

/* A filter is "KEY=VALUE", as docker's. Those of one key are alternatives, but for labels, of which
 * all must fit; keys narrow down each other. */

#include "verbs/filter.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "store/vms.h"

typedef bool (*Match)(const VmRow *row, const char *value);

static bool match_name(const VmRow *row, const char *value) {
    if (strpbrk(value, "*?["))
        return fnmatch(value, row->name, 0) == 0;
    return strstr(row->name, value) != NULL;
}

static bool match_id(const VmRow *row, const char *value) {
    return str_has_prefix(row->id, value);
}

static bool match_state(const VmRow *row, const char *value) {
    return str_equal(vm_state_name(row->state), value);
}

static bool match_image(const VmRow *row, const char *value) {
    return str_equal(row->image, value) || str_equal(row->image_digest, value) ||
           (str_has_prefix(value, "sha256:") && str_equal(row->image_digest, value + 7));
}

static bool match_snapshot(const VmRow *row, const char *value) {
    return *value && str_has_prefix(row->snapshot, value);
}

/* K, or K=V. */
static bool match_label(const VmRow *row, const char *value) {
    const char *equals = strchr(value, '=');
    _cleanup_free_ char *key =
        str_format("%.*s", (int)(equals ? (size_t)(equals - value) : strlen(value)), value);
    const json_t *found = json_object_get(row->spec.labels, key);
    return found && (!equals || str_equal(json_string_value(found), equals + 1));
}

static const struct {
    const char *key;
    Match match;
    bool all;
} filters[] = {
    {"id", match_id, false},
    {"image", match_image, false},
    {"label", match_label, true},
    {"name", match_name, false},
    {"snapshot", match_snapshot, false},
    {"state", match_state, false},
    {"status", match_state, false},
};

/* The row of the table, and the value; -1: there is no such key. */
static int filter_parse(const char *text, const char **value) {
    size_t length = strcspn(text, "=");
    if (text[length] != '=')
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
        if (strlen(filters[i].key) == length && strncmp(filters[i].key, text, length) == 0) {
            *value = text + length + 1;
            return (int)i;
        }
    return -1;
}

int vm_filter_check(const VmFilter *filter, Error *error) {
    const json_t *item;
    size_t i;
    json_array_foreach(filter->list, i, item) {
        const char *text = json_string_value(item), *value;
        if (text && filter_parse(text, &value) >= 0)
            continue;
        error_set(error, ERROR_USAGE, EINVAL, "there is no filter \"%.64s\"", text ? text : "");
        error_set_hint(error, "filters are label=K, label=K=V, name=, id=, state=, image=, "
                              "snapshot=");
        return -EINVAL;
    }
    return 0;
}

/* What the filters of one key say: all of them, or one, must fit. */
static bool key_matches(const VmFilter *filter, int key, const VmRow *row) {
    bool any = false, one = false, all = true;
    const json_t *item;
    size_t i;
    json_array_foreach(filter->list, i, item) {
        const char *value = NULL;
        bool fits;
        if (filter_parse(json_string_value(item), &value) != key)
            continue;
        fits = filters[key].match(row, value);
        any = true;
        one |= fits;
        all &= fits;
    }
    return !any || (filters[key].all ? all : one);
}

bool vm_filter_matches(const VmFilter *filter, const VmRow *row) {
    for (size_t key = 0; filter->list && key < ARRAY_SIZE(filters); key++)
        if (!key_matches(filter, (int)key, row))
            return false;
    return true;
}

bool vm_filter_has_state(const VmFilter *filter) {
    const json_t *item;
    size_t i;
    json_array_foreach(filter->list, i, item) {
        const char *value = NULL;
        int key = filter_parse(json_string_value(item), &value);
        if (key >= 0 && filters[key].match == match_state)
            return true;
    }
    return false;
}
