/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>

#include "check.h"

static void kinds_map_to_the_outside(void) {
    CHECK_STR(error_kind_code(ERROR_GUEST_NOT_READY), "guest_not_ready");
    CHECK_INT(error_kind_http_status(ERROR_CONFLICT), 409);
    CHECK_INT(error_kind_http_status(ERROR_CORRUPT), 422);
    CHECK_INT(error_kind_exit_status(ERROR_USAGE), 2);
    CHECK_INT(error_kind_exit_status(ERROR_GUEST_NOT_READY), 5);
    for (int kind = ERROR_FAILED; kind < ERROR_KIND_COUNT; kind++)
        CHECK_INT(error_kind_from_code(error_kind_code((ErrorKind)kind)), kind);
    CHECK_INT(error_kind_from_code("no such code"), ERROR_FAILED);
    CHECK_INT(error_kind_from_code(NULL), ERROR_FAILED);
    CHECK_INT(error_kind_from_code("none"), ERROR_FAILED);
}

static void set_replaces(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_STR(error_message(&error), "unknown error");
    CHECK_INT(error_set(&error, ERROR_NOT_FOUND, 0, "no image %s", "x"), -ENOENT);
    error_set_hint(&error, "try %s", "ramet images");
    CHECK_STR(error.message, "no image x");
    CHECK_STR(error.hint, "try ramet images");
    CHECK_INT(error_set(&error, ERROR_FAILED, EBUSY, "old: %s", error.message), -EBUSY);
    CHECK_STR(error.message, "old: no image x");
    CHECK(!error.hint);
}

static void errno_picks_the_kind(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(error_set_errno(&error, ENOSPC, "cannot write %d", 7), -ENOSPC);
    CHECK_INT(error.kind, ERROR_NO_SPACE);
    CHECK_STR(error.message, "cannot write 7: No space left on device");
    CHECK_INT(error_set_errno(&error, EPERM, "x"), -EPERM);
    CHECK_INT(error.kind, ERROR_PERMISSION);
    CHECK_INT(error_set_errno(&error, EIO, "x"), -EIO);
    CHECK_INT(error.kind, ERROR_FAILED);
}

static void context_and_move(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_error_ Error other = ERROR_INIT;
    error_set(&error, ERROR_NO_MEMORY, 0, "not enough memory");
    CHECK_INT(error_add_context(&error, "cannot start %s", "web1"), -ENOMEM);
    CHECK_STR(error.message, "cannot start web1: not enough memory");
    error_set(&other, ERROR_FAILED, 0, "to be replaced");
    CHECK_INT(error_move(&other, &error), -ENOMEM);
    CHECK_STR(other.message, "cannot start web1: not enough memory");
    CHECK_INT(error.kind, ERROR_NONE);
    CHECK(!error.message);
}

static void join_keeps_all(void) {
    _cleanup_error_ Error all = ERROR_INIT, one = ERROR_INIT;
    error_set(&one, ERROR_NO_SPACE, 0, "first");
    error_set_hint(&one, "do it");
    error_join(&all, &one);
    error_set(&one, ERROR_CORRUPT, 0, "second");
    error_join(&all, &one);
    CHECK_STR(error_message(&all), "first; second");
    CHECK_STR(all.hint, "do it");
    CHECK_INT(all.kind, ERROR_NO_SPACE);
    CHECK_INT(one.kind, ERROR_NONE);
}

static void null_is_fine(void) {
    CHECK_INT(error_set(NULL, ERROR_TIMEOUT, 0, "x"), -ETIMEDOUT);
    CHECK_INT(error_set_errno(NULL, EBUSY, "x"), -EBUSY);
    CHECK_INT(error_add_context(NULL, "x"), -EIO);
    error_set_hint(NULL, "x");
    error_clear(NULL);
    CHECK_STR(error_message(NULL), "unknown error");
    Error error = ERROR_INIT;
    error_set(&error, ERROR_CONFLICT, 0, "freed by the move");
    CHECK_INT(error_move(NULL, &error), -EEXIST);
}

int main(void) {
    RUN(kinds_map_to_the_outside);
    RUN(set_replaces);
    RUN(errno_picks_the_kind);
    RUN(context_and_move);
    RUN(join_keeps_all);
    RUN(null_is_fine);
    return 0;
}
