/* SPDX-License-Identifier: Apache-2.0 */

/* modules.dep has a line for each module: its path, a colon, the paths of all that it needs. The
 * lines are cut in place and sorted by module name; the closure is a depth-first walk that puts a
 * module down once everything that it needs is there. depmod refuses cycles, but the file may come
 * from anywhere: a module met again while it is still open, or a walk deeper than any real one, is
 * an error. */
#include "image/modules.h"

#include <errno.h>
#include <string.h>

#include "image/unpack.h"

enum { DEPTH_MAX = 64, NAME_ROOM = 128 };

typedef enum { VISIT_NEW, VISIT_OPEN, VISIT_DONE } Visit;

typedef struct Module {
    char name[NAME_ROOM];
    char *path;  /* borrowed from the table's text */
    char *needs; /* borrowed likewise: paths with blanks between them */
    Visit visit;
} Module;

typedef struct Table {
    char *text;      /* owned */
    Module *modules; /* owned; sorted by name */
    size_t count;
} Table;

static void table_free(Table *table) {
    free(table->text);
    free(table->modules);
}

int module_name_of_path(const char *path, char *name, size_t size) {
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    const char *end = strstr(base, ".ko");
    if (!end || end == base || (end[3] != '\0' && end[3] != '.'))
        return -EINVAL;
    size_t length = (size_t)(end - base);
    if (length >= size)
        return -ENAMETOOLONG;
    for (size_t i = 0; i < length; i++)
        name[i] = base[i];
    name[length] = '\0';
    for (char *c = name; *c; c++)
        if (*c == '-')
            *c = '_';
    return 0;
}

static int compare_modules(const void *a, const void *b) {
    return strcmp(((const Module *)a)->name, ((const Module *)b)->name);
}

static int bad_table(Error *error, const char *what, const char *line) {
    _cleanup_free_ char *clean = str_sanitize(line, strnlen(line, 80));
    return error_set(error, ERROR_CORRUPT, EBADMSG, "modules.dep is damaged: %s: %s", what, clean);
}

static int table_add(Table *table, char *line, Error *error) {
    char *colon = strchr(line, ':');
    if (!colon)
        return bad_table(error, "a line without a colon", line);
    *colon = '\0';
    Module *module = &table->modules[table->count];
    *module = (Module){.path = line, .needs = colon + 1};
    if (!unpack_path_is_safe(line) ||
        module_name_of_path(line, module->name, sizeof(module->name)) < 0)
        return bad_table(error, "not the path of a module", line);
    table->count++;
    return 0;
}

static size_t count_lines(const char *text) {
    size_t lines = 1;
    while ((text = strchr(text, '\n')))
        text++, lines++;
    return lines;
}

static int table_parse(const char *text, size_t size, Table *table, Error *error) {
    if (size > 0 && memchr(text, '\0', size))
        return bad_table(error, "it holds a NUL byte", "");
    table->text = size ? strndup(text, size) : str_copy("");
    if (!table->text)
        return error_set_errno(error, ENOMEM, "cannot read modules.dep");
    table->modules = calloc(count_lines(table->text), sizeof(Module));
    if (!table->modules)
        return error_set_errno(error, ENOMEM, "cannot read modules.dep");
    char *rest = table->text, *line;
    while ((line = strsep(&rest, "\n"))) {
        int r = *line ? table_add(table, line, error) : 0;
        if (r < 0)
            return r;
    }
    qsort(table->modules, table->count, sizeof(Module), compare_modules);
    return 0;
}

static Module *table_find(const Table *table, const char *name) {
    Module key = {0};
    if (strlen(name) >= sizeof(key.name))
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    for (char *c = key.name; *c; c++)
        if (*c == '-')
            *c = '_';
    return bsearch(&key, table->modules, table->count, sizeof(Module), compare_modules);
}

static int visit_module(Table *table, Module *module, size_t depth, StrList *order, Error *error);

static int visit_needs(Table *table, Module *module, size_t depth, StrList *order, Error *error) {
    _cleanup_free_ char *needs = str_copy(module->needs);
    char *rest = needs, *path, name[NAME_ROOM];
    while ((path = strsep(&rest, " \t"))) {
        if (!*path)
            continue;
        Module *need =
            module_name_of_path(path, name, sizeof(name)) < 0 ? NULL : table_find(table, name);
        if (!need)
            return bad_table(error, "a dependency that has no line of its own", path);
        int r = visit_module(table, need, depth + 1, order, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int visit_module(Table *table, Module *module, size_t depth, StrList *order, Error *error) {
    if (module->visit == VISIT_DONE)
        return 0;
    if (module->visit == VISIT_OPEN || depth > DEPTH_MAX)
        return bad_table(error, "modules that need each other", module->path);
    module->visit = VISIT_OPEN;
    int r = visit_needs(table, module, depth, order, error);
    if (r < 0)
        return r;
    module->visit = VISIT_DONE;
    strlist_add(order, module->path);
    return 0;
}

static bool is_builtin(const char *builtin, size_t size, const char *wanted) {
    if (size == 0)
        return false;
    _cleanup_free_ char *text = strndup(builtin, size);
    char *rest = text, *line, name[NAME_ROOM];
    while ((line = strsep(&rest, "\n"))) {
        if (module_name_of_path(line, name, sizeof(name)) < 0)
            continue;
        if (str_equal(name, wanted))
            return true;
    }
    return false;
}

static int visit_wanted(Table *table, const char *builtin, size_t builtin_size,
                        const ModuleWanted *wanted, StrList *order, Error *error) {
    Module *module = table_find(table, wanted->name);
    if (module)
        return visit_module(table, module, 0, order, error);
    if (wanted->optional || is_builtin(builtin, builtin_size, wanted->name))
        return 0;
    int r = error_set(error, ERROR_NOT_FOUND, ENOENT,
                      "the kernel has no %s, neither as a module nor built in", wanted->name);
    error_set_hint(error, "use a kernel with virtio support, such as Debian's cloud kernel");
    return r;
}

int modules_closure(const char *dep, size_t dep_size, const char *builtin, size_t builtin_size,
                    const ModuleWanted *wanted, size_t n_wanted, StrList *order, Error *error) {
    _cleanup_(table_free) Table table = {0};
    _cleanup_(strlist_free) StrList found = {0};
    int r = table_parse(dep, dep_size, &table, error);
    for (size_t i = 0; r >= 0 && i < n_wanted; i++)
        r = visit_wanted(&table, builtin, builtin_size, &wanted[i], &found, error);
    if (r < 0)
        return r;
    *order = found;
    found = (StrList){0};
    return 0;
}
