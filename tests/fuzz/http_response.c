/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a server says: the head is parsed, the body decoded in pieces of a size that the first
 * byte picks, and each piece must lie within what was fed. */

#include <string.h>

#include "proto/api/http_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const HttpHead *head, const char *text, size_t size, size_t step) {
    HttpBody body;
    size_t at = 0;
    http_body_start(&body, head);
    while (at < size && !body.done) {
        size_t n = MIN_OF(step, size - at), piece_size;
        const char *piece;
        ssize_t used = http_body_next(&body, text + at, n, &piece, &piece_size, NULL);
        if (used < 0)
            return;
        if (used == 0 || (size_t)used > n || piece < text + at ||
            piece + piece_size > text + at + n)
            abort();
        at += (size_t)used;
    }
    (void)http_body_finish(&body, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *end;
    HttpHead head;
    size_t head_size;
    if (size < 1)
        return 0;
    text++;
    size--;
    end = memmem(text, size, "\r\n\r\n", 4);
    head_size = end ? (size_t)(end + 4 - text) : size;
    if (http_parse_head(text, head_size, &head, NULL) == 0)
        decode(&head, text + head_size, size - head_size, 1 + data[0] % 64);
    return 0;
}
