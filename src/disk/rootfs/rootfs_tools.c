/* SPDX-License-Identifier: Apache-2.0 */

/* Any line on the standard error of mke2fs or debugfs is a failure: both are known to go on after a
 * file that they could not copy. */

#include "disk/rootfs/rootfs_tools.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "base/process/spawn_run.h"

#define TOOL_USEC ((uint64_t)2 * 3600 * 1000000)

/* This process's environment with the clock of e2fsprogs set. */
static void fill_environment(StrList *list, uint64_t epoch_sec) {
    for (char **item = environ; *item; item++)
        if (!str_has_prefix(*item, "E2FSPROGS_FAKE_TIME=") &&
            !str_has_prefix(*item, "SOURCE_DATE_EPOCH=") && !str_has_prefix(*item, "LC_ALL="))
            strlist_add(list, *item);
    strlist_add(list, "LC_ALL=C");
    if (epoch_sec == 0)
        return;
    strlist_add_format(list, "E2FSPROGS_FAKE_TIME=%llu", (unsigned long long)epoch_sec);
    strlist_add_format(list, "SOURCE_DATE_EPOCH=%llu", (unsigned long long)epoch_sec);
}

static int tool_error(const char *program, const char *text, Error *error) {
    if (strstr(text, "No space left on device"))
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "disk full: %s", text);
    if (!strstr(text, "Could not allocate") && !strstr(text, "too small"))
        return error_set(error, ERROR_FAILED, EIO, "%s complained: %s", program, text);
    error_set(error, ERROR_NO_SPACE, ENOSPC,
              "the content does not fit into the new file system: %s", text);
    error_set_hint(error, "ask for a larger size");
    return -ENOSPC;
}

/* Its standard error without the line in which debugfs names its version. */
static char *complaints(const SpawnOutput *output) {
    const char *text = output->err ? output->err : "", *end;
    size_t size = output->err ? output->err_size : 0;
    if (size > 8 && strncmp(text, "debugfs ", 8) == 0 && (end = memchr(text, '\n', size))) {
        size -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    for (; size > 0 && strchr("\r\n ", text[0]); text++)
        size--;
    while (size > 0 && strchr("\r\n ", text[size - 1]))
        size--;
    return str_sanitize(text, MIN_OF(size, (size_t)500));
}

int rootfs_run_tool(const StrList *argv, uint64_t epoch_sec, int cancel_fd, Error *error) {
    _cleanup_(strlist_free) StrList environment = {0};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    _cleanup_free_ char *text = NULL;
    int r;
    fill_environment(&environment, epoch_sec);
    SpawnOptions spawn = {
        .program = argv->items[0], .argv = argv->items, .environment = environment.items};
    r = spawn_run(&spawn, TOOL_USEC, cancel_fd, &output, &found);
    text = complaints(&output);
    if (r < 0 && (found.kind != ERROR_FAILED || !*text))
        return error_move(error, &found);
    return *text ? tool_error(argv->items[0], text, error) : 0;
}

int rootfs_require_tool(const char *name, const char *package, Error *error) {
    _cleanup_free_ char *path = path_find_program(name);
    if (path)
        return 0;
    error_set(error, ERROR_UNSUPPORTED, ENOENT,
              "%s is needed to make a file system, and is not installed", name);
    error_set_hint(error, "install %s%s", package,
                   str_equal(name, "fakeroot") ? ", or do this as root" : "");
    return -ENOENT;
}
