/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/list.h"
#include "cli/output.h"
#include "cli/verb_rows.h"
#include "proto/api/http_client.h"

/* "127.0.0.1:8080->80/tcp, …", as docker has it. The caller owns it. */
static char *format_ports(const json_t *vm) {
    StrBuf text = {0};
    const json_t *forward;
    size_t i;
    json_array_foreach(json_object_get(vm, "forwards"), i, forward) {
        _cleanup_free_ char *ip = output_member(forward, "host_ip");
        _cleanup_free_ char *host = output_member(forward, "host_port");
        _cleanup_free_ char *guest = output_member(forward, "guest_port");
        _cleanup_free_ char *protocol = output_member(forward, "protocol");
        strbuf_add_format(&text, "%s%s:%s->%s/%s", text.size ? ", " : "", ip, host, guest,
                          protocol);
    }
    return strbuf_steal(&text);
}

/* "running", or "running (exit 3)" once its program has ended, so. The caller owns it. */
static char *format_state(const json_t *vm) {
    const json_t *status = json_object_get(json_object_get(vm, "program"), "exit_status");
    char *state = output_vm_state(vm);
    if (!json_is_integer(status))
        return state;
    char *text = str_format("%s (exit %lld)", state, (long long)json_integer_value(status));
    free(state);
    return text;
}

static void add_row(Table *table, const json_t *vm) {
    _cleanup_free_ char *id = output_member(vm, "id"), *name = output_member(vm, "name");
    _cleanup_free_ char *image = output_member(vm, "image"), *state = format_state(vm);
    _cleanup_free_ char *boot = output_member(vm, "boot"), *ports = format_ports(vm);
    _cleanup_free_ char *memory = output_member_size(vm, "memory_bytes");
    _cleanup_free_ char *cpus = output_member(vm, "cpus");
    _cleanup_free_ char *age = output_member_age(vm, "created_at");
    _cleanup_free_ char *short_id = str_format("%.12s", id);
    table_add(table,
              (const char *[]){short_id, name, image, state, boot, memory, cpus, ports, age});
}

/* all=1&filter=label%3Drole; the caller owns it. */
static char *make_query(const Args *args) {
    StrBuf query = {0};
    const char *filter;
    strbuf_add_text(&query, args_flag(args, "all") ? "all=1" : "all=0");
    for (size_t i = 0; (filter = args_nth(args, "filter", i)); i++) {
        _cleanup_free_ char *encoded = http_encode(filter);
        strbuf_add_format(&query, "&filter=%s", encoded);
    }
    return strbuf_steal(&query);
}

static int ps_run(const Args *args, Error *error) {
    static const char *const columns[] = {"ID",      "NAME",  "IMAGE", "STATE",   "BOOT",
                                          ">MEMORY", ">CPUS", "PORTS", "CREATED", NULL};
    _cleanup_free_ char *query = make_query(args);
    if (args_flag(args, "quiet") && !args->json)
        return list_print_member(API_VM_LIST, query, "id", error);
    return list_print(args, API_VM_LIST, query, columns, add_row, error);
}

static const VerbOption options[] = {
    {'a', "all", ARG_FLAG, .help = "also those that do not run"},
    LIST_QUIET("only the ids"),
    {'f', "filter", ARG_FILTER, .many = true,
     .help = "only those with label=K[=V], name=PART, id=START, state=STATE, image=IMAGE"},
    {.name = NULL},
};

const Verb verb_ps = {
    .name = "ps",
    .aliases = "ls|list",
    .summary = "list VMs",
    .options = options,
    .description =
        "Lists the VMs that run, or with --all every one. PORTS are those of the host that "
        "lead to a VM. A program that a VM ran by itself and that has ended is shown with its exit "
        "status beside the VM's state: \"running (exit 3)\".\n"
        "\n"
        "--filter may come several times: a VM must have all the labels, and of each other "
        "key one of its values. A name is a part of the VM's, or a pattern with * and ?. "
        "A filter for states looks at all VMs.",
    .examples = "ramet ps -a\nramet rm -f $(ramet ps -aq)\n"
                "ramet ps --filter label=role=web --format '{{.Name}} {{.State}}'",
    .flags = VERB_JSON | VERB_FORMAT,
    .run = ps_run,
};
