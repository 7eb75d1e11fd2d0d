/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/verb.h"

#include <string.h>

#include "base/str.h"
#include "cli/verbs.h"

/* Sorted; a test holds it so. */
const Verb *const verbs[] = {
    &verb_bench,
    &verb_cp,
    &verb_create,
    &verb_daemon_run,
    &verb_daemon_status,
    &verb_daemon_stop,
    &verb_doctor,
    &verb_events,
    &verb_exec,
    &verb_fork,
    &verb_image_build,
    &verb_image_import,
    &verb_image_inspect,
    &verb_image_ls,
    &verb_image_rm,
    &verb_inspect,
    &verb_kill,
    &verb_logs,
    &verb_pause,
    &verb_pool_ls,
    &verb_pool_set,
    &verb_prune,
    &verb_ps,
    &verb_restart,
    &verb_resume,
    &verb_rm,
    &verb_run,
    &verb_shell,
    &verb_snapshot_create,
    &verb_snapshot_inspect,
    &verb_snapshot_ls,
    &verb_snapshot_prove,
    &verb_snapshot_prune,
    &verb_snapshot_rm,
    &verb_snapshot_tree,
    &verb_snapshot_verify,
    &verb_stages,
    &verb_standby,
    &verb_start,
    &verb_stop,
    &verb_unpause,
    &verb_version,
    &verb_wait,
};
const size_t n_verbs = ARRAY_SIZE(verbs);

const VerbGroup verb_groups[] = {
    {"daemon", "the daemon that keeps the VMs"},
    {"image", "images, the frozen bases of VMs"},
    {"pool", "warm clones, made ahead of time"},
    {"snapshot", "frozen VMs, from which others grow"},
};
const size_t n_verb_groups = ARRAY_SIZE(verb_groups);

const VerbOption verb_common_options[] = {
    {'h', "help", ARG_FLAG, .help = "show this help"},
    {.name = NULL},
};

const VerbOption verb_json_option = {0, "json", ARG_FLAG,
                                     .help = "print one JSON document on standard output"};

const Verb *verb_find(const char *name) {
    for (size_t i = 0; i < n_verbs; i++)
        if (str_equal(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

const VerbGroup *verb_group_find(const char *name) {
    for (size_t i = 0; i < n_verb_groups; i++)
        if (str_equal(verb_groups[i].name, name))
            return &verb_groups[i];
    return NULL;
}

void verb_each_option(const Verb *verb, VerbOptionHandler each, void *data) {
    for (const VerbOption *option = verb->options; option && option->name; option++)
        each(data, option);
    if (verb->flags & VERB_JSON)
        each(data, &verb_json_option);
    for (const VerbOption *option = verb_common_options; option->name; option++)
        each(data, option);
}

const char *verb_option_value(const VerbOption *option) {
    static const char *const values[] = {
        [ARG_TEXT] = "TEXT",
        [ARG_NUMBER] = "N",
        [ARG_SIZE] = "SIZE",
        [ARG_NAME] = "NAME",
        [ARG_ENV] = "K=V",
        [ARG_FORWARD] = "[IP:]HOST:GUEST[/udp]",
        [ARG_FILE] = "FILE",
        [ARG_FOLDER] = "FOLDER",
        [ARG_RECIPE] = "FROM",
        [ARG_FILE_OR_STDIN] = "FILE",
        [ARG_IMAGE] = "IMAGE",
        [ARG_VM] = "VM",
        [ARG_SNAPSHOT] = "SNAPSHOT",
        [ARG_COMMAND] = "CMD",
        [ARG_COPY_PATH] = "PATH",
        [ARG_FORK_SOURCE] = "SOURCE",
        [ARG_POOL_SOURCE] = "SOURCE",
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
    return strbuf_take(&usage);
}
