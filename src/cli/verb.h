/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_VERB_H
#define RAMET_CLI_VERB_H

/* What a verb is: one declarative row, defined in its own file (verb_NAME.c) and listed in
 * verbs.c. The parser, the checks, `--help`, the man pages and the completions are made from these
 * rows, so a new verb is one new file and one new line.
 *
 * Texts (help, description) are plain: paragraphs are separated by an empty line, an indented line
 * stands as it is. */

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

/* What an argument must look like; also what completes it. */
typedef enum ArgKind {
    ARG_FLAG, /* an option without a value */
    ARG_TEXT,
    ARG_NUMBER,  /* min … max */
    ARG_SIZE,    /* bytes or 512M, 4G */
    ARG_NAME,    /* a new name */
    ARG_ENV,     /* K=V, or K for the caller's own value */
    ARG_FORWARD, /* [IP:]HOST:GUEST[/udp] */
    ARG_CHOICE,  /* one of `choices` */
    ARG_FILE,
    ARG_FOLDER,
    ARG_FILE_OR_STDIN, /* a file, or - */
    ARG_COPY_PATH,     /* a path here, or VM:PATH */
    ARG_RECIPE,        /* busybox, debian, debian:SUITE */
    ARG_IMAGE,         /* an image's name or digest */
    ARG_VM,            /* a VM's name or id */
    ARG_SNAPSHOT,      /* a snapshot's name or id */
    ARG_FORK_SOURCE,   /* that of a snapshot or of a VM */
    ARG_POOL_SOURCE,   /* a snapshot's name or id, or an image's name */
    ARG_COMMAND,       /* a program and its arguments: the rest of the line */
} ArgKind;

typedef struct VerbOption {
    char letter; /* 0: none */
    const char *name;
    ArgKind kind;
    const char *value; /* placeholder in the help; NULL: by kind */
    const char *help;
    const char *choices; /* ARG_CHOICE: "a|b" */
    uint64_t min, max;   /* ARG_NUMBER */
    bool many;           /* may come several times */
    bool required;
} VerbOption;

typedef struct VerbOperand {
    const char *name;
    ArgKind kind;
    const char *help;
    unsigned min, max; /* how many of them; MANY: no limit */
} VerbOperand;

#define MANY UINT_MAX

typedef struct Args Args;

typedef enum VerbFlags {
    VERB_JSON = 1,           /* has --json */
    VERB_COMMAND_STATUS = 2, /* a given command's status is the exit status, and 125 our failure */
} VerbFlags;

typedef struct Verb {
    const char *name;            /* "run", "image build" */
    const char *summary;         /* a short phrase */
    const VerbOption *options;   /* NULL, or ends with a NULL name */
    const VerbOperand *operands; /* NULL, or ends with a NULL name */
    const char *description;     /* for the man page */
    const char *examples;        /* lines, or NULL */
    unsigned flags;              /* VerbFlags */

    /* Does it. Returns the exit status, or a negative errno with the error set. */
    int (*run)(const Args *args, Error *error);
} Verb;

/* A word that only groups verbs: "image", "daemon". */
typedef struct VerbGroup {
    const char *name;
    const char *summary;
} VerbGroup;

/* All verbs, sorted by name; and the groups. */
extern const Verb *const verbs[];
extern const size_t n_verbs;
extern const VerbGroup verb_groups[];
extern const size_t n_verb_groups;

/* Options that every verb has (ends with a NULL name), and --json. */
extern const VerbOption verb_common_options[];
extern const VerbOption verb_json_option;

/* By name; NULL when there is none. */
const Verb *verb_find(const char *name);
const VerbGroup *verb_group_find(const char *name);

/* Calls `each` for all options of a verb, the common ones too. */
typedef void (*VerbOptionHandler)(void *data, const VerbOption *option);
void verb_each_option(const Verb *verb, VerbOptionHandler each, void *data);

/* "SIZE", "NAME", … as the help shows the option's value; NULL for a flag. */
const char *verb_option_value(const VerbOption *option);

/* "[-i] [--memory SIZE] IMAGE [CMD...]". The caller owns it. */
char *verb_usage(const Verb *verb);

#endif
