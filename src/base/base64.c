/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (!memory)
        abort();
    return memory;
}

char *base64_encode(const void *bytes, size_t size) {
    const uint8_t *in = bytes;
    char *text = allocate((size + 2) / 3 * 4 + 1), *out = text;
    for (size_t i = 0; i < size; i += 3) {
        size_t n = MIN_OF(size - i, (size_t)3);
        uint32_t group = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (n > 2 ? in[i + 2] : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = '=';
        *out++ = '=';
        if (n > 1)
            out[-2] = alphabet[group >> 6 & 63];
        if (n > 2)
            out[-1] = alphabet[group & 63];
    }
    *out = '\0';
    return text;
}

/* The six bits of one digit; -1 when it is none. */
static int digit_value(char digit) {
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

/* Reads `n` digits (2 to 4) into n - 1 bytes. */
static int decode_group(const char *digits, size_t n, uint8_t *out) {
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < n ? digit_value(digits[i]) : 0;
        if (value < 0)
            return -EINVAL;
        group = group << 6 | (uint32_t)value;
    }
    if ((n == 2 && group & 0xffff) || (n == 3 && group & 0xff))
        return -EINVAL;
    for (size_t i = 0; i + 1 < n; i++)
        out[i] = (uint8_t)(group >> (16 - 8 * i));
    return 0;
}

int base64_decode(const char *text, size_t length, char **bytes, size_t *size) {
    size_t padding = 0, made = 0;
    if (length % 4 != 0)
        return -EINVAL;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;

    _cleanup_free_ char *out = allocate(length / 4 * 3 + 1);

    for (size_t i = 0; i < length; i += 4) {
        size_t n = i + 4 == length ? 4 - padding : 4;
        if (decode_group(text + i, n, (uint8_t *)out + made) < 0)
            return -EINVAL;
        made += n - 1;
    }
    out[made] = '\0';
    *bytes = TAKE_PTR(out);
    *size = made;
    return 0;
}
