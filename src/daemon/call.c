/* SPDX-License-Identifier: Apache-2.0 */
/* A request comes in three steps:
 *
 *   1. with the head: the peer is checked, the row found, the query read (call_begin);
 *   2. for each piece of the body: a JSON body is kept, an upload written to a file without a name
 *      (call_feed);
 *   3. at its end: the body is parsed, checked against the row (call_is_ready), and the handler
 *      runs (call_run).
 *
 * What is wrong in 1 or 2 is remembered and answered in 3, after the rest of the body was read and
 * dropped, so that a client that first writes and then reads gets its answer; only a body announced
 * as too large, and who must not be here at all, are answered at once.
 *
 * Bounds: headers by the library's memory per connection, bodies here, slow clients by the timeout,
 * which is lifted while the handler runs. */

#include "daemon/call.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/utf8.h"
#include "daemon/routes.h"
#include "proto/exec_lines.h"

#define DROPPED_MAX (64u * MIB) /* of a body that is not wanted */

static void call_fail(Call *call, unsigned status, Error *error) {
    if (call->status == 0) {
        call->status = status ? status : (unsigned)error_kind_http_status(error->kind);
        call->answer = json_from_error(error);
    }
    strbuf_free(&call->body);
    error_clear(error);
}

/* ---- sending ---- */

static enum MHD_Result send_document(struct MHD_Connection *connection, unsigned status,
                                     const json_t *document, const char *allow) {
    char *text = json_to_text(document);
    size_t size = strlen(text);
    struct MHD_Response *response;
    enum MHD_Result result;

    text[size] = '\n';
    response = MHD_create_response_from_buffer(size + 1, text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (allow[0])
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    if (status == MHD_HTTP_UPGRADE_REQUIRED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "ramet-stream");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result call_send_answer(Call *call) {
    return send_document(call->request.connection, call->status, call->answer, call->allow);
}

/* ---- 1. the head ---- */

static const char *header_of(Call *call, const char *name) {
    return MHD_lookup_connection_value(call->request.connection, MHD_HEADER_KIND, name);
}

static bool header_has(Call *call, const char *name, const char *word) {
    const char *value = header_of(call, name);
    return value && strcasestr(value, word);
}

static int call_socket(Call *call) {
    return MHD_get_connection_info(call->request.connection, MHD_CONNECTION_INFO_CONNECTION_FD)
        ->connect_fd;
}

static bool check_peer(Call *call) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r = peer_get(call_socket(call), call->request.peer, &error);
    if (r == 0 && !peer_is_allowed(call->request.peer, call->group))
        r = error_set(&error, ERROR_PERMISSION, EACCES, "user %u may not use this daemon",
                      (unsigned)call->request.peer->uid);
    if (r < 0)
        call_fail(call, MHD_HTTP_FORBIDDEN, &error);
    return r == 0;
}

static void route(Call *call, const char *method) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *shown = utf8_show(call->path, strnlen(call->path, 128));
    int r = api_match(method, call->path, &call->request.row, call->request.argument, call->allow);
    if (r == -ENOENT) {
        (void)error_set(&error, ERROR_NOT_FOUND, 0, "the API has no path %s", shown);
        call_fail(call, MHD_HTTP_NOT_FOUND, &error);
    } else if (r < 0) {
        (void)error_set(&error, ERROR_USAGE, 0, "%s does not take this method", shown);
        error_set_hint(&error, "it takes %s", call->allow);
        call_fail(call, MHD_HTTP_METHOD_NOT_ALLOWED, &error);
    }
}

static enum MHD_Result add_query(void *data, enum MHD_ValueKind kind, const char *name,
                                 const char *value) {
    Call *call = data;
    _cleanup_error_ Error error = ERROR_INIT;

    (void)kind;
    if (api_add_query(call->request.row, name, value ? value : "", call->request.input, &error) ==
        0)
        return MHD_YES;
    call_fail(call, 0, &error);
    return MHD_NO;
}

/* Where an upload goes until it is whole: a file that no crash leaves behind. */
static void open_upload(Call *call) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *folder = path_join(home_path(call->request.home), "tmp");
    call->is_upload = true;
    call->request.upload_fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (call->request.upload_fd >= 0)
        return;
    (void)error_set_errno(&error, errno, "cannot take the upload");
    call_fail(call, 0, &error);
}

static size_t body_max(const Call *call) {
    return call->request.brings_lines ? EXEC_LINES_MAX : CALL_BODY_MAX;
}

static void too_large(Call *call) {
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_USAGE, E2BIG, "the request is longer than %zu KiB",
                    body_max(call) / 1024);
    call_fail(call, MHD_HTTP_CONTENT_TOO_LARGE, &error);
}

/* A file that is put is its body, whatever type a client gives it. */
static bool brings_upload(Call *call) {
    const ApiOperation *row = call->request.row;
    return row->upload &&
           (strcmp(row->method, "PUT") == 0 ||
            header_has(call, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream"));
}

/* Does the head announce a body that is not worth reading? */
static bool announces_too_much(Call *call) {
    const char *length = header_of(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t bytes;
    return length && !call->is_upload && parse_u64(length, UINT64_MAX, &bytes) == 0 &&
           bytes > body_max(call);
}

Call *call_new(Home *home, int stop_fd, gid_t group, struct MHD_Connection *connection,
               const char *uri) {
    Call *call = calloc(1, sizeof(*call));
    Peer *peer = calloc(1, sizeof(*peer));

    if (!call || !peer) {
        free(call);
        free(peer);
        return NULL;
    }
    call->group = group;
    call->path = str_format("%.*s", (int)strcspn(uri, "?"), uri);
    call->request = (Request){
        .home = home,
        .stop_fd = stop_fd,
        .connection = connection,
        .upload_fd = -1,
        .input = json_object(),
        .peer = peer,
        .response = RESPONSE_INIT,
    };
    call->socket = -1;
    operation_init(&call->request.operation, 0, -1);
    return call;
}

void call_free(Call *call) {
    response_close(&call->request.response);
    (void)fd_close(call->socket);
    json_decref(call->request.input);
    json_decref(call->answer);
    (void)fd_close(call->request.upload_fd);
    free(call->request.peer);
    free(call->path);
    strbuf_free(&call->body);
    free(call);
}

enum MHD_Result call_begin(Call *call, const char *method, const char *version) {
    Request *request = &call->request;
    call->begun = true;
    request->chunks = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    if (!check_peer(call))
        return call_send_answer(call);
    route(call, method);
    if (call->status == 0) {
        request->wants_lines = header_has(call, MHD_HTTP_HEADER_ACCEPT, "application/x-ndjson");
        request->wants_upgrade = header_has(call, MHD_HTTP_HEADER_UPGRADE, "ramet-stream");
        request->brings_lines =
            request->row->id == API_VM_EXEC &&
            header_has(call, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
        request->brings_tar = header_has(call, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-tar");
        (void)MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, add_query,
                                        call);
        if (brings_upload(call))
            open_upload(call);
    }
    if (announces_too_much(call)) {
        too_large(call);
        return call_send_answer(call);
    }
    return MHD_YES;
}

/* ---- 2. the body ---- */

/* An answer cannot be sent before the body has come. A file may be as long as its client likes, so
 * the rest of one that has no room is read, too: who sends it learns why. */
static enum MHD_Result drop(Call *call, size_t size) {
    call->dropped_bytes += size;
    return !call->is_upload && call->dropped_bytes > DROPPED_MAX ? MHD_NO : MHD_YES;
}

enum MHD_Result call_feed(Call *call, const char *data, size_t size) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r;
    if (call->status != 0)
        return drop(call, size);
    if (!call->is_upload && call->body.size + size > body_max(call)) {
        too_large(call);
        return drop(call, size);
    }
    if (!call->is_upload) {
        strbuf_add(&call->body, data, size);
        return MHD_YES;
    }
    r = fd_write_full(call->request.upload_fd, data, size);
    if (r < 0) {
        (void)error_set_errno(&error, -r, "cannot keep the upload");
        call_fail(call, 0, &error);
    }
    return MHD_YES;
}

/* ---- 3. the end ---- */

/* Adds the members of the JSON body to those of the query. */
static int parse_body(Call *call, Error *error) {
    _cleanup_json_ json_t *body = NULL;
    json_t *input = call->request.input;
    int r;
    if (call->body.size == 0)
        return 0;
    r = call->request.brings_lines
            ? exec_lines_parse(call->body.data, call->body.size, &body, error)
            : json_parse("the request", call->body.data, call->body.size, &body, error);
    strbuf_free(&call->body);
    if (r < 0)
        return r;
    if (!json_is_object(body))
        return error_set(error, ERROR_USAGE, 0, "the request is not a JSON object");
    return json_object_update_missing(input, body) < 0
               ? error_set_errno(error, ENOMEM, "cannot read the request")
               : 0;
}

static void check_input(Call *call) {
    _cleanup_error_ Error error = ERROR_INIT;
    Request *request = &call->request;
    int r = parse_body(call, &error);
    if (r == 0)
        r = api_check_input(request->row, request->input, &error);
    if (r == 0)
        r = peer_check_config_disks(request->peer, request->input, &error);
    if (r < 0) {
        call_fail(call, 0, &error);
        return;
    }
    if (request->row->answer == API_ANSWER_UPGRADE && !request->wants_upgrade) {
        (void)error_set(&error, ERROR_USAGE, 0, "%s wants \"Upgrade: ramet-stream\"",
                        request->row->path);
        call_fail(call, MHD_HTTP_UPGRADE_REQUIRED, &error);
    }
}

static void set_timeout(Call *call, unsigned seconds) {
    (void)MHD_set_connection_option(call->request.connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    seconds);
}

bool call_is_ready(Call *call) {
    if (call->status == 0)
        check_input(call);
    if (call->status != 0)
        return false;
    set_timeout(call, 0);
    call->socket = fcntl(call_socket(call), F_DUPFD_CLOEXEC, 0);
    return true;
}

enum MHD_Result call_run(Call *call) {
    request_run(&call->request, routes_handler(call->request.row->id), &call->status,
                &call->answer);
    if (call->status == 0)
        return MHD_NO; /* all was said on the stream; what is left of the connection can go */
    set_timeout(call, CALL_SLOW_CLIENT_S);
    return call_send_answer(call);
}
