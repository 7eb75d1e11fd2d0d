/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/str.h"

const char *const help_exit_statuses[] = {
    "0\tsuccess",
    "1\tfailure",
    "2\tthe command line is wrong",
    "3\tno such image, VM or daemon",
    "4\tconflict: the name is taken, the state is wrong, it is still in use",
    "5\tthe guest did not get ready",
    NULL,
};

#define HELP_COLUMN 30

static void print_pair(FILE *stream, const char *left, const char *right) {
    if (strlen(left) < HELP_COLUMN - 2)
        (void)fprintf(stream, "  %-*s%s\n", HELP_COLUMN - 2, left, right);
    else
        (void)fprintf(stream, "  %s\n%*s%s\n", left, HELP_COLUMN, "", right);
}

static void print_option(void *data, const VerbOption *option) {
    const char *value = verb_option_value(option);
    _cleanup_free_ char *letter = option->letter ? str_format("-%c, ", option->letter) : NULL;
    _cleanup_free_ char *left = str_format("%s--%s%s%s", letter ? letter : "    ", option->name,
                                           value ? " " : "", value ? value : "");

    print_pair(data, left, option->help);
}

static bool in_group(const Verb *verb, const VerbGroup *group) {
    size_t n = strlen(group->name);

    return strncmp(verb->name, group->name, n) == 0 && verb->name[n] == ' ';
}

void help_print_group(FILE *stream, const VerbGroup *group) {
    (void)fprintf(stream, "Usage: ramet %s VERB\n\n%s\n\nVerbs:\n", group->name, group->summary);
    for (size_t i = 0; i < n_verbs; i++)
        if (in_group(verbs[i], group))
            print_pair(stream, verbs[i]->name, verbs[i]->summary);
    (void)fprintf(stream, "\nMore: ramet %s VERB --help, man ramet-%s\n", group->name, group->name);
}

void help_print_all(FILE *stream) {
    (void)fputs("Usage: ramet VERB [OPTION...]\n\nStarts Linux VMs at once.\n\nVerbs:\n", stream);
    for (size_t i = 0; i < n_verbs; i++)
        print_pair(stream, verbs[i]->name, verbs[i]->summary);
    (void)fputs("\nOptions:\n"
                "  -h, --help                  show this help, or a verb's\n"
                "      --version               show the version\n"
                "\nBegin with: ramet run busybox -- uname -a\n"
                "More: ramet VERB --help, man ramet\n",
                stream);
}

static void print_examples(FILE *stream, const char *examples) {
    (void)fputs("\nExamples:\n", stream);
    while (*examples) {
        int n = (int)strcspn(examples, "\n");

        (void)fprintf(stream, "  %.*s\n", n, examples);
        examples += n + (examples[n] == '\n');
    }
}

void help_print_verb(FILE *stream, const Verb *verb) {
    _cleanup_free_ char *usage = verb_usage(verb);

    (void)fprintf(stream, "Usage: %s\n\n%s\n", usage, verb->summary);
    if (verb->operands && verb->operands->name)
        (void)fputs("\nOperands:\n", stream);
    for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++)
        print_pair(stream, operand->name, operand->help);
    (void)fputs("\nOptions:\n", stream);
    verb_each_option(verb, print_option, stream);
    if (verb->examples)
        print_examples(stream, verb->examples);
}

/* ---- --generate ---- */

typedef void (*Printer)(FILE *stream);

static int write_file(const char *folder, const char *name, void (*print)(FILE *, const void *),
                      const void *what, Error *error) {
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_fclose_ FILE *stream = fopen(path, "we");

    if (!stream)
        return error_set_errno(error, errno, "cannot write %s", path);
    print(stream, what);
    if (fflush(stream) != 0 || ferror(stream))
        return error_set_errno(error, errno ? errno : EIO, "cannot write %s", path);
    return 0;
}

static void print_man_all(FILE *stream, const void *what) {
    man_print_all(stream);
}

static void print_man_group(FILE *stream, const void *what) {
    man_print_group(stream, what);
}

static void print_man_verb(FILE *stream, const void *what) {
    man_print_verb(stream, what);
}

static void print_completion(FILE *stream, const void *what) {
    (*(const Printer *)what)(stream);
}

char *man_file_name(const char *verb) {
    char *name = str_format("ramet-%s.1", verb);

    for (char *p = name; *p; p++)
        if (*p == ' ')
            *p = '-';
    return name;
}

static int generate_man(const char *folder, Error *error) {
    int r = write_file(folder, "ramet.1", print_man_all, NULL, error);

    for (size_t i = 0; r == 0 && i < n_verb_groups; i++) {
        _cleanup_free_ char *name = man_file_name(verb_groups[i].name);

        r = write_file(folder, name, print_man_group, &verb_groups[i], error);
    }
    for (size_t i = 0; r == 0 && i < n_verbs; i++) {
        _cleanup_free_ char *name = man_file_name(verbs[i]->name);

        r = write_file(folder, name, print_man_verb, verbs[i], error);
    }
    return r;
}

static int generate_into(const char *what, const char *folder, Error *error) {
    static const struct {
        const char *what;
        const char *file;
        Printer print;
    } completions[] = {{"bash", "ramet", completion_print_bash},
                       {"zsh", "_ramet", completion_print_zsh},
                       {"fish", "ramet.fish", completion_print_fish}};

    if (str_equal(what, "man"))
        return generate_man(folder, error);
    for (size_t i = 0; i < ARRAY_SIZE(completions); i++)
        if (str_equal(what, completions[i].what))
            return write_file(folder, completions[i].file, print_completion, &completions[i].print,
                              error);
    return error_set(error, ERROR_USAGE, EINVAL, "--generate makes man, bash, zsh or fish");
}

int help_generate(const char *what, const char *folder, Error *error) {
    int r = path_make_folders(folder, 0755);

    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", folder);
    r = generate_into(what, folder, error);
    if (r == 0) /* a build compares the folder's own time */
        (void)utimensat(AT_FDCWD, folder, NULL, 0);
    return r;
}
