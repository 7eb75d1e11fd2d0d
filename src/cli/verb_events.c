/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

typedef struct Events {
    const Args *args;
    json_t *list; /* owned; with --json and --no-follow */
    Error *error;
} Events;

static char *detail_text(const json_t *event) {
    const json_t *detail = json_object_get(event, "detail");
    if (json_is_string(detail))
        return str_copy(json_string_value(detail));
    return json_is_object(detail) && json_object_size(detail) ? json_to_text(detail) : str_copy("");
}

static int print_line(const json_t *event, Error *error) {
    _cleanup_free_ char *at = output_member(event, "at"), *type = output_member(event, "type");
    _cleanup_free_ char *name = output_member(event, "name"), *detail = detail_text(event);
    _cleanup_free_ char *line = str_format("%s %-12s %s %s", at, type, name, detail);
    _cleanup_free_ char *clean = str_sanitize(line, strlen(line));
    return output_line(clean, error);
}

static int handle_event(void *data, const json_t *event) {
    Events *events = data;
    _cleanup_free_ char *text = NULL;
    if (!events->args->json)
        return print_line(event, events->error);
    if (events->list)
        return json_array_append(events->list, (json_t *)event);
    text = json_to_text(event);
    return output_line(text, events->error);
}

static int events_run(const Args *args, Error *error) {
    bool follow = !args_flag(args, "no-follow");
    _cleanup_json_ json_t *list = args->json && !follow ? json_array() : NULL;
    Events events = {.args = args, .list = list, .error = error};
    const char *since = args_text(args, "since");
    _cleanup_free_ char *query =
        str_format("follow=%d%s%s", follow, since ? "&since=" : "", since ? since : "");
    _cleanup_free_ char *path = api_path(API_EVENTS, NULL, query);
    HttpCall call = HTTP_CALL(api_operation(API_EVENTS)->method, path);
    _cleanup_close_ int fd = -1;
    int r = client_connect(&fd, error);
    call.on_event = handle_event;
    call.data = &events;
    if (r == 0)
        r = http_call_lines(fd, &call, error);
    return r == 0 && list ? output_json(list, error) : r;
}

static const VerbOption options[] = {
    {0, "since", ARG_NUMBER, "ID", .help = "begin after the event with this id; 0: all",
     .max = INT64_MAX},
    {0, "no-follow", ARG_FLAG, .help = "print what has happened, and end"},
    {.name = NULL},
};

const Verb verb_events = {
    .name = "events",
    .summary = "follow the life of all VMs",
    .options = options,
    .description = "Prints what happens to VMs and images, one event a line, from now on until it "
                   "is interrupted. --since begins earlier. With --json each line is an object; "
                   "with --json and --no-follow the document is a list of them.",
    .examples = "ramet events\nramet events --no-follow --json | jq '.[-1]'",
    .flags = VERB_JSON,
    .run = events_run,
};
