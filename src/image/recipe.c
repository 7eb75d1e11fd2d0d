/* SPDX-License-Identifier: Apache-2.0 */
#include "image/recipe.h"

#include <errno.h>
#include <string.h>

static const Recipe *const recipes[] = {&recipe_busybox, &recipe_debian};

static bool is_suite(const char *text) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t length = strlen(text);
    return length > 0 && length < 64 && text[0] != '-' && strspn(text, allowed) == length;
}

const Recipe *recipe_find(const char *text, const char **suite) {
    size_t length = strcspn(text, ":");
    const char *after = text[length] ? text + length + 1 : NULL;
    for (size_t i = 0; i < ARRAY_SIZE(recipes); i++) {
        const Recipe *recipe = recipes[i];
        if (strlen(recipe->name) != length || strncmp(recipe->name, text, length) != 0)
            continue;
        if (after && (!recipe->takes_suite || !is_suite(after)))
            return NULL;
        *suite = after;
        return recipe;
    }
    return NULL;
}

bool image_recipe_exists(const char *name) {
    const char *suite;
    return recipe_find(name, &suite) != NULL;
}

/* Debian Policy, 5.6.7: at least two of these characters, the first a letter or digit. */
static bool is_package(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789+.-";
    size_t length = strlen(name);
    return length >= 2 && length < 128 && strchr("+.-", name[0]) == NULL &&
           strspn(name, allowed) == length;
}

static int add_packages(const char *list, StrList *packages, Error *error) {
    _cleanup_free_ char *copy = str_copy(list);
    char *rest = copy, *name;
    while ((name = strsep(&rest, ","))) {
        if (*name == '\0')
            continue;
        if (!is_package(name)) {
            _cleanup_free_ char *clean = str_sanitize(name, strnlen(name, 80));
            return error_set(error, ERROR_USAGE, EINVAL, "'%s' is no name of a package", clean);
        }
        strlist_add(packages, name);
    }
    return 0;
}

int recipe_parse_include(const char *const *lists, size_t n_lists, StrList *packages,
                         Error *error) {
    _cleanup_(strlist_free) StrList found = {0};
    for (size_t i = 0; i < n_lists; i++) {
        int r = add_packages(lists[i], &found, error);
        if (r < 0)
            return r;
    }
    *packages = found;
    found = (StrList){0};
    return 0;
}
