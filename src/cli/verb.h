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
#include "proto/api/api_field.h"

/* What an argument must look like; also what completes it. */
typedef enum ArgKind {
    ARG_FLAG, /* an option without a value */
    ARG_TEXT,
    ARG_TEXT_OR_EMPTY,
    ARG_NUMBER,       /* min … max */
    ARG_SIZE,         /* bytes or 512M, 4G */
    ARG_DURATION,     /* 90s, 1h30m, 7d */
    ARG_TIME,         /* RFC 3339, or how long ago: 10m, 1h30m */
    ARG_NAME,         /* a new name */
    ARG_ENV,          /* K=V, or K for the caller's own value */
    ARG_LABEL,        /* K=V, or K for an empty value */
    ARG_FILTER,       /* KEY=VALUE */
    ARG_FORWARD,      /* [IP:]HOST:GUEST[/udp] */
    ARG_NETWORK,      /* user, none or NAME[,ip=ADDRESS][,mac=MAC] */
    ARG_NETWORK_NAME, /* of a network that was made */
    ARG_CHOICE,       /* one of `choices` */
    ARG_FILE,
    ARG_FOLDER,
    ARG_FILE_OR_STDIN, /* a file, or - */
    ARG_COPY_PATH,     /* a path here, or VM:PATH */
    ARG_RECIPE,        /* busybox, debian, debian:SUITE */
    ARG_IMAGE,         /* an image's name or digest */
    ARG_VM,            /* a VM's name or id */
    ARG_VM_HOST,       /* the same, or NAME.ramet */
    ARG_VM_PATTERN,    /* the same, or a pattern of names with * ? [ ] */
    ARG_SNAPSHOT,      /* a snapshot's name or id */
    ARG_FORK_SOURCE,   /* that of a snapshot or of a VM */
    ARG_POOL_SOURCE,   /* that of a snapshot or of a lab's, or an image's name */
    ARG_LAB,           /* a lab's name or id */
    ARG_LAB_SNAPSHOT,  /* that of a lab's snapshot */
    ARG_LAB_SOURCE,    /* that of a lab's snapshot or of a lab */
    ARG_SEED,          /* a seed's name or digest */
    ARG_VOLUME,        /* a volume's name or id */
    ARG_VOLUME_PLACE,  /* NAME:PATH[:ro] */
    ARG_SEED_PLACE,    /* NAME:PATH[:SIZE] */
    ARG_COMMAND,       /* a program and its arguments: the rest of the line */
} ArgKind;

typedef struct VerbOption {
    char letter; /* 0: none */
    const char *name;
    ArgKind kind;
    const char *value; /* placeholder in the help; NULL: by kind */
    const char *help;
    const char *choices; /* ARG_CHOICE: "a|b" */
    /* Of ARG_NUMBER and ARG_SIZE, there the least that can be meant; ARG_DURATION: max, in ms. Max
     * 0: none. */
    uint64_t min, max;
    bool many; /* may come several times */
    bool required;
    const char *aliases; /* other long names of it, "a|b"; NULL: none */
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
    VERB_FORMAT = 4,         /* has --format (template.h) */
    VERB_COMMAND_STATUS = 2, /* a given command's status is the exit status, and 125 our failure */
} VerbFlags;

typedef struct Verb {
    const char *name;            /* "run", "image build" */
    const char *aliases;         /* other names of it, "a|b c"; NULL: none */
    const char *summary;         /* a short phrase */
    const VerbOption *options;   /* NULL, or ends with a NULL name */
    const VerbOperand *operands; /* NULL, or ends with a NULL name */
    const char *description;     /* for the man page */
    const char *examples;        /* lines, or NULL */
    unsigned flags;              /* VerbFlags */

    /* Refuses, with ERROR_USAGE, options that each are right but do not go together; may be NULL.
     */
    int (*check)(const Args *args, Error *error);

    /* Does it. Returns the exit status, or a negative errno with the error set. */
    int (*run)(const Args *args, Error *error);
} Verb;

/* Options that every verb has (ends with a NULL name), and --json. */
extern const VerbOption verb_common_options[];
extern const VerbOption verb_json_option;
extern const VerbOption verb_format_option;

/* Is `word` (of that length) one of "a|b|c"? list may be NULL. */
bool word_is_in(const char *list, const char *word, size_t length);

/* Calls `each` for all options of a verb, the common ones too. */
typedef void (*VerbOptionHandler)(void *data, const VerbOption *option);
void verb_each_option(const Verb *verb, VerbOptionHandler each, void *data);

/* "SIZE", "NAME", … as the help shows the option's value; NULL for a flag. */
const char *verb_option_value(const VerbOption *option);

/* "[-i] [--memory SIZE] IMAGE [CMD...]". The caller owns it. */
char *verb_usage(const Verb *verb);

#endif
