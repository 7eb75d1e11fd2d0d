/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <string.h>

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

/* "a|b" as "a, b" with something before each. The caller owns it. */
static char *join_aliases(const char *aliases, const char *before) {
    StrBuf text = {0};
    for (const char *p = aliases; p && *p;) {
        size_t n = strcspn(p, "|");
        strbuf_add_format(&text, "%s%s%.*s", text.size ? ", " : "", before, (int)n, p);
        p += n + (p[n] == '|');
    }
    return strbuf_steal(&text);
}

char *help_verb_aliases(const Verb *verb) {
    return verb->aliases ? join_aliases(verb->aliases, "ramet ") : NULL;
}

char *help_option_text(const VerbOption *option) {
    _cleanup_free_ char *aliases = join_aliases(option->aliases, "--");
    return option->aliases ? str_format("%s (also %s)", option->help, aliases)
                           : str_copy(option->help);
}

static void print_option(void *data, const VerbOption *option) {
    const char *value = verb_option_value(option);
    _cleanup_free_ char *letter = option->letter ? str_format("-%c, ", option->letter) : NULL;
    _cleanup_free_ char *left = str_format("%s--%s%s%s", letter ? letter : "    ", option->name,
                                           value ? " " : "", value ? value : "");
    _cleanup_free_ char *text = help_option_text(option);
    print_pair(data, left, text);
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
    _cleanup_free_ char *usage = verb_usage(verb), *aliases = help_verb_aliases(verb);
    (void)fprintf(stream, "Usage: %s\n\n%s\n", usage, verb->summary);
    if (aliases)
        (void)fprintf(stream, "\nAlso: %s\n", aliases);
    if (verb->operands && verb->operands->name)
        (void)fputs("\nOperands:\n", stream);
    for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++)
        print_pair(stream, operand->name, operand->help);
    (void)fputs("\nOptions:\n", stream);
    verb_each_option(verb, print_option, stream);
    if (verb->examples)
        print_examples(stream, verb->examples);
}
