/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events. The subscription comes before the first look, so that nothing falls between.
 * Without `since` a follower hears only of what is new, and a look at what was shows all. */

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "daemon/handlers.h"
#include "store/events.h"

#define PAGE 500

/* Sends what is newer than *since. */
static int send_new(Request *request, uint64_t *since, Error *error) {
    for (;;) {
        _cleanup_json_ json_t *page = NULL;
        const json_t *event;
        size_t i;
        int r = home_events(request->home, *since, PAGE, &page, error);
        if (r < 0)
            return r;
        json_array_foreach(page, i, event) {
            response_send_line(&request->response, event);
            *since = (uint64_t)json_integer_value(json_object_get(event, "id"));
        }
        if (json_array_size(page) < PAGE || request->response.broken)
            return 0;
    }
}

/* True when there may be new events, false when the client is gone. */
static bool wait_new(int subscription, int client) {
    struct pollfd fds[2] = {{.fd = subscription, .events = POLLIN},
                            {.fd = client, .events = POLLIN | POLLRDHUP}};
    eventfd_t count;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return false;
        if (fds[1].revents)
            return false;
        if (fds[0].revents) {
            (void)eventfd_read(subscription, &count);
            return true;
        }
    }
}

static int follow(Request *request, int subscription, uint64_t since, Error *error) {
    for (;;) {
        int r = send_new(request, &since, error);
        if (r < 0 || request->response.broken)
            return r;
        if (!wait_new(subscription, request->response.fd))
            return 0;
    }
}

static int first_event(Request *request, bool following, uint64_t *since, Error *error) {
    const json_t *given = json_object_get(request->input, "since");
    if (json_is_integer(given)) {
        *since = (uint64_t)json_integer_value(given);
        return 0;
    }
    *since = 0;
    return following ? events_last(home_store(request->home), since, error) : 0;
}

HANDLER(handle_events) {
    bool following = request_flag(request, "follow");
    int subscription, r;
    uint64_t since;
    (void)answer;
    subscription = home_subscribe(request->home);
    if (subscription < 0)
        return error_set_errno(error, -subscription, "cannot follow events");
    r = first_event(request, following, &since, error);
    if (r == 0)
        r = request_open_stream(request, "application/x-ndjson", error);
    if (r == 0)
        r = following ? follow(request, subscription, since, error)
                      : send_new(request, &since, error);
    home_unsubscribe(request->home, subscription);
    return r;
}
