/* SPDX-License-Identifier: Apache-2.0 */
/* Completions for bash(1), zsh(1) and fish(1), from the table of verbs. Names of VMs and images
 * come from `ramet --complete WHAT` (complete.h), which asks a daemon that runs and never starts
 * one.
 *
 * The bash and zsh functions walk the words: the verb (one or two words) picks its options, the
 * word before the cursor picks the kind of value. */

#include <string.h>

#include "base/str.h"
#include "cli/completion.h"
#include "cli/help.h"

/* What completes a value of this kind: a word that the shell's own part knows. */
static const char *kind_word(ArgKind kind) {
    switch (kind) {
    case ARG_FILE:
    case ARG_FILE_OR_STDIN:
        return "file";
    case ARG_FOLDER:
        return "folder";
    case ARG_IMAGE:
        return "images";
    case ARG_VM:
    case ARG_VM_HOST:
    case ARG_VM_PATTERN:
        return "vms";
    case ARG_SNAPSHOT:
        return "snapshots";
    case ARG_LAB:
        return "labs";
    case ARG_LAB_SNAPSHOT:
        return "lab-snapshots";
    case ARG_LAB_SOURCE:
        return "lab-sources";
    case ARG_FORK_SOURCE:
        return "fork-sources";
    case ARG_POOL_SOURCE:
        return "pool-sources";
    case ARG_COPY_PATH:
        return "copy";
    case ARG_COMMAND:
        return "command";
    case ARG_NETWORK:
        return "networks";
    case ARG_NETWORK_NAME:
        return "network-names";
    case ARG_SEED:
    case ARG_SEED_PLACE:
        return "seeds";
    case ARG_VOLUME:
    case ARG_VOLUME_PLACE:
        return "volumes";
    case ARG_RECIPE:
        return "recipe";
    default:
        return "none";
    }
}

static ArgKind first_operand(const Verb *verb) {
    return verb->operands && verb->operands->name ? verb->operands->kind : ARG_TEXT;
}

static void option_words(void *data, const VerbOption *option) {
    StrBuf *words = data;
    if (option->letter)
        strbuf_add_format(words, "-%c ", option->letter);
    strbuf_add_format(words, "--%s ", option->name);
}

typedef struct NextWords {
    const char *group; /* "": none */
    StrBuf *words;
} NextWords;

static void next_word(void *data, const char *name, const Verb *verb) {
    const NextWords *next = data;
    const char *space = strchr(name, ' ');
    size_t n = strlen(next->group);
    if (n == 0 && !space)
        strbuf_add_format(next->words, "%s ", name);
    else if (n > 0 && space && strncmp(name, next->group, n) == 0 && name[n] == ' ')
        strbuf_add_format(next->words, "%s ", space + 1);
}

/* "first second" words that follow "", or the group; aliases, too. */
static void next_words(const char *group, StrBuf *words) {
    size_t n = strlen(group);
    verb_each_name(next_word, &(NextWords){group, words});
    for (size_t i = 0; n == 0 && i < n_verb_groups; i++)
        strbuf_add_format(words, "%s ", verb_groups[i].name);
}

/* ---- bash, and the same tables for zsh ---- */

typedef struct CaseWriter {
    FILE *stream;
    const Verb *verb;
    const char *name; /* fish: of the verb, or an alias */
} CaseWriter;

static void value_case(void *data, const VerbOption *option) {
    CaseWriter *writer = data;
    _cleanup_free_ char *choices = str_copy(option->choices ? option->choices : "");
    if (option->kind == ARG_FLAG)
        return;
    for (char *p = choices; *p; p++)
        if (*p == '|')
            *p = ' ';
    (void)fprintf(writer->stream, "    '%s --%s'", writer->verb->name, option->name);
    if (option->letter)
        (void)fprintf(writer->stream, "|'%s -%c'", writer->verb->name, option->letter);
    if (option->kind == ARG_CHOICE)
        (void)fprintf(writer->stream, ") echo 'words %s' ;;\n", choices);
    else
        (void)fprintf(writer->stream, ") echo %s ;;\n", kind_word(option->kind));
}

/* Of an alias the verb, of a verb itself. */
static void verb_case(void *data, const char *name, const Verb *verb) {
    if (!str_equal(name, verb->name))
        (void)fprintf(data, "    '%s') echo '%s' ;;\n", name, verb->name);
}

/* Shell functions: the verb that an alias stands for, options of a verb, kind of an option's value,
 * kind of a verb's operands, and the words that follow a group. */
static void print_tables(FILE *stream) {
    (void)fputs("__ramet_verb() {\n    case \"$1\" in\n", stream);
    verb_each_name(verb_case, stream);
    (void)fputs("    *) echo \"$1\" ;;\n    esac\n}\n\n", stream);
    (void)fputs("__ramet_options() {\n    case \"$1\" in\n", stream);
    for (size_t i = 0; i < n_verbs; i++) {
        _cleanup_(strbuf_free) StrBuf words = {0};
        verb_each_option(verbs[i], option_words, &words);
        (void)fprintf(stream, "    '%s') echo '%s' ;;\n", verbs[i]->name, words.data);
    }
    (void)fputs("    esac\n}\n\n__ramet_value() {\n    case \"$1 $2\" in\n", stream);
    for (size_t i = 0; i < n_verbs; i++)
        verb_each_option(verbs[i], value_case, &(CaseWriter){stream, verbs[i], NULL});
    (void)fputs("    esac\n}\n\n__ramet_operand() {\n    case \"$1\" in\n", stream);
    for (size_t i = 0; i < n_verbs; i++)
        (void)fprintf(stream, "    '%s') echo %s ;;\n", verbs[i]->name,
                      kind_word(first_operand(verbs[i])));
    (void)fputs("    esac\n}\n\n__ramet_next() {\n    case \"$1\" in\n", stream);
    for (size_t i = 0; i <= n_verb_groups; i++) {
        const char *group = i < n_verb_groups ? verb_groups[i].name : "";
        _cleanup_(strbuf_free) StrBuf words = {0};
        next_words(group, &words);
        (void)fprintf(stream, "    '%s') echo '%s' ;;\n", group, words.data);
    }
    (void)fputs("    esac\n}\n\n", stream);
}

static const char bash_rest[] =
    "__ramet_reply() {\n"
    "    case \"$1\" in\n"
    "    words\\ *) COMPREPLY=($(compgen -W \"${1#words }\" -- \"$cur\")) ;;\n"
    "    file) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
    "    folder) compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
    "    images|vms|snapshots|labs|lab-snapshots|networks|network-names|*-sources)\n"
    "        COMPREPLY=($(compgen -W \"$(ramet --complete \"$1\" 2>/dev/null)\" -- \"$cur\")) ;;\n"
    "    recipe) COMPREPLY=($(compgen -W 'busybox debian' -- \"$cur\")) ;;\n"
    "    copy)\n"
    "        compopt -o nospace -o filenames\n"
    "        COMPREPLY=($(compgen -f -- \"$cur\")"
    " $(compgen -S : -W \"$(ramet --complete vms 2>/dev/null)\" -- \"$cur\")) ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_ramet() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb kind\n"
    "    COMPREPLY=()\n"
    "    verb=${COMP_WORDS[1]}\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
    "        __ramet_reply \"words $(__ramet_next '') --help --version\"\n"
    "        return\n"
    "    fi\n"
    "    if [ -n \"$verb\" ] && [ -n \"$(__ramet_next \"$verb\")\" ]; then\n"
    "        if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
    "            __ramet_reply \"words $(__ramet_next \"$verb\")\"\n"
    "            return\n"
    "        fi\n"
    "        verb=\"$verb ${COMP_WORDS[2]}\"\n"
    "    fi\n"
    "    verb=$(__ramet_verb \"$verb\")\n"
    "    kind=$(__ramet_value \"$verb\" \"$before\")\n"
    "    if [ -n \"$kind\" ]; then\n"
    "        __ramet_reply \"$kind\"\n"
    "    elif [ \"${cur#-}\" != \"$cur\" ]; then\n"
    "        __ramet_reply \"words $(__ramet_options \"$verb\")\"\n"
    "    else\n"
    "        __ramet_reply \"$(__ramet_operand \"$verb\")\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _ramet ramet\n";

void completion_print_bash(FILE *stream) {
    (void)fputs("# bash completion for ramet; made by ramet --generate bash\n"
                "# shellcheck shell=bash disable=SC2207\n\n",
                stream);
    print_tables(stream);
    (void)fputs(bash_rest, stream);
}

static const char zsh_rest[] =
    "__ramet_reply() {\n"
    "    case \"$1\" in\n"
    "    words\\ *) compadd -- ${=1#words } ;;\n"
    "    file) _files ;;\n"
    "    folder) _files -/ ;;\n"
    "    images|vms|snapshots|labs|lab-snapshots|networks|network-names|*-sources)\n"
    "        compadd -- ${=\"$(ramet --complete \"$1\" 2>/dev/null)\"} ;;\n"
    "    recipe) compadd -- busybox debian ;;\n"
    "    copy) _files; compadd -S : -- ${=\"$(ramet --complete vms 2>/dev/null)\"} ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_ramet() {\n"
    "    local cur=${words[CURRENT]} before=${words[CURRENT - 1]} verb=${words[2]} kind\n"
    "    if (( CURRENT == 2 )); then\n"
    "        __ramet_reply \"words $(__ramet_next '') --help --version\"\n"
    "        return\n"
    "    fi\n"
    "    if [[ -n $verb && -n $(__ramet_next \"$verb\") ]]; then\n"
    "        if (( CURRENT == 3 )); then\n"
    "            __ramet_reply \"words $(__ramet_next \"$verb\")\"\n"
    "            return\n"
    "        fi\n"
    "        verb=\"$verb ${words[3]}\"\n"
    "    fi\n"
    "    verb=$(__ramet_verb \"$verb\")\n"
    "    kind=$(__ramet_value \"$verb\" \"$before\")\n"
    "    if [[ -n $kind ]]; then\n"
    "        __ramet_reply \"$kind\"\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        __ramet_reply \"words $(__ramet_options \"$verb\")\"\n"
    "    else\n"
    "        __ramet_reply \"$(__ramet_operand \"$verb\")\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "_ramet \"$@\"\n";

void completion_print_zsh(FILE *stream) {
    (void)fputs("#compdef ramet\n# made by ramet --generate zsh\n\n", stream);
    print_tables(stream);
    (void)fputs(zsh_rest, stream);
}

/* ---- fish ---- */

/* In single quotes. */
static void print_quoted(FILE *stream, const char *text) {
    (void)fputc('\'', stream);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            (void)fputc('\\', stream);
        (void)fputc(*text, stream);
    }
    (void)fputc('\'', stream);
}

static const char *fish_values(ArgKind kind) {
    switch (kind) {
    case ARG_IMAGE:
        return "-f -a '(ramet --complete images 2>/dev/null)'";
    case ARG_SNAPSHOT:
        return "-f -a '(ramet --complete snapshots 2>/dev/null)'";
    case ARG_VM:
    case ARG_VM_HOST:
    case ARG_VM_PATTERN:
        return "-f -a '(ramet --complete vms 2>/dev/null)'";
    case ARG_LAB:
        return "-f -a '(ramet --complete labs 2>/dev/null)'";
    case ARG_LAB_SNAPSHOT:
        return "-f -a '(ramet --complete lab-snapshots 2>/dev/null)'";
    case ARG_LAB_SOURCE:
        return "-f -a '(ramet --complete lab-sources 2>/dev/null)'";
    case ARG_FORK_SOURCE:
        return "-f -a '(ramet --complete fork-sources 2>/dev/null)'";
    case ARG_POOL_SOURCE:
        return "-f -a '(ramet --complete pool-sources 2>/dev/null)'";
    case ARG_COPY_PATH:
        return "-F -a '(ramet --complete vms 2>/dev/null | string replace -r \\$ :)'";
    case ARG_NETWORK_NAME:
        return "-f -a '(ramet --complete network-names 2>/dev/null)'";
    case ARG_NETWORK:
        return "-f -a '(ramet --complete networks 2>/dev/null)'";
    case ARG_VOLUME:
    case ARG_VOLUME_PLACE:
        return "-f -a '(ramet --complete volumes 2>/dev/null)'";
    case ARG_SEED:
    case ARG_SEED_PLACE:
        return "-f -a '(ramet --complete seeds 2>/dev/null)'";
    case ARG_RECIPE:
        return "-f -a 'busybox debian'";
    case ARG_FILE:
    case ARG_FILE_OR_STDIN:
        return "-F";
    case ARG_FOLDER:
        return "-f -a '(__fish_complete_directories)'";
    default:
        return "-f";
    }
}

static void fish_option(void *data, const VerbOption *option) {
    CaseWriter *writer = data;
    FILE *stream = writer->stream;
    (void)fprintf(stream, "complete -c ramet -n '__ramet_is %s' -l %s", writer->name, option->name);
    if (option->letter)
        (void)fprintf(stream, " -s %c", option->letter);
    if (option->kind == ARG_CHOICE) {
        _cleanup_free_ char *choices = str_copy(option->choices);
        for (char *p = choices; *p; p++)
            if (*p == '|')
                *p = ' ';
        (void)fprintf(stream, " -x -a '%s'", choices);
    } else if (option->kind != ARG_FLAG) {
        (void)fprintf(stream, " -r %s", fish_values(option->kind));
    }
    (void)fputs(" -d ", stream);
    print_quoted(stream, option->help);
    (void)fputc('\n', stream);
}

static const char fish_start[] =
    "# fish completion for ramet; made by ramet --generate fish\n"
    "\n"
    "# Is the verb these words?\n"
    "function __ramet_is\n"
    "    set -l words (commandline -opc)[2..]\n"
    "    set -l n (count $argv)\n"
    "    test (count $words) -ge $n; and test \"$words[1..$n]\" = \"$argv\"\n"
    "end\n"
    "\n"
    "# Are these all the words so far?\n"
    "function __ramet_at\n"
    "    set -l words (commandline -opc)[2..]\n"
    "    test \"$words\" = \"$argv\"\n"
    "end\n"
    "\n"
    "complete -c ramet -f\n";

static void fish_verb_word(FILE *stream, const char *name, const char *summary) {
    const char *space = strchr(name, ' ');
    int n = space ? (int)(space - name) : 0;
    (void)fprintf(stream, "complete -c ramet -n '__ramet_at %.*s' -a %s -d ", n, name,
                  space ? space + 1 : name);
    print_quoted(stream, summary);
    (void)fputc('\n', stream);
}

static void fish_verb(void *data, const char *name, const Verb *verb) {
    FILE *stream = data;
    fish_verb_word(stream, name, verb->summary);
    if (first_operand(verb) != ARG_TEXT)
        (void)fprintf(stream, "complete -c ramet -n '__ramet_is %s' %s\n", name,
                      fish_values(first_operand(verb)));
    verb_each_option(verb, fish_option, &(CaseWriter){stream, verb, name});
}

void completion_print_fish(FILE *stream) {
    (void)fputs(fish_start, stream);
    for (size_t i = 0; i < n_verb_groups; i++)
        fish_verb_word(stream, verb_groups[i].name, verb_groups[i].summary);
    verb_each_name(fish_verb, stream);
}
