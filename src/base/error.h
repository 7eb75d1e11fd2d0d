/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_ERROR_H
#define RAMET_BASE_ERROR_H

/* The one error object. It is set once, where the failure is seen; callers may put context in
 * front of its message on the way up. A function that fills an Error returns a negative errno, and
 * leaves all its other outputs untouched.
 *
 * A full message reads "cannot start web1: not enough memory (wanted 4096 MiB, 2100 free)"; the
 * hint says what to do: "ask for less memory". Messages start in lower case and have no full stop.
 *
 * Every function here accepts error == NULL, for callers that want only the errno. */

#include "base/util.h"

typedef enum {
    ERROR_NONE,
    ERROR_FAILED,          /* anything without a kind of its own */
    ERROR_USAGE,           /* the request itself is malformed */
    ERROR_NOT_FOUND,       /* no such image, VM, file … */
    ERROR_CONFLICT,        /* name taken, wrong state, still in use */
    ERROR_GUEST_NOT_READY, /* the guest did not get ready, or its agent does not answer */
    ERROR_NO_SPACE,        /* disk full */
    ERROR_NO_MEMORY,       /* not enough memory on the host */
    ERROR_CORRUPT,         /* a file or message is damaged, truncated or hostile */
    ERROR_UNSUPPORTED,     /* this host, QEMU or file system cannot do it */
    ERROR_PERMISSION,      /* not allowed */
    ERROR_TIMEOUT,         /* an awaited event did not come within its bound */
    ERROR_CANCELLED,       /* the client went away or asked to stop */
    ERROR_KIND_COUNT,
} ErrorKind;

typedef struct Error {
    ErrorKind kind;
    int errnum;    /* positive errno */
    char *message; /* owned */
    char *hint;    /* owned, may be NULL */
} Error;

#define ERROR_INIT ((Error){0})

/* What each kind is to the outside: JSON code, HTTP status, exit status of the CLI. */
const char *error_kind_code(ErrorKind kind);
int error_kind_http_status(ErrorKind kind);
int error_kind_exit_status(ErrorKind kind);

/* The kind that a JSON code names; ERROR_FAILED for an unknown one. */
ErrorKind error_kind_from_code(const char *code);

/* Sets the error and returns -errnum. errnum 0 picks one that fits the kind (ENOENT, EEXIST, …). An
 * error that is already set is replaced. */
int error_set(Error *error, ErrorKind kind, int errnum, const char *format, ...) PRINTF_LIKE(4, 5);

/* Like error_set, but appends ": " and strerror(errnum), and picks the kind from errnum (ENOENT →
 * NOT_FOUND, ENOSPC/EDQUOT → NO_SPACE, EACCES/EPERM → PERMISSION, ENOMEM → NO_MEMORY, ETIMEDOUT →
 * TIMEOUT, ECANCELED → CANCELLED, else FAILED). */
int error_set_errno(Error *error, int errnum, const char *format, ...) PRINTF_LIKE(3, 4);

/* Sets the hint, which tells what to do. */
void error_set_hint(Error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "context: " in front of the message. Returns -error->errnum, so that it can end a function.
 * The error must be set (with error == NULL it returns -EIO). */
int error_add_context(Error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* Moves `from` to `to` (which is cleared first) and returns -errnum. */
int error_move(Error *to, Error *from);

/* For work that goes on after a failure: adds this one to those before, "first; second". The first
 * one's kind and errno stay, and its hint. Clears `failure`, which must be set. */
void error_join(Error *all, Error *failure);

/* Frees what it holds and makes it ERROR_INIT again. */
void error_clear(Error *error);
#define _cleanup_error_ _cleanup_(error_clear)

/* The message, or "unknown error"; never NULL. To the linker it has a name of its own: libext2fs
 * would call it in the place of what libcom_err has by this one. */
const char *error_message(const Error *error) __asm__("ramet_error_message");

#endif
