/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* What each kind is to the outside, and the errno that it stands for. */
static const struct KindInfo {
    const char *code;
    int http_status;
    int exit_status;
    int errnum;
} kinds[ERROR_KIND_COUNT] = {
    [ERROR_NONE] = {"none", 200, 0, EIO},
    [ERROR_FAILED] = {"failed", 500, 1, EIO},
    [ERROR_USAGE] = {"usage", 400, 2, EINVAL},
    [ERROR_NOT_FOUND] = {"not_found", 404, 3, ENOENT},
    [ERROR_CONFLICT] = {"conflict", 409, 4, EEXIST},
    [ERROR_GUEST_NOT_READY] = {"guest_not_ready", 504, 5, ETIMEDOUT},
    [ERROR_NO_SPACE] = {"no_space", 507, 1, ENOSPC},
    [ERROR_NO_MEMORY] = {"no_memory", 507, 1, ENOMEM},
    [ERROR_CORRUPT] = {"corrupt", 422, 1, EBADMSG},
    [ERROR_UNSUPPORTED] = {"unsupported", 501, 1, EOPNOTSUPP},
    [ERROR_PERMISSION] = {"permission", 403, 1, EACCES},
    [ERROR_TIMEOUT] = {"timeout", 504, 1, ETIMEDOUT},
    [ERROR_CANCELLED] = {"cancelled", 499, 1, ECANCELED},
};

static const struct KindInfo *kind_info(ErrorKind kind) {
    return &kinds[kind < ERROR_KIND_COUNT ? kind : ERROR_FAILED];
}

const char *error_kind_code(ErrorKind kind) {
    return kind_info(kind)->code;
}

int error_kind_http_status(ErrorKind kind) {
    return kind_info(kind)->http_status;
}

int error_kind_exit_status(ErrorKind kind) {
    return kind_info(kind)->exit_status;
}

ErrorKind error_kind_from_code(const char *code) {
    for (int kind = ERROR_FAILED; kind < ERROR_KIND_COUNT; kind++)
        if (str_equal(kinds[kind].code, code))
            return (ErrorKind)kind;
    return ERROR_FAILED;
}

static ErrorKind kind_from_errno(int errnum) {
    switch (errnum) {
    case ENOENT:
        return ERROR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case EACCES:
    case EPERM:
        return ERROR_PERMISSION;
    case ENOMEM:
        return ERROR_NO_MEMORY;
    case ETIMEDOUT:
        return ERROR_TIMEOUT;
    case ECANCELED:
        return ERROR_CANCELLED;
    default:
        return ERROR_FAILED;
    }
}

/* Takes the message. It may have been made from the old one, so that is freed only here. */
static int set_message(Error *error, ErrorKind kind, int errnum, char *message) {
    error_clear(error);
    *error = (Error){.kind = kind, .errnum = errnum, .message = message};
    return -errnum;
}

int error_set(Error *error, ErrorKind kind, int errnum, const char *format, ...) {
    if (errnum == 0)
        errnum = kind_info(kind)->errnum;
    if (!error)
        return -errnum;
    va_list args;
    va_start(args, format);
    char *message = str_format_va(format, args);
    va_end(args);
    return set_message(error, kind, errnum, message);
}

int error_set_errno(Error *error, int errnum, const char *format, ...) {
    if (!error)
        return -errnum;
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *text = str_format_va(format, args);
    va_end(args);
    const char *reason = strerrordesc_np(errnum); /* unlike strerror, safe with threads */
    char *message = str_format("%s: %s", text, reason ? reason : "unknown error");
    return set_message(error, kind_from_errno(errnum), errnum, message);
}

void error_set_hint(Error *error, const char *format, ...) {
    if (!error)
        return;
    va_list args;
    va_start(args, format);
    char *hint = str_format_va(format, args);
    va_end(args);
    free(error->hint);
    error->hint = hint;
}

int error_add_context(Error *error, const char *format, ...) {
    if (!error)
        return -EIO;
    va_list args;
    va_start(args, format);
    _cleanup_free_ char *context = str_format_va(format, args);
    va_end(args);
    char *message = str_format("%s: %s", context, error_message(error));
    free(error->message);
    error->message = message;
    return -error->errnum;
}

int error_move(Error *to, Error *from) {
    int errnum = from && from->errnum ? from->errnum : EIO;
    if (to == from)
        return -errnum;
    error_clear(to);
    if (to && from) {
        *to = *from;
        *from = ERROR_INIT;
    } else {
        error_clear(from);
    }
    return -errnum;
}

void error_join(Error *all, Error *failure) {
    char *joined;
    if (all->kind == ERROR_NONE) {
        (void)error_move(all, failure);
        return;
    }
    joined = str_format("%s; %s", error_message(all), error_message(failure));
    free(all->message);
    all->message = joined;
    error_clear(failure);
}

void error_clear(Error *error) {
    if (!error)
        return;
    free(error->message);
    free(error->hint);
    *error = ERROR_INIT;
}

const char *error_message(const Error *error) {
    return error && error->message ? error->message : "unknown error";
}
