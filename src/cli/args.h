/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_ARGS_H
#define RAMET_CLI_ARGS_H

/* A parsed command line. Everything in it was checked against the verb's row: a name is a name, a
 * size is a size, before any request is made. */

#include "base/json.h"
#include "base/str.h"
#include "cli/verb.h"

typedef struct ArgValue {
    const VerbOption *option;
    const char *text; /* borrowed; NULL for a flag */
} ArgValue;

struct Args {
    const Verb *verb;
    bool json;
    bool help;
    size_t n_values;
    ArgValue *values; /* owned */
    size_t n_operands;
    const char **operands; /* owned array of borrowed words */
    size_t n_command;
    char **command; /* borrowed from argv, NULL-terminated; NULL when there is none */
};

/* argv holds the words after the verb and ends with NULL. Options may stand before and between
 * operands, up to the first word of a command. ERROR_USAGE tells what is wrong. */
int args_parse(const Verb *verb, char **argv, Args *args, Error *error);
void args_free(Args *args);

/* Was it given? */
bool args_flag(const Args *args, const char *name);

/* The option's last value, or NULL. */
const char *args_text(const Args *args, const char *name);

/* Of ARG_NUMBER and ARG_SIZE: the value, or `otherwise` when it was not given. */
uint64_t args_number(const Args *args, const char *name, uint64_t otherwise);

/* Of ARG_TIME: microseconds since 1970; an age was taken off the present time. False when it was
 * not given. */
bool args_time(const Args *args, const char *name, uint64_t *realtime_usec);
bool args_given(const Args *args, const char *name);

/* The n-th value of an option that may come several times, or NULL. */
const char *args_nth(const Args *args, const char *name, size_t n);

/* {"K":"V", …} of an ARG_LABEL option. */
json_t *args_labels(const Args *args, const char *name);

/* ["K=V", …] of an ARG_ENV option; a K that the caller's environment lacks is left out. */
json_t *args_env(const Args *args, const char *name);

/* [IP:]HOST:GUEST[/udp|/tcp]; IP is IPv4 in dotted form, HOST 0 means any free port. Gives the
 * API's forward object. ERROR_USAGE. */
int forward_parse(const char *text, json_t **forward, Error *error);

/* The colon of "VM:PATH", the operand of `cp`; NULL for a path here. "LAB/VM:PATH" has a slash
 * before it, between two names; a path here that looks so is written with "./". */
const char *copy_path_colon(const char *text);

#endif
