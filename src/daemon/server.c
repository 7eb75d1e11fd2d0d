/* SPDX-License-Identifier: Apache-2.0 */
/* The server around libmicrohttpd, which parses HTTP and gives each connection a thread. It calls
 * handle_line once for a request, and handle_access several times: with the head, for each piece of
 * the body, and at its end; call.c does the work. The path that handle_access gets is decoded
 * already, and a name with a slash would be two segments there: so the call keeps that of the line.
 *
 * A request is in a list from the start of its handler until its answer is sent, so that a stop can
 * wait for it and cancel it. */

#include "daemon/server.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "daemon/call.h"
#include "daemon/listen.h"

/* A row takes 10 KiB of it, and much more with a sanitizer. */
#define THREAD_STACK_BYTES (1024u * 1024u)

struct Server {
    Home *home;    /* borrowed */
    int stop_fd;   /* borrowed */
    int listen_fd; /* owned */
    gid_t group;
    struct MHD_Daemon *http; /* owned */
    pthread_mutex_t lock;    /* of calls */
    pthread_cond_t idle;
    Call *calls; /* that run, or whose answer is being sent */
};

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

static void *handle_line(void *data, const char *uri, struct MHD_Connection *connection) {
    Server *server = data;
    return call_new(server->home, server->stop_fd, server->group, connection, uri);
}

static enum MHD_Result handle_access(void *data, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version,
                                     const char *upload_data, size_t *upload_size, void **context) {
    Server *server = data;
    Call *call = *context;

    (void)connection;
    (void)url;
    if (!call)
        return MHD_NO;
    if (!call->begun)
        return call_begin(call, method, version);
    if (*upload_size > 0) {
        size_t size = *upload_size;
        *upload_size = 0;
        return call_feed(call, upload_data, size);
    }
    if (!call_is_ready(call))
        return call_send_answer(call);
    enlist(server, call);
    return call_run(call);
}

static void handle_completed(void *data, struct MHD_Connection *connection, void **context,
                             enum MHD_RequestTerminationCode code) {
    Call *call = *context;

    (void)connection;
    (void)code;
    if (!call)
        return;
    if (call->listed)
        delist(data, call);
    call_free(call);
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

/* ---- life ---- */

static struct MHD_Daemon *start_http(Server *server) {
    return MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                                MHD_USE_POLL | MHD_USE_ITC,
                            0, NULL, NULL, handle_access, server, MHD_OPTION_LISTEN_SOCKET,
                            server->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)SERVER_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)CALL_SLOW_CLIENT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)SERVER_HEADERS_MAX, MHD_OPTION_THREAD_STACK_SIZE,
                            (size_t)THREAD_STACK_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
                            handle_completed, server, MHD_OPTION_URI_LOG_CALLBACK, handle_line,
                            server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
}

int server_start(const ServerOptions *options, Server **server, Error *error) {
    Server *new = calloc(1, sizeof(*new));
    pthread_condattr_t attributes;
    if (!new)
        return error_set_errno(error, ENOMEM, "cannot start the server");
    *new = (Server){.home = options->home,
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
