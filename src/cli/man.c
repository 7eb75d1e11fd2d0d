/* SPDX-License-Identifier: Apache-2.0 */
/* Man pages in the man(7) macros, from the table of verbs. */

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "cli/help.h"
#include "cli/man.h"
#include "proto/daemon_options.h"

/* Text with what roff would take as its own escaped. */
static void print_text(FILE *stream, const char *text, size_t size) {
    bool line_start = true;
    for (size_t i = 0; i < size; i++) {
        if (line_start && (text[i] == '.' || text[i] == '\''))
            (void)fputs("\\&", stream);
        if (text[i] == '\\')
            (void)fputs("\\e", stream);
        else if (text[i] == '-')
            (void)fputs("\\-", stream);
        else
            (void)fputc(text[i], stream);
        line_start = text[i] == '\n';
    }
}

static void print_string(FILE *stream, const char *text) {
    print_text(stream, text, strlen(text));
}

/* Paragraphs; an indented line stands as it is. */
static void print_paragraphs(FILE *stream, const char *text) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n == 0) {
            (void)fputs(".PP\n", stream);
        } else if (*text == ' ') {
            (void)fputs(".RS 4\n.nf\n", stream);
            print_text(stream, text + strspn(text, " "), n - strspn(text, " "));
            (void)fputs("\n.fi\n.RE\n", stream);
        } else {
            print_text(stream, text, n);
            (void)fputc('\n', stream);
        }
        text += n + (text[n] == '\n');
    }
}

static void print_head_of(FILE *stream, const char *page, const char *section,
                          const char *summary) {
    (void)fputs(".TH ", stream);
    for (const char *p = page; *p; p++)
        (void)fputc(*p == ' ' ? '-' : toupper((unsigned char)*p), stream);
    (void)fprintf(stream, " %s\n.SH NAME\n", section);
    for (const char *p = page; *p; p++)
        (void)fputs(*p == ' ' || *p == '-' ? "\\-" : (char[]){*p, 0}, stream);
    (void)fputs(" \\- ", stream);
    print_string(stream, summary);
    (void)fputc('\n', stream);
}

static void print_head(FILE *stream, const char *page, const char *summary) {
    print_head_of(stream, page, "1 \"\" \"ramet " RAMET_VERSION "\" \"User Commands\"", summary);
}

static void print_tagged(FILE *stream, const char *tag, const char *text) {
    (void)fputs(".TP\n.B ", stream);
    print_string(stream, tag);
    (void)fputc('\n', stream);
    print_string(stream, text);
    (void)fputc('\n', stream);
}

static void print_option(void *data, const VerbOption *option) {
    FILE *stream = data;
    const char *value = verb_option_value(option);
    _cleanup_free_ char *text = help_option_text(option);
    (void)fputs(".TP\n", stream);
    if (option->letter)
        (void)fprintf(stream, "\\fB\\-%c\\fR, ", option->letter);
    (void)fputs("\\fB\\-\\-", stream);
    print_string(stream, option->name);
    (void)fputs("\\fR", stream);
    if (value) {
        (void)fputs(" \\fI", stream);
        print_string(stream, value);
        (void)fputs("\\fR", stream);
    }
    (void)fputc('\n', stream);
    print_string(stream, text);
    (void)fputs(option->many ? " (several times)\n" : "\n", stream);
}

static void print_exit_statuses(FILE *stream, const Verb *verb) {
    (void)fputs(".SH EXIT STATUS\n", stream);
    for (const char *const *row = help_exit_statuses; *row; row++) {
        size_t n = strcspn(*row, "\t");
        _cleanup_free_ char *status = str_format("%.*s", (int)n, *row);

        print_tagged(stream, status, *row + n + 1);
    }
    if (verb && verb->flags & VERB_COMMAND_STATUS)
        (void)fputs(
            ".PP\nWhen a command's status is waited for (and for run without --detach), the "
            "exit status is the command's own (128 + N when signal N ended it), and 125 "
            "when ramet itself failed, whatever the reason. A wrong command line is 2 "
            "always.\n",
            stream);
}

static void print_see_also(FILE *stream, const char *own) {
    const char *separator = "";
    (void)fputs(".SH SEE ALSO\n", stream);
    if (own)
        (void)fputs(".BR ramet (1)\n", stream);
    for (size_t i = 0; !own && i < n_verbs; i++) {
        _cleanup_free_ char *file = man_file_name(verbs[i]->name);
        file[strlen(file) - 2] = '\0';
        (void)fprintf(stream, "%s.BR ", separator);
        print_string(stream, file);
        (void)fputs(i + 1 < n_verbs ? " (1),\n" : " (1)\n", stream);
    }
}

void man_print_verb(FILE *stream, const Verb *verb) {
    _cleanup_free_ char *page = str_format("ramet-%s", verb->name);
    _cleanup_free_ char *usage = verb_usage(verb), *aliases = help_verb_aliases(verb);
    print_head(stream, page, verb->summary);
    (void)fputs(".SH SYNOPSIS\n", stream);
    print_string(stream, usage);
    (void)fputs("\n.SH DESCRIPTION\n", stream);
    print_paragraphs(stream, verb->description);
    if (aliases) {
        (void)fputs(".PP\nOther names: ", stream);
        print_string(stream, aliases);
        (void)fputs(".\n", stream);
    }
    if (verb->operands && verb->operands->name)
        (void)fputs(".SH OPERANDS\n", stream);
    for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++)
        print_tagged(stream, operand->name, operand->help);
    (void)fputs(".SH OPTIONS\n", stream);
    verb_each_option(verb, print_option, stream);
    print_exit_statuses(stream, verb);
    if (verb->examples) {
        (void)fputs(".SH EXAMPLES\n.nf\n", stream);
        print_string(stream, verb->examples);
        (void)fputs("\n.fi\n", stream);
    }
    print_see_also(stream, verb->name);
}

void man_print_group(FILE *stream, const VerbGroup *group) {
    _cleanup_free_ char *page = str_format("ramet-%s", group->name);
    size_t n = strlen(group->name);
    print_head(stream, page, group->summary);
    (void)fputs(".SH SYNOPSIS\n", stream);
    (void)fprintf(stream, "ramet %s VERB\n.SH DESCRIPTION\n", group->name);
    (void)fputs("Each verb has a page of its own.\n", stream);
    for (size_t i = 0; i < n_verbs; i++)
        if (strncmp(verbs[i]->name, group->name, n) == 0 && verbs[i]->name[n] == ' ')
            print_tagged(stream, verbs[i]->name, verbs[i]->summary);
    print_see_also(stream, group->name);
}

static const struct {
    const char *name;
    const char *text;
} variables[] = {
    {"RAMET_HOME", "where everything is kept: images, VMs, the store. Without it "
                   "/var/lib/ramet for root, else $XDG_DATA_HOME/ramet or ~/.local/share/ramet."},
    {"RAMET_SOCKET", "the socket of the daemon. Without it ramet.sock in $RAMET_HOME when that is "
                     "set, else /run/ramet/ramet.sock or $XDG_RUNTIME_DIR/ramet/ramet.sock."},
    {"RAMET_QEMU", "another QEMU binary; the daemon reads it when it starts."},
    {"RAMET_ACCEL", "auto (default), kvm or tcg; the daemon reads it when it starts."},
    {"NO_COLOR", "when set, no colours."},
};

void man_print_all(FILE *stream) {
    print_head(stream, "ramet", "start Linux VMs at once");
    (void)fputs(".SH SYNOPSIS\nramet VERB [OPTION...]\n.SH DESCRIPTION\n", stream);
    print_paragraphs(
        stream,
        "Ramet makes Linux virtual machines appear at once. It builds disks and kernels once, "
        "freezes them, shares them, and copies only where a VM writes.\n"
        "\n"
        "Each verb is one request to rametd, the daemon, which is started when none answers. "
        "Answers go to standard output; messages and progress go to standard error, progress "
        "only on a terminal. With --json standard output carries one JSON document and nothing "
        "else, an error included: {\"error\":{\"code\",\"message\",\"hint\"}}.\n"
        "\n"
        "Names are [a-z0-9][a-z0-9_.-]{0,62}. A SIZE is bytes, or a number with K, M, G or T. A "
        "VM is named by its name, its id, or the first digits of its id.");
    (void)fputs(".SH VERBS\n", stream);
    for (size_t i = 0; i < n_verbs; i++)
        print_tagged(stream, verbs[i]->name, verbs[i]->summary);
    print_exit_statuses(stream, NULL);
    (void)fputs(".TP\n.B 125\nfrom run, exec and shell with a command: ramet itself failed\n.SH "
                "ENVIRONMENT\n",
                stream);
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        print_tagged(stream, variables[i].name, variables[i].text);
    print_see_also(stream, NULL);
}

static const char daemon_text[] =
    "rametd keeps images and VMs and serves the API of ramet over HTTP on a unix socket. It is "
    "seldom started by hand: ramet starts it when none answers, and systemd does by rametd.socket "
    "or rametd.service. `ramet daemon run` runs it in the foreground.\n"
    "\n"
    "One daemon serves one home. It may be ended and started again at any time, also by kill -9: "
    "VMs do not end with it, each has a parent of its own, ramet-keeper. The next start finds them "
    "again.\n"
    "\n"
    "TERM, INT, and a client's `ramet daemon stop` end it in good order: it takes no more "
    "requests, gives those that run 30 seconds, cancels them, and ends.\n"
    "\n"
    "The API is for the daemon's own user and root, and under a root daemon for the group ramet. "
    "GET /v1/openapi.json describes it; docs/api.md of the source shows it with curl.";

static const char daemon_files[] =
    ".TP\n.B config.json\nsettings, if there are any; a variable of the environment goes before "
    "them: uid_range, hot_memory_bytes, pool_memory_bytes, ready_timeout_s, silence_timeout_s, "
    "boot_cache, adopt, zygote\n"
    ".TP\n.B ramet.db\nthe store: SQLite\n"
    ".TP\n.B ramet.sock\nthe API, unless \\-\\-socket says otherwise\n"
    ".TP\n.BR images ,\\  kernels ,\\  initramfs ,\\  memory ,\\  snapshots ,\\  layers\n"
    "what is frozen and shared\n"
    ".TP\n.B vms\nof each VM: its disk, its console.log and when its lines came (console.times), "
    "and the logs of QEMU and keeper\n"
    ".TP\n.B rametd.log\nthe daemon's log when ramet started it\n";

static void print_words(FILE *stream, const DaemonWord *words, size_t n_words, const char *prefix) {
    for (size_t i = 0; i < n_words && words[i].name; i++) {
        _cleanup_free_ char *tag =
            str_format("%s%s%s%s", prefix, words[i].name, words[i].value ? " " : "",
                       words[i].value ? words[i].value : "");

        print_tagged(stream, tag, words[i].help);
    }
}

void man_print_daemon(FILE *stream) {
    print_head_of(stream, "rametd", "8 \"\" \"ramet " RAMET_VERSION "\" \"System Administration\"",
                  "the daemon that keeps VMs");
    (void)fputs(".SH SYNOPSIS\nrametd [OPTION...]\n.SH DESCRIPTION\n", stream);
    print_paragraphs(stream, daemon_text);
    (void)fputs(".SH OPTIONS\n", stream);
    print_words(stream, daemon_options, DAEMON_OPTION_COUNT, "--");
    (void)fputs(".SH ENVIRONMENT\n", stream);
    print_words(stream, daemon_variables, SIZE_MAX, "");
    (void)fputs(".SH FILES\nIn the home:\n", stream);
    (void)fputs(daemon_files, stream);
    (void)fputs(".SH EXIT STATUS\n", stream);
    print_tagged(stream, "0", "it was asked to end");
    print_tagged(stream, "1", "it could not start, or failed");
    print_tagged(stream, "2", "the command line is wrong");
    print_tagged(stream, "4", "another daemon serves this home");
    (void)fputs(".SH SEE ALSO\n.BR ramet (1),\n.BR ramet\\-daemon (1),\n.BR systemd.unit (5)\n",
                stream);
}

char *man_file_name(const char *verb) {
    char *name = str_format("ramet-%s.1", verb);
    for (char *p = name; *p; p++)
        if (*p == ' ')
            *p = '-';
    return name;
}
