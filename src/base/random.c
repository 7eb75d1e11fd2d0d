/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, apart from digest.c so that a program which only wants these does not link
 * libcrypto: loading it takes 1 ms. */
#include <errno.h>
#include <sys/random.h>

#include "base/digest.h"
#include "base/str.h"

void random_bytes(void *data, size_t size) {
    uint8_t *next = data;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        next += got;
        size -= (size_t)got;
    }
}

char *random_hex(size_t bytes) {
    _cleanup_free_ uint8_t *data = malloc(bytes + 1);
    char *text = malloc(2 * bytes + 1);
    if (!data || !text)
        abort();
    random_bytes(data, bytes);
    hex_encode(data, bytes, text);
    return text;
}
