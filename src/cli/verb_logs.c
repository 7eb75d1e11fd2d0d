/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verbs.h"

typedef struct Logs {
    OutputFilter filter;
    bool terminal;
    StrBuf gathered; /* with --json */
    bool json;
    Error *error;
} Logs;

/* A guest's bytes must not drive our terminal; on a pipe they stay as they are. */
static int take_piece(void *data, const void *bytes, size_t size) {
    Logs *logs = data;
    _cleanup_free_ char *clean = NULL;
    int r;

    if (logs->json) {
        strbuf_add(&logs->gathered, bytes, size);
        return 0;
    }
    if (logs->terminal) {
        clean = malloc(size + OUTPUT_FILTER_EXTRA);
        if (!clean)
            abort();
        size = output_filter(&logs->filter, bytes, size, clean);
        bytes = clean;
    }
    r = fd_write_full(STDOUT_FILENO, bytes, size);
    return r < 0 ? error_set_errno(logs->error, -r, "cannot write to standard output") : 0;
}

static int print_gathered(Logs *logs, Error *error) {
    _cleanup_json_ json_t *document = NULL;
    _cleanup_free_ char *clean = NULL;
    const char *data = logs->gathered.data ? logs->gathered.data : "";
    json_t *text = json_stringn(data, logs->gathered.size);

    if (!text) {
        clean = str_sanitize(data, logs->gathered.size);
        text = json_string(clean);
    }
    document = json_pack("{s:o}", "log", text);
    return output_json(document, error);
}

static int logs_run(const Args *args, Error *error) {
    _cleanup_(strbuf_free) StrBuf query = {0};
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    Logs logs = {.terminal = isatty(STDOUT_FILENO), .json = args->json, .error = error};
    HttpCall call;
    int r = client_connect(&fd, error);

    strbuf_add_text(&query, args_flag(args, "follow") ? "follow=1" : "follow=0");
    if (args_text(args, "tail"))
        strbuf_add_format(&query, "&tail=%s", args_text(args, "tail"));
    path = api_path(API_VM_LOGS, args->operands[0], query.data);
    call = HTTP_CALL(api_operation(API_VM_LOGS)->method, path);
    call.data = &logs;
    if (r == 0)
        r = http_call_data(fd, &call, take_piece, error);
    if (r == 0 && args->json)
        r = print_gathered(&logs, error);
    strbuf_free(&logs.gathered);
    return r;
}

static const VerbOption options[] = {
    {'f', "follow", ARG_FLAG, .help = "go on with what comes until the VM ends"},
    {'n', "tail", ARG_NUMBER, .help = "only the last N lines", .max = UINT32_MAX},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 1, 1},
    {.name = NULL},
};

const Verb verb_logs = {
    .name = "logs",
    .summary = "show what a VM's console printed",
    .options = options,
    .operands = operands,
    .description = "Prints the console log of a VM. On a terminal, control sequences other than "
                   "colours are left out. With --json the document is {\"log\"}.",
    .examples = "ramet logs -f web1\nramet logs --tail 20 web1",
    .flags = VERB_JSON,
    .run = logs_run,
};
