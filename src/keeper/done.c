/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "keeper/keeper.h"
#include "proto/tlv.h"

#define ERRNO_MAX 4095 /* as in the kernel's own error pointers */

typedef struct Done {
    uint64_t errnum;
    uint64_t value;
    char text[512];
} Done;

static int read_field(const TlvField *field, Done *done) {
    switch (field->tag) {
    case TAG_ERRNO:
        return tlv_u64(field, &done->errnum);
    case TAG_VALUE:
        return tlv_u64(field, &done->value);
    case TAG_TEXT:
        return tlv_text(field, done->text, sizeof done->text);
    default:
        return 0;
    }
}

static int parse(const Frame *frame, Done *done) {
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (read_field(&field, done) < 0)
            return -EBADMSG;
    return r;
}

int done_read(const Frame *frame, const char *what, ErrorKind kind, uint64_t *value, Error *error) {
    Done done = {0};
    if (parse(frame, &done) < 0 || done.errnum > ERRNO_MAX)
        return error_set(error, kind, EBADMSG, "%s: the agent's answer is malformed", what);
    if (done.errnum == 0) {
        if (value)
            *value = done.value;
        return 0;
    }
    _cleanup_free_ char *text = str_sanitize(done.text, strlen(done.text));
    return error_set(error, kind, (int)done.errnum, "%s: %s%s%s", what, text, text[0] ? ": " : "",
                     strerror((int)done.errnum));
}
