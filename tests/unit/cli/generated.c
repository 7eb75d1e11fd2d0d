/* SPDX-License-Identifier: Apache-2.0 */
/* The table is sound, and what is made from it is complete and can be read by who reads it. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/process/spawn_run.h"
#include "cli/generate.h"
#include "cli/help.h"
#include "cli/man.h"
#include "cli/verbs.h"
#include "proto/daemon_options.h"
#include "unit/base/scratch.h"

static void test_sorted(void) {
    for (size_t i = 0; i + 1 < n_verbs; i++)
        CHECK(strcmp(verbs[i]->name, verbs[i + 1]->name) < 0);
    for (size_t i = 0; i + 1 < n_verb_groups; i++)
        CHECK(strcmp(verb_groups[i].name, verb_groups[i + 1].name) < 0);
}

typedef struct Seen {
    char letters[64];
    StrBuf names;
} Seen;

static void check_option(void *data, const VerbOption *option) {
    Seen *seen = data;
    _cleanup_free_ char *marked = str_format(" %s ", option->name);
    CHECK(option->help && option->help[0]);
    CHECK(!seen->names.data || !strstr(seen->names.data, marked));
    strbuf_add_text(&seen->names, marked);
    if (option->letter) {
        CHECK(!strchr(seen->letters, option->letter));
        seen->letters[strlen(seen->letters)] = option->letter;
    }
    CHECK((option->kind == ARG_CHOICE) == (option->choices != NULL));
}

/* Nothing has two meanings, and the second word of an alias is looked for in a group. */
static void check_name(void *data, const char *name, const Verb *verb) {
    const char *space = strchr(name, ' ');
    _cleanup_free_ char *group = space ? str_format("%.*s", (int)(space - name), name) : NULL;
    CHECK(verb_find(name) == verb);
    CHECK(!verb_group_find(name));
    CHECK(!group || verb_group_find(group));
}

static void test_names(void) {
    verb_each_name(check_name, NULL);
    CHECK(verb_find("images") == verb_find("image ls"));
    CHECK(!verb_find("image"));
    CHECK(!verb_find(""));
}

static void test_rows(void) {
    for (size_t i = 0; i < n_verbs; i++) {
        const Verb *verb = verbs[i];
        const char *space = strchr(verb->name, ' ');
        _cleanup_free_ char *group =
            space ? str_format("%.*s", (int)(space - verb->name), verb->name) : NULL;
        Seen seen = {0};
        CHECK(verb->run && verb->summary && verb->description);
        CHECK(!group || verb_group_find(group));
        verb_each_option(verb, check_option, &seen);
        strbuf_free(&seen.names);
        for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++)
            CHECK(operand->help && operand->max >= operand->min && operand->max > 0);
    }
}

static char *help_of(const Verb *verb) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    CHECK(stream);
    help_print_verb(stream, verb);
    CHECK_INT(fclose(stream), 0);
    return text;
}

static void test_help(void) {
    for (size_t i = 0; i < n_verbs; i++) {
        _cleanup_free_ char *help = help_of(verbs[i]);
        CHECK_CONTAINS(help, verbs[i]->name);
        CHECK_CONTAINS(help, verbs[i]->summary);
        CHECK_INT(strstr(help, "\nAlso: ramet ") != NULL, verbs[i]->aliases != NULL);
        CHECK_CONTAINS(help, "--help");
    }
}

static char *read_file(const char *folder, const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    char *text = NULL;
    CHECK_INT(fd_read_file_at(AT_FDCWD, path, MIB, &text, NULL), 0);
    return text;
}

/* Runs a reader when it is installed; what it says on either output must be nothing. */
static void reads(const char *program, const char *option, const char *option2, const char *path) {
    _cleanup_free_ char *found = path_find_program(program);
    char *argv[] = {(char *)program, (char *)option, (char *)option2, (char *)path, NULL};
    char *short_argv[] = {(char *)program, (char *)option, (char *)path, NULL};
    SpawnOptions options = {.program = program, .argv = option2 ? argv : short_argv};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    if (!found) {
        printf("%s is not here\n", program);
        return;
    }
    if (spawn_run(&options, 60 * USEC_PER_SEC, -1, &output, &error) < 0)
        fprintf(stderr, "%s %s: %s\n", program, path, error_message(&error));
    CHECK_INT(output.status, 0);
    CHECK_STR(output.err ? output.err : "", "");
}

static void test_man(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    CHECK_INT(generate_files("man", folder, NULL), 0);
    for (size_t i = 0; i < n_verbs; i++) {
        _cleanup_free_ char *name = man_file_name(verbs[i]->name), *page = read_file(folder, name);
        _cleanup_free_ char *path = path_join(folder, name);
        CHECK_CONTAINS(page, ".TH RAMET-");
        CHECK_CONTAINS(page, ".SH EXIT STATUS");
        reads("groff", "-ww", "-mandoc", path);
    }
    for (size_t i = 0; i < n_verb_groups; i++) {
        _cleanup_free_ char *name = man_file_name(verb_groups[i].name);
        _cleanup_free_ char *page = read_file(folder, name);
        CHECK_CONTAINS(page, verb_groups[i].summary);
    }
    _cleanup_free_ char *all = read_file(folder, "ramet.1");
    for (size_t i = 0; i < n_verbs; i++)
        CHECK_CONTAINS(all, verbs[i]->summary);
}

static void test_man_of_daemon(void) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *page = NULL, *path = path_join(folder, "rametd.8");
    CHECK_INT(generate_files("man8", folder, NULL), 0);
    page = read_file(folder, "rametd.8");
    CHECK_CONTAINS(page, ".TH RAMETD 8 ");
    CHECK_CONTAINS(page, "rametd.service");
    for (size_t i = 0; i < DAEMON_OPTION_COUNT; i++)
        CHECK_CONTAINS(page, daemon_options[i].help);
    for (const DaemonWord *word = daemon_variables; word->name; word++)
        CHECK_CONTAINS(page, word->name);
    reads("groff", "-ww", "-mandoc", path);
}

static void test_completions(void) {
    static const struct {
        const char *what, *file;
    } shells[] = {{"bash", "ramet"}, {"zsh", "_ramet"}, {"fish", "ramet.fish"}};

    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        _cleanup_scratch_ char *folder = scratch_new();
        _cleanup_free_ char *path = path_join(folder, shells[i].file), *text = NULL;
        CHECK_INT(generate_files(shells[i].what, folder, NULL), 0);
        text = read_file(folder, shells[i].file);
        CHECK_CONTAINS(text, "--complete vms");
        reads(shells[i].what, "-n", NULL, path);
    }
    _cleanup_scratch_ char *folder = scratch_new();
    CHECK(generate_files("tcsh", folder, NULL) < 0);
}

/* What bash really offers, through the function that it calls. */
static void completes(const char *words, int at, const char *expected) {
    _cleanup_scratch_ char *folder = scratch_new();
    _cleanup_free_ char *script = NULL;
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    CHECK_INT(generate_files("bash", folder, NULL), 0);
    script = str_format("compopt() { :; }; ramet() { echo \"say-$2\"; }; . %s/ramet; "
                        "COMP_WORDS=(%s); COMP_CWORD=%d; _ramet; "
                        "echo \"${COMPREPLY[*]}\"",
                        folder, words, at);
    char *argv[] = {(char *)"bash", (char *)"-c", script, NULL};
    SpawnOptions options = {.program = "bash", .argv = argv};

    CHECK_INT(spawn_run(&options, 60 * USEC_PER_SEC, -1, &output, NULL), 0);
    CHECK_STR(output.out, expected);
}

static void test_bash(void) {
    _cleanup_free_ char *bash = path_find_program("bash");
    if (!bash)
        return;
    completes("ramet im", 1, "images image\n");
    completes("ramet image i", 2, "import inspect\n");
    completes("ramet images --js", 2, "--json\n");
    completes("ramet image list --js", 3, "--json\n");
    completes("ramet delete say-v", 2, "say-vms\n");
    completes("ramet run --netw", 2, "--network\n");
    completes("ramet run --network s", 3, "say-networks\n");
    completes("ramet image build x --from bu", 5, "busybox\n");
    completes("ramet stop say-v", 2, "say-vms\n");
    completes("ramet run say-i", 2, "say-images\n");
    completes("ramet snapshot rm say-s", 3, "say-snapshots\n");
    completes("ramet fork say-", 2, "say-fork-sources\n");
    completes("ramet pool set say-", 3, "say-pool-sources\n");
}

int main(void) {
    RUN(test_sorted);
    RUN(test_names);
    RUN(test_rows);
    RUN(test_help);
    RUN(test_man);
    RUN(test_man_of_daemon);
    RUN(test_completions);
    RUN(test_bash);
    return 0;
}
