/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in for a C library, and the serial console. */

#include <stdlib.h>
#include <string.h>

#include "bare.h"

#define SERIAL 0x3f8
#define HEAP_BYTES (512u * 1024u) /* one frame reader */

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
}

void *memmove(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f || t >= f + size)
        return memcpy(to, from, size);
    while (size-- > 0)
        ((volatile uint8_t *)t)[size] = f[size];
    return to;
}

void *memset(void *to, int value, size_t size) {
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return start;
}

int memcmp(const void *a, const void *b, size_t size) {
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

void *memchr(const void *data, int value, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == (uint8_t)value)
            return (void *)(uintptr_t)(bytes + i);
    return NULL;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (((const volatile char *)text)[length])
        length++;
    return length;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

char *strstr(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++)
        if (memcmp(text, part, length) == 0) /* memcmp stops at the first difference */
            return (char *)(uintptr_t)text;
    return NULL;
}

void *malloc(size_t size) {
    static uint8_t heap[HEAP_BYTES] __attribute__((aligned(16)));
    static size_t used;
    void *start = heap + used;
    if (size > HEAP_BYTES - used)
        return NULL;
    used += (size + 15) & ~(size_t)15;
    return start;
}

void free(void *memory) {
}

/* ---- text ---- */

char *add_text(char *at, const char *end, const char *text) {
    while (*text && at + 1 < end)
        *at++ = *text++;
    *at = '\0';
    return at;
}

char *add_u64(char *at, const char *end, uint64_t number) {
    char digits[21];
    size_t first = sizeof(digits) - 1;
    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return add_text(at, end, digits + first);
}

char *add_hex(char *at, const char *end, const void *bytes, size_t size) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        char both[3] = {digits[byte >> 4], digits[byte & 15], '\0'};
        at = add_text(at, end, both);
    }
    return at;
}

/* ---- the console ---- */

void say(const char *text) {
    for (; *text; text++) {
        while (!(in8(SERIAL + 5) & 0x20)) /* 16550: the transmitter is empty */
            ;
        out8(SERIAL, (uint8_t)*text);
    }
}

void say_number(const char *before, uint64_t number, const char *after) {
    char text[32];
    (void)add_u64(text, text + sizeof(text), number);
    say(before);
    say(text);
    say(after);
}

void give_up(const char *why) {
    say("bare: ");
    say(why);
    say("\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}

void die(uint64_t vector, uint64_t first, uint64_t second) {
    say_number("bare: exception ", vector, " at ");
    say_number("", first, " ");
    say_number("", second, "\n");
    give_up("it stops here");
}
