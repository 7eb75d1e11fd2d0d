/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>

#include "base/fd.h"
#include "cli/daemon_start.h"
#include "cli/progress.h"
#include "proto/paths.h"

static bool nobody_listens(int r) {
    return r == -ENOENT || r == -ECONNREFUSED;
}

int client_connect(int *fd, Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_error_ Error first = ERROR_INIT;
    int r = paths_socket(&path, error);
    if (r < 0)
        return r;
    r = http_connect(path, fd, &first);
    if (nobody_listens(r))
        return daemon_start(path, fd, error);
    return r < 0 ? error_move(error, &first) : 0;
}

int client_connect_running(int *fd, Error *error) {
    _cleanup_free_ char *path = NULL;
    _cleanup_error_ Error first = ERROR_INIT;
    int r = paths_socket(&path, error);
    if (r < 0)
        return r;
    r = http_connect(path, fd, &first);
    if (nobody_listens(r)) {
        r = error_set(error, ERROR_NOT_FOUND, ENOENT, "no daemon runs at %s", path);
        error_set_hint(error, "any other verb starts it, or: ramet daemon run");
        return r;
    }
    return r < 0 ? error_move(error, &first) : 0;
}

static int call_with(HttpCall *call, bool events, json_t **answer, Error *error) {
    _cleanup_close_ int fd = -1;
    Progress progress;
    int r = client_connect(&fd, error);
    if (r < 0)
        return r;
    progress_start(&progress);
    if (events) {
        call->on_event = progress_event;
        call->data = &progress;
    }
    r = http_call_json(fd, call, answer, error);
    progress_end(&progress);
    return r;
}

int client_call(ApiId id, const char *argument, const char *query, const json_t *body,
                json_t **answer, Error *error) {
    const ApiOperation *operation = api_operation(id);
    _cleanup_free_ char *path = api_path(id, argument, query);
    HttpCall call = HTTP_CALL(operation->method, path);
    call.body = body;
    return call_with(&call, operation->events, answer, error);
}

int client_upload(ApiId id, const char *query, int body_fd, json_t **answer, Error *error) {
    const ApiOperation *operation = api_operation(id);
    _cleanup_free_ char *path = api_path(id, NULL, query);
    HttpCall call = HTTP_CALL(operation->method, path);
    call.body_fd = body_fd;
    return call_with(&call, operation->events, answer, error);
}

int client_upgrade(ApiId id, const char *argument, const json_t *body, int *fd, Error *error) {
    const ApiOperation *operation = api_operation(id);
    _cleanup_free_ char *path = api_path(id, argument, NULL);
    HttpCall call = HTTP_CALL(operation->method, path);
    _cleanup_close_ int connection = -1;
    int r = client_connect(&connection, error);
    call.body = body;
    if (r == 0)
        r = http_call_upgrade(connection, &call, error);
    if (r == 0)
        *fd = TAKE_FD(connection);
    return r;
}
