/* SPDX-License-Identifier: Apache-2.0 */
/* The server around libmicrohttpd, which parses HTTP and gives each connection a thread. It calls
 * handle_access several times for one request:
 *
 *   1. with the head: the peer is checked, the row found, the query read (begin);
 *   2. for each piece of the body: a JSON body is kept, an upload written to a file without a name
 *      (feed);
 *   3. at its end: the body is parsed, checked against the row, and the handler runs (finish).
 *
 * What is wrong in 1 or 2 is remembered and answered in 3, after the rest of the body was read and
 * dropped, so that a client that first writes and then reads gets its answer; only a body announced
 * as too large, and who must not be here at all, are answered at once.
 *
 * Bounds: headers by the library's memory per connection, bodies here, slow clients by the timeout,
 * which is lifted while the handler runs.
 *
 * A request is in a list from the start of its handler until its answer is sent, so that a stop can
 * wait for it and cancel it. */

#include "daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "daemon/listen.h"
#include "daemon/request.h"

#define THREAD_STACK_BYTES (512u * 1024u)
#define DROPPED_MAX (64u * MIB) /* of a body that is not wanted */

typedef struct Call Call;

struct Server {
    Ramet *ramet;  /* borrowed */
    int stop_fd;   /* borrowed */
    int listen_fd; /* owned */
    gid_t group;
    struct MHD_Daemon *http; /* owned */
    pthread_mutex_t lock;    /* of calls */
    pthread_cond_t idle;
    Call *calls; /* that run, or whose answer is being sent */
};

/* A request with what only the server needs. */
struct Call {
    Request request;
    Server *server;
    unsigned status; /* 0, or what went wrong before the handler */
    json_t *answer;  /* owned */
    char allow[64];
    StrBuf body;
    uint64_t dropped_bytes;
    bool is_upload;
    int socket; /* owned: for a cancel by another thread */
    bool listed;
    Call *previous, *next;
};

static void call_fail(Call *call, unsigned status, Error *error) {
    if (call->status == 0) {
        call->status = status ? status : (unsigned)error_kind_http_status(error->kind);
        call->answer = json_from_error(error);
    }
    strbuf_free(&call->body);
    error_clear(error);
}

static void enlist(Server *server, Call *call) {
    pthread_mutex_lock(&server->lock);
    call->next = server->calls;
    if (call->next)
        call->next->previous = call;
    server->calls = call;
    call->listed = true;
    pthread_mutex_unlock(&server->lock);
}

static void delist(Server *server, Call *call) {
    pthread_mutex_lock(&server->lock);
    if (call->previous)
        call->previous->next = call->next;
    else
        server->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    if (!server->calls)
        pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

static void call_free(Call *call) {
    if (call->listed)
        delist(call->server, call);
    stream_close(&call->request.stream);
    (void)fd_close(call->socket);
    json_decref(call->request.input);
    json_decref(call->answer);
    (void)fd_close(call->request.upload_fd);
    free(call->request.peer);
    strbuf_free(&call->body);
    free(call);
}

/* --- sending --- */

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

static enum MHD_Result send_answer(Call *call) {
    return send_document(call->request.connection, call->status, call->answer, call->allow);
}

/* --- 1. the head --- */

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

    if (r == 0 && !peer_is_allowed(call->request.peer, call->server->group))
        r = error_set(&error, ERROR_PERMISSION, EACCES, "user %u may not use this daemon",
                      (unsigned)call->request.peer->uid);
    if (r < 0)
        call_fail(call, MHD_HTTP_FORBIDDEN, &error);
    return r == 0;
}

static void route(Call *call, const char *url, const char *method) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *shown = str_sanitize(url, strnlen(url, 128));
    int r = api_match(method, url, &call->request.row, call->request.argument, call->allow);

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
    _cleanup_free_ char *folder = path_join(ramet_home(call->server->ramet), "tmp");

    call->is_upload = true;
    call->request.upload_fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (call->request.upload_fd >= 0)
        return;
    (void)error_set_errno(&error, errno, "cannot take the upload");
    call_fail(call, 0, &error);
}

static void too_large(Call *call) {
    _cleanup_error_ Error error = ERROR_INIT;

    (void)error_set(&error, ERROR_USAGE, E2BIG, "the request is longer than %u KiB",
                    SERVER_BODY_MAX / 1024);
    call_fail(call, MHD_HTTP_CONTENT_TOO_LARGE, &error);
}

/* Does the head announce a body that is not worth reading? */
static bool announces_too_much(Call *call) {
    const char *length = header_of(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t bytes;

    return length && !call->is_upload && parse_u64(length, UINT64_MAX, &bytes) == 0 &&
           bytes > SERVER_BODY_MAX;
}

static Call *call_new(Server *server, struct MHD_Connection *connection, const char *version) {
    Call *call = calloc(1, sizeof(*call));
    Peer *peer = calloc(1, sizeof(*peer));

    if (!call || !peer) {
        free(call);
        free(peer);
        return NULL;
    }
    call->server = server;
    call->request = (Request){
        .ramet = server->ramet,
        .stop_fd = server->stop_fd,
        .connection = connection,
        .upload_fd = -1,
        .input = json_object(),
        .peer = peer,
        .chunks = strcmp(version, MHD_HTTP_VERSION_1_1) == 0,
        .stream = STREAM_INIT,
    };
    call->socket = -1;
    operation_init(&call->request.operation, 0, -1);
    return call;
}

static enum MHD_Result begin(Call *call, const char *url, const char *method) {
    Request *request = &call->request;

    if (!check_peer(call))
        return send_answer(call);
    route(call, url, method);
    if (call->status == 0) {
        request->wants_lines = header_has(call, MHD_HTTP_HEADER_ACCEPT, "application/x-ndjson");
        request->wants_upgrade = header_has(call, MHD_HTTP_HEADER_UPGRADE, "ramet-stream");
        (void)MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, add_query,
                                        call);
        if (request->row->upload &&
            header_has(call, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream"))
            open_upload(call);
    }
    if (announces_too_much(call)) {
        too_large(call);
        return send_answer(call);
    }
    return MHD_YES;
}

/* --- 2. the body --- */

static enum MHD_Result drop(Call *call, size_t size) {
    call->dropped_bytes += size;
    return call->dropped_bytes > DROPPED_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result feed(Call *call, const char *data, size_t size) {
    _cleanup_error_ Error error = ERROR_INIT;
    int r;

    if (call->status != 0)
        return drop(call, size);
    if (!call->is_upload && call->body.size + size > SERVER_BODY_MAX) {
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

/* --- 3. the end --- */

/* Adds the members of the JSON body to those of the query. */
static int parse_body(Call *call, Error *error) {
    _cleanup_json_ json_t *body = NULL;
    json_t *input = call->request.input;
    int r;

    if (call->body.size == 0)
        return 0;
    r = json_parse("the request", call->body.data, call->body.size, &body, error);
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

static enum MHD_Result finish(Call *call) {
    if (call->status == 0)
        check_input(call);
    if (call->status != 0)
        return send_answer(call);
    set_timeout(call, 0);
    call->socket = fcntl(call_socket(call), F_DUPFD_CLOEXEC, 0);
    enlist(call->server, call);
    request_run(&call->request, &call->status, &call->answer);
    if (call->status == 0)
        return MHD_NO; /* all was said on the stream; what is left of the connection can go */
    set_timeout(call, SERVER_SLOW_CLIENT_S);
    return send_answer(call);
}

static enum MHD_Result handle_access(void *data, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version,
                                     const char *upload_data, size_t *upload_size, void **context) {
    Call *call = *context;

    if (!call) {
        call = *context = call_new(data, connection, version);
        return call ? begin(call, url, method) : MHD_NO;
    }
    if (*upload_size > 0) {
        size_t size = *upload_size;

        *upload_size = 0;
        return feed(call, upload_data, size);
    }
    return finish(call);
}

static void handle_completed(void *data, struct MHD_Connection *connection, void **context,
                             enum MHD_RequestTerminationCode code) {
    (void)data;
    (void)connection;
    (void)code;
    if (*context)
        call_free(*context);
    *context = NULL;
}

/* Decodes percent-encoding in place. An encoded NUL would cut the text short: it becomes a byte
 * that fits no name. */
static size_t unescape(void *data, struct MHD_Connection *connection, char *text) {
    size_t length;

    (void)data;
    (void)connection;
    length = MHD_http_unescape(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0')
            text[i] = '\x01';
    return length;
}

/* --- life --- */

static struct MHD_Daemon *start_http(Server *server) {
    return MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC,
        0, NULL, NULL, handle_access, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_SLOW_CLIENT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_HEADERS_MAX,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        handle_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
}

int server_start(const ServerOptions *options, Server **server, Error *error) {
    Server *new = calloc(1, sizeof(*new));
    pthread_condattr_t attributes;

    if (!new)
        return error_set_errno(error, ENOMEM, "cannot start the server");
    *new = (Server){.ramet = options->ramet,
                    .stop_fd = options->stop_fd,
                    .listen_fd = options->listen_fd,
                    .group = listen_group()};
    pthread_mutex_init(&new->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&new->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    new->http = start_http(new);
    if (!new->http) {
        free(new);
        return error_set(error, ERROR_FAILED, EIO, "cannot start the HTTP server");
    }
    *server = new;
    return 0;
}

/* Does this request only watch what others do? */
static bool is_watcher(const Call *call) {
    ApiId id = call->request.row->id;

    return id == API_EVENTS || id == API_VM_LOGS || id == API_VM_WAIT;
}

/* Makes the sockets of running requests look hung up. They can still be written to. */
static void cancel_calls(Server *server, bool all) {
    pthread_mutex_lock(&server->lock);
    for (Call *call = server->calls; call; call = call->next)
        if (all || is_watcher(call))
            (void)shutdown(call->socket, SHUT_RD);
    pthread_mutex_unlock(&server->lock);
}

static bool wait_idle(Server *server, uint64_t wait_usec) {
    uint64_t deadline_usec = clock_monotonic_usec() + wait_usec;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_usec / USEC_PER_SEC),
                                .tv_nsec = (long)(deadline_usec % USEC_PER_SEC) * 1000};
    bool idle;
    int r = 0;

    pthread_mutex_lock(&server->lock);
    while (server->calls && r == 0)
        r = pthread_cond_timedwait(&server->idle, &server->lock, &deadline);
    idle = !server->calls;
    pthread_mutex_unlock(&server->lock);
    return idle;
}

int server_stop(Server *server, uint64_t wait_usec) {
    (void)MHD_quiesce_daemon(server->http);
    cancel_calls(server, false);
    if (!wait_idle(server, wait_usec)) {
        log_warning("requests are still running: cancelling them");
        cancel_calls(server, true);
        if (!wait_idle(server, wait_usec))
            return -EBUSY;
    }
    MHD_stop_daemon(server->http);
    server->listen_fd = fd_close(server->listen_fd);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
    return 0;
}
