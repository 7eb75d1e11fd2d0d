/* SPDX-License-Identifier: Apache-2.0 */
/* ramet: finds the verb, parses what follows, runs it, and turns its error into a message and an
 * exit status. */

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <string.h>

#include "base/fd.h"
#include "cli/args.h"
#include "cli/complete.h"
#include "cli/generate.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/unknown_verb.h"
#include "cli/verb_rows.h"
#include "cli/verbs.h"

#define STATUS_COMMAND_FAILED 125
#define STATUS_SIGPIPE 141

/* Was --json given? Asked when parsing failed, so by looking at the words. */
static bool wants_json(char **words) {
    for (; *words && strcmp(*words, "--") != 0; words++)
        if (strcmp(*words, "--json") == 0)
            return true;
    return false;
}

static int report(Error *error, bool json) {
    _cleanup_json_ json_t *document = json ? json_from_error(error) : NULL;
    output_error(error);
    if (json)
        (void)output_json(document, NULL);
    return error_kind_exit_status(error->kind ? error->kind : ERROR_FAILED);
}

/* Is the exit status a command's, so that our failures need one of their own? `run` in the
 * foreground runs one even when none is named; a command of `run -d` does not count. */
static bool has_command(const Args *args) {
    if (!(args->verb->flags & VERB_COMMAND_STATUS) || args_flag(args, "detach"))
        return false;
    return args->n_command > 0 || args->verb == &verb_shell || args->verb == &verb_run;
}

static int run_verb(const Verb *verb, char **words) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_(args_free) Args args = {0};
    int r = args_parse(verb, words, &args, &error), status;
    if (r < 0)
        return report(&error, wants_json(words));
    if (args.help) {
        help_print_verb(stdout, verb);
        return 0;
    }
    if (verb->check && verb->check(&args, &error) < 0)
        return report(&error, args.json);
    r = verb->run(&args, &error);
    if (r >= 0)
        return r;
    if (r == -EPIPE &&
        error.kind == ERROR_NONE) /* nobody reads what we print: end quietly, as SIGPIPE does */
        return STATUS_SIGPIPE;
    status = report(&error, args.json);
    return has_command(&args) ? STATUS_COMMAND_FAILED : status;
}

static int unknown_verb(const char *name, char **words) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *advice = suggest_verb(name);
    error_set(&error, ERROR_USAGE, EINVAL, "there is no verb \"%s\"", name);
    error_set_hint(&error, "%s", advice ? advice : "see ramet --help");
    return report(&error, wants_json(words));
}

static bool is_help(const char *word) {
    return !word || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "help") == 0;
}

/* "lab snapshot rm" is the verb "lab snapshot-rm". */
static const Verb *find_of_two_words(const VerbGroup *group, char **words) {
    _cleanup_free_ char *name =
        words[0] && words[1] ? str_format("%s %s-%s", group->name, words[0], words[1]) : NULL;
    return name ? verb_find(name) : NULL;
}

static int run_group(const VerbGroup *group, char **words) {
    _cleanup_free_ char *name = words[0] ? str_format("%s %s", group->name, words[0]) : NULL;
    const Verb *verb = find_of_two_words(group, words);
    if (verb)
        return run_verb(verb, words + 2);
    verb = name ? verb_find(name) : NULL;
    if (verb)
        return run_verb(verb, words + 1);
    if (!is_help(words[0]))
        return unknown_verb(name, words);
    help_print_group(words[0] ? stdout : stderr, group);
    return words[0] ? 0 : error_kind_exit_status(ERROR_USAGE);
}

/* `ramet help run` is `ramet run --help`. */
static int print_help(char **words) {
    _cleanup_free_ char *name =
        words[0] && words[1] ? str_format("%s %s", words[0], words[1]) : NULL;
    const Verb *verb = name ? verb_find(name) : words[0] ? verb_find(words[0]) : NULL;
    const VerbGroup *group = words[0] ? verb_group_find(words[0]) : NULL;
    if (verb)
        help_print_verb(stdout, verb);
    else if (group)
        help_print_group(stdout, group);
    else if (words[0])
        return unknown_verb(words[0], words);
    else
        help_print_all(stdout);
    return 0;
}

static int generate(char **words) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (!words[0] || !words[1])
        return 2;
    return generate_files(words[0], words[1], &error) < 0 ? report(&error, false) : 0;
}

int main(int argc, char **argv) {
    char **words = argv + 1;
    const VerbGroup *group;
    const Verb *verb;
    if (fd_open_standard() < 0)
        return STATUS_COMMAND_FAILED;
    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_DFL);
    if (!words[0]) {
        help_print_all(stderr);
        return error_kind_exit_status(ERROR_USAGE);
    }
    if (is_help(words[0]))
        return print_help(words + 1);
    if (strcmp(words[0], "--version") == 0 || strcmp(words[0], "-V") == 0 ||
        strcmp(words[0], "-v") == 0)
        return puts("ramet " RAMET_VERSION) < 0;
    if (strcmp(words[0], "--generate") == 0)
        return generate(words + 1);
    if (strcmp(words[0], "--complete") == 0)
        return complete_print(words[1]);
    group = verb_group_find(words[0]);
    if (group)
        return run_group(group, words + 1);
    verb = verb_find(words[0]);
    return verb ? run_verb(verb, words + 1) : unknown_verb(words[0], words + 1);
}
