/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verb.h"

#include <string.h>

#include "base/str.h"

const VerbOption verb_common_options[] = {
    {'h', "help", ARG_FLAG, .help = "show this help"},
    {.name = NULL},
};

const VerbOption verb_json_option = {0, "json", ARG_FLAG,
                                     .help = "print one JSON document on standard output"};

const VerbOption verb_format_option = {
    0, "format", ARG_TEXT, "TEMPLATE",
    .help = "print so much of each: {{.Name}}, {{json .Disk}} or {name}; or json, a line each"};

bool word_is_in(const char *list, const char *word, size_t length) {
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, "|");
        if (n == length && strncmp(p, word, n) == 0)
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

void verb_each_option(const Verb *verb, VerbOptionHandler each, void *data) {
    for (const VerbOption *option = verb->options; option && option->name; option++)
        each(data, option);
    if (verb->flags & VERB_JSON)
        each(data, &verb_json_option);
    if (verb->flags & VERB_FORMAT)
        each(data, &verb_format_option);
    for (const VerbOption *option = verb_common_options; option->name; option++)
        each(data, option);
}

const char *verb_option_value(const VerbOption *option) {
    static const char *const values[] = {
        [ARG_TEXT] = "TEXT",
        [ARG_NUMBER] = "N",
        [ARG_SIZE] = "SIZE",
        [ARG_DURATION] = "DURATION",
        [ARG_TIME] = "TIME",
        [ARG_NAME] = "NAME",
        [ARG_ENV] = "K=V",
        [ARG_LABEL] = "K=V",
        [ARG_FILTER] = "KEY=VALUE",
        [ARG_VM_PATTERN] = "VM",
        [ARG_FORWARD] = "[IP:]HOST:GUEST[/udp]",
        [ARG_FILE] = "FILE",
        [ARG_FOLDER] = "FOLDER",
        [ARG_RECIPE] = "FROM",
        [ARG_FILE_OR_STDIN] = "FILE",
        [ARG_IMAGE] = "IMAGE",
        [ARG_VM] = "VM",
        [ARG_VM_HOST] = "VM",
        [ARG_SNAPSHOT] = "SNAPSHOT",
        [ARG_LAB] = "LAB",
        [ARG_LAB_SNAPSHOT] = "SNAPSHOT",
        [ARG_LAB_SOURCE] = "SOURCE",
        [ARG_COMMAND] = "CMD",
        [ARG_COPY_PATH] = "PATH",
        [ARG_FORK_SOURCE] = "SOURCE",
        [ARG_POOL_SOURCE] = "SOURCE",
        [ARG_NETWORK] = "NETWORK",
        [ARG_NETWORK_NAME] = "NETWORK",
        [ARG_SEED] = "SEED",
        [ARG_VOLUME] = "VOLUME",
        [ARG_VOLUME_PLACE] = "NAME:PATH[:ro]",
        [ARG_SEED_PLACE] = "NAME:PATH[:SIZE]",
    };

    if (option->kind == ARG_FLAG)
        return NULL;
    if (option->value)
        return option->value;
    return option->kind == ARG_CHOICE ? option->choices : values[option->kind];
}

static void usage_option(void *data, const VerbOption *option) {
    StrBuf *usage = data;
    const char *value = verb_option_value(option);
    if (option == &verb_common_options[0])
        return;
    strbuf_add_text(usage, option->required ? " " : " [");
    if (option->letter)
        strbuf_add_format(usage, "-%c", option->letter);
    else
        strbuf_add_format(usage, "--%s", option->name);
    if (value)
        strbuf_add_format(usage, " %s", value);
    strbuf_add_text(usage, option->required ? "" : "]");
    strbuf_add_text(usage, option->many ? "..." : "");
}

char *verb_usage(const Verb *verb) {
    StrBuf usage = {0};
    strbuf_add_format(&usage, "ramet %s", verb->name);
    verb_each_option(verb, usage_option, &usage);
    for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++) {
        const char *dots = operand->max > 1 ? "..." : "";
        const char *dashes = operand->kind == ARG_COMMAND ? "[--] " : "";
        strbuf_add_format(&usage, operand->min ? " %s%s%s" : " [%s%s%s]", dashes, operand->name,
                          dots);
    }
    return strbuf_steal(&usage);
}
