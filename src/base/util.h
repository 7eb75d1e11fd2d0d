/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_UTIL_H
#define RAMET_BASE_UTIL_H

/* Cleanup attributes and other small helpers that every file may use.
 *
 * A destructor takes NULL (or -1 for a descriptor) and does nothing then. Ownership moves with
 * TAKE_PTR and TAKE_FD: the variable gives up what it held, so its cleanup has nothing left to do.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define WARN_UNUSED __attribute__((warn_unused_result))

/* Runs `function(&variable)` when the variable leaves its scope. */
#define _cleanup_(function) __attribute__((cleanup(function)))

/* Defines `function_p(Type *p)`, the form that _cleanup_ calls, for a destructor of one pointer. */
#define DEFINE_CLEANUP(type, function)                                                        \
    static inline void function##_p(type *pointer) { /* NOLINT(bugprone-macro-parentheses) */ \
        function(*pointer);                                                                   \
    }                                                                                         \
    struct ramet_swallow_semicolon

static inline void free_p(void *pointer) {
    free(*(void **)pointer);
}
#define _cleanup_free_ _cleanup_(free_p)

static inline void fclose_p(FILE **file) {
    if (*file)
        (void)fclose(*file);
}
#define _cleanup_fclose_ _cleanup_(fclose_p)

#define TAKE_PTR(pointer)                                \
    ({                                                   \
        __typeof__(pointer) *take_pointer_ = &(pointer); \
        __typeof__(pointer) taken_ = *take_pointer_;     \
        *take_pointer_ = NULL;                           \
        taken_;                                          \
    })

#define TAKE_FD(fd)             \
    ({                          \
        int *take_fd_ = &(fd);  \
        int taken_ = *take_fd_; \
        *take_fd_ = -1;         \
        taken_;                 \
    })

#define MIN_OF(a, b)                       \
    ({                                     \
        __typeof__(a) min_a_ = (a);        \
        __typeof__(b) min_b_ = (b);        \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })

#define MAX_OF(a, b)                       \
    ({                                     \
        __typeof__(a) max_a_ = (a);        \
        __typeof__(b) max_b_ = (b);        \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })

/* Are all bytes zero? Equal to themselves moved by one and zero in the first means zero everywhere;
 * memcmp is vectorised, and ends at the first difference. */
static inline bool bytes_are_zero(const void *data, size_t size) {
    const uint8_t *bytes = data;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#endif
