/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile QEMU sends, cut into two pieces at a place that the first byte chooses, while one
 * command waits for its reply. Whatever comes, calls end, and a broken connection stays broken. */

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "qemu/qmp.h"

#define INPUT_MAX 65536 /* fits the socket's buffer */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(int fd, Qmp *qmp, const uint8_t *data, size_t size) {
    if (size > 0 && fd_write_full(fd, data, size) == 0)
        (void)qmp_process(qmp, NULL);
}

static void drain_events(Qmp *qmp) {
    json_t *event;
    while ((event = qmp_next_event(qmp))) {
        (void)qmp_event_name(event);
        json_decref(event);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error error = ERROR_INIT;
    json_t *result = NULL;
    uint64_t id = 0;
    size_t cut;
    int pair[2], sent;
    Qmp *qmp;
    if (size < 2 || size > INPUT_MAX || fd_socketpair(SOCK_STREAM, pair) < 0)
        return 0;
    cut = 1 + data[0] % (size - 1);
    qmp = qmp_new(pair[0]);
    sent = qmp_send(qmp, "query-status", NULL, -1, 0, &id, NULL);
    feed(pair[1], qmp, data + 1, cut - 1);
    feed(pair[1], qmp, data + cut, size - cut);
    (void)close(pair[1]);
    if (sent == 0 && qmp_receive(qmp, id, UINT64_MAX, &result, &error) == 0)
        json_decref(result);
    else if (sent == 0 && !error.message)
        abort(); /* a failure says why */
    error_clear(&error);
    drain_events(qmp);
    qmp_free(qmp);
    return 0;
}
