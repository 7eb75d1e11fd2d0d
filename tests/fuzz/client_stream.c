/* SPDX-License-Identifier: Apache-2.0 */
/* What a hostile keeper, or a guest through it, may send to `ramet exec` and `ramet run`. */

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client_stream.h"

#define INPUT_MAX 65536 /* fits the socket's buffer */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(void *data, const json_t *json) {
    (void)data;
    if (!json)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ClientStream stream = CLIENT_STREAM_INIT;
    Error error = ERROR_INIT;
    ClientStreamEnd end;
    int pair[2], r;
    if (size < 1 || size > INPUT_MAX || fd_socketpair(SOCK_STREAM, pair) < 0)
        return 0;
    stream.socket = pair[0];
    stream.run = data[0] & 1;
    stream.half_closes = data[0] & 2;
    stream.on_event = stream.on_ready = look;
    if (size > 1 && fd_write_full(pair[1], data + 1, size - 1) < 0)
        abort();
    (void)shutdown(pair[1], SHUT_WR); /* so that a stream without an end breaks off */
    r = client_stream_run(&stream, &end, NULL, &error);
    if (r < 0 && !error.message)
        abort(); /* a failure says why */
    if (r == 0 && (end.status < 0 || end.status > 255))
        abort();
    error_clear(&error);
    (void)close(pair[0]);
    (void)close(pair[1]);
    return 0;
}
