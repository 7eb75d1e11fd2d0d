/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb_rows.h"

/* The processors' use is measured over so long. Following, this is the pace. */
#define ONCE_MS 200
#define FOLLOW_MS 1000
#define CLEAR "\033[H\033[J"

/* vm=web1&vm=web2&interval_ms=200; the caller owns it. */
static char *make_query(const Args *args, unsigned interval_ms) {
    StrBuf query = {0};
    for (size_t i = 0; i < args->n_operands; i++) {
        _cleanup_free_ char *encoded = http_encode(args->operands[i]);
        strbuf_add_format(&query, "vm=%s&", encoded);
    }
    strbuf_add_format(&query, "interval_ms=%u", interval_ms);
    return strbuf_steal(&query);
}

/* Of all cards together; "-": nobody counts. The caller owns it. */
static char *sum_cards(const json_t *vm, const char *key, bool is_size) {
    const json_t *card;
    json_int_t sum = 0;
    bool known = false;
    size_t i;
    json_array_foreach(json_object_get(vm, "networks"), i, card) {
        const json_t *value = json_object_get(card, key);
        known |= json_is_integer(value);
        sum += json_integer_value(value);
    }
    if (!known)
        return str_copy("-");
    return is_size ? format_size((uint64_t)sum) : str_format("%lld", (long long)sum);
}

static char *show_percent(const json_t *cpu) {
    const json_t *percent = json_object_get(cpu, "percent");
    return json_is_number(percent) ? str_format("%.1f", json_number_value(percent)) : str_copy("-");
}

static char *show_time(const json_t *cpu) {
    const json_t *total = json_object_get(cpu, "total_us");
    return json_is_integer(total) ? format_duration((uint64_t)json_integer_value(total))
                                  : str_copy("-");
}

static void add_row(Table *table, const json_t *vm) {
    const json_t *cpu = json_object_get(vm, "cpu"), *memory = json_object_get(vm, "memory");
    const json_t *disk = json_object_get(vm, "disk");
    _cleanup_free_ char *name = output_member(vm, "name");
    _cleanup_free_ char *percent = show_percent(cpu), *time = show_time(cpu);
    _cleanup_free_ char *own = output_member_size(memory, "private_bytes");
    _cleanup_free_ char *shared = output_member_size(memory, "shared_bytes");
    _cleanup_free_ char *received = sum_cards(vm, "received_bytes", true);
    _cleanup_free_ char *sent = sum_cards(vm, "sent_bytes", true);
    _cleanup_free_ char *dropped = sum_cards(vm, "dropped_packets", false);
    _cleanup_free_ char *read = output_member_size(disk, "read_bytes");
    _cleanup_free_ char *written = output_member_size(disk, "write_bytes");
    table_add(table, (const char *[]){name, percent, time, own, shared, received, sent, dropped,
                                      read, written});
}

static int print_table(const json_t *list, bool clear, Error *error) {
    static const char *const columns[] = {"NAME",    ">CPU %",    ">CPU TIME", ">PRIVATE",
                                          ">SHARED", ">RECEIVED", ">SENT",     ">DROPPED",
                                          ">READ",   ">WRITTEN",  NULL};
    _cleanup_(table_free_p) Table *table = table_new(stdout, columns);
    const json_t *vm;
    size_t i;
    json_array_foreach(list, i, vm) add_row(table, vm);
    if (clear)
        (void)fputs(CLEAR, stdout);
    table_print(table);
    return output_flush(error);
}

static int print_lines(const json_t *list, Error *error) {
    const json_t *vm;
    size_t i;
    int r = 0;
    json_array_foreach(list, i, vm) {
        _cleanup_free_ char *text = json_to_text(vm);
        if (r >= 0)
            r = output_line(text, error);
    }
    return r;
}

static int stats_run(const Args *args, Error *error) {
    bool follow = args_flag(args, "follow"), clear = follow && isatty(STDOUT_FILENO);
    _cleanup_free_ char *first = make_query(args, ONCE_MS), *next = make_query(args, FOLLOW_MS);
    const char *query = first;
    int r;
    do {
        _cleanup_json_ json_t *list = NULL;
        r = client_call(API_STATS, NULL, query, NULL, &list, error);
        if (r >= 0 && args->json)
            r = follow ? print_lines(list, error) : output_json(list, error);
        else if (r >= 0)
            r = print_table(list, clear, error);
        query = next;
    } while (r >= 0 && follow);
    return r;
}

static const VerbOption options[] = {
    {'f', "follow", ARG_FLAG, .help = "go on, every second, until interrupted"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "names or ids of VMs; those that run when absent", 0, MANY},
    {.name = NULL},
};

const Verb verb_stats = {
    .name = "stats",
    .summary = "show what VMs use of processors, memory, networks and disks",
    .options = options,
    .operands = operands,
    .description =
        "Shows for each VM the share of one processor that its QEMU uses just now (CPU %), what it "
        "has used of them so far, the memory that it alone holds and the memory that it has in "
        "common with others, what its cards have received and sent, how many of their packets were "
        "dropped, and what its guest has read from its disks and written to them. All of it counts "
        "from the start of its QEMU on, which a fork and a restart have a new one of.\n"
        "\n"
        "\"-\" (null with --json) is what nobody counts, as the packets of the network `user`, or "
        "what cannot be asked now, as the disks of a VM of which a snapshot is taken.\n"
        "\n"
        "With --json it is a list of objects; with --follow one object a line, for each VM and "
        "second. \"networks\" has each card's counters, with the dropped packets by reason.",
    .examples = "ramet stats\nramet stats -f web1 web2\nramet stats --json | jq '.[].memory'",
    .flags = VERB_JSON,
    .run = stats_run,
};
