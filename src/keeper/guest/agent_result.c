/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/agent_result.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"
#include "proto/agent.h"
#include "proto/tlv.h"

#define ERRNO_MAX 4095 /* as in the kernel's own error pointers */

typedef struct Fields {
    uint64_t errnum;
    uint64_t value;
    uint64_t exclusive;
    uint64_t ssh_key;
    char text[512];
    char note[300];
} Fields;

static int read_field(const TlvField *field, Fields *fields) {
    switch (field->tag) {
    case TAG_ERRNO:
        return tlv_u64(field, &fields->errnum);
    case TAG_VALUE:
        return tlv_u64(field, &fields->value);
    case TAG_EXCLUSIVE:
        return tlv_u64(field, &fields->exclusive);
    case TAG_SSH_KEYS:
        return tlv_u64(field, &fields->ssh_key);
    case TAG_TEXT:
        return tlv_text(field, fields->text, sizeof(fields->text));
    case TAG_NOTE:
        return tlv_text(field, fields->note, sizeof(fields->note));
    default:
        return 0;
    }
}

static int parse(const Frame *frame, Fields *fields) {
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, frame->payload, frame->length);
    while ((r = tlv_next(&reader, &field)) > 0)
        if (read_field(&field, fields) < 0)
            return -EBADMSG;
    return r;
}

static void read_exclusive(const Fields *fields, AgentResult *result) {
    _cleanup_free_ char *text = str_sanitize(fields->text, strlen(fields->text));
    *result = (AgentResult){.value = fields->value,
                            .exclusive = fields->exclusive != 0,
                            .ssh_key = fields->ssh_key != 0};
    if (!result->exclusive)
        (void)snprintf(result->why_not, sizeof(result->why_not), "%s",
                       text[0] ? text : "its agent does not say that it kept them waiting");
}

int agent_result_read(const Frame *frame, const char *what, ErrorKind kind, AgentResult *result,
                      Error *error) {
    Fields fields = {0};
    if (parse(frame, &fields) < 0 || fields.errnum > ERRNO_MAX)
        return error_set(error, kind, EBADMSG, "%s: the agent's answer is malformed", what);
    if (fields.errnum == 0) {
        if (result)
            read_exclusive(&fields, result);
        return 0;
    }
    _cleanup_free_ char *text = utf8_show(fields.text, strlen(fields.text));
    const char *reason = strerror((int)fields.errnum);
    if (str_has_suffix(text, reason)) /* the agent said it, too */
        reason = "";
    return error_set(error, kind, (int)fields.errnum, "%s: %s%s%s", what, text,
                     text[0] && reason[0] ? ": " : "", reason);
}

void agent_result_log_failure(const Frame *frame, const char *what) {
    _cleanup_error_ Error error = ERROR_INIT;
    if (frame && frame->type == FRAME_RESULT &&
        agent_result_read(frame, what, ERROR_FAILED, NULL, &error) < 0)
        log_warning("%s", error.message);
}

char *agent_result_note(const Frame *frame) {
    Fields fields = {0};
    if (parse(frame, &fields) < 0 || fields.errnum != 0 || !fields.note[0])
        return NULL;
    return str_sanitize(fields.note, strlen(fields.note));
}
