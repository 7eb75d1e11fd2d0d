/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_CHECK_H
#define RAMET_TESTS_CHECK_H

/* Assertions for test programs. They print what was expected and what was found, and end the test.
 *
 * A test program is a list of static functions and a main that runs them with RUN; it prints one
 * line for each and exits with 0 when all passed, 77 (skip) through SKIP with a reason. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__, \
                    #condition);                                                       \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

#define CHECK_INT(actual, expected)                                                       \
    do {                                                                                  \
        long long check_a_ = (long long)(actual), check_e_ = (long long)(expected);       \
        if (check_a_ != check_e_) {                                                       \
            fprintf(stderr, "%s:%d: %s: %s is %lld, expected %lld\n", __FILE__, __LINE__, \
                    __func__, #actual, check_a_, check_e_);                               \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

#define CHECK_STR(actual, expected)                                                           \
    do {                                                                                      \
        const char *check_a_ = (actual), *check_e_ = (expected);                              \
        if (!check_a_ || strcmp(check_a_, check_e_) != 0) {                                   \
            fprintf(stderr, "%s:%d: %s: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, \
                    __func__, #actual, check_a_ ? check_a_ : "(null)", check_e_);             \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#define CHECK_CONTAINS(text, part)                                                             \
    do {                                                                                       \
        const char *check_t_ = (text), *check_p_ = (part);                                     \
        if (!check_t_ || !strstr(check_t_, check_p_)) {                                        \
            fprintf(stderr, "%s:%d: %s: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, \
                    __func__, check_t_ ? check_t_ : "(null)", check_p_);                       \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define SKIP(reason)                                \
    do {                                            \
        fprintf(stderr, "skipped: %s\n", (reason)); \
        exit(77);                                   \
    } while (0)

/* True under the thread sanitizer, which makes vfork(2) a fork: a child cannot tell its parent then
 * why it did not start. Tests of that are left out there; the other builds run them. */
#ifdef __SANITIZE_THREAD__
#define VFORK_IS_FORK true
#else
#define VFORK_IS_FORK false
#endif

#define RUN(function)                 \
    do {                              \
        function();                   \
        printf("ok %s\n", #function); \
        fflush(stdout);               \
    } while (0)

#endif
