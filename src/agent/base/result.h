/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_RESULT_H
#define RAMET_AGENT_BASE_RESULT_H

/* By itself, apart from util.h, for ramet-tar: that has base/ as well. */

#include <stdbool.h>
#include <stdint.h>

/* How a request ended. `error` is a positive errno, 0 for success; `text` says what failed, or why
 * nothing was exclusive. */
typedef struct Result {
    int error;
    bool exclusive; /* nobody but the agent has run (exclusive_cpu.h) */
    bool ssh_key;   /* the host key that was given is in use */
    bool itself;    /* the VM is itself from now on */
    uint64_t value; /* 0: none */
    char text[512];
    char note[300]; /* of a success: what the user should know of it, or "" */
} Result;

/* Fills the result with "<formatted>: <strerror(error)>", keeps the first failure; returns -error.
 */
int result_fail(Result *result, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A success of which the user should know something; the first is kept. */
void result_note(Result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same as result_fail without the text of the error number. */
int result_say(Result *result, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
